# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stored plan that goes on: never more than it said, within the bounds of now (invariants 1, 2; T4)."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Launch,
    Member,
    Observed,
    Plan,
    parse_spec,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._resume import resume

MIN, MAX = 2, 5
SPEC = parse_spec(
    {
        "name": "web",
        "size": {"min": MIN, "max": MAX},
        "policies": [{"type": "threshold", "out": {"cpu": 80, "for": 60}, "in": {"cpu": 30, "for": 300}}],
        "vm": {"template": "t", "prefix": "web"},
        "network": {
            "name": "n",
            "start": "10.0.0.10",
            "end": "10.0.0.20",
            "cidr": "10.0.0.0/24",
            "gateway": "10.0.0.1",
        },
        "load_balancer": {"pool": "p", "port": 80},
        "base_members": [{"name": "b", "address": "10.0.0.5"}],
    }
)


def member(name, **kwargs):
    return Member(name, moid=f"vm-{name}", **{"in_service": True, "registered": True, **kwargs})


def observed(*members):
    return Observed(members, sum(m.registered for m in members), sum(m.in_service for m in members))


def out(count):
    launches = tuple(Launch(f"new-{slot}", slot) for slot in range(count))
    return Plan("act", "scale_out", "out", "why", count, 2, 2 + count, launches).as_dict()


def shrink(*names):
    victims = tuple(member(name) for name in names)
    return Plan("act", "scale_in", "in", "why", len(names), 4, 4 - len(names), victims=victims).as_dict()


def names(plan):
    return [row.name for row in plan.launches or plan.victims]


def test_nothing_changed_means_the_same_plan():
    assert resume(out(2), SPEC, observed(member("a"), member("b"))).as_dict() == out(2)
    all_four = observed(*map(member, "abcd"))
    assert resume(shrink("a", "b"), SPEC, all_four).as_dict() == shrink("a", "b")


def test_a_refusal_stays_one():
    refused = Plan("refuse", "at_max", "out", "full").as_dict()
    assert resume(refused, SPEC, observed()).as_dict() == refused


def test_a_full_group_gets_no_more_and_keeps_what_exists():
    plan = resume(out(3), SPEC, observed(*map(member, "abcd"), member("new-1", in_service=False, registered=False)))
    assert (names(plan), plan.count, plan.size_after) == (["new-1"], 1, 3)
    plan = resume(out(2), SPEC, observed(*map(member, "abcde")))
    assert (plan.verdict, plan.code, names(plan)) == ("refuse", "at_max", [])


def test_placeholders_of_the_action_itself_take_no_room():
    planned = [Member(f"new-{slot}", state="planned") for slot in range(3)]
    assert resume(out(3), SPEC, observed(member("a"), member("b"), *planned)).count == 3


def missing(name, **kwargs):
    """The ledger knows it and vCenter does not show it."""
    return Member(name, **{"moid": f"vm-{name}", "missing": True, "healthy": None, "state": "launching", **kwargs})


def test_a_launch_whose_vm_is_not_shown_is_its_own_and_takes_no_second_slot():
    """Invariants 1 and 9: made as the journal says, or only planned; in neither case is it somebody else."""
    four = [member(name) for name in "abcd"]
    assert names(resume(out(1), SPEC, observed(*four, missing("new-0")))) == ["new-0"]
    assert names(resume(out(1), SPEC, observed(*four, missing("new-0", moid="")))) == ["new-0"]
    plan = resume(out(2), SPEC, observed(*four, missing("new-0"), missing("new-1", moid="")))
    assert names(plan) == ["new-0"], "the one that was made goes on, the other has no room"
    assert resume(out(1), SPEC, observed(*four, missing("x"))).code == "at_max", "somebody else's row counts"


def kept(name, **kwargs):
    """In quarantine."""
    return member(name, in_service=False, registered=False, quarantined=True, healthy=False, **kwargs)


def evicting(count, *evictions, quarantine=1):
    plan = Plan.from_dict(out(count))
    return Plan.from_dict({**plan.as_dict(), "evictions": [kept(name).as_dict() for name in evictions],
                           "quarantine": quarantine}).as_dict()  # fmt: skip


def test_evictions_go_on_and_give_their_room():
    four = [member(name) for name in "abcd"]
    plan = resume(evicting(1, "q"), SPEC, observed(*four, kept("q")))
    assert ([row.name for row in plan.evictions], names(plan), plan.quarantine) == (["q"], ["new-0"], 1)
    gone = resume(evicting(1, "q"), SPEC, observed(*four))
    assert (gone.evictions, names(gone)) == ((), ["new-0"]), "deleted and entered by the run before"
    unentered = missing("q", quarantined=True, state="quarantined")
    assert [row.name for row in resume(evicting(1, "q"), SPEC, observed(*four, unentered)).evictions] == ["q"]


