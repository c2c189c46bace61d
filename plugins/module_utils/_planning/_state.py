# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the planner sees and what it answers, as immutable values. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import InvalidSpecError

OUT = "out"
IN = "in"
DIRECTIONS = (OUT, IN)
SOURCES = ("alert", "schedule", "person", "sweep")


class _Row:
    """To and from plain data; keys that are not fields are ignored, so that a newer writer does not break a reader."""

    def as_dict(self) -> dict[str, t.Any]:
        """Plain dicts and lists."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> t.Any:
        """The inverse of :meth:`as_dict`."""
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in data.items() if key in names})


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, t.Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.as_dict() if isinstance(value, _Row) else value


def _rows(kind: type, values: t.Iterable[t.Any]) -> tuple[t.Any, ...]:
    return tuple(kind.from_dict(value) if isinstance(value, t.Mapping) else value for value in values)  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Member(_Row):
    """One member of a group.

    :param created: when its VM was made; None when nobody knows.
    :param base: declared in ``base_members``: not ours, never a victim.
    :param protected: ours, and never a victim.
    :param healthy: None is unknown, which counts as healthy when shrinking (invariant 9).
    :param in_service: the load balancer sends it traffic.
    :param registered: it is a target of the group's Prometheus job.
    :param state: what the ledger says (``planned launching in_service draining ...``); empty when it says nothing.
    :param quarantined: its launch failed and its VM is kept for diagnosis: it counts as owned, and nothing else.
    :param missing: the ledger knows it and vCenter does not show its VM. It counts as owned: the listing may be late.
    :param unhealthy_since: when it was first seen unhealthy; None: it is healthy, or nobody knows.
    :param missing_since: when its VM was first not found.
    :param quarantined_at: when its quarantine began; None: it is in none, or nobody knows.
    :param note: why it failed or stands in quarantine.
    """

    name: str
    address: str = ""
    moid: str = ""
    created: float | None = None
    base: bool = False
    protected: bool = False
    healthy: bool | None = True
    in_service: bool = False
    registered: bool = False
    state: str = ""
    quarantined: bool = False
    missing: bool = False
    unhealthy_since: float | None = None
    missing_since: float | None = None
    quarantined_at: float | None = None
    note: str = ""

    @property
    def in_flight(self) -> bool:
        """Planned or being cloned: it counts, but there is no VM yet that could leave."""
        return self.state in ("planned", "launching") and not self.moid


@dataclasses.dataclass(frozen=True)
class Observed(_Row):
    """A group as its backends show it.

    :param members: base members, VMs with the group's mark in any power state, and members that only the ledger knows,
        each once.
    :param registered: targets of the Prometheus job; None: could not be read.
    :param in_service: members that get traffic; None: could not be read.
    :param unread: names of further sources that could not be read (``vms``, ``ledger``).
    """

    members: tuple[Member, ...]
    registered: int | None
    in_service: int | None
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", _rows(Member, self.members))
        object.__setattr__(self, "unread", tuple(self.unread))

    @property
    def owned(self) -> int | None:
        """Members in any state, also those that only the ledger knows (A5); None when a source could not be read."""
        return None if self.unread else len(self.members)


@dataclasses.dataclass(frozen=True)
class Cooldowns(_Row):
    """Until when each direction rests; None: it does not."""

    out_until: float | None = None
    in_until: float | None = None

    def until(self, direction: str) -> float | None:
        """The end of *direction*'s rest."""
        return self.out_until if direction == OUT else self.in_until


