# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster: what its spec wants, and the instances that are brought there. Every call blocks; one at a time.

The admin role is a superuser: ``CREATE EXTENSION vector`` needs one, as pgvector is not a trusted extension. Inside a
cluster replication is asynchronous unless the ``DatabaseConfig`` says otherwise.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ..kit import free_port
from ..pgserver import write_private
from ..process import LabError
from .backups import drop_backups, flush_archive, list_backups, take_backup
from .instances import DEFAULTS, INTERNAL, Instance, RewindFailed, Source
from .store import Store
from .wish import PRIMARY, SECONDARY, NotReady, Record, Wish

_SYNCHRONOUS = "synchronous_standby_names"
_NEVER_LESS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
_REWIND = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)


class Cluster:
    """The instances of one cluster, in the folder of its uid."""

    def __init__(self, store: Store, uid: str, namespace: str, name: str) -> None:
        self.store = store
        self.folder = store.cluster(uid)
        self._file = self.folder / "cluster.json"
        if self._file.exists():
            self.record = Record(**json.loads(self._file.read_text()))
        else:
            self.record = Record(namespace, name, port=free_port())
        for part in ("wal", "backups"):
            store.folder(self.folder / part)
        self.nodes = {row["name"]: self._instance(row) for row in self.record.nodes}
        self.config_error = ""
        self._password = ""

    def save(self) -> None:
        write_private(self._file, json.dumps(asdict(self.record)))

    @property
    def leader(self) -> Instance:
        """The primary; of a secondary cluster the one that follows the other site."""
        return self.nodes[self.record.leader]

    @property
    def followers(self) -> list[Instance]:
        return [node for node in self.nodes.values() if node.name != self.record.leader]

    def role_of(self, node: Instance) -> str:
        if node.name != self.record.leader:
            return "replica"
        return "standby" if self.record.role == SECONDARY else "primary"

    # ---- to what the spec wants --------------------------------------------------------------------------------------
    def apply(self, wish: Wish) -> None:
        """Bring the instances there; :class:`NotReady` says what is in the way."""
        if not self.record.made:
            self._make(wish)
        if wish.blocked:
            self.expel()
        if wish.role == SECONDARY and self._elsewhere(wish):
            self._demote(wish)
        elif wish.role == PRIMARY and self.record.role == SECONDARY:
            self._promote(wish)
        if self.record.held:
            raise NotReady("PrimaryDown", "all instances were killed, and are held")
        self._up()
        self._archive_to(wish.backups)
        self._settings(wish)
        self._grow(wish)
        if self.record.role == PRIMARY:
            self._rights(wish)
        self._backups(wish)
        self.save()

    def _make(self, wish: Wish) -> None:
        if not self.nodes:
            self.record.leader = self._add().name
        node = self.leader
        self.record.settings = node.settings = {}
        if node.running():
            node.stop()
        if wish.origin:
            try:
                node.restore(wish.origin.backup(), wish.origin.folder / "wal", wish.origin.timestamp)
            except LabError as error:
                raise NotReady("RestoreFailed", f"{wish.origin.name} cannot be restored: {error}", final=True) from None
        elif wish.role == SECONDARY:
            self._take_source(wish)
            self._copy_from_source()
            self.record.role = SECONDARY
        else:
            node.initialise()
        self.record.made = True
        self.save()

    def _add(self) -> Instance:
        used = {row["name"] for row in self.record.nodes}
        number = next(index for index in range(9) if f"{self.record.name}-{index}" not in used)
        row = {"name": f"{self.record.name}-{number}", "port": free_port(), "address": free_port()}
        self.record.nodes.append(row)
        node = self.nodes[row["name"]] = self._instance(row)
        self.save()
        return node

    def _instance(self, row: dict[str, Any]) -> Instance:
        made = Instance(self.folder, row["name"], row["port"], self.store.sockets, archive=self._archive)
        made.settings = dict(self.record.settings)
        return made

    @property
    def _archive(self) -> Path | None:
        return self.folder / "wal" if self.record.archive else None

    def _up(self) -> None:
        """Start what does not run."""
        try:
            if not self.leader.running() and any(node.running() for node in self.followers):
                self.fail_over()
            self.leader.start(self._upstream(self.leader))
            for node in self.followers:
                if not node.running():
                    self.rejoin(node)
        except LabError as error:
            raise NotReady("InstanceDown", str(error)) from None

    def _archive_to(self, wanted: bool) -> None:
        if wanted != self.record.archive:
            self.record.archive = wanted
            self.save()
            for node in self.nodes.values():
                node.archive = self._archive
                node.reconfigure(node.settings, self._upstream(node))

    def _settings(self, wish: Wish) -> None:
        self.config_error = ""
        if wish.settings == self.record.settings:
            return
        # A standby must allow at least as many connections and the like as what it replays was written with.
        lowered = self._lowered(wish.settings)
        for node in [self.leader, *self.followers] if lowered else [*self.followers, self.leader]:
            if lowered and node is not self.leader:
                self._wait_replayed(node)
            self.config_error = node.reconfigure(wish.settings, self._upstream(node))
            if self.config_error:
                break
        if not self.config_error:
            self.record.settings = dict(wish.settings)
            self.save()
        else:
            for node in self.nodes.values():
                node.reconfigure(self.record.settings, self._upstream(node))

    def _lowered(self, settings: dict[str, str]) -> bool:
        rows = self.leader.rows("SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)", list(_NEVER_LESS))
        wanted = {**DEFAULTS, **settings}
        return any(wanted.get(name, "").isdigit() and int(wanted[name]) < value for name, value in rows)

    def _wait_replayed(self, node: Instance) -> None:
        position = self.leader.value("SELECT pg_current_wal_flush_lsn()") if not self.leader.standby else "0/0"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not node.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position):
            time.sleep(0.05)

    def _grow(self, wish: Wish) -> None:
        while len(self.nodes) < wish.replicas + 1:
            self._add()
        for node in self.followers:
            if not node.running():
                self.rejoin(node)

    def _rights(self, wish: Wish) -> None:
        name = sql.Identifier(wish.admin)
        with self.leader.connect() as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            if wish.admin not in roles:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
            if wish.password != self._password:
                # A verifier, and not the password: a statement may be written to the log.
                verifier = connection.pgconn.encrypt_password(
                    wish.password.encode(), wish.admin.encode(), b"scram-sha-256"
                )
                rights = "ALTER ROLE {} SUPERUSER CREATEDB CREATEROLE REPLICATION PASSWORD {}"
                connection.execute(sql.SQL(rights).format(name, sql.Literal(verifier.decode())))
                self._password = wish.password
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if not connection.execute(query, [wish.database]).fetchone():
                query = "CREATE DATABASE {} OWNER {} STRATEGY = FILE_COPY"
                connection.execute(sql.SQL(query).format(sql.Identifier(wish.database), name))
            # Who may replicate may also be the source of a rewind.
            query = "SELECT rolname FROM pg_roles WHERE rolreplication AND NOT rolsuper"
            for row in connection.execute(query).fetchall():
                for function in _REWIND:
                    grant = sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}")
                    connection.execute(grant.format(sql.SQL(function), sql.Identifier(row[0])))

    def _backups(self, wish: Wish) -> None:
        if wish.backups and self.record.role == PRIMARY and not self.backups():
            self.back_up(wish.retention_days)

    def back_up(self, retention_days: int) -> None:
        """A base backup now, and the oldest ones go."""
        take_backup(self.leader, self.folder / "backups")
        drop_backups(self.folder / "backups", datetime.now(timezone.utc) - timedelta(days=retention_days))

    def backups(self) -> list[dict[str, str]]:
        return list_backups(self.folder / "backups")

    def expel(self) -> None:
        """End the sessions of clients; back when they are gone, so that nothing is committed any more."""
        if not self.leader.running():
            return
        query = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND usename <> %s"""
        deadline = time.monotonic() + 20
        while self.leader.rows(query, INTERNAL):
            if time.monotonic() > deadline:
                raise NotReady("BlockFailed", "sessions of clients do not end")
            time.sleep(0.1)

    # ---- between sites -----------------------------------------------------------------------------------------------
    def _elsewhere(self, wish: Wish) -> bool:
        """Whether it has to follow another source than it does."""
        wanted = {key: value for key, value in wish.source.items() if key != "password"}
        if self.record.role == SECONDARY and self.record.source == wanted:
            self._write_passfile(wish.source)
            return False
        return True

    def _take_source(self, wish: Wish) -> None:
        missing = [key for key in ("host", "port", "username", "password", "slot") if not wish.source.get(key)]
        if missing:
            raise NotReady("SourceIncomplete", f"labReplication.source lacks {', '.join(missing)}")
        self._write_passfile(wish.source)
        self.record.source = {key: value for key, value in wish.source.items() if key != "password"}

    def _write_passfile(self, source: dict[str, Any]) -> None:
        escaped = str(source["password"]).replace("\\", "\\\\").replace(":", "\\:")
        owner = (self.folder / "wal").stat().st_uid
        write_private(self.folder / "pgpass", f"*:*:*:{source['username']}:{escaped}\n", owner=owner)

    def _remote(self) -> Source:
        given = self.record.source
        return Source(
            host=given["host"],
            port=int(given["port"]),
            user=given["username"],
            slot=given["slot"],
            application=given["slot"],  # what synchronous_standby_names of the other site can name
            passfile=str(self.folder / "pgpass"),
        )

    def _upstream(self, node: Instance) -> Source | None:
        if node.name != self.record.leader:
            return self.leader.source(node.name)
        if self.record.role == PRIMARY:
            return None
        return Source("", 0) if self.record.paused else self._remote()

    def _copy_from_source(self) -> None:
        try:
            self.leader.copy(self._remote())
        except LabError as error:
            raise NotReady("SourceUnreachable", str(error)) from None

    def _demote(self, wish: Wish) -> None:
        self._take_source(wish)
        if self.record.role == SECONDARY and self.leader.running():
            self.leader.follow(self._remote())  # another source of the same history
            return self.save()
        self.record.held = self.record.paused = False
        for node in self.nodes.values():
            node.stop()
        try:
            self.leader.rewind(self._remote())
        except RewindFailed as error:
            if error.unreachable:
                raise NotReady("SourceUnreachable", str(error)) from None
            if not wish.full_copy:
                raise NotReady("RewindFailed", str(error), final=True) from None
            self._copy_from_source()
        self.record.role = SECONDARY
        return self.save()

    def _promote(self, wish: Wish) -> None:
        self.record.paused = False
        self.leader.start(self._upstream(self.leader))
        if _SYNCHRONOUS not in wish.settings:
            # Copied from the other site, where it named this one: nobody would answer to it here.
            self.leader.execute(f"ALTER SYSTEM RESET {_SYNCHRONOUS}")
        self.leader.promote()
        self.record.role, self.record.source = PRIMARY, {}
        self.save()
        self.leader.execute("CHECKPOINT")

    def pause(self, paused: bool) -> None:
        """Let the leader of a secondary receive nothing, or again; what it has is replayed all the same."""
        if self.record.role != SECONDARY:
            raise LabError(f"{self.record.name} is no secondary")
        self.record.paused = paused
        self.save()
        self.leader.follow(self._upstream(self.leader))
        deadline = time.monotonic() + 10
        while paused and self.leader.rows("SELECT 1 FROM pg_stat_wal_receiver"):
            if time.monotonic() > deadline:
                raise LabError(f"{self.leader.name} goes on receiving")
            time.sleep(0.05)

    # ---- when instances die ------------------------------------------------------------------------------------------
    def note_slots(self) -> None:
        """Remember the slots of other sites: a replica that takes over has none."""
        query = "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary"
        found = sorted(row[0] for row in self.leader.rows(query))
        if found != self.record.slots:
            self.record.slots = found
            self.save()

    def fail_over(self) -> bool:
        """The follower that has most takes the dead leader's place; ``False`` when there is none."""
        old = self.leader
        if old.running():
            old.kill()  # it hangs: it must not wake up as a second primary
        alive = [node for node in self.followers if node.running() and node.answers()]
        if not alive:
            return False
        new = max(alive, key=Instance.received)
        # Written first: who starts again after a crash in between must not start the old one as the leader.
        self.record.leader = new.name
        self.save()
        if self.record.role == PRIMARY:
            new.promote()
            with new.connect() as connection:
                for slot in self.record.slots:
                    with contextlib.suppress(psycopg.errors.DuplicateObject):
                        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
                connection.execute("CHECKPOINT")
        else:
            new.follow(self._upstream(new))
        for node in self.followers:
            if node.running():
                node.follow(self._upstream(node))
        return True

    def rejoin(self, node: Instance) -> None:
        """Start a follower: as it is, rewound, or as a new copy of the leader."""
        upstream = self._upstream(node)
        node.settings = dict(self.record.settings)
        if node.exists and node.name != self.record.leader:
            with contextlib.suppress(LabError):
                node.rewind(upstream)
        if not (node.exists and node.standby):
            node.copy(upstream)
        node.start(upstream)

    def kill(self, scope: str) -> list[str]:
        """kill -9; ``all`` also keeps them dead."""
        if scope == "all":
            self.record.held = True
            self.save()
        victims = [node for node in self.nodes.values() if node.running() and (scope == "all" or node is self.leader)]
        # The leader first: a follower that dies earlier could be what a synchronous commit waits for.
        for node in sorted(victims, key=lambda node: node is not self.leader):
            node.kill()
        return [node.name for node in victims]

    def stop(self) -> None:
        for node in [*self.followers, *([self.leader] if self.nodes else [])]:
            if node.running():
                node.stop()

    def remove(self) -> bool:
        """Stop it and delete its data; backups stay, and whether there are any comes back."""
        if self.nodes and self.record.archive and self.leader.running() and self.record.role == PRIMARY:
            with contextlib.suppress(LabError, psycopg.Error):
                flush_archive(self.leader)
        self.stop()
        kept = bool(self.backups())
        for node in self.nodes.values():
            node.remove()
        if not kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        return kept
