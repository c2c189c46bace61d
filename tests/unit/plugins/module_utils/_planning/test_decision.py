# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision, case by case (A4, A5, A7)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Breaker,
    Controls,
    Cooldowns,
    Member,
    Observed,
    Plan,
    Signal,
    decide,
)

NOW = 1_800_000_000.0
NONE = Cooldowns(None, None)


def serving(name: str, **more: t.Any) -> Member:
    return Member(name, **{"in_service": True, "registered": True, "created": NOW - 100, **more})


def group_of(count: int, registered: int | None = None, in_service: int | None = None) -> Observed:
    members = tuple(serving(f"web-{index}") for index in range(count))
    return Observed(members, count if registered is None else registered, count if in_service is None else in_service)


def test_out_below_max_acts(make_spec: t.Any) -> None:
    """A6: names from the time of the decision, in UTC."""
    plan = decide(make_spec(), group_of(2), NONE, Signal("out", "alert", "CPU 93 %"), NOW)
    assert (plan.verdict, plan.code, plan.count, plan.size_before, plan.size_after) == ("act", "scale_out", 1, 2, 3)
    assert [launch.as_dict() for launch in plan.launches] == [
        {"name": "web-20270115080000", "slot": 1, "address": "", "marks": {}, "keep": False}
    ]
    assert "CPU 93 %" in plan.reason
    assert "alert" in plan.reason
    assert plan.cooldown_until is None


def test_several_members_have_a_suffix_and_stop_at_max(make_spec: t.Any) -> None:
    plan = decide(make_spec(size__step_out=9), group_of(2), NONE, Signal("out"), NOW)
    assert [launch.name for launch in plan.launches] == ["web-20270115080000-1", "web-20270115080000-2"]
    assert plan.size_after == 4


def test_count_of_the_signal_replaces_the_step(make_spec: t.Any) -> None:
    assert decide(make_spec(size__step_out=1), group_of(1), NONE, Signal("out", count=2), NOW).count == 2
    assert decide(make_spec(size__step_in=3), group_of(4), NONE, Signal("in", count=1), NOW).count == 1


def test_out_at_max_is_refused_and_starts_the_cooldown(make_spec: t.Any) -> None:
    """A4: reaching a bound starts the cooldown."""
    plan = decide(make_spec(), group_of(4), NONE, Signal("out"), NOW)
    assert (plan.verdict, plan.code, plan.count, plan.size_before, plan.size_after) == ("refuse", "at_max", 0, 4, 4)
    assert plan.cooldown_until == NOW + 300


def test_in_at_min_is_refused_and_starts_its_own_cooldown(make_spec: t.Any) -> None:
    """A4: out and in have independent cooldowns."""
    plan = decide(make_spec(), group_of(1), NONE, Signal("in"), NOW)
    assert (plan.code, plan.cooldown_until) == ("at_min", NOW + 120)


def test_repeated_alerts_at_a_bound_do_not_prolong_the_cooldown(make_spec: t.Any) -> None:
    """A4: no storm, and no rest without end either."""
    resting = Cooldowns(NOW + 300, None)
    plan = decide(make_spec(), group_of(4), resting, Signal("out"), NOW + 100)
    assert (plan.code, plan.cooldown_until) == ("cooldown", None)
    assert "200 s" in plan.reason
    plan = decide(make_spec(), group_of(4), resting, Signal("out", ignore_cooldown=True), NOW + 100)
    assert (plan.code, plan.cooldown_until) == ("at_max", None)


@pytest.mark.parametrize(
    ("direction", "cooldowns"), [("out", Cooldowns(NOW + 1, None)), ("in", Cooldowns(None, NOW + 1))]
)
def test_cooldown_holds_its_own_direction_only(make_spec: t.Any, direction: str, cooldowns: Cooldowns) -> None:
    """A4."""
    other = {"out": "in", "in": "out"}[direction]
    assert decide(make_spec(), group_of(3), cooldowns, Signal(direction), NOW).code == "cooldown"
    assert decide(make_spec(), group_of(3), cooldowns, Signal(other), NOW).acts
    assert decide(make_spec(), group_of(3), cooldowns, Signal(direction, ignore_cooldown=True), NOW).acts
    assert decide(make_spec(), group_of(3), cooldowns, Signal(direction), NOW + 1).acts, "it ends on the second"


