# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The journal of an action: start, plan, steps, end. One transaction a state change; every call can be repeated.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError
from ._controls import Controls
from ._locks import Row, one
from ._members import planned_names
from ._rows import event_rows, step_rows, unwritten_event
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

DIRECTIONS = ("out", "in", "reconcile")
ENDS = ("succeeded", "refused", "failed")
DEFAULT_TTL_S = 120.0


class Actions(Controls):
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
        attempt: int | None = None,
        takeover: bool = False,
        spare: bool = False,
    ) -> str:
        """Take the lock of *group* and open an action, or go on with one that was cut off; its ident comes back.

        The same ident again goes on with the same action and its stored start time. Without *ident*, a scale-out or
        scale-in of the same direction whose lock ran out is gone on with; else the next ``<group>-<sequence>`` is
        used. Any other action of this group whose lock ran out becomes ``lost``: its members and addresses stay
        recorded for the reconcile run, and an event says so.

        :param direction: ``out``, ``in`` or ``reconcile``.
        :param ttl: seconds until the lock expires unless a journal entry or a heartbeat prolongs it.
        :param attempt: counted up by a dispatcher at each launch of the same action. A higher one takes over a lock
            that still lives; one that is not higher is refused, however late it comes.
        :param takeover: take the lock of the same *ident* whoever holds it: a person knows that its play is dead.
        :param spare: refuse where a scale-out or scale-in would become ``lost``, so that it can be gone on with.
        :raises ConflictError: ``result.code`` is ``locked`` (by another action, or another run of this one),
            ``stale_attempt``, ``ended``, ``other_action`` (*ident* belongs to other work) or ``cut_off`` (*spare*).
        """
        self._check_direction(direction)
        with self.write() as connection:
            who = {"owner": owner, "attempt": attempt, "takeover": takeover}
            self._check_free(connection, group, ident, **who)
            ident = ident or self._continued(connection, group, direction) or self._next_ident(connection, group)
            found = one(connection, tables.actions, tables.actions.c.ident == ident)
            if found:
                self._check_same(found, group, direction)
            self._mark_lost(connection, group, ident, spare=spare)
            if found:
                self._end_running_step(connection, ident, "failed", {"interrupted": True})
                highest = max((number for number in (found["attempt"], attempt) if number is not None), default=None)
                connection.execute(
                    sa.update(tables.actions)
                    .where(tables.actions.c.ident == ident)
                    .values(state="running", owner=owner, ended_at=None, code="", message="", attempt=highest)
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
                        attempt=attempt,
                        started_at=self.clock(),
                    )
                )
            self._take(connection, group, ident, owner, ttl, attempt)
        return ident

    def check_start(
        self,
        group: str,
        direction: str,
        *,
        ident: str | None = None,
        owner: str | None = None,
        attempt: int | None = None,
        takeover: bool = False,
    ) -> str | None:
        """Would :meth:`start_action` be let in now? Changes nothing. The action it would go on with, or ``None``.

        :raises ConflictError: as :meth:`start_action`.
        """
        self._check_direction(direction)
        with self.read() as connection:
            self._check_free(connection, group, ident, owner=owner, attempt=attempt, takeover=takeover)
            ident = ident or self._continued(connection, group, direction)
            found = one(connection, tables.actions, tables.actions.c.ident == ident) if ident else None
            if found:
                self._check_same(found, group, direction)
            return ident if found else None

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
        removed: t.Sequence[str] = (),
        owner: str | None = None,
    ) -> Row:
        """End the running step as done, set *members* as :meth:`update_members`, begin *step*; its row comes back.

        :param removed: names whose VMs are verified gone: rows and leases go (invariant 3).
        """
        with self.write() as connection:
            action = self._hold(connection, ident, owner)
            self._end_running_step(connection, ident, "done", None)
            for row in members:
                self._put_member(connection, action["group_name"], row)
            self._remove_members(connection, action["group_name"], removed)
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
        quarantined: t.Sequence[Row] = (),
        breaker: t.Mapping[str, t.Any] | None = None,
        quiet: bool = False,
        cold_start: t.Sequence[Row] = (),
        owner: str | None = None,
    ) -> Row:
        """End the action: step, members, leases, breaker, event, cooldown and lock in one transaction.

        The event comes back; when this end opened the group's breaker, with ``breaker_opened: True`` besides.
        Idempotent: an action that has ended is not touched again, its event comes back.

        :param cooldown: seconds from now, that is, from the end of the action.
        :param cooldown_until: an absolute end instead; an earlier end than the stored one changes nothing.
        :param members: rows as :meth:`update_members`; ``None`` or empty names all members of the action in the event.
        :param removed: names whose VMs are verified gone: their addresses are free again (invariant 3).
        :param quarantined: ``{name, note}`` of failed members whose VMs are kept for diagnosis (invariant 8).
        :param breaker: the group's breaker from now on, as in :meth:`controls`; ``None`` leaves it.
        :param cold_start: ``{host, stage, seconds}`` of the members that were launched, for the event.
        :param quiet: no event, as there is nothing to tell: what comes back has the ``id`` ``None``. Of the quiet
            reconciles of a group, the ledger keeps the row of the last one.
        """
        if state not in ENDS:
            raise ValueError(f"state must be one of {ENDS}, not {state!r}")
        with self.write() as connection:
            action = one(connection, tables.actions, tables.actions.c.ident == ident)
            if action is not None and action["state"] in ENDS:
                return self._told(connection, action)
            action = self._hold(connection, ident, owner)
            group, now = action["group_name"], self.clock()
            self._end_running_step(connection, ident, "failed" if state == "failed" else "done", None)
            kept = [{"name": row["name"], "note": row.get("note"), "state": "quarantined"} for row in quarantined]
            for row in [*(members or ()), *kept]:
                self._put_member(connection, group, row)
            named = [row["name"] for row in [*(members or ()), *kept]]
            event_members = self._event_members(connection, action, [*named, *removed])
            self._remove_members(connection, group, removed)
            ended = {"state": state, "message": message, "count_after": count_after, "ended_at": now}
            ended["code"] = code or action["code"]
            if state == "refused" and action["count_before"] is None:
                ended["count_before"] = count_after  # a refusal changes no count, and has no recorded plan
            connection.execute(sa.update(tables.actions).where(tables.actions.c.ident == ident).values(**ended))
            action.update(ended)
            if quiet:
                self._drop_quiet(connection, group, ident)
            else:
                self._add_event(connection, action, event_members, cold_start)
            opened = breaker is not None and self._save_breaker(connection, group, breaker)
            if cooldown_until is None and cooldown is not None:
                cooldown_until = now + cooldown
            self._start_cooldown(connection, group, action["direction"], cooldown_until)
            self._free(connection, group, ident)
            return {**self._told(connection, action), **({"breaker_opened": True} if opened else {})}

    # ---- inside a transaction

    @staticmethod
    def _check_direction(direction: str) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, not {direction!r}")

    def _continued(self, connection: sa.Connection, group: str, direction: str) -> str | None:
        """The action that a start without a name goes on with. A reconcile keeps no plan: it is begun anew."""
        dead = self._dead(connection, group)
        return dead["ident"] if dead and dead["direction"] == direction != "reconcile" else None

    @staticmethod
    def _check_same(found: Row, group: str, direction: str) -> None:
        ident = found["ident"]
        if (found["group_name"], found["direction"]) != (group, direction):
            theirs, ours = (x if x == "reconcile" else f"scale-{x}" for x in (found["direction"], direction))
            raise ConflictError(
                f"action {ident} is a {theirs} of group {found['group_name']}, not a {ours} of group {group}",
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

    @staticmethod
    def _told(connection: sa.Connection, action: Row) -> Row:
        """The event of an action that has ended; of a quiet one, what an event would say."""
        found = event_rows(connection, tables.events.c.action == action["ident"], limit=1)
        return found[0] if found else unwritten_event(action)

    @staticmethod
    def _drop_quiet(connection: sa.Connection, group: str, ident: str) -> None:
        """Only the last reconcile that found nothing keeps its row: they come by the clock, in every group."""
        actions, steps = tables.actions.c, tables.steps.c
        quiet = sa.select(actions.ident).where(
            actions.group_name == group,
            actions.direction == "reconcile",
            actions.state.in_(ENDS),
            actions.ident != ident,
            ~sa.exists().where(tables.events.c.action == actions.ident),
        )
        idents = list(connection.scalars(quiet))
        connection.execute(sa.delete(tables.steps).where(steps.action.in_(idents)))
        connection.execute(sa.delete(tables.actions).where(actions.ident.in_(idents)))
