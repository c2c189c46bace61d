# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the intake's queries take and give: alerts, claims, and what one group has waiting and running.
"""

from __future__ import annotations

import dataclasses
import typing as t

#: What a signal asks for. A reconcile is claimed like an action of these, but nobody asks for it by an alert.
DIRECTIONS = ("out", "in")
RECONCILE = "reconcile"
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
    """An action that a dispatcher has taken on: stored before anything is launched.

    :param node: the dispatcher that follows it.
    :param foreign: its last attempt was launched by another node, from which *node* has taken it over.
    """

    group: str
    direction: str  # out | in | reconcile
    ident: str
    source: str
    reason: str
    since: float
    attempts: int = 0
    not_before: float = 0.0
    node: str = ""
    foreign: bool = False


@dataclasses.dataclass(frozen=True)
class GroupWork:
    """What one group has waiting and running. Times are seconds since the epoch; ``None`` = nothing.

    :param locked_by: who holds the group's lock while none of our actions runs.
    :param locked_until: when the lock of whoever holds it runs out; 0 = nobody does, or it ran out.
    :param orphan: the running action's dispatcher has not been heard of for longer than its ttl.
    :param suspended: processes that a person has suspended (``launch``, ``terminate``, ``replace``).
    :param probe_at: until then the open breaker lets nothing be launched; 0 = it is not open.
    :param reconcile_asked: from when on a reconcile is asked for; ``None`` = only by the period.
    :param reconciled_at: when the last reconcile was claimed.
    """

    group: str
    running: Claim | None
    waiting: t.Mapping[str, float]  # direction -> when asked
    reasons: t.Mapping[str, t.Mapping[str, str]]  # direction -> {source, reason}
    cooling: t.Mapping[str, float]  # direction -> until
    locked_by: str
    not_before: float
    failures: int
    attention: str
    locked_until: float = 0.0
    orphan: bool = False
    suspended: frozenset[str] = frozenset()
    probe_at: float = 0.0
    reconcile_asked: float | None = None
    reconciled_at: float | None = None

    def ready(self, now: float) -> str | None:
        """The signal's direction that may start at *now*, or ``None``. An out that has to wait holds back an in."""
        if self.running or self.locked_by or self.not_before > now:
            return None
        for direction in DIRECTIONS:
            if direction in self.waiting:
                cooling = self.cooling.get(direction, 0.0) > now
                return None if cooling or self.held(direction, now) else direction
        return None

    def held(self, direction: str, now: float) -> str:
        """Why signals of *direction* have to wait, whatever they say; empty = they need not."""
        process = {"out": "launch", "in": "terminate"}[direction]
        if process in self.suspended:
            return f"{process} is suspended"
        if direction == "out" and self.probe_at > now:
            return "the breaker is open"
        return ""

    def may_reconcile(self, now: float, period: float) -> bool:
        """Whether a reconcile may start at *now*. Neither a cooldown nor the rest after a failure holds it back."""
        due = reconcile_due(self.reconcile_asked, self.reconciled_at, period)
        return due is not None and due <= now and not self.running and not self.locked_by


def reconcile_due(asked: float | None, last: float | None, period: float) -> float | None:
    """When the next reconcile is due; ``None`` = never. *period* 0 switches all of them off."""
    if period <= 0:
        return None
    times = [*([asked] if asked is not None else []), *([last + period] if last is not None else [])]
    return min(times, default=None)


@dataclasses.dataclass(frozen=True)
class Reconciled:
    """What the last reconcile of a group found: how many of each kind, and what nobody owns."""

    at: float
    findings: t.Mapping[str, int]
    leaked: t.Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Overview:
    """What the ledger says of all groups, for the metrics."""

    controllers: tuple[str, ...]  # nodes that were heard of within their ttl
    locks: t.Mapping[str, float]  # group -> when its lock runs (or ran) out
    breakers: t.Mapping[str, str]  # group -> closed | open | probing
    suspended: t.Mapping[str, frozenset[str]]
    quarantined: t.Mapping[str, int]
    reconciled: t.Mapping[str, Reconciled]
    members: t.Mapping[str, t.Mapping[str, int]] = dataclasses.field(default_factory=dict)  # group -> state -> how many
    leases: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    # group -> stage -> seconds of the slowest host of the last launch that has them
    cold_starts: t.Mapping[str, t.Mapping[str, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Around:
    """What stands around the groups' ``work`` rows at one moment."""

    cooling: t.Mapping[str, t.Mapping[str, float]] = dataclasses.field(default_factory=dict)
    locks: t.Mapping[str, tuple[str, float]] = dataclasses.field(default_factory=dict)  # who, until; only living ones
    suspended: t.Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    probes: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    nodes: frozenset[str] = frozenset()


def claim_of(row: t.Any) -> Claim | None:
    """The running action of a ``work`` row."""
    if row.running is None:
        return None
    why = (row.signal or {}).get("running") or {}
    return Claim(
        group=row.group_name,
        direction=why.get("direction", ""),
        ident=row.running,
        source=why.get("source", ""),
        reason=why.get("reason", ""),
        since=row.running_since,
        attempts=row.attempts,
        not_before=row.not_before or 0.0,
        node=why.get("node", ""),
        foreign=why.get("taken_at") == row.attempts,
    )


def group_work(row: t.Any, around: Around) -> GroupWork:
    """From the group's ``work`` row and what stands around it."""
    signal = row.signal or {}
    claim = claim_of(row)
    holder, until = around.locks.get(row.group_name, ("", 0.0))
    return GroupWork(
        group=row.group_name,
        running=claim,
        waiting={d: getattr(row, f"dirty_{d}") for d in DIRECTIONS if getattr(row, f"dirty_{d}") is not None},
        reasons={d: signal[d] for d in DIRECTIONS if d in signal},
        cooling=dict(around.cooling.get(row.group_name, {})),
        locked_by="" if claim else holder,
        not_before=(row.not_before or 0.0) if claim is None else 0.0,
        failures=int(signal.get("failures", 0)),
        attention=signal.get("attention", ""),
        locked_until=until,
        orphan=claim is not None and claim.node not in around.nodes,
        suspended=around.suspended.get(row.group_name, frozenset()),
        probe_at=around.probes.get(row.group_name, 0.0),
        reconcile_asked=row.dirty_reconcile,
        reconciled_at=row.reconciled_at,
    )
