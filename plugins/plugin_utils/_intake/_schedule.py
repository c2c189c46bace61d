# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the dispatcher starts next: pure, so that it can be looked at without a ledger or a clock.

Order: what a dead dispatcher left comes first, then signals, the one that waits longest before the others, then
reconciles, the one that is due longest before the others. Reconciles get half of the slots and at least one.
"""

from __future__ import annotations

import dataclasses
import typing as t
import zlib

from ...module_utils._ledger._work_rows import RECONCILE, GroupWork, reconcile_due

TAKE_OVER = "take over"


@dataclasses.dataclass(frozen=True)
class Room:
    """How much may be started, over all groups: *slots* of any kind, *reconciles* of them."""

    slots: int
    reconciles: int

    @classmethod
    def left(cls, limit: int, busy: int, reconciling: int) -> Room:
        """Of *limit* slots, *busy* are taken, *reconciling* of those by reconciles."""
        return cls(limit - busy, max(1, limit // 2) - reconciling)


def choose(
    works: t.Iterable[GroupWork],
    room: Room,
    *,
    now: float,
    period: float,
    allowed: t.Callable[[str], bool] = lambda _group: True,
) -> list[tuple[GroupWork, str]]:
    """What to start: ``(group, "out" | "in" | "reconcile" | "take over")``, at most one a group.

    :param works: groups about which nothing is being done at this moment, the longest waiting first.
    :param period: seconds between two reconciles of a group; 0 = none.
    :param allowed: whether actions of a group may start; what was claimed is taken over all the same.
    """
    works = list(works)
    chosen = [(work, TAKE_OVER) for work in works if work.orphan and work.locked_until <= now]
    signals = [(work, direction) for work in works if allowed(work.group) and (direction := work.ready(now))]
    taken = {work.group for work, _direction in signals}
    due = [
        work for work in works if work.group not in taken and allowed(work.group) and work.may_reconcile(now, period)
    ]
    due.sort(key=lambda work: reconcile_due(work.reconcile_asked, work.reconciled_at, period) or 0.0)
    chosen = [*chosen, *signals][: max(0, room.slots)]
    left = max(0, min(room.reconciles, room.slots - len(chosen)))
    return [*chosen, *((work, RECONCILE) for work in due[:left])]


def first_reconciles(
    groups: t.Iterable[str], works: t.Iterable[GroupWork], *, now: float, period: float
) -> dict[str, float]:
    """When to reconcile *groups* that never were, for those that wait for no time yet: spread over one period."""
    known = {work.group: work for work in works}
    found = {}
    for group in groups:
        work = known.get(group)
        asked = work.reconcile_asked if work else None
        if (work is None or work.reconciled_at is None) and (asked is None or asked > now + period):
            found[group] = now + spread(group) * period
    return found


def spread(group: str) -> float:
    """A number from 0 to 1 that is always the same for *group*."""
    return zlib.crc32(group.encode()) / 2**32