@pytest.mark.parametrize("direction", ["out", "in"])
def test_a_disabled_group_does_nothing(make_spec: t.Any, direction: str) -> None:
    """Not even when a person asks, or when nothing can be read."""
    blind = Observed((), None, None)
    assert (
        decide(make_spec(enabled=False), blind, NONE, Signal(direction, ignore_cooldown=True), NOW).code == "disabled"
    )


def test_owned_vms_that_never_register_count_for_out(make_spec: t.Any) -> None:
    """A5: a clone that never boots never becomes a target; registered alone runs away (apache/cloudstack#14185)."""
    dead = tuple(Member(f"web-{index}", healthy=False) for index in range(4))
    assert decide(make_spec(), Observed(dead, 1, 1), NONE, Signal("out"), NOW).code == "at_max"


def test_targets_of_nobody_count_for_out(make_spec: t.Any) -> None:
    """A5: the larger of the two."""
    assert decide(make_spec(), group_of(2, registered=4), NONE, Signal("out"), NOW).code == "at_max"


@pytest.mark.parametrize(("registered", "in_service"), [(1, 3), (3, 1)])
def test_in_counts_the_smaller(make_spec: t.Any, registered: int, in_service: int) -> None:
    """A5, invariant 2: what is registered but not in service carries no load, and the other way round."""
    plan = decide(make_spec(), group_of(3, registered, in_service), NONE, Signal("in"), NOW)
    assert (plan.code, plan.size_before) == ("at_min", 1)


@pytest.mark.parametrize(
    ("direction", "observed"),
    [
        ("out", Observed((serving("a"),), None, 1)),
        ("out", Observed((serving("a"),), 1, 1, unread=("vms",))),
        ("out", Observed((serving("a"),), 1, 1, unread=("ledger",))),
        ("in", Observed((serving("a"), serving("b")), None, 2)),
        ("in", Observed((serving("a"), serving("b")), 2, None)),
        ("in", Observed((serving("a"), serving("b")), 2, 2, unread=("vms",))),
    ],
)
def test_nothing_happens_on_a_guess(make_spec: t.Any, direction: str, observed: Observed) -> None:
    """Invariant 9: what could not be read allows nothing, starts no cooldown, and the reason names it."""
    plan = decide(make_spec(), observed, NONE, Signal(direction, ignore_cooldown=True), NOW)
    assert (plan.code, plan.size_before, plan.cooldown_until) == ("unknown_state", None, None)
    assert "could not be read" in plan.reason


def test_out_needs_no_load_balancer_to_count(make_spec: t.Any) -> None:
    assert decide(make_spec(), Observed((serving("a"),), 1, None), NONE, Signal("out"), NOW).acts


def test_base_and_protected_members_never_leave(make_spec: t.Any) -> None:
    """Invariant 10, A7."""
    members = (serving("base", base=True), serving("kept", protected=True), serving("born", state="launching"))
    plan = decide(make_spec(), Observed(members, 3, 3), NONE, Signal("in"), NOW)
    assert (plan.verdict, plan.code) == ("refuse", "no_victim")
    assert plan.cooldown_until is None


def test_unhealthy_goes_first_and_costs_no_service(make_spec: t.Any) -> None:
    """A7: unhealthy first always; it does not lower the number in service."""
    members = (
        serving("base", base=True),
        Member("sick", healthy=False, registered=True, created=NOW - 900),
        serving("old", created=NOW - 800),
        serving("new", created=NOW - 1),
    )
    plan = decide(make_spec(), Observed(members, 4, 3), NONE, Signal("in"), NOW)
    assert [victim.name for victim in plan.victims] == ["sick"]
    assert (plan.size_before, plan.size_after) == (3, 3)
    plan = decide(make_spec(), Observed(members, 4, 3), NONE, Signal("in", count=2), NOW)
    assert [victim.name for victim in plan.victims] == ["sick", "new"]
    assert plan.size_after == 2


