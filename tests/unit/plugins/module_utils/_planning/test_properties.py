# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The invariants of the design, over arbitrary groups and arbitrarily wrong observations."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Breaker,
    Controls,
    Cooldowns,
    GroupSpec,
    Member,
    Observed,
    Plan,
    Signal,
    choose_victims,
    decide,
    free_addresses,
    member_names,
)

NOW = 1_800_000_000.0
CODES = {
    "act": {"scale_out", "scale_in"},
    "refuse": {
        "at_max", "at_min", "breaker_open", "cooldown", "disabled", "no_victim", "not_holder", "suspended",
        "unknown_state",
    },
}  # fmt: skip
SIZES = st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(1, 8), st.integers(1, 8))

members = st.lists(
    st.builds(
        Member,
        name=st.integers(0, 40).map(lambda number: f"web-{number}"),
        moid=st.sampled_from(["", "vm-1"]),
        created=st.none() | st.floats(NOW - 1e6, NOW),
        base=st.booleans(),
        protected=st.booleans(),
        healthy=st.sampled_from([True, False, None]),
        in_service=st.booleans(),
        registered=st.booleans(),
        state=st.sampled_from(["", "planned", "launching", "in_service", "draining", "quarantined"]),
        quarantined=st.sampled_from([False, False, False, True]),
        missing=st.sampled_from([False, False, False, True]),
    ),
    max_size=10,
    unique_by=lambda member: member.name,
).map(tuple)
numbers = st.none() | st.integers(0, 12)
cooldowns = st.builds(
    Cooldowns, st.none() | st.floats(NOW - 500, NOW + 500), st.none() | st.floats(NOW - 500, NOW + 500)
)
signals = st.builds(
    Signal,
    direction=st.sampled_from(["out", "in"]),
    source=st.sampled_from(["alert", "schedule", "person", "sweep"]),
    count=st.none() | st.integers(1, 20),
    ignore_cooldown=st.booleans(),
) | st.builds(
    Signal,
    direction=st.just("in"),
    source=st.just("person"),
    count=st.none() | st.integers(1, 20),
    ignore_cooldown=st.booleans(),
    minimum=st.integers(0, 8),
)
controls_of = st.builds(
    Controls,
    st.sampled_from([frozenset(), frozenset(), frozenset({"launch"}), frozenset({"terminate"}), frozenset({"all"})]),
    st.sampled_from([Breaker(), Breaker(), Breaker("open", (), NOW, NOW + 1), Breaker("open", (), NOW - 9, NOW - 1)]),
    st.sampled_from(["", "", "", "epoch 2 of shop is held by b, not by a"]),
)
observations = st.builds(
    Observed, members, numbers, numbers, unread=st.sampled_from([(), (), (), ("vms",), ("ledger",)])
)


@pytest.fixture(scope="module")
def specs(make_spec: t.Any) -> t.Callable[..., GroupSpec]:
    """A group from (min, max - min, step out, step in), victim order and enabled; parsed once each."""
    known: dict[t.Any, GroupSpec] = {}

    def spec(size: tuple[int, int, int, int], victim: str, enabled: bool) -> GroupSpec:
        key = (size, victim, enabled)
        if key not in known:
            low, extra, out, inward = size
            known[key] = make_spec(
                size={"min": low, "max": low + extra, "step_out": out, "step_in": inward},
                network__start="10.255.48.100",
                scale_in__victim=victim,
                enabled=enabled,
            )
        return known[key]

    return spec


@settings(max_examples=1500, deadline=None)
@given(
    size=SIZES,
    victim=st.sampled_from(["newest", "oldest"]),
    enabled=st.sampled_from([True, True, True, False]),
    observed=observations,
    rests=cooldowns,
    signal=signals,
    controls=controls_of,
)
def test_invariants_hold_for_every_decision(
    specs: t.Any,
    size: t.Any,
    victim: str,
    enabled: bool,
    observed: Observed,
    rests: Cooldowns,
    signal: Signal,
    controls: Controls,
) -> None:
    """Invariants 1, 2, 8, 9 and 10, A4 and A5, whatever the observation claims."""
    spec = specs(size, victim, enabled)
    plan = decide(spec, observed, rests, signal, NOW, controls)
    assert decide(spec, observed, rests, signal, NOW, controls) == plan, "deterministic"
    assert plan.code in CODES[plan.verdict]
    assert plan.direction == signal.direction
    assert plan.reason
    _check_acting(spec, observed, rests, signal, plan)
    _check_controls(controls, plan)
    _check_out(spec, observed, plan)
    _check_in(spec, observed, signal, plan)


def _check_acting(spec: GroupSpec, observed: Observed, rests: Cooldowns, signal: Signal, plan: Plan) -> None:
    assert plan.count == len(plan.launches) + len(plan.victims)
    assert plan.acts == (plan.count > 0)
    assert (plan.cooldown_until is not None) <= (plan.code in ("at_max", "at_min"))
    if not plan.acts:
        return
    assert spec.enabled
    until = rests.until(signal.direction)
    assert signal.ignore_cooldown or until is None or until <= NOW, "A4: nothing within the cooldown"
    needed = [observed.registered, observed.owned, *([observed.in_service] if signal.direction == "in" else [])]
    assert None not in needed, "invariant 9: nothing on a guess"
    step = signal.count or (spec.size.step_out if signal.direction == "out" else spec.size.step_in)
    assert 1 <= plan.count <= step, "never more than was asked for"


