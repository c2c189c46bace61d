# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The journal of an action: start, plan, steps, end. One transaction a state change; every call can be repeated.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError
from ._locks import Locks, Row, one
from ._schema import HAS_SQLALCHEMY, tables
from ._state import event_rows, step_rows

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

DIRECTIONS = ("out", "in")
ENDS = ("succeeded", "refused", "failed")
MEMBER_STATES = ("planned", "launching", "in_service", "draining", "removed", "failed")
DEFAULT_TTL_S = 1800.0


def planned_names(plan: t.Mapping[str, t.Any]) -> set[str]:
    """Names of the members that a plan makes or removes."""
    return {row["name"] for row in [*(plan.get("launches") or ()), *(plan.get("victims") or ())]}


class Actions(Locks):
    """Actions, their steps and the members they work on."""

    def start_action(
        self,
        group: str,
        direction: str,
        *,
        ident: str | None = None,
        owner: str,
        ttl: float = DEFAULT_TTL_S,
        source: str = "person",
        reason: str = "",
    ) -> str:
        """Take the lock of *group* and open an action; its ident comes back.

        Without *ident* the next ``<group>-<sequence>`` is used. The same ident again goes on with the same action and
        its stored start time. An action of this group whose lock ran out becomes ``lost``: its members and addresses
        stay recorded for the reconcile run, and an event says so.

        :param ttl: seconds until the lock expires unless a journal entry or a heartbeat prolongs it.
        :raises ConflictError: locked by another action, or *ident* has already ended or belongs to other work.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, not {direction!r}")
        with self.write() as connection:
            self._check_free(connection, group, ident)
            ident = ident or self._next_ident(connection, group)
            found = one(connection, tables.actions, tables.actions.c.ident == ident)
            if found:
                self._check_same(found, group, direction)
            self._mark_lost(connection, group, ident)
            if found:
                self._end_running_step(connection, ident, "failed", {"interrupted": True})
                connection.execute(
                    sa.update(tables.actions)
                    .where(tables.actions.c.ident == ident)
                    .values(state="running", owner=owner, ended_at=None, code="", message="")
                )
            else:
                connection.execute(
                    sa.insert(tables.actions).values(
                        ident=ident,
                        group_name=group,
                        direction=direction,
                        state="running",
                        source=source,
                        reason=reason,
                        owner=owner,
                        started_at=self.clock(),
                    )
                )
            self._take(connection, group, ident, owner, ttl)
        return ident

    def check_start(self, group: str, direction: str, *, ident: str | None = None) -> None:
        """Would :meth:`start_action` be let in now? Changes nothing.

        :raises ConflictError: as :meth:`start_action`.
        """
        with self.read() as connection:
            self._check_free(connection, group, ident)
            found = one(connection, tables.actions, tables.actions.c.ident == ident) if ident else None
            if found:
                self._check_same(found, group, direction)

    def heartbeat(self, ident: str, owner: str, ttl: float) -> None:
        """Prolong the lock to *ttl* seconds from now. :raises ConflictError: the lock is lost: stop."""
        with self.write() as connection:
            self._hold(connection, ident, owner, ttl)

    def action(self, ident: str) -> Row | None:
        """The stored action with its ``started_at``, ``plan`` and ``steps``; ``None`` when nobody started it."""
        with self.read() as connection:
            found = one(connection, tables.actions, tables.actions.c.ident == ident)
            if found:
                found["steps"] = step_rows(connection, ident)
            return found

    def record_plan(
        self, ident: str, plan: t.Mapping[str, t.Any], members: t.Iterable[Row], *, owner: str | None = None
    ) -> None:
        """Store the plan and the members it names (rows as :meth:`update_members`, state ``planned`` by default).

        A member that is already known keeps its state: a repeated action does not set it back.

        :raises ConflictError: the action has a plan already, and this one names others: it would act twice.
        """
        with self.write() as connection:
            action = self._hold(connection, ident, owner)
            more = planned_names(plan) - planned_names(action["plan"]) if action["plan"] else None
            if more:
                raise ConflictError(
                    f"action {ident} has a plan already, and this one adds {', '.join(sorted(more))}",
                    remedy="Use the plan that onprem.autoscale.scaling_plan returns for this action",
                    result={"code": "other_plan"},
                )
            connection.execute(
                sa.update(tables.actions)
                .where(tables.actions.c.ident == ident)
                .values(plan=dict(plan), count_before=plan.get("size_before"), code=plan.get("code") or "")
            )
            for row in members:
                key = {"group_name": action["group_name"], "name": row["name"]}
                where = [tables.members.c[name] == value for name, value in key.items()]
                if one(connection, tables.members, *where) is None:
                    self._put_member(connection, action["group_name"], {"state": "planned", "action": ident, **row})

    def begin_step(
        self,
        ident: str,
        step: str,
        detail: t.Mapping[str, t.Any] | None = None,
        *,
        members: t.Iterable[Row] = (),
        owner: str | None = None,
    ) -> Row:
        """End the running step as done, set *members* as :meth:`update_members`, begin *step*; its row comes back."""
        with self.write() as connection:
            action = self._hold(connection, ident, owner)
            self._end_running_step(connection, ident, "done", None)
            for row in members:
                self._put_member(connection, action["group_name"], row)
            last = connection.scalar(
                sa.select(sa.func.max(tables.steps.c.ordinal)).where(tables.steps.c.action == ident)
            )
            row = {
                "action": ident,
                "ordinal": 1 if last is None else last + 1,
                "step": step,
                "state": "running",
                "started_at": self.clock(),
                "detail": dict(detail) if detail else None,
            }
            connection.execute(sa.insert(tables.steps).values(**row))
            return row

    def end_step(
        self,
        ident: str,
        state: str = "done",
        detail: t.Mapping[str, t.Any] | None = None,
        *,
        owner: str | None = None,
    ) -> None:
        """End the running step, if one runs, as ``done`` or ``failed``; *detail* is added to the step's own."""
        with self.write() as connection:
            self._hold(connection, ident, owner)
            self._end_running_step(connection, ident, state, detail)

    def update_members(
        self, group: str, rows: t.Iterable[Row], *, ident: str | None = None, owner: str | None = None
    ) -> None:
        """Set ``state``, ``address``, ``moid``, ``action`` of members by ``name``; unknown ones are added.

        :param ident: the action that says so; when given, it must hold the lock.
        """
        with self.write() as connection:
            if ident is not None:
                self._hold(connection, ident, owner)
            for row in rows:
                self._put_member(connection, group, {**({"action": ident} if ident else {}), **row})

    def finish_action(
        self,
        ident: str,
        *,
        state: str,
        code: str = "",
        message: str = "",
        count_after: int | None = None,
        cooldown_until: float | None = None,
        cooldown: float | None = None,
        members: t.Sequence[Row] | None = None,
        removed: t.Sequence[str] = (),
        owner: str | None = None,
    ) -> Row:
        """End the action: step, members, leases, event, cooldown and lock in one transaction. The event comes back.

        Idempotent: an action that has ended is not touched again, its event comes back.

        :param cooldown: seconds from now, that is, from the end of the action.
        :param cooldown_until: an absolute end instead; an earlier end than the stored one changes nothing.
        :param members: rows as :meth:`update_members`; ``None`` or empty names all members of the action in the event.
        :param removed: names whose VMs are verified gone: their addresses are free again (invariant 3).
        """
        if state not in ENDS:
            raise ValueError(f"state must be one of {ENDS}, not {state!r}")
        with self.write() as connection:
            action = one(connection, tables.actions, tables.actions.c.ident == ident)
            if action is not None and action["state"] in ENDS:
                return event_rows(connection, tables.events.c.action == ident, limit=1)[0]
            action = self._hold(connection, ident, owner)
            group, now = action["group_name"], self.clock()
            self._end_running_step(connection, ident, "failed" if state == "failed" else "done", None)
            for row in members or ():
                # The journal keeps who made a member; a scale-in only changes its state.
                self._put_member(connection, group, row)
            named = [row["name"] for row in members or ()]
            event_members = self._event_members(connection, action, [*named, *removed])
            self._remove_members(connection, group, removed)
            ended = {"state": state, "message": message, "count_after": count_after, "ended_at": now}
            ended["code"] = code or action["code"]
            if state == "refused" and action["count_before"] is None:
                ended["count_before"] = count_after  # a refusal changes no count, and has no recorded plan
            connection.execute(sa.update(tables.actions).where(tables.actions.c.ident == ident).values(**ended))
            event_id = self._add_event(connection, {**action, **ended}, event_members)
            if cooldown_until is None and cooldown is not None:
                cooldown_until = now + cooldown
            self._start_cooldown(connection, group, action["direction"], cooldown_until)
            self._free(connection, group, ident)
            return event_rows(connection, tables.events.c.id == event_id, limit=1)[0]

    # ---- inside a transaction

    def close_dead(self, connection: sa.Connection, ident: str, *, code: str, message: str) -> bool:
        """End the action *ident* as failed on behalf of its play, which is known to be dead; its lock is free again.

        Neither the owner nor the expiry of the lock counts. Members and leases stay recorded for the reconcile run.

        :returns: ``False`` when nobody started the action, or it has ended already.
        """
        action = one(connection, tables.actions, tables.actions.c.ident == ident)
        if action is None or action["state"] != "running":
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

    @staticmethod
    def _check_same(found: Row, group: str, direction: str) -> None:
        ident = found["ident"]
        if (found["group_name"], found["direction"]) != (group, direction):
            raise ConflictError(
                f"action {ident} is a scale-{found['direction']} of group {found['group_name']}, "
                f"not a scale-{direction} of group {group}",
                remedy="Leave the name out, or use that of the action to be continued",
                result={"code": "other_action"},
            )
        if found["state"] != "running":
            # Lost is an end too: another action has worked since, so a stored plan would be carried out on a group
            # that is no longer what the plan was made for.
            raise ConflictError(
                f"action {ident} has already ended ({found['state']})",
                remedy="An action runs once; leave the name out to start a new one",
                result={"code": "ended", "state": found["state"]},
            )

    def _mark_lost(self, connection: sa.Connection, group: str, ident: str) -> None:
        """The lock was free or expired: whatever still counts as running in this group does not run."""
        where = (tables.actions.c.group_name == group, tables.actions.c.state == "running")
        previous = one(connection, tables.actions, *where, tables.actions.c.ident != ident)
        if previous is None:
            return
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

    def _put_member(self, connection: sa.Connection, group: str, row: Row) -> None:
        values = {key: row[key] for key in ("state", "address", "moid", "action") if row.get(key) is not None}
        if values.get("state", "planned") not in MEMBER_STATES:
            raise ValueError(f"state of member {row['name']} must be one of {MEMBER_STATES}, not {values['state']!r}")
        now = self.clock()
        self.upsert(
            connection,
            tables.members,
            {"group_name": group, "name": row["name"]},
            {**values, "updated_at": now},
            {"state": "planned", "created_at": now},
        )

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

    def _add_event(self, connection: sa.Connection, action: Row, members: list[Row]) -> int:
        result = connection.execute(
            sa.insert(tables.events).values(
                group_name=action["group_name"],
                action=action["ident"],
                kind=f"scale_{action['direction']}",
                at=self.clock(),
                source=action["source"],
                reason=action["reason"],
                code=action["code"],
                result=action["state"],
                members=members,
                count_before=action["count_before"],
                count_after=action["count_after"],
                steps=step_rows(connection, action["ident"]),
                message=action["message"],
            )
        )
        return result.inserted_primary_key[0]

    def _start_cooldown(self, connection: sa.Connection, group: str, direction: str, until: float | None) -> None:
        if until is None:
            return
        key = {"group_name": group, "direction": direction}
        where = [tables.cooldowns.c[name] == value for name, value in key.items()]
        stored = one(connection, tables.cooldowns, *where)
        if stored is None or stored["until"] < until:
            self.upsert(connection, tables.cooldowns, key, {"started_at": self.clock(), "until": until})