def test_in_never_goes_below_min(make_spec: t.Any) -> None:
    """Invariant 2; a scale-in took all eligible instead of N elsewhere (hashicorp/nomad-autoscaler#1282)."""
    plan = decide(make_spec(size__min=2), group_of(4), NONE, Signal("in", count=9), NOW)
    assert (plan.count, plan.size_after) == (2, 2)


def left(name: str, **more: t.Any) -> Member:
    """Drained by a scale-in that failed before its VM was deleted."""
    return Member(name, **{"state": "draining", "registered": True, "created": NOW - 100, **more})


@pytest.mark.parametrize("registered", [True, False])
def test_what_a_failed_scale_in_left_is_finished_at_the_minimum(make_spec: t.Any, registered: bool) -> None:
    """A7: else the drained member keeps its VM and its address until the load rises and falls again."""
    members = (serving("base", base=True), serving("a"), left("web-9", moid="vm-9", registered=registered))
    plan = decide(make_spec(size__min=2), Observed(members, 2 + registered, 2), NONE, Signal("in"), NOW)
    assert (plan.verdict, plan.code, plan.count) == ("act", "scale_in", 1)
    assert [victim.name for victim in plan.victims] == ["web-9"]
    assert (plan.size_before, plan.size_after) == (2, 2), "it was not counted, so its end changes nothing"
    assert "web-9 (left over from an earlier scale-in)" in plan.reason


def test_what_is_left_is_finished_alone_and_before_others(make_spec: t.Any) -> None:
    """Nobody in service goes in the same action, and no more go than were asked for."""
    members = (*group_of(4).members, left("x"), left("y", created=NOW - 50))
    spec = make_spec(size__max=9, network__start="10.255.48.200")
    plan = decide(spec, Observed(members, 6, 4), NONE, Signal("in", count=9), NOW)
    assert ([victim.name for victim in plan.victims], plan.size_after) == (["y", "x"], 4)
    plan = decide(spec, Observed(members, 6, 4), NONE, Signal("in"), NOW)
    assert [victim.name for victim in plan.victims] == ["y"], "step_in is 1"


def test_what_is_left_goes_also_below_the_minimum(make_spec: t.Any) -> None:
    """Invariant 2 is about members in service: it lowers none."""
    members = (serving("a"), left("x"))
    plan = decide(make_spec(size__min=3), Observed(members, 2, 1), NONE, Signal("in"), NOW)
    assert ([victim.name for victim in plan.victims], plan.size_after) == (["x"], 1)


@pytest.mark.parametrize(
    "member",
    [
        left("x", in_service=True),
        left("x", protected=True),
        left("x", base=True),
        left("x", state="in_service"),
        left("x", state=""),
    ],
)
def test_only_a_drained_member_of_ours_is_left_over(make_spec: t.Any, member: Member) -> None:
    """Invariant 10, and a member that serves again costs service like any other."""
    members = (serving("a"), member)
    plan = decide(make_spec(size__min=3), Observed(members, 2, 1 + member.in_service), NONE, Signal("in"), NOW)
    assert plan.code == "at_min"


def test_what_is_left_waits_for_the_cooldown_and_for_all_sources(make_spec: t.Any) -> None:
    """A4: a delete that fails each time is not repeated without a rest. Invariant 9."""
    members = (serving("a"), left("x"))
    resting = Cooldowns(None, NOW + 1)
    assert decide(make_spec(), Observed(members, 2, 1), resting, Signal("in"), NOW).code == "cooldown"
    assert decide(make_spec(), Observed(members, 2, 1), resting, Signal("in", ignore_cooldown=True), NOW).acts
    assert decide(make_spec(), Observed(members, 2, None), NONE, Signal("in"), NOW).code == "unknown_state"
    assert decide(make_spec(enabled=False), Observed(members, 2, 1), NONE, Signal("in"), NOW).code == "disabled"
    out = decide(make_spec(), Observed(members, 2, 1), NONE, Signal("out"), NOW)
    assert (out.code, out.size_before) == ("scale_out", 2), "A5: it is still owned"


# ---- suspended, breaker, quarantine

