# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The decision: a pure function of the group, what was observed, the cooldowns, the signal and the time (A4, A5, A7).

Order of the checks, and why:

1. ``disabled``: whatever else is true, a disabled group does nothing.
2. ``not_holder``: another site holds the group's epoch, or nobody does (D6). No cooldown starts, so that a site that
   takes it over acts at once.
3. ``suspended``: a person stopped this process. No cooldown starts, so that the signal is looked at when it is resumed.
4. ``unknown_state``: a number that the direction needs could not be read. Nothing is made or removed on a guess
   (invariant 9), and no cooldown starts, so that the next signal is looked at as soon as the source is back.
5. ``cooldown``: the direction rests, unless the signal says to ignore that. It stands before the bounds, as a repeated
   alert at a bound would otherwise start the cooldown again and again, and the group would never act after it. A
   resting direction is therefore refused without moving the end of its rest.
6. ``breaker_open``: launches fail again and again (invariant 8). It stands before the bound: VMs that failed count as
   owned, so that a group whose clones never boot soon is full of them, and "the bound is reached" would hide why. It
   starts no cooldown, as it has a time of its own.
7. What an earlier scale-in left behind, drained but not deleted, is finished before a scale-in looks at the minimum:
   it carries no load and is not counted, so that at the minimum it would keep its VM and its address for ever. It
   stands behind the cooldown, so that a removal that fails again and again is not tried at once each time.
8. ``at_max``, ``at_min``: the bound is reached; this refusal starts the direction's cooldown (A4). A signal that
   ignores the cooldown does not prolong one that already runs. VMs in quarantine are no bound: the oldest are deleted
   first where a launch needs their room.
9. ``no_victim``: there is nobody who may leave.

Numbers (A5): scale-out counts ``max(registered, owned)``, scale-in ``min(registered, in_service)``. Each errs towards
doing less.
"""

from __future__ import annotations

import typing as t

from ._controls import LAUNCH, TERMINATE, Controls
from ._names import unused_names
from ._spec import GroupSpec
from ._state import IN, OUT, Cooldowns, Launch, Member, Observed, Plan, Signal
from ._victims import choose_victims, left_over, oldest_quarantined

_NO_CONTROLS = Controls()
_SOURCES = {"registered": "targets in Prometheus", "in_service": "members in service", "owned": "VMs of the group"}


def decide(
    spec: GroupSpec,
    observed: Observed,
    cooldowns: Cooldowns,
    signal: Signal,
    now: float,
    controls: Controls = _NO_CONTROLS,
) -> Plan:
    """What to do about *signal*.

    :param now: seconds since the epoch; also the time in the names of new VMs.
    :param controls: what is suspended, the breaker, and whether this site may act.
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
    if controls.not_holder:
        return refuse("not_holder", controls.not_holder)
    process = LAUNCH if signal.direction == OUT else TERMINATE
    if process in controls.suspended:
        return refuse("suspended", f"{process} of group {spec.name} is suspended; resume it with scaling_process")
    if size is None:
        return refuse("unknown_state", f"could not be read: {', '.join(missing)}; nothing is changed on a guess")

    until = cooldowns.until(signal.direction)
    resting = until is not None and now < until
    if resting and not signal.ignore_cooldown:
        return refuse("cooldown", f"scale-{signal.direction} rests for another {t.cast(float, until) - now:.0f} s")

    permit = controls.breaker.permit(now) if signal.direction == OUT else None
    if permit == 0:
        return refuse("breaker_open", controls.breaker.why())

    if signal.direction == IN:
        unfinished = choose_victims(
            filter(left_over, observed.members), signal.count or spec.size.step_in, spec.scale_in.victim
        )
        if unfinished:
            return _shrink(observed, signal, size, tuple(unfinished), " (left over from an earlier scale-in)")

    wanted = signal.count or (spec.size.step_out if signal.direction == OUT else spec.size.step_in)
    evictions: tuple[Member, ...] = ()
    low, high = signal.floor(spec.size.min), signal.ceiling(spec.size.max)
    room = size - low
    if signal.direction == OUT:
        wanted = wanted if permit is None else min(wanted, permit)
        evictions = () if TERMINATE in controls.suspended else _evictions(high, observed, wanted)
        room = _room(high, observed, len(evictions))
    if room <= 0:
        code, bound = ("at_max", high) if signal.direction == OUT else ("at_min", low)
        counted = ", ".join(f"{number} {_SOURCES[name]}" for name, number in numbers.items())
        # Where a person said to stop is no bound of the group, which may go on at once.
        said = (low, high) != (spec.size.min, spec.size.max)
        rest = None if resting or said else now + spec.cooldown.of(signal.direction)
        return refuse(code, f"size is {size} and the bound is {bound} ({counted})", rest)

    if signal.direction == OUT:
        return _grow(spec, observed, signal, now, min(wanted, room), evictions)
    victims = _victims(spec, observed, min(wanted, room), low)
    if not victims:
        return refuse("no_victim", "every member is a base member, protected, in quarantine, or has no VM")
    return _shrink(observed, signal, size, victims)


