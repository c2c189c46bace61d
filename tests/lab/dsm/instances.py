# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL instances of a cluster: made, copied, followed, promoted, rewound, restored, killed.

Nothing here knows Kubernetes, and every call blocks. The emulator itself connects over a Unix socket that only the
server's user can reach, as a role of its own (:data:`INTERNAL`) without a password: there is none to leak, and it works
on a copy of another site too. Ports and archiving are arguments of the process, as a rewind copies the files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from ..pgserver import CONFIG, Server, write_private
from ..process import LabError, Part

INTERNAL = "dsm_internal"
DEFAULTS = {
    "max_connections": "100",
    "wal_level": "replica",
    "wal_keep_size": "1GB",
    "max_slot_wal_keep_size": "4GB",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "password_encryption": "scram-sha-256",
    "wal_receiver_timeout": "10s",
    "wal_retrieve_retry_interval": "500ms",
}
RESERVED = {"port", "listen_addresses", "unix_socket_directories", "data_directory", "archive_mode", "io_method"}
_HBA = f"""local all {INTERNAL} trust
local replication {INTERNAL} trust
host all {INTERNAL} all reject
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""
_BEFORE_TARGET = "recovery ended before configured recovery target was reached"


# A setting that needs a restart is told like a wrong one; whether it is one, the restart shows.
_WRONG = """SELECT f.name || ' = ' || coalesce(f.setting, '') || ': ' || f.error FROM pg_file_settings f
    LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
    WHERE f.error IS NOT NULL AND f.sourcefile LIKE '%/postgresql.conf' AND s.context IS DISTINCT FROM 'postmaster'"""


class RewindFailed(LabError):
    """pg_rewind refused; the instance has not been started."""

    @property
    def unreachable(self) -> bool:
        """Whether it had not begun: the source did not answer."""
        return "connection to server" in str(self)


@dataclass
class Source:
    """Whom a standby follows: a socket's folder, or an address with a password file."""

    host: str
    port: int
    user: str = INTERNAL
    application: str = ""
    slot: str = ""
    passfile: str = ""

    def conninfo(self, **more: str) -> str:
        """In libpq's form. It has no password."""
        words = {"host": self.host, "port": str(self.port), "user": self.user, "passfile": self.passfile}
        words.update(application_name=self.application, connect_timeout="5", **more)
        return psycopg.conninfo.make_conninfo(**{key: value for key, value in words.items() if value})


