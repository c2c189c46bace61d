# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Alerts that were accepted (``inbox``) and the signals that they set (``work``).

Rules (T1, T3), all of them inside one transaction a call:

* An inbox row's key is ``fingerprint|startsAt|status``; a key that is known already is counted, not inserted.
* A firing alert sets the group's waiting signal of its direction. While a scale-out or scale-in runs, only an alert
  that is *new* since its play began may wait behind it; a repeat is counted and no more. When none runs, a repeat sets
  the signal too: the same alert seen after the last action ended means that the action was not enough. A reconcile
  answers no alert: each waits for its end.
* ``resolved`` never acts. It withdraws the waiting signal of its direction once no other alert asks for the same.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._schema import HAS_SQLALCHEMY, tables
from ._work_rows import RECONCILE, SWEEP, Alert

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

if t.TYPE_CHECKING:
    from . import Ledger

#: A firing alert that comes within this many seconds after its own ``resolved`` is a late copy (HA pair, retry).
LATE_COPY_S = 30.0


class Inbox:
    """What comes in.

    :param ledger: an open ledger.
    :param live_for: seconds after its last delivery for which a firing alert still counts as firing.
    """

    def __init__(self, ledger: Ledger, *, live_for: float = 900.0) -> None:
        self._ledger = ledger
        self._live_for = live_for

    def accept_alerts(self, alerts: t.Iterable[Alert]) -> dict[str, int]:
        """Store *alerts* and what they ask for, durably, before this returns.

        :returns: how many were ``accepted`` (new), ``duplicates`` (key known) and signals ``set`` or ``withdrawn``.
        :raises LedgerError: nothing was stored.
        """
        counts = {"accepted": 0, "duplicates": 0, "set": 0, "withdrawn": 0}
        with self._ledger.write() as connection:
            now = self._ledger.clock()
            for alert in alerts:
                ended = self._ended_before(connection, alert, now)
                known = self._store(connection, alert, now, ended)
                counts["duplicates" if known else "accepted"] += 1
                if ended is not None:
                    continue
                if alert.status == "firing":
                    counts["set"] += self._ask(connection, alert, known, now)
                else:
                    counts["withdrawn"] += self._withdraw_resolved(connection, alert, now)
        return counts

    def _store(self, connection: sa.Connection, alert: Alert, now: float, ended: float | None) -> t.Any:
        """Insert or count the inbox row; returns the row as it was before, or ``None``.

        :param ended: when its own end came before it: a late copy was not seen firing after that.
        """
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
                    last_seen_at=now if ended is None else ended,
                    seen=1,
                    payload=dict(alert.payload),
                )
            )
            return None
        values: dict[str, t.Any] = {"seen": inbox.c.seen + 1}
        if ended is None:
            values["last_seen_at"] = now
        connection.execute(inbox.update().where(inbox.c.key == alert.key).values(**values))
        return known

    def _ended_before(self, connection: sa.Connection, alert: Alert, now: float) -> float | None:
        """When the ``resolved`` of a firing alert came, if that was just now: then this is a late copy."""
        if alert.status != "firing":
            return None
        inbox = tables.inbox
        key = dataclasses.replace(alert, status="resolved").key
        seen = connection.execute(sa.select(inbox.c.last_seen_at).where(inbox.c.key == key)).scalar()
        return seen if seen is not None and now - seen < LATE_COPY_S else None

    def _ask(self, connection: sa.Connection, alert: Alert, known: t.Any, now: float) -> int:
        """Set the waiting signal where the rules allow it; 1 when it was set, 0 when it stood already or may not."""
        work = tables.work
        row = self._row(connection, alert.group)
        column = f"dirty_{alert.direction}"
        if getattr(row, column) is not None:
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
        actions, since = tables.actions, row.running_since
        direction = ((row.signal or {}).get("running") or {}).get("direction")
        if direction == RECONCILE:
            return False
        if alert.source == "sweep":
            return True
        if direction == alert.direction:
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

    def recent_alerts(self, limit: int = 50) -> list[dict[str, t.Any]]:
        """The alerts seen last, newest first, without their payload."""
        inbox = tables.inbox
        columns = [column for column in inbox.c if column.name != "payload"]
        query = sa.select(*columns).order_by(inbox.c.last_seen_at.desc()).limit(limit)
        with self._ledger.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def _row(self, connection: sa.Connection, group: str) -> t.Any:
        """The group's ``work`` row, made on first use."""
        work = tables.work
        query = sa.select(work).where(work.c.group_name == group)
        row = connection.execute(query).first()
        if row is None:
            connection.execute(work.insert().values(group_name=group, sequence=0, attempts=0))
            row = connection.execute(query).one()
        return row
