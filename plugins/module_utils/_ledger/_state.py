# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Read models: what people, the planner and the info module see.
"""

from __future__ import annotations

import typing as t

from ._locks import Locks, Row, one
from ._rows import breaker_row, event_rows, rows_of, step_rows, suspended_rows
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa


class State(Locks):
    """Questions to the ledger; nothing here writes."""

    def groups(self) -> list[str]:
        """Names of all groups the ledger has ever heard of."""
        named = [table for table in tables.metadata.sorted_tables if "group_name" in table.c]
        query = sa.union(*(sa.select(table.c.group_name) for table in named))
        with self.read() as connection:
            return sorted(name for name in connection.scalars(query) if name)

    def cooldowns(self, group: str) -> dict[str, float]:
        """``{"out": until, "in": until}`` in seconds since the epoch; a direction without one is missing."""
        columns = tables.cooldowns.c
        with self.read() as connection:
            found = connection.execute(sa.select(columns.direction, columns.until).where(columns.group_name == group))
            return {row.direction: row.until for row in found}

    def members(self, group: str) -> list[Row]:
        """Members of *group*: ``name, action, address, moid, state, created_at, updated_at, unhealthy_since,
        missing_since, quarantined_at, note``."""
        with self.read() as connection:
            return self._members(connection, group)

    def lock_state(self, group: str) -> Row | None:
        """The lock with ``expired`` and ``remaining`` seconds, or ``None``: a light look for those who wait for it."""
        with self.read() as connection:
            return self._lock(connection, group, self.clock())

    def cut_off(self, group: str) -> Row | None:
        """The running action of *group* whose lock ran out, with its ``lock`` (or ``None``); else ``None`` (T4).

        Its play is dead, or has not shown life for so long that it will be refused at its next entry once another
        takes the lock.
        """
        with self.read() as connection:
            action = self._dead(connection, group)
            return {**action, "lock": self._lock(connection, group, self.clock())} if action else None

    def action_states(self, idents: t.Iterable[str]) -> dict[str, str]:
        """States of those *idents* that the ledger knows."""
        columns, wanted = tables.actions.c, sorted({ident for ident in idents if ident})
        with self.read() as connection:
            found = connection.execute(sa.select(columns.ident, columns.state).where(columns.ident.in_(wanted)))
            return {row.ident: row.state for row in found}

    def leased_addresses(self) -> set[str]:
        """Every address that is given out, of all groups."""
        with self.read() as connection:
            return set(connection.scalars(sa.select(tables.leases.c.address)))

    def events(
        self, groups: t.Sequence[str] | None = None, *, limit: int = 100, since: float | None = None
    ) -> list[Row]:
        """The newest *limit* events, of *groups* or of all, not older than *since* (A9)."""
        where = []
        if groups is not None:
            where.append(tables.events.c.group_name.in_(list(groups)))
        if since is not None:
            where.append(tables.events.c.at >= since)
        with self.read() as connection:
            return event_rows(connection, *where, limit=limit)

    def group_state(self, group: str, *, events: int = 20) -> Row:
        """Everything about one group in one consistent look.

        ``name, members, leases, lock, action (running, with steps), cooldowns, failures, counts, breaker, suspended,
        reconciled, work, events``. ``breaker`` is ``None`` when nothing was ever counted; ``suspended`` has
        ``process, since, by, reason``; ``reconciled`` (``action, at, findings, leaked``) is what the last one found.
        A group that nobody has heard of has empty lists.
        """
        now = self.clock()
        with self.read() as connection:
            members = self._members(connection, group)
            leases = rows_of(
                connection,
                sa.select(tables.leases.c["address", "member", "action", "leased_at"])
                .where(tables.leases.c.group_name == group)
                .order_by(tables.leases.c.leased_at, tables.leases.c.address),
            )
            return {
                "name": group,
                "members": members,
                "leases": leases,
                "lock": self._lock(connection, group, now),
                "action": self._running(connection, group),
                "cooldowns": self._cooldowns(connection, group, now),
                "failures": {kind: self._failures(connection, group, kind) for kind in ("out", "in")},
                "counts": self._counts(members, leases),
                "breaker": breaker_row(connection, group),
                "suspended": suspended_rows(connection, group),
                "reconciled": self._reconciled(connection, group),
                "work": self._work(connection, group),
                "events": event_rows(connection, tables.events.c.group_name == group, limit=events),
            }

    # ---- inside a transaction

    @staticmethod
    def _members(connection: sa.Connection, group: str) -> list[Row]:
        members = tables.members
        query = sa.select(members).where(members.c.group_name == group).order_by(members.c.created_at, members.c.name)
        found = rows_of(connection, query)
        for row in found:
            del row["group_name"]
        return found

    @staticmethod
    def _lock(connection: sa.Connection, group: str, now: float) -> Row | None:
        found = rows_of(connection, sa.select(tables.locks).where(tables.locks.c.group_name == group))
        if not found:
            return None
        lock = found[0]
        del lock["group_name"]
        lock["expired"] = lock["expires_at"] <= now
        lock["remaining"] = max(0.0, round(lock["expires_at"] - now, 3))
        return lock

    @staticmethod
    def _running(connection: sa.Connection, group: str) -> Row | None:
        where = (tables.actions.c.group_name == group, tables.actions.c.state == "running")
        found = rows_of(connection, sa.select(tables.actions).where(*where))
        if not found:
            return None
        action = found[0]
        del action["group_name"]
        action["name"] = action.pop("ident")
        action["steps"] = step_rows(connection, action["name"])
        return action

    @staticmethod
    def _cooldowns(connection: sa.Connection, group: str, now: float) -> dict[str, Row]:
        columns = tables.cooldowns.c
        query = sa.select(columns.direction, columns.started_at, columns.until).where(columns.group_name == group)
        found = {row.pop("direction"): row for row in rows_of(connection, query)}
        for row in found.values():
            row["remaining"] = max(0.0, round(row["until"] - now, 3))
        return {kind: found.get(kind, {"started_at": None, "until": None, "remaining": 0.0}) for kind in ("out", "in")}

    @staticmethod
    def _failures(connection: sa.Connection, group: str, direction: str) -> int:
        """Failed or lost actions of *direction* since the last one that succeeded; a reconcile is none."""
        events = tables.events.c
        of_group = (events.group_name == group, events.kind == f"scale_{direction}")
        last_good = connection.scalar(sa.select(sa.func.max(events.id)).where(*of_group, events.result == "succeeded"))
        query = sa.select(sa.func.count()).where(*of_group, events.result.in_(("failed", "lost")))
        return connection.scalar(query if last_good is None else query.where(events.id > last_good))

    @staticmethod
    def _counts(members: list[Row], leases: list[Row]) -> dict[str, int]:
        states = ("planned", "launching", "in_service", "draining", "failed", "quarantined")
        counts = {state: sum(row["state"] == state for row in members) for state in states}
        return {"members": len(members), "leases": len(leases), **counts}

    @staticmethod
    def _reconciled(connection: sa.Connection, group: str) -> Row | None:
        found = one(connection, tables.reconciliations, tables.reconciliations.c.group_name == group)
        if found:
            del found["group_name"]
        return found

    @staticmethod
    def _work(connection: sa.Connection, group: str) -> Row | None:
        found = rows_of(connection, sa.select(tables.work).where(tables.work.c.group_name == group))
        for row in found:
            del row["group_name"]
        return found[0] if found else None