@dataclass
class Instance(Server):
    """One server of a cluster.

    :param folder: of the cluster; the server's user can get there (:func:`make_store`).
    :param sockets: the folder of all Unix sockets.
    :param archive: where finished WAL goes; ``None``: nowhere.
    """

    folder: Path
    name: str
    port: int
    sockets: Path
    archive: Path | None = None
    durable: bool = False
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(Part(f"postgres-{self.name}", self.folder / "run", self.folder / "run"))

    @property
    def data(self) -> Path:
        return self.folder / self.name

    @property
    def exists(self) -> bool:
        """Whether it has data that are whole: a copy that was cut off has not."""
        return (self.data / "PG_VERSION").exists() and not self._unfinished.exists()

    # ---- ways to get data --------------------------------------------------------------------------------------------
    def initialise(self, checksums: bool = True) -> None:
        """An empty server."""
        with self._filling():
            words = ["-U", INTERNAL, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "--no-instructions"]
            self._run(
                ["initdb", "-D", str(self.data), *words, *([] if checksums else ["--no-data-checksums"])], self.folder
            )

    def copy(self, source: Source) -> None:
        """A full copy of a running server (pg_basebackup)."""
        with self._filling():
            self.base_backup(source, self.data, stream=True)

    def base_backup(self, source: Source, target: Path, stream: bool = False) -> None:
        """Into a folder that is empty or missing."""
        words = ["-D", str(target), "-c", "fast", "-X", "stream" if stream else "fetch", "--no-sync"]
        slot = ["-S", source.slot] if stream and source.slot else []
        self._run(["pg_basebackup", "-d", source.conninfo(), "-w", *words, *slot], self.folder, timeout=1800)

    def restore(self, backup: Path, archive: Path, target: datetime | None) -> None:
        """Take the base *backup*, replay the archive up to *target* (``None``: all there is), open for writing."""
        with self._filling():
            shutil.copytree(backup, self.data, dirs_exist_ok=True)
            self._own_all()
            for name in ("standby.signal", "backup.json"):
                (self.data / name).unlink(missing_ok=True)
            self._put("recovery.signal", "")
        recovery = {"restore_command": f'cp "{archive}/%f" "%p"', "recovery_target_action": "promote"}
        try:
            self._recover(recovery | ({"recovery_target_time": target.isoformat(" ")} if target else {}))
        except LabError as error:
            # Nothing was committed after that time: the newest state is the state of that time.
            if target is None or _BEFORE_TARGET not in f"{error}{self._part.tail(40)}":
                raise
            self._recover(recovery)

    def _recover(self, settings: Mapping[str, str]) -> None:
        # Nobody may read meanwhile: else recovery stops for ever where a setting was raised after the backup.
        self._open({**settings, "hot_standby": "off"})
        self.stop()

    # ---- up, down ----------------------------------------------------------------------------------------------------
    def start(self, follow: Source | None = None) -> None:
        """Start as a primary, or as a standby of *follow*. Nothing when it runs.

        A standby is one by ``standby.signal``: it is written before the process is, and removed only by a promotion.
        """
        if self.running():
            return
        if not self.exists:
            raise LabError(f"{self.name} has no data to be started on")
        if follow:
            self._put("standby.signal", "")
        elif (self.data / "standby.signal").exists():
            raise LabError(f"{self.name} is a standby and would come up as a second primary")
        self._configure(follow)
        self._open({})

    def _open(self, more: Mapping[str, str]) -> None:
        lock = self.sockets / f".s.PGSQL.{self.port}"
        arguments = {
            "listen_addresses": CONFIG["listen_addresses"],
            "port": str(self.port),
            "unix_socket_directories": str(self.sockets),
            "cluster_name": self.name,
            "archive_mode": "off" if more else "on",
            **more,
        }
        self._launch(arguments, locks=[lock, lock.with_name(lock.name + ".lock")], timeout=300 if more else 60)

    def _configure(self, follow: Source | None) -> None:
        """postgresql.conf, whole; what a copy or a rewind brought from elsewhere goes."""
        lines = {**CONFIG, **DEFAULTS, **({} if self.durable else {"fsync": "off"}), **self.settings}
        lines["archive_command"] = "true"
        if self.archive:
            target = f"{self.archive}/%f"
            lines["archive_command"] = f'cp "%p" "{target}.part" && mv "{target}.part" "{target}"'
        if follow and follow.port:
            lines.update(primary_conninfo=follow.conninfo(), primary_slot_name=follow.slot, hot_standby="on")
        self._put("postgresql.conf", "".join(f"{key} = '{_quoted(value)}'\n" for key, value in lines.items()))
        self._put("pg_hba.conf", _HBA)
        auto = self.data / "postgresql.auto.conf"
        kept = auto.read_text().splitlines(keepends=True) if auto.exists() else []
        foreign = ("primary_", "restore_command", "recovery_target")
        self._put("postgresql.auto.conf", "".join(line for line in kept if not line.startswith(foreign)))

    def reconfigure(self, settings: Mapping[str, str], follow: Source | None) -> str:
        """Take other *settings*: reloaded, and restarted where that is not enough. What is wrong with them comes back.

        What the server refuses leaves everything as it was.
        """
        before, self.settings = self.settings, dict(settings)
        reserved = sorted(RESERVED & set(settings))
        if reserved:
            self.settings = before
            return f"{', '.join(reserved)}: not for users to set"
        if not self.running():
            return ""
        self._configure(follow)
        wrong = self.rows(_WRONG)
        if not wrong:
            self.value("SELECT pg_reload_conf()")
            time.sleep(0.2)  # the postmaster tells its children; a new connection is right from the start
            if not self.rows("SELECT name FROM pg_settings WHERE pending_restart"):
                return ""
            self.stop()
            try:
                self.start(follow)
                return ""
            except LabError:
                wrong = [(f"the server does not start with them: {self._part.tail(3)}",)]
                self._part.stop()
        self.settings = before
        self._configure(follow)
        self.start(follow)
        return "; ".join(str(row[0]) for row in wrong)

    def follow(self, source: Source) -> None:
        """Stream from *source* from now on; a running standby is told, without a restart."""
        if not self.running():
            return self.start(source)
        self._configure(source)
        self.value("SELECT pg_reload_conf()")
        return None

    def promote(self) -> None:
        """A standby becomes a primary; back when it takes writes."""
        if not self.value("SELECT pg_promote(true, 60)"):
            raise LabError(f"{self.name} was not promoted within 60 s:\n{self._part.tail()}")
        self._configure(None)
        self.value("SELECT pg_reload_conf()")

    def rewind(self, source: Source) -> None:
        """Take back what this one has and *source* has not. It is stopped, and stays so; start it with :meth:`start`.

        :raises RewindFailed: pg_rewind's words. Half rewound data are marked: only :meth:`copy` helps then.
        """
        if not self.exists:
            raise RewindFailed(f"the data of {self.name} are not whole: a copy or a rewind of it was cut off")
        self.stop()
        self._clear_locks()
        # A mark that outlives this process: half rewound data must never come up, least of all as a primary.
        self._unfinished.touch()
        try:
            words = ["-D", str(self.data), "-P", "--no-sync", f"--source-server={source.conninfo(dbname='postgres')}"]
            self._run(["pg_rewind", *words], self.folder, timeout=1800)
        except LabError as error:
            if "need to copy" not in str(error):
                self._unfinished.unlink()  # it had not begun
            raise RewindFailed(str(error)) from None
        self._put("standby.signal", "")
        self._unfinished.unlink()

    def remove(self) -> None:
        """Stop it, and delete its data."""
        if self.running():
            self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self._unfinished.unlink(missing_ok=True)

    # ---- what it says ------------------------------------------------------------------------------------------------
    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection:
        """As the emulator's own superuser, each statement its own transaction."""
        given = {"host": str(self.sockets), "port": self.port, "user": INTERNAL, "connect_timeout": 5}
        # A dead synchronous standby must not hold up what the emulator does to get out of that.
        given["options"] = "-c synchronous_commit=local -c statement_timeout=120s"
        return psycopg.connect(**{**given, "dbname": database, "autocommit": True, **options})

    def rows(self, query: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            return connection.execute(query, values or None).fetchall()

    def execute(self, command: str) -> None:
        """A command that has no rows."""
        with self.connect() as connection:
            connection.execute(command)

    def value(self, query: str, *values: object) -> Any:
        return self.rows(query, *values)[0][0]

    def answers(self) -> bool:
        """Whether it takes a connection."""
        try:
            self.connect(connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def standby(self) -> bool:
        """By its data, whether it runs or not."""
        return (self.data / "standby.signal").exists()

    def received(self) -> int:
        """The position up to which a standby could be promoted, in bytes."""
        query = "SELECT greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn"
        return int(self.value(query) or 0)

    def source(self, application: str = "", slot: str = "") -> Source:
        """This one, as another instance of the same emulator finds it."""
        return Source(str(self.sockets), self.port, application=application, slot=slot)

    # ---- how ---------------------------------------------------------------------------------------------------------
    @property
    def _unfinished(self) -> Path:
        return self.folder / f"{self.name}.unfinished"

    @contextlib.contextmanager
    def _filling(self) -> Iterator[None]:
        shutil.rmtree(self.data, ignore_errors=True)
        self._unfinished.touch()
        self.data.mkdir(mode=0o700)
        self._own(self.data)
        yield
        self._unfinished.unlink()

    def _put(self, name: str, text: str) -> None:
        write_private(self.data / name, text, owner=self._user and self._user.pw_uid)

    def _own_all(self) -> None:
        for folder, _names, files in os.walk(self.data):
            self._own(Path(folder))
            for name in files:
                self._own(Path(folder) / name)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