def test_evictions_that_were_protected_or_are_in_vain_are_dropped():
    """Invariant 10."""
    four = [member(name) for name in "abcd"]
    plan = resume(evicting(1, "q"), SPEC, observed(*four, kept("q", protected=True)))
    assert (plan.code, plan.evictions, plan.quarantine) == ("at_max", (), 0)


def test_quarantine_is_what_is_left_of_it():
    """Own failures that already stand there are among those that the plan may keep; others use its room up."""
    assert resume(evicting(1), SPEC, observed(member("a"), kept("new-0"))).quarantine == 1
    assert resume(evicting(1), SPEC, observed(member("a"), kept("other"))).quarantine == 0
    assert resume(evicting(1, quarantine=0), SPEC, observed(member("a"))).quarantine == 0


def test_a_victim_that_was_protected_meanwhile_stays():
    """Invariant 10; drained already, a reconcile puts it back."""
    four = [member("a", protected=True), *(member(name) for name in "bcd")]
    assert names(resume(shrink("a", "b"), SPEC, observed(*four))) == ["b"]
    assert resume(shrink("a"), SPEC, observed(member("a", protected=True, in_service=False))).verdict == "refuse"


def test_a_victim_that_is_out_of_service_or_gone_is_finished():
    """The crash came between drain and delete, or between delete and the end."""
    plan = resume(shrink("a", "b", "c"), SPEC, observed(member("a", in_service=False), member("c"), member("d")))
    assert names(plan) == ["a", "b"], "c would leave fewer than the minimum"


@pytest.mark.parametrize("direction", [out(2), shrink("a")])
def test_unknown_numbers_begin_nothing_new(direction):
    """Invariant 9."""
    members = (member("a"), member("b"), member("c"))
    plan = resume(direction, SPEC, Observed(members, None, None, ("vms",)))
    assert (plan.verdict, names(plan)) == ("refuse", [])


@given(
    count=st.integers(1, 4),
    others=st.integers(0, 7),
    made=st.sets(st.integers(0, 3)),
    stray=st.integers(0, 3),
)
def test_out_never_makes_more_than_max(count, others, made, stray):
    """Invariant 1, with *stray* targets that belong to no VM."""
    launched = [member(f"new-{slot}") for slot in made if slot < count]
    members = [member(f"m{number}") for number in range(others)] + launched
    seen = Observed(tuple(members), len(members) + stray, len(members))
    plan = resume(out(count), SPEC, seen)
    fresh = set(names(plan)) - {row.name for row in launched}
    assert {row.name for row in launched} <= set(names(plan)) <= {f"new-{slot}" for slot in range(count)}
    assert not fresh or max(len(members), len(members) + stray) + len(fresh) <= MAX


@given(st.lists(st.booleans(), max_size=6), st.sets(st.integers(0, 7), min_size=1))
def test_in_never_leaves_fewer_than_min(serving, victims):
    """Invariant 2."""
    members = [member(f"m{number}", in_service=on) for number, on in enumerate(serving)]
    plan = resume(shrink(*(f"m{number}" for number in sorted(victims))), SPEC, observed(*members))
    cut = sum(row.in_service for row in members if row.name in names(plan))
    assert set(names(plan)) <= {f"m{number}" for number in victims}
    assert not cut or sum(serving) - cut >= MIN


@pytest.mark.parametrize("stored", [out(2), shrink("a", "b")])
def test_a_site_that_lost_the_epoch_carries_nothing_on(stored):
    """D6: neither launches nor deletes, whatever the interrupted run had done; a later reconcile finds that."""
    plan = resume(stored, SPEC, observed(*map(member, "abcd"), member("new-1")), "epoch 2 of shop is held by b")
    assert (plan.verdict, plan.code, plan.count, names(plan), plan.evictions) == ("refuse", "not_holder", 0, [], ())
    assert plan.reason.startswith("epoch 2 of shop is held by b; the action was cut off before and is not carried on")


def test_a_standby_that_shrinks_goes_on_below_the_minimum():
    """D3: with the minimum of the person who began it."""
    stored = {**shrink("a", "b"), "minimum": 0}
    assert names(resume(stored, SPEC, observed(member("a"), member("b")))) == ["a", "b"]
    assert resume(shrink("a", "b"), SPEC, observed(member("a"), member("b"))).code == "at_min"
