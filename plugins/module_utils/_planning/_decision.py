# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The decision: a pure function of the group, what was observed, the cooldowns, the signal and the time (A4, A5, A7).

Order of the checks, and why:

1. ``disabled``: whatever else is true, a disabled group does nothing.
2. ``unknown_state``: a number that the direction needs could not be read. Nothing is made or removed on a guess
   (invariant 9), and no cooldown starts, so that the next signal is looked at as soon as the source is back.
3. ``cooldown``: the direction rests, unless the signal says to ignore that. It stands before the bounds, as a repeated
   alert at a bound would otherwise start the cooldown again and again, and the group would never act after it. A
   resting direction is therefore refused without moving the end of its rest.
4. What an earlier scale-in left behind, drained but not deleted, is finished before a scale-in looks at the minimum:
   it carries no load and is not counted, so that at the minimum it would keep its VM and its address for ever. It
   stands behind the cooldown, so that a removal that fails again and again is not tried at once each time.
5. ``at_max``, ``at_min``: the bound is reached; this refusal starts the direction's cooldown (A4). A signal that
   ignores the cooldown does not prolong one that already runs.
6. ``no_victim``: there is nobody who may leave.

Numbers (A5): scale-out counts ``max(registered, owned)``, scale-in ``min(registered, in_service)``. Each errs towards
doing less.
"""

from __future__ import annotations

import typing as t

from ._names import unused_names
from ._spec import GroupSpec
from ._state import IN, OUT, Cooldowns, Launch, Member, Observed, Plan, Signal
from ._victims import choose_victims, left_over

_SOURCES = {"registered": "targets in Prometheus", "in_service": "members in service", "owned": "VMs of the group"}


def decide(spec: GroupSpec, observed: Observed, cooldowns: Cooldowns, signal: Signal, now: float) -> Plan:
    """What to do about *signal*.

    :param now: seconds since the epoch; also the time in the names of new VMs.
    """
    needed = ("registered", "owned") if signal.direction == OUT else ("registered", "in_service", "owned")
    numbers = {name: getattr(observed, name) for name in needed}
    missing = [_SOURCES[name] for name, number in numbers.items() if number is None]
    size = None if missing else _size(numbers, signal.direction)

    def refuse(code: str, reason: str, cooldown_until: float | None = None) -> Plan:
        return Plan(
            "refuse", code, signal.direction, reason,
            size_before=size, size_after=size, cooldown_until=cooldown_until,
        )  # fmt: skip

    if not spec.enabled:
        return refuse("disabled", f"group {spec.name} is disabled")
    if size is None:
        return refuse("unknown_state", f"could not be read: {', '.join(missing)}; nothing is changed on a guess")

    until = cooldowns.until(signal.direction)
    resting = until is not None and now < until
    if resting and not signal.ignore_cooldown:
        return refuse("cooldown", f"scale-{signal.direction} rests for another {t.cast(float, until) - now:.0f} s")

    if signal.direction == IN:
        unfinished = choose_victims(
            filter(left_over, observed.members), signal.count or spec.size.step_in, spec.scale_in.victim
        )
        if unfinished:
            return _shrink(observed, signal, size, tuple(unfinished), " (left over from an earlier scale-in)")

    room = spec.size.max - size if signal.direction == OUT else size - spec.size.min
    if room <= 0:
        code, bound = ("at_max", spec.size.max) if signal.direction == OUT else ("at_min", spec.size.min)
        counted = ", ".join(f"{number} {_SOURCES[name]}" for name, number in numbers.items())
        rest = None if resting else now + spec.cooldown.of(signal.direction)
        return refuse(code, f"size is {size} and the bound is {bound} ({counted})", rest)

    if signal.direction == OUT:
        return _grow(spec, observed, signal, now, size, min(signal.count or spec.size.step_out, room))
    victims = _victims(spec, observed, min(signal.count or spec.size.step_in, room))
    if not victims:
        return refuse("no_victim", "every member is a base member, protected, or still being made")
    return _shrink(observed, signal, size, victims)


def _size(numbers: t.Mapping[str, int], direction: str) -> int:
    if direction == OUT:
        return max(numbers["registered"], numbers["owned"])
    return min(numbers["registered"], numbers["in_service"])


def _why(signal: Signal, text: str) -> str:
    return f"{text}: {signal.reason}" if signal.reason else text


def _grow(spec: GroupSpec, observed: Observed, signal: Signal, now: float, size: int, count: int) -> Plan:
    names = unused_names(spec.vm.prefix, now, count, {member.name for member in observed.members})
    return Plan(
        "act",
        "scale_out",
        OUT,
        _why(signal, f"{size} to {size + count} members, asked for by {signal.source}"),
        count=count,
        size_before=size,
        size_after=size + count,
        launches=tuple(Launch(name, slot) for slot, name in enumerate(names, start=1)),
    )


def _victims(spec: GroupSpec, observed: Observed, count: int) -> tuple[Member, ...]:
    """At most *count* victims, such that those in service leave the minimum in service (invariant 2).

    *count* is at most ``min(registered, in_service) - min``, so any choice keeps the floor. The loop says it once more,
    so that the floor does not hang on how the count is made.
    """
    spare = t.cast(int, observed.in_service) - spec.size.min
    chosen: list[Member] = []
    for member in choose_victims(observed.members, count, spec.scale_in.victim):
        if member.in_service:
            if spare <= 0:
                continue
            spare -= 1
        chosen.append(member)
    return tuple(chosen)


def _shrink(observed: Observed, signal: Signal, size: int, victims: tuple[Member, ...], note: str = "") -> Plan:
    after = min(
        t.cast(int, observed.registered) - sum(member.registered for member in victims),
        t.cast(int, observed.in_service) - sum(member.in_service for member in victims),
    )
    names = ", ".join(member.name for member in victims)
    return Plan(
        "act",
        "scale_in",
        IN,
        _why(signal, f"{size} to {after} members without {names}{note}, asked for by {signal.source}"),
        count=len(victims),
        size_before=size,
        size_after=after,
        victims=victims,
    )
