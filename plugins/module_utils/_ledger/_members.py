# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The rows of a group's members: what an action says of them, and what an event tells of them.
"""

from __future__ import annotations

import typing as t

from ._locks import Locks, Row, one
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

MEMBER_STATES = ("planned", "launching", "in_service", "draining", "removed", "failed", "quarantined")


def planned_names(plan: t.Mapping[str, t.Any]) -> set[str]:
    """Names of the members that a plan makes or removes."""
    return {row["name"] for row in [*(plan.get("launches") or ()), *(plan.get("victims") or ())]}


class Members(Locks):
    """Write and drop member rows."""

    def update_members(
        self, group: str, rows: t.Iterable[Row], *, ident: str | None = None, owner: str | None = None
    ) -> None:
        """Set ``state``, ``address``, ``moid``, ``action``, ``note`` of members by ``name``; unknown ones are added.

        :param ident: the action that says so; when given, it must hold the lock.
        """
        with self.write() as connection:
            if ident is not None:
                self._hold(connection, ident, owner)
            for row in rows:
                self._put_member(connection, group, {**({"action": ident} if ident else {}), **row})

    # ---- inside a transaction

    def _put_member(self, connection: sa.Connection, group: str, row: Row) -> None:
        """Set what *row* names; ``None`` names nothing. With the state, the time in quarantine begins or ends."""
        keys = ("state", "address", "moid", "action", "note", "created_at")
        values = {key: row[key] for key in keys if row.get(key) is not None}
        self._check_state(row["name"], values.get("state"))
        now = self.clock()
        key = {"group_name": group, "name": row["name"]}
        if "state" in values:
            values.update(self._of_state(connection, key, values, now))
        self.upsert(
            connection,
            tables.members,
            key,
            {**values, "updated_at": now},
            {"state": "planned", "created_at": now},
        )

    @staticmethod
    def _check_state(name: str, state: str | None) -> None:
        if state is not None and state not in MEMBER_STATES:
            raise ValueError(f"state of member {name} must be one of {MEMBER_STATES}, not {state!r}")

    @staticmethod
    def _of_state(connection: sa.Connection, key: Row, values: Row, now: float) -> Row:
        """What goes with a new state: when quarantine began (kept), and no old complaint about a member in service."""
        stored = (
            one(connection, tables.members, *(tables.members.c[name] == value for name, value in key.items())) or {}
        )
        found: Row = {"quarantined_at": None}
        if values["state"] == "quarantined":
            found["quarantined_at"] = stored.get("quarantined_at") or now
        elif values["state"] == "in_service" and stored.get("state") not in (None, "in_service"):
            found["note"] = values.get("note", "")
        return found

    @staticmethod
    def _remove_members(connection: sa.Connection, group: str, names: t.Collection[str]) -> None:
        """Free the addresses of *names* and drop their rows; the events keep their names."""
        for table, column in ((tables.leases, "member"), (tables.members, "name")):
            connection.execute(sa.delete(table).where(table.c.group_name == group, table.c[column].in_(list(names))))

    @staticmethod
    def _event_members(connection: sa.Connection, action: Row, names: t.Sequence[str]) -> list[Row]:
        """Name, address and state of the members an event speaks of; without *names*, those of the action."""
        columns = tables.members.c
        if not names:
            names = sorted(planned_names(action["plan"] or {}))
        query = sa.select(columns.name, columns.address, columns.state).where(
            columns.group_name == action["group_name"],
            columns.name.in_(list(names)) if names else columns.action == action["ident"],
        )
        known = {row["name"]: dict(row) for row in connection.execute(query.order_by(columns.name)).mappings()}
        order = dict.fromkeys(names or known)
        return [known.get(name, {"name": name, "address": "", "state": ""}) for name in order]