def _room(high: int, observed: Observed, evicted: int) -> int:
    """Members that fit (A5) below *high* once *evicted* VMs are gone. A deleted VM lowers only what is owned."""
    return high - max(t.cast(int, observed.registered), t.cast(int, observed.owned) - evicted)


def _evictions(high: int, observed: Observed, wanted: int) -> tuple[Member, ...]:
    """The fewest quarantined members, oldest first, that give *wanted* launches as much room as they can."""
    oldest = oldest_quarantined(observed.members)
    count = max(range(len(oldest) + 1), key=lambda evicted: (min(wanted, _room(high, observed, evicted)), -evicted))
    return tuple(oldest[:count]) if _room(high, observed, count) > 0 else ()


def quarantine_room(spec: GroupSpec, members: t.Iterable[Member], leaving: t.Collection[str]) -> int:
    """VMs that may still be kept for diagnosis while *leaving* (names) go. They count as owned, so max holds."""
    staying = sum(member.quarantined and member.name not in leaving for member in members)
    return max(0, spec.quarantine.keep - staying)


def _size(numbers: t.Mapping[str, int], direction: str) -> int:
    if direction == OUT:
        return max(numbers["registered"], numbers["owned"])
    return min(numbers["registered"], numbers["in_service"])


def _why(signal: Signal, text: str) -> str:
    return f"{text}: {signal.reason}" if signal.reason else text


def _grow(
    spec: GroupSpec, observed: Observed, signal: Signal, now: float, count: int, evictions: tuple[Member, ...]
) -> Plan:
    names = unused_names(spec.vm.prefix, now, count, {member.name for member in observed.members})
    before, after = (-_room(0, observed, evicted) for evicted in (0, len(evictions)))
    gone = [member.name for member in evictions]
    text = f"{before} to {after + count} members, asked for by {signal.source}"
    if gone:
        text += f", {', '.join(gone)} of the quarantine deleted first"
    return Plan(
        "act",
        "scale_out",
        OUT,
        _why(signal, text),
        count=count,
        size_before=before,
        size_after=after + count,
        launches=tuple(Launch(name, slot) for slot, name in enumerate(names, start=1)),
        evictions=evictions,
        quarantine=min(count, quarantine_room(spec, observed.members, gone)),
    )


def _victims(spec: GroupSpec, observed: Observed, count: int, low: int) -> tuple[Member, ...]:
    """At most *count* victims, such that those in service leave *low* in service (invariant 2).

    *count* is at most ``min(registered, in_service) - low``, so any choice keeps the floor. The loop says it once more,
    so that the floor does not hang on how the count is made.
    """
    spare = t.cast(int, observed.in_service) - low
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
        minimum=signal.minimum,
    )
