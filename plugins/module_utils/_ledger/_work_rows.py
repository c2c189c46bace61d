# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the intake's queries take and give: alerts, claims, and what one group has waiting and running.
"""

from __future__ import annotations

import dataclasses
import typing as t

DIRECTIONS = ("out", "in")
#: Fingerprints of alerts that a sweep found begin so: Prometheus has no fingerprint to offer.
SWEEP = "sweep:"


@dataclasses.dataclass(frozen=True)
class Alert:
    """One alert of one group. ``starts_at`` in seconds since the epoch; ``start`` is the text as it was delivered."""

    fingerprint: str
    start: str
    status: str  # firing | resolved
    group: str
    direction: str  # out | in
    reason: str
    starts_at: float | None = None
    source: str = "alert"  # alert | sweep; a sweep's alert never queues behind a running action
    payload: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str:
        """The inbox key."""
        return f"{self.fingerprint}|{self.start}|{self.status}"


@dataclasses.dataclass(frozen=True)
class Claim:
    """An action that a dispatcher has taken on: stored before anything is launched."""

    group: str
    direction: str
    ident: str
    source: str
    reason: str
    since: float
    attempts: int = 0
    not_before: float = 0.0
    node: str = ""


@dataclasses.dataclass(frozen=True)
class GroupWork:
    """What one group has waiting and running. Times are seconds since the epoch; ``None`` = nothing."""

    group: str
    running: Claim | None
    waiting: t.Mapping[str, float]  # direction -> when asked
    reasons: t.Mapping[str, t.Mapping[str, str]]  # direction -> {source, reason}
    cooling: t.Mapping[str, float]  # direction -> until
    locked_by: str
    not_before: float
    failures: int
    attention: str

    def ready(self, now: float) -> str | None:
        """The direction that may start at *now*, or ``None``. An out that waits for its cooldown holds back an in."""
        if self.running or self.locked_by or self.not_before > now:
            return None
        for direction in DIRECTIONS:
            if direction in self.waiting:
                return direction if self.cooling.get(direction, 0.0) <= now else None
        return None


def group_work(row: t.Any, cooling: t.Mapping[str, float], locked_by: str) -> GroupWork:
    """From the group's ``work`` row, its cooldowns that still run and the holder of its lock."""
    signal = row.signal or {}
    claim = None
    if row.running is not None:
        why = signal.get("running") or {}
        claim = Claim(
            group=row.group_name,
            direction=why.get("direction", ""),
            ident=row.running,
            source=why.get("source", ""),
            reason=why.get("reason", ""),
            since=row.running_since,
            attempts=row.attempts,
            not_before=row.not_before or 0.0,
            node=why.get("node", ""),
        )
    return GroupWork(
        group=row.group_name,
        running=claim,
        waiting={d: getattr(row, f"dirty_{d}") for d in DIRECTIONS if getattr(row, f"dirty_{d}") is not None},
        reasons={d: signal[d] for d in DIRECTIONS if d in signal},
        cooling=dict(cooling),
        locked_by="" if claim else locked_by,
        not_before=(row.not_before or 0.0) if claim is None else 0.0,
        failures=int(signal.get("failures", 0)),
        attention=signal.get("attention", ""),
    )
