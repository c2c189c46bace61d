# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The dispatcher's queries: what each group has waiting and running (``work``), and who dispatches (``controllers``).

Rules (T3, T4), all of them inside one transaction a call:

* A group runs one action, and one signal a direction waits. Out wins over in, a reconcile comes behind both.
* A claim belongs to one node. Whoever changes it names its node and attempt, and is refused when either has moved on.
* A claim may be taken over once the row of its node in ``controllers`` has run out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._schema import HAS_SQLALCHEMY, tables
from ._work_inbox import Inbox
from ._work_overview import around, living_nodes, overview
from ._work_rows import DIRECTIONS, RECONCILE, Claim, GroupWork, Overview, claim_of, group_work, reconcile_due

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

#: An inbox row that was not seen for so long is deleted.
KEEP_INBOX_S = 7 * 86400.0


class WorkQueue(Inbox):
    """The intake's view of a ledger."""

    # -- look --------------------------------------------------------------------------------------------------------

    def groups(self) -> list[GroupWork]:
        """Every group that was ever asked for, in order of the oldest waiting signal."""
        with self._ledger.read() as connection:
            rows = connection.execute(sa.select(tables.work)).all()
            beside = around(connection, self._ledger.clock())
        found = [group_work(row, beside) for row in rows]
        return sorted(found, key=lambda group: min(group.waiting.values(), default=float("inf")))

    def overview(self) -> Overview:
        """What the metrics show."""
        with self._ledger.read() as connection:
            return overview(connection, self._ledger.clock())

    def ready_groups(self, now: float) -> list[GroupWork]:
        """Groups of which a signal may start an action at *now*."""
        return [group for group in self.groups() if group.ready(now)]

    def running(self) -> list[Claim]:
        """Actions that a dispatcher has claimed and not finished."""
        return [group.running for group in self.groups() if group.running]

    def action_state(self, ident: str) -> dict[str, str] | None:
        """``{state, code, message}`` of the action's row, or ``None`` when no play has started it."""
        actions = tables.actions
        query = sa.select(actions.c.state, actions.c.code, actions.c.message).where(actions.c.ident == ident)
        with self._ledger.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else dict(row._mapping)

    # -- controllers -------------------------------------------------------------------------------------------------

    def beat(self, node: str, ttl: float) -> bool:
        """Say that *node* dispatches, for the next *ttl* seconds.

        :returns: whether it had been heard of in time: ``False`` for a new one, and for one that was away for so long
            that others may have taken its actions over.
        """
        return self._ledger.controller_alive(node, ttl)

    def take_over(self, claim: Claim, node: str) -> Claim | None:
        """Follow *claim* from *node* from now on; ``None`` when it has moved on, or its own node is heard of again."""
        with self._ledger.write() as connection:
            row = self._row(connection, claim.group)
            if claim_of(row) != claim or claim.node in living_nodes(connection, self._ledger.clock()):
                return None
            signal = dict(row.signal)
            signal["running"] = {**signal["running"], "node": node, "taken_at": claim.attempts}
            self._set(connection, claim.group, signal=signal)
        return dataclasses.replace(claim, node=node, foreign=True)

    # -- claim -------------------------------------------------------------------------------------------------------

    def ask_reconciles(self, asked: t.Mapping[str, float], reason: str) -> None:
        """Ask for a reconcile of each group from its time on; one that is asked for sooner stays."""
        with self._ledger.write() as connection:
            for group, at in asked.items():
                row = self._row(connection, group)
                if row.dirty_reconcile is None or row.dirty_reconcile > at:
                    signal = {**(row.signal or {}), RECONCILE: {"source": "sweep", "reason": reason}}
                    self._set(connection, group, dirty_reconcile=at, signal=signal)

    def claim(
        self,
        group: str,
        direction: str,
        *,
        node: str,
        period: float = 0.0,
        taken: t.Callable[[str], bool] = lambda _ident: False,
    ) -> Claim | None:
        """Turn what waits in *direction* into a running action; ``None`` when someone else was faster.

        The claim of an out drops an in that waits: what it saw was measured before the group grew. That of a reconcile
        leaves every signal, its rest and its failures as they are.

        :param period: seconds between two reconciles of a group; without it none is due.
        :param taken: whether an ident must not be given out, though this ledger does not know it.
        """
        with self._ledger.write() as connection:
            now = self._ledger.clock()
            row = self._row(connection, group)
            if row.running is not None or not self._is_asked(row, direction, now, period):
                return None
            sequence = self._next_sequence(connection, row, taken)
            signal = dict(row.signal or {})
            why = signal.pop(direction, None) or {}
            claim = Claim(
                group=group,
                direction=direction,
                ident=f"{group}-{sequence}",
                source=why.get("source", "sweep" if direction == RECONCILE else "alert"),
                reason=why.get("reason", "the period" if direction == RECONCILE else ""),
                since=now,
                node=node,
            )
            values: dict[str, t.Any] = {
                "sequence": sequence,
                "running": claim.ident,
                "running_since": now,
                "attempts": 0,
                "not_before": None,
            }
            running = {"direction": direction, "source": claim.source, "reason": claim.reason, "node": node}
            if direction == RECONCILE:
                values.update(dirty_reconcile=None, reconciled_at=now)
                running["rest"] = row.not_before
            else:
                values.update(dirty_out=None, dirty_in=None)
                signal = {key: value for key, value in signal.items() if key not in DIRECTIONS}
            self._set(connection, group, **values, signal={**signal, "running": running})
            return claim

    @staticmethod
    def _is_asked(row: t.Any, direction: str, now: float, period: float) -> bool:
        if direction == RECONCILE:
            due = reconcile_due(row.dirty_reconcile, row.reconciled_at, period)
            return due is not None and due <= now
        return getattr(row, f"dirty_{direction}") is not None and (direction == "out" or row.dirty_out is None)

    @staticmethod
    def _next_sequence(connection: sa.Connection, row: t.Any, taken: t.Callable[[str], bool]) -> int:
        """The next number that no action of the group has: a ledger that was rebuilt may count from below old ones."""
        sequence, actions, members = row.sequence + 1, tables.actions, tables.members
        while True:
            ident = f"{row.group_name}-{sequence}"
            known = sa.select(actions.c.ident).where(actions.c.ident == ident)
            made = sa.select(members.c.action).where(members.c.action == ident)
            if not (connection.scalar(sa.union_all(known, made)) or taken(ident)):
                return sequence
            sequence += 1

    def begin_attempt(self, claim: Claim) -> Claim | None:
        """Count one more launch of the same action, stored before the launch; ``None`` when *claim* is outdated.

        Also ``None`` while the last attempt, of which only the other node that launched it knows, holds the lock.
        """
        return self._update(claim, attempts=claim.attempts + 1, not_before=None)

    def retry_later(self, claim: Claim, not_before: float) -> Claim | None:
        """Keep the action, and launch it again no earlier than *not_before*."""
        return self._update(claim, attempts=claim.attempts, not_before=not_before)

    def _update(self, claim: Claim, *, attempts: int, not_before: float | None) -> Claim | None:
        with self._ledger.write() as connection:
            if not _is_current(self._row(connection, claim.group), claim):
                return None
            if claim.foreign and attempts > claim.attempts and self._ledger.is_held(connection, claim.ident):
                return None
            self._set(connection, claim.group, attempts=attempts, not_before=not_before)
        foreign = claim.foreign and attempts == claim.attempts
        return dataclasses.replace(claim, attempts=attempts, not_before=not_before or 0.0, foreign=foreign)

    def finish_work(
        self,
        claim: Claim,
        *,
        failed: str = "",
        code: str = "gave_up",
        pause: t.Callable[[int], float] = lambda _unused: 0.0,
        limit: int = 1,
        soon: float | None = None,
        rest: float = 0.0,
    ) -> bool | None:
        """The action ended; the group is idle again. Nothing of its last attempt may run any more.

        A reconcile that failed is nobody's failure but its own: no rest, no attention; the next period tries again.

        :param failed: why it failed; empty = it did what was asked, or was refused by the planner.
        :param code: ``gave_up`` or ``canceled``: what a failed action gets that its play has left running.
        :param pause: from the count of failures in a row to the seconds for which the group rests.
        :param limit: so many failures in a row, and a person has to look: below it the signal is set again while an
            alert still asks for it, from it on only a new delivery sets it.
        :param soon: seconds after which the group is reconciled when a scaling action failed.
        :param rest: seconds for which no signal of the group is looked at after an action that did not fail.
        :returns: whether the group now needs attention; ``None`` when *claim* is outdated, and nothing was stored.
        """
        with self._ledger.write() as connection:
            row = self._row(connection, claim.group)
            if not _is_current(row, claim):
                return None
            if failed:
                # Else its lock would hold the group back until it expires, and no event would tell of it.
                left = f"{failed}; what it had begun stays recorded: see onprem.autoscale.status"
                self._ledger.close_dead(connection, claim.ident, code=code, message=left)
            signal = dict(row.signal or {})
            values: dict[str, t.Any] = {"running": None, "running_since": None, "attempts": 0, "not_before": None}
            running = signal.pop("running", None) or {}
            if claim.direction == RECONCILE:
                values["not_before"] = running.get("rest")
            else:
                failures = int(signal.pop("failures", 0)) + 1
                signal.pop("attention", None)
                if rest and not failed:
                    values["not_before"] = self._ledger.clock() + rest
                if failed:
                    if failures < limit:
                        self._ask_again(connection, row, claim, values, signal)
                    values["not_before"] = self._ledger.clock() + pause(failures)
                    signal.update(failures=failures, attention="" if failures < limit else failed)
                    if soon is not None:
                        self._soon(row, claim, soon, values, signal)
            self._set(connection, claim.group, **values, signal=signal)
            return bool(failed and signal.get("attention") and claim.direction != RECONCILE)

    def _ask_again(
        self, connection: sa.Connection, row: t.Any, claim: Claim, values: dict[str, t.Any], signal: dict[str, t.Any]
    ) -> None:
        """Set the signal again while an alert still asks for it."""
        now, column = self._ledger.clock(), f"dirty_{claim.direction}"
        if self._live(connection, claim.group, claim.direction, now):
            values[column] = getattr(row, column) or now
            signal.setdefault(claim.direction, {"source": claim.source, "reason": claim.reason})

    def _soon(self, row: t.Any, claim: Claim, soon: float, values: dict[str, t.Any], signal: dict[str, t.Any]) -> None:
        """Ask for a reconcile: a failed action is the likeliest to have left something behind."""
        at = self._ledger.clock() + soon
        if row.dirty_reconcile is None or row.dirty_reconcile > at:
            values["dirty_reconcile"] = at
            signal[RECONCILE] = {"source": "sweep", "reason": f"after {claim.ident}, which failed"}

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def prune(self, keep: float = KEEP_INBOX_S) -> int:
        """Delete alerts that were not seen for *keep* seconds, and old history; returns how many alerts."""
        self._ledger.prune_history()
        inbox = tables.inbox
        with self._ledger.write() as connection:
            return connection.execute(inbox.delete().where(inbox.c.last_seen_at < self._ledger.clock() - keep)).rowcount

    def check_writable(self) -> None:
        """Write and roll back. :raises LedgerError: when the store cannot be written."""
        work = tables.work
        with self._ledger.write() as connection:
            connection.execute(work.update().where(work.c.group_name == "").values(attempts=0))

    @staticmethod
    def _set(connection: sa.Connection, group: str, **values: t.Any) -> None:
        work = tables.work
        connection.execute(work.update().where(work.c.group_name == group).values(**values))


def _is_current(row: t.Any, claim: Claim) -> bool:
    """Whether the group still runs that attempt of that action, and for that node."""
    found = claim_of(row)
    return found is not None and (found.ident, found.attempts, found.node) == (claim.ident, claim.attempts, claim.node)