OPEN = Breaker("open", ({"at": NOW - 9, "member": "web-9", "reason": "no address after 300 s"},), NOW - 9, NOW + 900)
DUE = Breaker("open", OPEN.failures, NOW - 9000, NOW)


@pytest.mark.parametrize(("process", "direction", "other"), [("launch", "out", "in"), ("terminate", "in", "out")])
def test_a_suspended_process_is_refused(make_spec: t.Any, process: str, direction: str, other: str) -> None:
    """No cooldown starts, so that the signal is looked at when the process is resumed."""
    held = Controls(frozenset({process}))
    plan = decide(make_spec(), group_of(3), NONE, Signal(direction, ignore_cooldown=True), NOW, held)
    assert (plan.verdict, plan.code, plan.cooldown_until) == ("refuse", "suspended", None)
    assert f"{process} of group web is suspended" in plan.reason
    assert decide(make_spec(), group_of(3), NONE, Signal(other), NOW, held).acts
    assert decide(make_spec(enabled=False), group_of(3), NONE, Signal(direction), NOW, held).code == "disabled"
    assert decide(make_spec(), Observed((), None, None), NONE, Signal(direction), NOW, held).code == "suspended"
    assert decide(make_spec(), group_of(3), NONE, Signal(direction), NOW, Controls(frozenset({"replace"}))).acts


def test_an_open_breaker_refuses_launches_and_says_why(make_spec: t.Any) -> None:
    """Invariant 8: how many failed, the last reason, and when one may try; before the bound, which would hide it."""
    held = Controls(breaker=OPEN)
    for size in (3, 4):
        plan = decide(make_spec(), group_of(size), NONE, Signal("out", ignore_cooldown=True), NOW, held)
        assert (plan.code, plan.cooldown_until, plan.size_before) == ("breaker_open", None, size)
        assert "after 1 failed launch, the last, web-9: no address after 300 s" in plan.reason
        assert "may try at 2027-01-15T08:15:00Z" in plan.reason
    assert decide(make_spec(), group_of(3), NONE, Signal("in"), NOW, held).acts
    assert decide(make_spec(), group_of(3), Cooldowns(NOW + 1), Signal("out"), NOW, held).code == "cooldown"


def test_the_probe_is_one_vm(make_spec: t.Any) -> None:
    """Invariant 8, whatever was asked for."""
    plan = decide(make_spec(size__step_out=3), group_of(1), NONE, Signal("out", count=3), NOW, Controls(breaker=DUE))
    assert (plan.code, plan.count) == ("scale_out", 1)
    begun = DUE.begin_probe(make_spec().breaker, NOW)
    assert decide(make_spec(), group_of(1), NONE, Signal("out"), NOW, Controls(breaker=begun)).code == "breaker_open"


def kept(name: str, since: float = NOW - 50, **more: t.Any) -> Member:
    """In quarantine."""
    return Member(name, moid=f"vm-{name}", **{"quarantined": True, "healthy": False, "quarantined_at": since, **more})


def test_quarantined_members_are_owned_and_no_victims(make_spec: t.Any) -> None:
    members = (*group_of(2).members, kept("x"), kept("y", state="draining"))
    plan = decide(make_spec(), Observed(members, 2, 2), NONE, Signal("in", count=4), NOW)
    assert [victim.name for victim in plan.victims] == ["web-1"]
    held = Controls(frozenset({"terminate"}))
    assert decide(make_spec(), Observed(members, 2, 2), NONE, Signal("out"), NOW, held).code == "at_max"


def test_the_oldest_in_quarantine_make_room(make_spec: t.Any) -> None:
    """Diagnosis never costs capacity; only as many go as are needed."""
    members = (*group_of(2).members, kept("young"), kept("old", NOW - 900))
    plan = decide(make_spec(), Observed(members, 2, 2), NONE, Signal("out"), NOW)
    assert [member.name for member in plan.evictions] == ["old"]
    assert (plan.count, plan.size_before, plan.size_after, plan.quarantine) == (1, 4, 4, 0)
    assert "old of the quarantine deleted first" in plan.reason
    plan = decide(make_spec(), Observed(members, 2, 2), NONE, Signal("out", count=9), NOW)
    assert ([member.name for member in plan.evictions], plan.count) == (["old", "young"], 2)
    assert plan.quarantine == 1, "their places in quarantine are free again"
    plan = decide(make_spec(), Observed(members[:3], 2, 2), NONE, Signal("out"), NOW)
    assert (plan.evictions, plan.count, plan.quarantine) == ((), 1, 0), "there is room"