@dataclasses.dataclass(frozen=True)
class Signal(_Row):
    """Somebody asks for a look at a group.

    :param direction: ``out`` or ``in``.
    :param source: ``alert``, ``schedule``, ``person`` or ``sweep``.
    :param count: members to add or remove instead of the group's step; at least 1.
    :param ignore_cooldown: act although the direction rests.
    :param minimum: stands in for the group's minimum while it shrinks, so that a standby site can go below it; only a
        person may say so.
    :param maximum: a growth ends there, where the group's own maximum is not lower; only a person may say so.
    :raises InvalidSpecError: for a direction, source, count, minimum or maximum that does not exist.
    """

    direction: str
    source: str = "person"
    reason: str = ""
    count: int | None = None
    ignore_cooldown: bool = False
    minimum: int | None = None
    maximum: int | None = None

    def __post_init__(self) -> None:
        for field, allowed in (("direction", DIRECTIONS), ("source", SOURCES)):
            value = getattr(self, field)
            if value not in allowed:
                raise InvalidSpecError(f"signal.{field}: value is {value!r}; allowed: one of {', '.join(allowed)}")
        if self.count is not None and (
            isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1
        ):
            raise InvalidSpecError(f"signal.count: value is {self.count!r}; allowed: a whole number from 1 on, or null")
        for field, direction in (("minimum", IN), ("maximum", OUT)):
            value = getattr(self, field)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidSpecError(
                    f"signal.{field}: value is {value!r}; allowed: a whole number from 0 on, or null"
                )
            if (self.source, self.direction) != ("person", direction):
                raise InvalidSpecError(
                    f"signal.{field}: value is {value!r} with source {self.source} and direction {self.direction}; "
                    f"allowed: null, as only a person may say where a scale-{direction} ends"
                )

    def floor(self, minimum: int) -> int:
        """How many members a scale-in leaves in service, where the group says *minimum*."""
        return minimum if self.minimum is None else self.minimum

    def ceiling(self, maximum: int) -> int:
        """How many members a scale-out may lead to, where the group says *maximum*."""
        return maximum if self.maximum is None else min(maximum, self.maximum)


@dataclasses.dataclass(frozen=True)
class Launch(_Row):
    """A member to make, or to finish; ``slot`` counts from 1 within the action.

    :param address: of the VM that is already there; empty for a new one, which has yet to lease an address.
    :param marks: those that VM carries; empty for a new one.
    :param keep: it served before and only lost its pool member or its target. It is not deleted when it cannot be put
        back, and its end says nothing about launches, so the breaker does not count it.
    """

    name: str
    slot: int
    address: str = ""
    marks: t.Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    keep: bool = False

    @property
    def new(self) -> bool:
        """Whether there is no VM yet."""
        return not self.marks


@dataclasses.dataclass(frozen=True)
class Plan(_Row):
    """What to do, and why or why not.

    :param verdict: ``act`` or ``refuse``.
    :param code: scale_out, scale_in, at_max, at_min, breaker_open, cooldown, disabled, no_victim, not_holder,
        suspended or unknown_state.
    :param reason: one sentence for people.
    :param count: members to make or to remove; 0 for a refusal.
    :param size_before: the count that the decision was made on (A5); None when it is unknown.
    :param size_after: the same after the action succeeded.
    :param cooldown_until: set only when this refusal itself starts a cooldown (at_max, at_min).
    :param evictions: quarantined members whose VMs are deleted before the launches, as these need their room.
    :param quarantine: VMs of this plan that may be kept for diagnosis when they fail; further ones are deleted.
    :param minimum: that of the signal, for when the action is carried on; None: the group's.
    """

    verdict: str
    code: str
    direction: str
    reason: str
    count: int = 0
    size_before: int | None = None
    size_after: int | None = None
    launches: tuple[Launch, ...] = ()
    victims: tuple[Member, ...] = ()
    cooldown_until: float | None = None
    evictions: tuple[Member, ...] = ()
    quarantine: int = 0
    minimum: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "launches", _rows(Launch, self.launches))
        object.__setattr__(self, "victims", _rows(Member, self.victims))
        object.__setattr__(self, "evictions", _rows(Member, self.evictions))

    @property
    def acts(self) -> bool:
        """Whether there is something to do."""
        return self.verdict == "act"
