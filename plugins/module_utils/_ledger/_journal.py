# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the entries of the journal are made of: steps, events and ends of actions, each inside the caller's transaction.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError
from ._locks import Row, one
from ._members import Members
from ._rows import event_kind, step_rows
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa


class Journal(Members):
    """Rows of actions, steps, events and cooldowns."""

    def close_dead(self, connection: sa.Connection, ident: str, *, code: str, message: str) -> bool:
        """End the action *ident* as failed on behalf of its play, which is known to be dead; its lock is free again.

        Neither the owner nor the expiry of the lock counts, except that of a person who goes on by hand with an action
        that a dispatcher had launched. Members and leases stay recorded for the reconcile run.

        :returns: ``False`` when nobody started the action, it has ended already, or a person goes on with it.
        """
        action = one(connection, tables.actions, tables.actions.c.ident == ident)
        if action is None or action["state"] != "running":
            return False
        lock = one(connection, tables.locks, tables.locks.c.group_name == action["group_name"])
        by_hand = action["attempt"] is not None and lock is not None and lock["attempt"] is None
        if by_hand and lock["action"] == ident and lock["expires_at"] > self.clock():
            return False
        self._close(connection, action, "failed", code, message)
        self._free(connection, action["group_name"], ident)
        return True

    def _next_ident(self, connection: sa.Connection, group: str) -> str:
        """The next number of the group that no action has; a rebuilt ledger may start again below old ones."""
        sequence = connection.scalar(sa.select(tables.work.c.sequence).where(tables.work.c.group_name == group)) or 0
        while True:
            sequence += 1
            ident = f"{group}-{sequence}"
            if one(connection, tables.actions, tables.actions.c.ident == ident) is None:
                break
        self.upsert(connection, tables.work, {"group_name": group}, {"sequence": sequence})
        return ident

    def _mark_lost(self, connection: sa.Connection, group: str, ident: str, *, spare: bool) -> None:
        """The lock was free or expired: whatever still counts as running in this group does not run.

        :raises ConflictError: with *spare*, when that is a scale-out or scale-in (``result.code`` is ``cut_off``).
        """
        where = (tables.actions.c.group_name == group, tables.actions.c.state == "running")
        previous = one(connection, tables.actions, *where, tables.actions.c.ident != ident)
        if previous is None:
            return
        if spare and previous["direction"] != "reconcile":
            raise ConflictError(
                f"action {previous['ident']} of group {group} was cut off",
                remedy="Go on with that action first",
                result={"code": "cut_off", "action": previous["ident"]},
            )
        message = f"action {previous['ident']} stopped without an end; its lock ran out and {ident} took over"
        self._close(connection, previous, "lost", "lost", message)

    def _close(self, connection: sa.Connection, action: Row, state: str, code: str, message: str) -> None:
        """Step, end and event of an action whose play cannot do it any more."""
        ended = {"state": state, "message": message, "ended_at": self.clock(), "code": code}
        self._end_running_step(connection, action["ident"], "failed", {"interrupted": True})
        connection.execute(sa.update(tables.actions).where(tables.actions.c.ident == action["ident"]).values(**ended))
        self._add_event(connection, {**action, **ended}, self._event_members(connection, action, []))

    def _end_running_step(
        self, connection: sa.Connection, ident: str, state: str, detail: t.Mapping[str, t.Any] | None
    ) -> None:
        where = (tables.steps.c.action == ident, tables.steps.c.state == "running")
        running = one(connection, tables.steps, *where)
        if running is None:
            return
        values: Row = {"state": state, "ended_at": self.clock()}
        if detail:
            values["detail"] = {**(running["detail"] or {}), **detail}
        connection.execute(sa.update(tables.steps).where(*where).values(**values))

    def _add_event(
        self, connection: sa.Connection, action: Row, members: list[Row], cold_start: t.Sequence[Row] = ()
    ) -> int:
        """The event of an action's end; its id comes back."""
        return self._insert_event(
            connection,
            group_name=action["group_name"],
            action=action["ident"],
            kind=event_kind(action["direction"]),
            source=action["source"],
            reason=action["reason"],
            code=action["code"],
            result=action["state"],
            members=members,
            count_before=action["count_before"],
            count_after=action["count_after"],
            steps=step_rows(connection, action["ident"]),
            message=action["message"],
            cold_start=list(cold_start) or None,
        )

    def _insert_event(self, connection: sa.Connection, **values: t.Any) -> int:
        result = connection.execute(sa.insert(tables.events).values(at=self.clock(), **values))
        return result.inserted_primary_key[0]

    def _start_cooldown(self, connection: sa.Connection, group: str, direction: str, until: float | None) -> None:
        if until is None:
            return
        key = {"group_name": group, "direction": direction}
        where = [tables.cooldowns.c[name] == value for name, value in key.items()]
        stored = one(connection, tables.cooldowns, *where)
        if stored is None or stored["until"] < until:
            self.upsert(connection, tables.cooldowns, key, {"started_at": self.clock(), "until": until})