def test_evictions_lower_only_what_is_owned(make_spec: t.Any) -> None:
    """A5: targets of nobody still count, so nobody is deleted in vain."""
    members = (*group_of(2).members, kept("x"))
    plan = decide(make_spec(), Observed(members, 4, 2), NONE, Signal("out"), NOW)
    assert (plan.code, plan.evictions) == ("at_max", ())


@pytest.mark.parametrize("more", [{"protected": True}, {"missing": True}])
def test_who_cannot_be_deleted_makes_no_room(make_spec: t.Any, more: dict[str, t.Any]) -> None:
    members = (*group_of(3).members, kept("x", **more))
    assert decide(make_spec(), Observed(members, 3, 3), NONE, Signal("out"), NOW).code == "at_max"


@pytest.mark.parametrize(("keep", "step", "room"), [(0, 2, 0), (1, 2, 1), (5, 2, 2), (5, 1, 1)])
def test_how_many_failures_may_be_kept(make_spec: t.Any, keep: int, step: int, room: int) -> None:
    """Never more than are launched: they count as owned, so that max holds."""
    plan = decide(make_spec(quarantine__keep=keep), group_of(1), NONE, Signal("out", count=step), NOW)
    assert plan.quarantine == room


def test_a_member_without_a_vm_is_owned_and_never_a_victim(make_spec: t.Any) -> None:
    """Invariants 1, 9: a listing that is late makes no room, and there is nothing that could be deleted."""
    members = (*group_of(2).members, Member("gone", moid="vm-9", state="in_service", missing=True))
    assert decide(make_spec(size__max=3), Observed(members, 2, 2), NONE, Signal("out"), NOW).code == "at_max"
    plan = decide(make_spec(), Observed(members, 3, 3), NONE, Signal("in", count=3), NOW)
    assert [victim.name for victim in plan.victims] == ["web-1", "web-0"]


def test_names_do_not_collide_within_one_second(make_spec: t.Any) -> None:
    """Two actions in one second, or a VM that somebody named like ours."""
    members = (*group_of(1).members, Member("web-20270115080000"))
    plan = decide(make_spec(), Observed(members, 2, 2), NONE, Signal("out"), NOW)
    assert [launch.name for launch in plan.launches] == ["web-20270115080001"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "up"}, "signal.direction: value is 'up'; allowed: one of out, in"),
        (
            {"direction": "out", "source": "cron"},
            "signal.source: value is 'cron'; allowed: one of alert, schedule, person, sweep",
        ),
        ({"direction": "out", "count": 0}, "signal.count: value is 0; allowed: a whole number from 1 on, or null"),
        ({"direction": "out", "count": True}, "signal.count: value is True"),
    ],
)
def test_a_bad_signal_is_refused(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message.replace("?", r"\?")):
        Signal(**options)


def test_values_survive_json(make_spec: t.Any) -> None:
    """A plan is stored in the ledger and read again by the next run (invariant 7)."""
    observed = group_of(3)
    assert Observed.from_dict(observed.as_dict()) == observed
    for direction in ("out", "in"):
        plan = decide(make_spec(), observed, NONE, Signal(direction), NOW)
        assert Plan.from_dict({**plan.as_dict(), "of_a_later_version": 1}) == plan
    assert Cooldowns.from_dict({"out_until": 5.0, "in_until": None}) == Cooldowns(5.0, None)
    assert Signal.from_dict({"direction": "out", "source": "sweep"}) == Signal("out", "sweep")


