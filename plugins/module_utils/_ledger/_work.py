# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The intake's queries: alerts that were accepted (``inbox``) and what they ask of each group (``work``).

Rules (T1, T3, T4), all of them inside one transaction a call:

* An inbox row's key is ``fingerprint|startsAt|status``; a key that is known already is counted, not inserted.
* A firing alert sets the group's waiting signal of its direction. While an action runs, only an alert that is *new*
  since its play began may wait behind it; a repeat is counted and no more. When no action runs, a repeat sets the
  signal too: the same alert seen after the last action ended means that the action was not enough.
* ``resolved`` never acts. It withdraws the waiting signal of its direction once no other alert asks for the same.
* A group runs one action, and one signal a direction waits. Out wins over in.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._schema import HAS_SQLALCHEMY, tables
from ._work_rows import DIRECTIONS, SWEEP, Alert, Claim, GroupWork, group_work

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

if t.TYPE_CHECKING:
    from ._actions import Actions

#: A firing alert that comes within this many seconds after its own ``resolved`` is a late copy (HA pair, retry).
LATE_COPY_S = 30.0
#: An inbox row that was not seen for so long is deleted.
KEEP_INBOX_S = 7 * 86400.0


class WorkQueue:
    """The intake's view of a ledger.

    :param ledger: an open ledger.
    :param live_for: seconds after its last delivery for which a firing alert still counts as firing.
    """

    def __init__(self, ledger: Actions, *, live_for: float = 900.0) -> None:
        self._ledger = ledger
        self._live_for = live_for

    # -- intake ------------------------------------------------------------------------------------------------------

    def accept_alerts(self, alerts: t.Iterable[Alert]) -> dict[str, int]:
        """Store *alerts* and what they ask for, durably, before this returns.

        :returns: how many were ``accepted`` (new), ``duplicates`` (key known) and signals ``set`` or ``withdrawn``.
        :raises LedgerError: nothing was stored.
        """
        counts = {"accepted": 0, "duplicates": 0, "set": 0, "withdrawn": 0}
        with self._ledger.write() as connection:
            now = self._ledger.clock()
            for alert in alerts:
                known = self._store(connection, alert, now)
                counts["duplicates" if known else "accepted"] += 1
                if alert.status == "firing":
                    counts["set"] += self._ask(connection, alert, known, now)
                else:
                    counts["withdrawn"] += self._withdraw_resolved(connection, alert, now)
        return counts

    def _store(self, connection: sa.Connection, alert: Alert, now: float) -> t.Any:
        """Insert or count the inbox row; returns the row as it was before, or ``None``."""
        inbox = tables.inbox
        known = connection.execute(sa.select(inbox).where(inbox.c.key == alert.key)).first()
        if known is None:
            connection.execute(
                inbox.insert().values(
                    key=alert.key,
                    group_name=alert.group,
                    direction=alert.direction,
                    status=alert.status,
                    starts_at=alert.starts_at,
                    received_at=now,
                    last_seen_at=now,
                    seen=1,
                    payload=dict(alert.payload),
                )
            )
            return None
        values: dict[str, t.Any] = {"seen": inbox.c.seen + 1}
        if not self._is_late_copy(connection, alert, now):
            values["last_seen_at"] = now
        connection.execute(inbox.update().where(inbox.c.key == alert.key).values(**values))
        return known

    def _is_late_copy(self, connection: sa.Connection, alert: Alert, now: float) -> bool:
        if alert.status != "firing":
            return False
        inbox = tables.inbox
        key = dataclasses.replace(alert, status="resolved").key
        seen = connection.execute(sa.select(inbox.c.last_seen_at).where(inbox.c.key == key)).scalar()
        return seen is not None and now - seen < LATE_COPY_S

    def _ask(self, connection: sa.Connection, alert: Alert, known: t.Any, now: float) -> int:
        """Set the waiting signal where the rules allow it; 1 when it was set, 0 when it stood already or may not."""
        work = tables.work
        row = self._row(connection, alert.group)
        column = f"dirty_{alert.direction}"
        if getattr(row, column) is not None or self._is_late_copy(connection, alert, now):
            return 0
        if row.running is not None and self._is_answered_by_running(connection, row, alert, known):
            return 0
        signal = dict(row.signal or {})
        signal[alert.direction] = {"source": alert.source, "reason": alert.reason}
        connection.execute(
            work.update().where(work.c.group_name == alert.group).values({column: now, "signal": signal})
        )
        return 1

    @staticmethod
    def _is_answered_by_running(connection: sa.Connection, row: t.Any, alert: Alert, known: t.Any) -> bool:
        """Whether the running action already speaks to *alert*, so that nothing has to wait behind it."""
        if alert.source == "sweep":
            return True
        actions, since = tables.actions, row.running_since
        if ((row.signal or {}).get("running") or {}).get("direction") == alert.direction:
            # What comes before the play opens its action is older than the play's own look at the group.
            since = connection.scalar(sa.select(actions.c.started_at).where(actions.c.ident == row.running))
        return since is None or (known is not None and known.received_at <= since)

    def _withdraw_resolved(self, connection: sa.Connection, alert: Alert, now: float) -> int:
        # What a sweep found is never resolved by name: the next sweep asks again if it still fires.
        if any(not key.startswith(SWEEP) for key, _seen in self._live(connection, alert.group, alert.direction, now)):
            return 0
        return self._clear(connection, alert.group, alert.direction)

    def _clear(self, connection: sa.Connection, group: str, direction: str) -> int:
        work = tables.work
        row = self._row(connection, group)
        column = f"dirty_{direction}"
        if getattr(row, column) is None:
            return 0
        signal = {key: value for key, value in (row.signal or {}).items() if key != direction}
        connection.execute(work.update().where(work.c.group_name == group).values({column: None, "signal": signal}))
        return 1

    def _live(self, connection: sa.Connection, group: str, direction: str, now: float) -> list[tuple[str, float]]:
        """Alerts of *direction* that fire as far as was delivered: (fingerprint|startsAt, last seen)."""
        inbox = tables.inbox
        rows = connection.execute(
            sa.select(inbox.c.key, inbox.c.status, inbox.c.last_seen_at).where(
                inbox.c.group_name == group,
                inbox.c.direction == direction,
                inbox.c.last_seen_at >= now - self._live_for,
            )
        )
        firing: dict[str, float] = {}
        resolved: dict[str, float] = {}
        for row in rows:
            seen = firing if row.status == "firing" else resolved
            seen[row.key.rpartition("|")[0]] = row.last_seen_at
        return [(key, seen) for key, seen in firing.items() if seen > resolved.get(key, float("-inf"))]

    def last_seen(self, group: str, direction: str) -> float | None:
        """When a firing alert that asks for *direction* was last delivered; ``None`` when none is on record."""
        inbox = tables.inbox
        query = sa.select(sa.func.max(inbox.c.last_seen_at)).where(
            inbox.c.group_name == group, inbox.c.direction == direction, inbox.c.status == "firing"
        )
        with self._ledger.read() as connection:
            return connection.execute(query).scalar()

    def withdraw(self, group: str, direction: str) -> bool:
        """Drop the waiting signal; ``True`` when there was one."""
        with self._ledger.write() as connection:
            return bool(self._clear(connection, group, direction))

    # -- dispatch ----------------------------------------------------------------------------------------------------

    def groups(self) -> list[GroupWork]:
        """Every group that was ever asked for, in order of the oldest waiting signal."""
        work, cooldowns, locks = tables.work, tables.cooldowns, tables.locks
        with self._ledger.read() as connection:
            now = self._ledger.clock()
            rows = connection.execute(sa.select(work)).all()
            until: dict[str, dict[str, float]] = {}
            for row in connection.execute(sa.select(cooldowns).where(cooldowns.c.until > now)):
                until.setdefault(row.group_name, {})[row.direction] = row.until
            held = {
                row.group_name: row.action or row.owner
                for row in connection.execute(sa.select(locks).where(locks.c.expires_at > now))
            }
        found = [group_work(row, until.get(row.group_name, {}), held.get(row.group_name, "")) for row in rows]
        return sorted(found, key=lambda group: min(group.waiting.values(), default=float("inf")))

    def ready_groups(self, now: float) -> list[GroupWork]:
        """Groups of which an action may start at *now*."""
        return [group for group in self.groups() if group.ready(now)]

    def running(self) -> list[Claim]:
        """Actions that a dispatcher has claimed and not finished."""
        return [group.running for group in self.groups() if group.running]

    def claim(self, group: str, direction: str, *, node: str) -> Claim | None:
        """Turn the waiting signal of *direction* into a running action; ``None`` when someone else was faster.

        The claim of an out drops an in that waits: what it saw was measured before the group grew.
        """
        work = tables.work
        with self._ledger.write() as connection:
            now = self._ledger.clock()
            row = self._row(connection, group)
            asked = getattr(row, f"dirty_{direction}")
            if row.running is not None or asked is None or (direction == "in" and row.dirty_out is not None):
                return None
            sequence = self._next_sequence(connection, row)
            signal = dict(row.signal or {})
            why = signal.get(direction) or {}
            claim = Claim(
                group=group,
                direction=direction,
                ident=f"{group}-{sequence}",
                source=why.get("source", "alert"),
                reason=why.get("reason", ""),
                since=now,
                node=node,
            )
            signal = {key: value for key, value in signal.items() if key not in DIRECTIONS}
            signal["running"] = {"direction": direction, "source": claim.source, "reason": claim.reason, "node": node}
            values: dict[str, t.Any] = {
                "sequence": sequence,
                "running": claim.ident,
                "running_since": now,
                "attempts": 0,
                "not_before": None,
                "dirty_out": None,
                "dirty_in": None,
                "signal": signal,
            }
            connection.execute(work.update().where(work.c.group_name == group).values(values))
            return claim

    @staticmethod
    def _next_sequence(connection: sa.Connection, row: t.Any) -> int:
        """The next number that no action of the group has: a ledger that was rebuilt may count from below old ones."""
        sequence, actions = row.sequence + 1, tables.actions
        while connection.scalar(sa.select(actions.c.ident).where(actions.c.ident == f"{row.group_name}-{sequence}")):
            sequence += 1
        return sequence

    def begin_attempt(self, claim: Claim) -> Claim | None:
        """Count one more launch of the same action, stored before the launch; ``None`` when *claim* is outdated."""
        return self._update(claim, attempts=claim.attempts + 1, not_before=None)

    def retry_later(self, claim: Claim, not_before: float) -> Claim | None:
        """Keep the action, and launch it again no earlier than *not_before*."""
        return self._update(claim, not_before=not_before)

    def _update(self, claim: Claim, **values: t.Any) -> Claim | None:
        work = tables.work
        query = work.update().where(
            work.c.group_name == claim.group, work.c.running == claim.ident, work.c.attempts == claim.attempts
        )
        with self._ledger.write() as connection:
            if connection.execute(query.values(**values)).rowcount != 1:
                return None
        changed = {"attempts": values.get("attempts", claim.attempts), "not_before": values.get("not_before") or 0.0}
        return dataclasses.replace(claim, **changed)

    def finish_work(
        self,
        claim: Claim,
        *,
        failed: str = "",
        code: str = "gave_up",
        pause: t.Callable[[int], float] = lambda _unused: 0.0,
        limit: int = 1,
    ) -> bool:
        """The action ended; the group is idle again. Nothing of its last attempt may run any more.

        :param failed: why it failed; empty = it did what was asked, or was refused by the planner.
        :param code: ``gave_up`` or ``canceled``: what a failed action gets that its play has left running.
        :param pause: from the count of failures in a row to the seconds for which the group rests.
        :param limit: so many failures in a row, and a person has to look: below it the signal is set again while an
            alert still asks for it, from it on only a new delivery sets it.
        :returns: whether the group now needs attention.
        """
        work = tables.work
        with self._ledger.write() as connection:
            now = self._ledger.clock()
            row = self._row(connection, claim.group)
            if row.running != claim.ident:
                return False
            signal = {key: value for key, value in (row.signal or {}).items() if key in DIRECTIONS}
            values: dict[str, t.Any] = {"running": None, "running_since": None, "attempts": 0, "not_before": None}
            attention = False
            if failed:
                # Else its lock would hold the group back until it expires, and no event would tell of it.
                left = f"{failed}; what it had begun stays recorded: see onprem.autoscale.status"
                self._ledger.close_dead(connection, claim.ident, code=code, message=left)
                failures = int((row.signal or {}).get("failures", 0)) + 1
                attention = failures >= limit
                signal.update(failures=failures, attention=failed if attention else "")
                values["not_before"] = now + pause(failures)
                column = f"dirty_{claim.direction}"
                if not attention and self._live(connection, claim.group, claim.direction, now):
                    values[column] = getattr(row, column) or now
                    signal.setdefault(claim.direction, {"source": claim.source, "reason": claim.reason})
            connection.execute(
                work.update().where(work.c.group_name == claim.group).values({**values, "signal": signal})
            )
            return attention

    def action_state(self, ident: str) -> dict[str, str] | None:
        """``{state, code, message}`` of the action's row, or ``None`` when no play has started it."""
        actions = tables.actions
        query = sa.select(actions.c.state, actions.c.code, actions.c.message).where(actions.c.ident == ident)
        with self._ledger.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else dict(row._mapping)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def recent_alerts(self, limit: int = 50) -> list[dict[str, t.Any]]:
        """The alerts seen last, newest first, without their payload."""
        inbox = tables.inbox
        columns = [column for column in inbox.c if column.name != "payload"]
        query = sa.select(*columns).order_by(inbox.c.last_seen_at.desc()).limit(limit)
        with self._ledger.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def prune(self, keep: float = KEEP_INBOX_S) -> int:
        """Delete inbox rows that were not seen for *keep* seconds; returns how many."""
        inbox = tables.inbox
        with self._ledger.write() as connection:
            query = inbox.delete().where(inbox.c.last_seen_at < self._ledger.clock() - keep)
            return connection.execute(query).rowcount

    def check_writable(self) -> None:
        """Write and roll back. :raises LedgerError: when the store cannot be written."""
        work = tables.work
        with self._ledger.write() as connection:
            connection.execute(work.update().where(work.c.group_name == "").values(attempts=0))

    def _row(self, connection: sa.Connection, group: str) -> t.Any:
        """The group's ``work`` row, made on first use."""
        work = tables.work
        query = sa.select(work).where(work.c.group_name == group)
        row = connection.execute(query).first()
        if row is None:
            connection.execute(work.insert().values(group_name=group, sequence=0, attempts=0))
            row = connection.execute(query).one()
        return row
