# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The lock of a group: a lease with an owner and an expiry, so that a crash never leaves it set (invariant 6).

Every journal entry of an action checks that the action still holds the lock, and prolongs it. A play that was stopped
for so long that another action took over is told so at its next entry, and must stop.
"""

from __future__ import annotations

import typing as t
from datetime import datetime, timezone

from .._common._errors import ConflictError, NotFoundError
from ._schema import HAS_SQLALCHEMY, tables
from ._store import Store

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

Row = dict[str, t.Any]


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 UTC, to the second: what people read."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def one(connection: sa.Connection, table: sa.Table, *where: t.Any) -> Row | None:
    """The first row as a dict, or ``None``."""
    row = connection.execute(sa.select(table).where(*where).limit(1)).mappings().first()
    return dict(row) if row else None


class Locks(Store):
    """Take, hold and free the lock of a group. Everything here runs inside the caller's transaction."""

    def _take(
        self, connection: sa.Connection, group: str, ident: str, owner: str, ttl: float, attempt: int | None = None
    ) -> None:
        """Put the lock of *group* on *ident*; the caller has checked with :meth:`_check_free`."""
        now = self.clock()
        values = {"owner": owner, "action": ident, "acquired_at": now, "heartbeat_at": now, "expires_at": now + ttl}
        self.upsert(connection, tables.locks, {"group_name": group}, {**values, "attempt": attempt})

    def _check_free(
        self,
        connection: sa.Connection,
        group: str,
        ident: str | None,
        *,
        owner: str | None = None,
        attempt: int | None = None,
        takeover: bool = False,
    ) -> None:
        """Whether *ident* may take the lock: it is free or expired, or held by an earlier run of *ident* itself.

        A run of the same action counts as earlier when it is the same play (*owner*), has a lower *attempt*, or when
        somebody says so (*takeover*). An attempt that is not above the highest one seen never gets in again, however
        late it comes: it is a play that was given up (invariant 6).

        :raises ConflictError: ``result`` has ``code: locked`` or ``stale_attempt``, and the ``lock``.
        """
        lock = one(connection, tables.locks, tables.locks.c.group_name == group)
        mine = lock is not None and ident is not None and lock["action"] == ident
        if ident is not None and attempt is not None and not takeover:
            self._check_attempt(connection, ident, attempt, lock, mine and lock["owner"] == owner)
        if lock is None or lock["expires_at"] <= self.clock():
            return
        later = attempt is not None and lock["attempt"] is not None and attempt > lock["attempt"]
        if mine and (takeover or later or lock["owner"] == owner):
            return
        raise ConflictError(
            f"group {group} is locked by action {lock['action']} (owner {lock['owner']}) "
            f"until {iso(lock['expires_at'])}",
            remedy="Wait until it ends, or until its lock runs out if its play is dead; to go on with that action at "
            "once, start it by its name with takeover. See onprem.autoscale.scaling_group_info",
            result={"code": "locked", "lock": lock, "owner": lock["owner"], "until": lock["expires_at"]},
        )

    @staticmethod
    def _check_attempt(connection: sa.Connection, ident: str, attempt: int, lock: Row | None, same_play: bool) -> None:
        """What a dispatcher has launched counts before it has started: an older attempt may be the slower one."""
        started = connection.scalar(sa.select(tables.actions.c.attempt).where(tables.actions.c.ident == ident))
        launched = connection.scalar(sa.select(tables.work.c.attempts).where(tables.work.c.running == ident))
        highest = max(started or 0, launched or 0)
        if attempt >= highest and (attempt != started or same_play):
            return
        raise ConflictError(
            f"attempt {attempt} of action {ident} comes too late: attempt {highest} was launched already",
            remedy="Stop this play; the later attempt goes on with the action",
            result={"code": "stale_attempt", "lock": lock, "attempt": highest},
        )

    def _dead(self, connection: sa.Connection, group: str) -> Row | None:
        """The action of *group* that still counts as running although its lock is gone or ran out."""
        running = tables.actions.c.group_name == group, tables.actions.c.state == "running"
        action = one(connection, tables.actions, *running)
        return None if action and self.is_held(connection, action["ident"]) else action

    def is_held(self, connection: sa.Connection, ident: str) -> bool:
        """Whether a run of the action *ident* has a lock that has not run out."""
        lock = one(connection, tables.locks, tables.locks.c.action == ident)
        return lock is not None and lock["expires_at"] > self.clock()

    def _hold(self, connection: sa.Connection, ident: str, owner: str | None = None, ttl: float | None = None) -> Row:
        """The running action *ident*, its lock prolonged by *ttl* (by default as long as last time).

        :raises NotFoundError: nobody started it.
        :raises ConflictError: it has ended, or another action or owner has the lock: stop.
        """
        action = one(connection, tables.actions, tables.actions.c.ident == ident)
        if action is None:
            raise NotFoundError(
                f"the ledger {self.name} has no action {ident}", remedy="Start it first (state=started)"
            )
        lock = one(connection, tables.locks, tables.locks.c.group_name == action["group_name"])
        if action["state"] != "running" or lock is None or lock["action"] != ident:
            holder = f"; the lock is held by action {lock['action']} (owner {lock['owner']})" if lock else ""
            raise ConflictError(
                f"action {ident} of group {action['group_name']} no longer runs (it is {action['state']}){holder}",
                remedy="Stop this play; what it began stays recorded, see onprem.autoscale.status",
                result={"code": "lock_lost", "lock": lock},
            )
        if owner is not None and lock["owner"] != owner:
            raise ConflictError(
                f"action {ident} was taken over by {lock['owner']} at {iso(lock['acquired_at'])}; this is {owner}",
                remedy=f"Stop this play if the other one works; to end the action by hand, pass owner={lock['owner']}",
                result={"code": "lock_lost", "lock": lock},
            )
        now = self.clock()
        ttl = lock["expires_at"] - lock["heartbeat_at"] if ttl is None else ttl
        connection.execute(
            sa.update(tables.locks)
            .where(tables.locks.c.group_name == action["group_name"])
            .values(heartbeat_at=now, expires_at=now + ttl)
        )
        return action

    def _free(self, connection: sa.Connection, group: str, ident: str) -> None:
        connection.execute(
            sa.delete(tables.locks).where(tables.locks.c.group_name == group, tables.locks.c.action == ident)
        )