def _check_controls(controls: Controls, plan: Plan) -> None:
    """Suspended processes, the breaker (invariant 8), and the right to act (D6)."""
    assert not (controls.not_holder and plan.acts)
    permit = controls.breaker.permit(NOW)
    assert not plan.launches or permit is None or len(plan.launches) <= permit
    assert "launch" not in controls.suspended or not plan.launches
    assert "terminate" not in controls.suspended or not (plan.victims or plan.evictions)


def _check_out(spec: GroupSpec, observed: Observed, plan: Plan) -> None:
    if plan.code != "scale_out":
        return
    assert not plan.victims
    assert len(observed.members) - len(plan.evictions) + len(plan.launches) <= spec.size.max, "invariant 1"
    assert all(member.quarantined and not member.missing for member in plan.evictions), "only out of quarantine"
    assert not any(member.base or member.protected for member in plan.evictions), "invariant 10"
    over = max(0, (plan.size_before or 0) - spec.size.max)
    assert len(set(plan.evictions)) == len(plan.evictions) <= plan.count + over, "no more than are needed"
    staying = sum(member.quarantined for member in observed.members) - len(plan.evictions)
    assert plan.quarantine == max(0, min(plan.count, spec.quarantine.keep - staying))
    assert t.cast(int, observed.registered) + len(plan.launches) <= spec.size.max
    names = [launch.name for launch in plan.launches]
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (len(name), name))
    assert not set(names) & {member.name for member in observed.members}
    assert [launch.slot for launch in plan.launches] == list(range(1, len(names) + 1))


def _check_in(spec: GroupSpec, observed: Observed, signal: Signal, plan: Plan) -> None:
    if plan.code != "scale_in":
        return
    assert not plan.launches
    _check_floor(signal.floor(spec.size.min), observed, plan)
    assert set(plan.victims) <= set(observed.members)
    assert len(set(plan.victims)) == len(plan.victims)
    assert not any(member.base or member.protected for member in plan.victims), "invariant 10"
    assert not any(member.quarantined or member.missing for member in plan.victims)


def _check_floor(low: int, observed: Observed, plan: Plan) -> None:
    """Invariant 2: who was drained before costs nothing and goes first and alone; all others leave the minimum."""
    unfinished = [
        member
        for member in observed.members
        if member.state == "draining"
        and not (member.in_service or member.base or member.protected or member.quarantined or member.missing)
    ]
    assert plan.size_after == min(
        t.cast(int, observed.registered) - sum(victim.registered for victim in plan.victims),
        t.cast(int, observed.in_service) - sum(victim.in_service for victim in plan.victims),
    )
    if unfinished:
        assert set(plan.victims) <= set(unfinished)
        assert not any(victim.in_service for victim in plan.victims)
        assert "left over" in plan.reason
    else:
        assert t.cast(int, observed.in_service) - len(plan.victims) >= low, "whatever the flags say"


@settings(max_examples=300, deadline=None)
@given(members=members, count=st.integers(0, 12), order=st.sampled_from(["newest", "oldest"]))
def test_victims(members: tuple[Member, ...], count: int, order: str) -> None:
    """A7, invariant 10: unhealthy first, then by age; base, protected and unborn members never."""
    victims = choose_victims(members, count, order)
    allowed = [
        m
        for m in members
        if not (m.base or m.protected or m.quarantined or m.missing)
        and not (m.state in ("planned", "launching") and not m.moid)
    ]
    assert len(victims) == min(count, len(allowed))
    assert all(victim in allowed for victim in victims)
    sick = [victim.healthy is False for victim in victims]
    assert sick == sorted(sick, reverse=True)
    assert sum(sick) == min(count, sum(member.healthy is False for member in allowed))
    assert choose_victims(members[::-1], count, order) == victims
    for healthy in (True, False):
        ages = [v.created for v in victims if (v.healthy is not False) == healthy and v.created is not None]
        assert ages == sorted(ages, reverse=order == "newest")


@settings(max_examples=300, deadline=None)
@given(stored=st.floats(0, 4e9), count=st.integers(1, 30), prefix=st.sampled_from(["web", "a-b", "x" * 44]))
def test_names(stored: float, count: int, prefix: str) -> None:
    """A6: unique, the same again for the same stored time, valid host names and vSphere names."""
    names = member_names(prefix, stored, count)
    assert member_names(prefix, stored, count) == names
    assert len(set(names)) == len(names) == count
    assert all(len(name) <= 63 and name.startswith(f"{prefix}-") for name in names)
    assert len(names[0]) == len(prefix) + 15 + (2 if count > 1 else 0)


@settings(max_examples=300, deadline=None)
@given(
    start=st.integers(1, 250),
    length=st.integers(4, 30),
    taken=st.sets(st.integers(0, 255).map("10.255.48.{}".format)),
)
def test_addresses(make_spec: t.Any, start: int, length: int, taken: set[str]) -> None:
    """A8, invariant 3: never one that is taken, ascending, within the pool, and all that there are."""
    start = min(start, 254 - length)
    end = start + length - 1
    outside = [number for number in (1, 2, 250, 251) if not start <= number <= end]
    spec = make_spec(
        network__start=f"10.255.48.{start}",
        network__end=f"10.255.48.{end}",
        network__gateway=f"10.255.48.{outside[0]}",
        base_members=[{"name": "b", "address": f"10.255.48.{outside[-1]}"}],
        load_balancer__vip=f"10.255.48.{start}:80",
        size={"min": 1, "max": 3},
    )
    found = list(free_addresses(spec.network, taken))
    last = [int(address.rpartition(".")[2]) for address in found]
    assert last == sorted(set(range(start + 1, end + 1)) - {int(a.rpartition(".")[2]) for a in taken})
