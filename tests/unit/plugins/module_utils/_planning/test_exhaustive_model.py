# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every interleaving of a small group: what the backends show, two signals, failures; and the planner's answers.

A state holds up to three VMs in order of age, each in a situation of :class:`Kind`, and which directions rest. The
world may change any VM at any time; a signal may come at any time, also while clones of an earlier decision are in
flight (the lock of a crashed run has expired). Rows go through the same ``observe`` and ``decide`` as in production.
"""

from __future__ import annotations

import enum
import functools
import itertools
import time
import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Cooldowns,
    GroupSpec,
    Observed,
    Plan,
    Signal,
    decide,
    observe,
)

NOW = 1_800_000_000.0


class Kind(enum.Enum):
    """A VM: does it run, is it a target of Prometheus, what does the load balancer say (``None``: no member).

    The last two were drained by a scale-in that failed later, before or after the member left the pool.
    """

    FLIGHT = ("absent", False, None)
    OFF = ("off", False, None)  # a clone that failed, or never booted
    OFF_REGISTERED = ("off", True, "offline")
    BOOTED = ("on", False, None)
    REGISTERED = ("on", True, None)
    POOLED = ("on", False, "available")
    SERVING = ("on", True, "available")
    SICK = ("on", True, "offline")
    SICK_UNREGISTERED = ("on", False, "offline")
    DRAINED = ("on", True, "disabled")
    DRAINED_UNPOOLED = ("on", False, None, "drained")  # the fourth value only makes it another than BOOTED
    KEPT = ("on", False, None, "quarantined")
    HIDDEN = ("hidden", True, "available")  # it serves, and a late listing of vCenter does not show it

    @property
    def serves(self) -> bool:
        return self.value[2] == "available"

    @property
    def left_over(self) -> bool:
        return self in (Kind.DRAINED, Kind.DRAINED_UNPOOLED)


#: What the world may do to a VM on its own. A VM may also vanish.
CHANGES: dict[Kind, tuple[Kind, ...]] = {
    Kind.FLIGHT: (Kind.OFF, Kind.BOOTED),
    Kind.OFF: (Kind.BOOTED, Kind.KEPT),
    Kind.OFF_REGISTERED: (Kind.OFF, Kind.SERVING),
    Kind.BOOTED: (Kind.REGISTERED, Kind.POOLED, Kind.OFF, Kind.SICK_UNREGISTERED),
    Kind.REGISTERED: (Kind.SERVING, Kind.BOOTED, Kind.OFF_REGISTERED, Kind.SICK),
    Kind.POOLED: (Kind.SERVING, Kind.SICK_UNREGISTERED, Kind.OFF),
    Kind.SERVING: (Kind.SICK, Kind.POOLED, Kind.OFF_REGISTERED, Kind.HIDDEN),
    Kind.SICK: (Kind.SERVING, Kind.OFF_REGISTERED, Kind.SICK_UNREGISTERED),
    Kind.SICK_UNREGISTERED: (Kind.POOLED, Kind.SICK, Kind.OFF),
    Kind.DRAINED: (Kind.DRAINED_UNPOOLED, Kind.SERVING),  # somebody may enable it again
    Kind.DRAINED_UNPOOLED: (),
    Kind.KEPT: (),
    Kind.HIDDEN: (Kind.SERVING,),
}


class State(t.NamedTuple):
    """VMs from the oldest to the newest, and which directions rest. The base members always serve."""

    vms: tuple[Kind, ...]
    out_rests: bool
    in_rests: bool


@functools.lru_cache(maxsize=4096)
def look(spec: GroupSpec, vms: tuple[Kind, ...], blind: str = "") -> Observed:
    """The rows that the modules would return, merged; *blind* is a source that cannot be read."""
    rows: list[dict[str, t.Any]] = []
    pool: list[dict[str, t.Any]] = []
    targets: list[dict[str, t.Any]] = []
    ledger: list[dict[str, t.Any]] = []
    for base in spec.base_members:
        pool.append({"address": base.address, "port": 8080, "availability": "available", "in_service": True})
        targets.append({"address": f"{base.address}:9100", "labels": {"job": "web"}})
    for age, kind in enumerate(vms):
        power, registered, pooled = kind.value[:3]
        name, address = f"web-2026010100000{age}", f"10.255.48.{220 + age}"
        if power == "absent":
            ledger.append({"name": name, "address": address, "state": "launching"})
            continue
        if kind.left_over:
            ledger.append({"name": name, "address": address, "state": "draining"})
        marks = {"group": "web", **({"quarantined": "web-1"} if kind is Kind.KEPT else {})}
        if power == "hidden":
            ledger.append({"name": name, "address": address, "state": "in_service"})
        else:
            rows.append({"name": name, "moid": f"vm-{age}", "address": address, "power_state": power, "marks": marks})
        if pooled:
            availability = "available" if pooled == "disabled" else pooled
            pool.append({"address": address, "port": 8080, "availability": availability, "in_service": kind.serves})
        if registered:
            targets.append({"address": f"{address}:9100", "labels": {"job": "web"}})
    sources: dict[str, t.Any] = {"vms": rows, "pool_members": pool, "targets": targets, "ledger_members": ledger}
    return observe(spec, **{**sources, **({blind: None} if blind else {})})


def ask(spec: GroupSpec, state: State, direction: str) -> Plan:
    rests = Cooldowns(NOW + 1 if state.out_rests else None, NOW + 1 if state.in_rests else None)
    return decide(spec, look(spec, state.vms), rests, Signal(direction, "alert"), NOW)


def apply(state: State, plan: Plan) -> State:
    """The state after *plan* began: clones are in flight, victims are gone, the direction rests."""
    rests = plan.acts or plan.cooldown_until is not None
    state = state._replace(
        out_rests=state.out_rests or (rests and plan.direction == "out"),
        in_rests=state.in_rests or (rests and plan.direction == "in"),
    )
    gone = {int(member.name[-1]) for member in (*plan.victims, *plan.evictions)}
    vms = tuple(kind for age, kind in enumerate(state.vms) if age not in gone)
    return state._replace(vms=vms + (Kind.FLIGHT,) * len(plan.launches))


def fail(state: State, plan: Plan) -> State:
    """The state after a scale-in drained its victims and could not delete them."""
    victims = {int(victim.name[-1]) for victim in plan.victims}
    vms = tuple(Kind.DRAINED if age in victims else kind for age, kind in enumerate(state.vms))
    return apply(state, plan)._replace(vms=vms)


def check(spec: GroupSpec, state: State, plan: Plan) -> None:
    """Invariants 1, 2 and 10, and the cooldown, for one decision."""
    base = len(spec.base_members)
    after = apply(state, plan)
    if plan.code == "scale_out":
        assert not state.out_rests
        assert base + len(after.vms) <= spec.size.max
        assert all(state.vms[int(member.name[-1])] is Kind.KEPT for member in plan.evictions)
    if plan.code == "scale_in":
        assert not state.in_rests
        served, serving = (base + sum(kind.serves for kind in vms) for vms in (state.vms, after.vms))
        assert serving >= spec.size.min or serving == served, "invariant 2: nobody in service goes below the minimum"
        assert serving == base + sum(kind.serves for kind in fail(state, plan).vms), "nor by a scale-in that fails"
        assert all(victim.name.startswith("web-2026") for victim in plan.victims)
        assert len(after.vms) == len(state.vms) - len(plan.victims)
    unfinished = sum(kind.left_over for kind in state.vms)
    if plan.direction == "in" and unfinished and not state.in_rests:
        assert plan.count == min(unfinished, spec.size.step_in), "what is left over goes first, at the minimum too"
        assert sum(kind.left_over for kind in after.vms) == unfinished - plan.count, "and nobody else with it"
    assert plan.code != "unknown_state"


def next_states(spec: GroupSpec, state: State) -> t.Iterator[State]:
    """One step of the world or of the autoscaler."""
    for direction in ("out", "in"):
        plan = ask(spec, state, direction)
        check(spec, state, plan)
        yield apply(state, plan)
        yield fail(state, plan)
    yield state._replace(out_rests=False)
    yield state._replace(in_rests=False)
    for age, kind in enumerate(state.vms):
        before, after = state.vms[:age], state.vms[age + 1 :]
        yield state._replace(vms=before + after)
        for changed in CHANGES[kind]:
            yield state._replace(vms=(*before, changed, *after))


def explore(spec: GroupSpec, starts: t.Iterable[State]) -> set[State]:
    """Every state that can be reached; checks each decision on the way."""
    seen: set[State] = set()
    frontier = list(starts)
    while frontier:
        state = frontier.pop()
        if state in seen:
            continue
        seen.add(state)
        assert len(spec.base_members) + len(state.vms) <= spec.size.max, "owned never exceeds max by an action"
        frontier.extend(next_states(spec, state))
    return seen


def settle(vms: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """The world heals: what can serve does; what never booted, was drained or is quarantined stays as it is."""
    stays = (Kind.OFF, Kind.KEPT)
    return tuple(kind if kind in stays or kind.left_over else Kind.SERVING for kind in vms)


@functools.cache
def outcome(spec: GroupSpec, vms: tuple[Kind, ...], direction: str) -> tuple[tuple[Kind, ...], str]:
    """Where a signal that never ends leads, and the code of the refusal that it ends with."""
    state = State(settle(vms), False, False)
    for _round in range(8):
        plan = ask(spec, state, direction)
        if not plan.acts:
            return state.vms, plan.code
        state = State(settle(apply(state, plan).vms), False, False)
    raise AssertionError(f"no end in sight from {vms} with a steady {direction}")


CONFIGS = [
    # min, max, step out, step in, base members
    (1, 3, 1, 1, 0),
    (1, 3, 2, 2, 0),
    (2, 3, 3, 3, 0),
    (3, 3, 1, 1, 0),
    (1, 3, 1, 1, 1),
    (2, 4, 2, 2, 1),
    (1, 2, 1, 1, 2),
]


@pytest.mark.parametrize(("low", "high", "step_out", "step_in", "base"), CONFIGS)
def test_every_interleaving_keeps_the_bounds_and_converges(
    make_spec: t.Any, low: int, high: int, step_out: int, step_in: int, base: int
) -> None:
    """Invariants 1, 2 and 10 in every reachable state; a steady signal reaches its end and stays there."""
    began = time.monotonic()
    spec = make_spec(
        size={"min": low, "max": high, "step_out": step_out, "step_in": step_in},
        base_members=[{"name": f"base-{n}", "address": f"10.255.48.{10 + n}"} for n in range(base)],
    )
    room = high - base
    # Out-of-band deletion may empty a group, so the search starts there and at every full group.
    starts = [State(vms, False, False) for vms in itertools.product(Kind, repeat=room)]
    seen = explore(spec, [State((), False, False), *starts])
    print(f"min {low} max {high} base {base}: {len(seen)} states in {time.monotonic() - began:.1f} s")
    if room:
        assert len(seen) == 4 * sum(len(Kind) ** count for count in range(room + 1)), "the whole space was visited"
    for vms in {state.vms for state in seen}:
        _check_convergence(spec, vms)
        _check_blindness(spec, vms)


def _check_blindness(spec: GroupSpec, vms: tuple[Kind, ...]) -> None:
    """Invariant 9: whatever cannot be read, the decision is the same or a refusal."""
    for source, direction in itertools.product(("vms", "pool_members", "targets", "ledger_members"), ("out", "in")):
        plan = decide(spec, look(spec, vms, blind=source), Cooldowns(), Signal(direction, "alert"), NOW)
        if source == "pool_members" and direction == "out":
            assert plan.code == ask(spec, State(vms, False, False), "out").code
        else:
            assert plan.code == "unknown_state"


def _check_convergence(spec: GroupSpec, vms: tuple[Kind, ...]) -> None:
    base = len(spec.base_members)
    grown, code = outcome(spec, vms, "out")
    assert (base + len(grown), code) == (spec.size.max, "at_max")
    assert outcome(spec, grown, "out") == (grown, "at_max"), "stays"
    shrunk, code = outcome(spec, vms, "in")
    assert not any(kind.left_over for kind in shrunk), "a steady scale-in finishes what an earlier one left"
    serving = base + sum(kind.serves for kind in shrunk)
    started = base + sum(kind.serves for kind in settle(vms))
    if started >= spec.size.min:
        least = max(base, spec.size.min)
        assert (serving, code) == (least, "at_min" if least == spec.size.min else "no_victim")
    else:
        rest = tuple(kind for kind in settle(vms) if not kind.left_over)
        assert (shrunk, code) == (rest, "at_min"), "below the minimum nobody in service is taken"
    assert outcome(spec, shrunk, "in") == (shrunk, code), "stays"