@pytest.mark.parametrize(("at", "count"), [(1, 2), (2, 1), (3, 0), (5, 0)])
def test_a_size_that_a_person_asks_for_is_reached_and_not_passed(make_spec: t.Any, at: int, count: int) -> None:
    """D3: a recovery asks for a size; one that has it is left as it is, and no cooldown starts."""
    plan = decide(make_spec(size__max=5), group_of(at), NONE, Signal("out", count=1000, maximum=3), NOW)
    assert (plan.count, plan.code) == (count, "scale_out" if count else "at_max")
    assert plan.cooldown_until is None


def test_a_size_above_the_groups_own_maximum_is_not_reached(make_spec: t.Any) -> None:
    """A4: the bound of the declaration holds, and starts its cooldown."""
    assert decide(make_spec(size__max=4), group_of(2), NONE, Signal("out", count=1000, maximum=9), NOW).size_after == 4
    assert decide(make_spec(size__max=4), group_of(4), NONE, Signal("out", count=9, maximum=9), NOW).cooldown_until


def test_only_a_person_says_where_a_growth_ends() -> None:
    for signal in ({"source": "alert"}, {"direction": "in"}, {"maximum": -1}, {"maximum": True}):
        with pytest.raises(InvalidSpecError, match=r"signal\.maximum"):
            Signal(**{"direction": "out", "maximum": 3, **signal})


# ---- the epoch, and a standby that shrinks

ELSEWHERE = Controls(not_holder="epoch 2 of shop is held by b, not by a")


@pytest.mark.parametrize("direction", ["out", "in"])
def test_a_site_that_does_not_hold_the_epoch_does_nothing(make_spec: t.Any, direction: str) -> None:
    """D6: before anything is looked at, and without a cooldown, so that it acts at once when it takes over."""
    signal = Signal(direction, ignore_cooldown=True)
    plan = decide(make_spec(), group_of(3), NONE, signal, NOW, ELSEWHERE)
    assert (plan.verdict, plan.code, plan.cooldown_until) == ("refuse", "not_holder", None)
    assert plan.reason == "epoch 2 of shop is held by b, not by a"
    assert decide(make_spec(), Observed((), None, None), NONE, signal, NOW, ELSEWHERE).code == "not_holder"
    assert decide(make_spec(enabled=False), group_of(3), NONE, signal, NOW, ELSEWHERE).code == "disabled"


def test_a_person_may_shrink_a_standby_below_its_minimum_and_to_nothing(make_spec: t.Any) -> None:
    """D3: invariant 2 then holds with that minimum; the plan keeps it for a run that carries it on."""
    spec = make_spec(size__min=2)
    to_one = decide(spec, group_of(3), NONE, Signal("in", count=9, minimum=1), NOW)
    assert (to_one.code, to_one.count, to_one.size_after, to_one.minimum) == ("scale_in", 2, 1, 1)
    to_none = decide(spec, group_of(2), NONE, Signal("in", count=9, minimum=0), NOW)
    assert (to_none.count, to_none.size_after, to_none.minimum) == (2, 0, 0)
    assert decide(spec, group_of(2), NONE, Signal("in"), NOW).code == "at_min"
    over = decide(spec, group_of(1), NONE, Signal("in", minimum=1), NOW)
    assert (over.code, "the bound is 1" in over.reason) == ("at_min", True)


@pytest.mark.parametrize(
    "changes",
    [{"minimum": -1}, {"minimum": True}, {"minimum": 1.5}, {"minimum": 0, "source": "alert"}],
)
def test_a_minimum_is_a_whole_number_from_a_person(changes: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidSpecError, match=r"^signal.minimum: value is .*; allowed: "):
        Signal("in", **changes)
    with pytest.raises(InvalidSpecError, match=r"^signal.minimum: .*direction out"):
        Signal("out", minimum=0)


def test_a_failover_adds_several_at_once_up_to_the_maximum(make_spec: t.Any) -> None:
    """D3: step_out is for alerts; a person's count is bounded by max and the breaker alone."""
    spec = make_spec(size__max=9, size__step_out=1, network__end="10.255.48.240")
    assert decide(spec, group_of(0), NONE, Signal("out", count=6), NOW).count == 6
    assert decide(spec, group_of(4), NONE, Signal("out", count=50), NOW).count == 5
