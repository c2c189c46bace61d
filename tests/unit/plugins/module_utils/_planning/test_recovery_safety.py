# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D5: no sequence of allowed changes ever leaves no site on, or two writers."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from unit.kit.recovery import plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import safety, verdict

GOOD = {"sites_on": ["a"], "writers": ["a"], "target_ready": True, "source_fenced": True}
PLAN, BOTH_ON = plan_of(), plan_of("active_active")
SITES = st.sampled_from(["a", "b"])
SETS = st.sets(SITES)


def rules(change: dict[str, t.Any], plan: t.Any = PLAN, **facts: t.Any) -> list[str]:
    return [breach.rule for breach in safety(plan, change, {**GOOD, **facts})]


def test_a_failover_s_changes_are_allowed_in_their_order() -> None:
    assert rules({"write": ["b"]}, writers=[]) == []
    assert rules({"on": ["b"]}, writers=["b"]) == []
    assert rules({"off": ["a"]}, sites_on=["a", "b"], writers=["b"]) == []


def test_each_rule() -> None:
    assert rules({"off": ["a"]}) == ["one_site_on"]
    assert rules({"on": ["b"], "off": ["a"]}) == []  # on is made first
    assert rules({}, sites_on=[]) == ["one_site_on"]
    assert rules({"write": ["b"]}) == ["one_writer"]
    assert rules({"on": ["b"]}, writers=["a", "b"]) == ["one_writer"]
    assert rules({"on": ["b"]}, target_ready=False) == ["target_ready"]
    assert rules({"on": ["b"]}, source_fenced=False) == ["source_fenced"]


def test_what_is_not_known_does_not_hold() -> None:
    nothing: dict[str, t.Any] = dict.fromkeys(GOOD)
    assert rules({"off": ["a"]}, **nothing) == ["one_site_on", "one_writer", "target_ready", "source_fenced"]
    assert rules({"on": ["b"]}, **nothing) == ["one_writer", "target_ready", "source_fenced"]
    assert [breach.rule for breach in safety(PLAN, {"on": ["b"]}, {})] == [
        "one_writer",
        "target_ready",
        "source_fenced",
    ]


def test_a_site_that_joins_the_other_one_fences_nobody() -> None:
    """The last step of an active-active failback."""
    assert rules({"on": ["b"]}, BOTH_ON, source_fenced=False) == []
    assert rules({"off": ["a"]}, BOTH_ON, sites_on=["a", "b"], source_fenced=False) == ["source_fenced"]


def test_force_says_what_it_gives_up_and_never_leaves_no_site() -> None:
    said = {"source_fenced": "site a does not answer"}
    breaches = safety(PLAN, {"on": ["b"]}, {**GOOD, "source_fenced": False, "said": said})
    refused = verdict(breaches)
    assert not refused["allowed"]
    assert refused["refused"] == ["source_fenced: The site that is left is not fenced: site a does not answer."]
    forced = verdict(breaches, force=True)
    assert forced["allowed"]
    assert "what it takes from now on is lost" in forced["gives_up"][0]
    assert not verdict(safety(PLAN, {"off": ["a"]}, GOOD), force=True)["allowed"]


@pytest.mark.parametrize(
    ("change", "facts", "words"),
    [
        ({"on": ["c"]}, {}, "change.on: value is 'c'; allowed: a and b (plan shop)"),
        ({"on": ["a"], "off": ["a"]}, {}, "site a is to be both on and off"),
        ({"of": ["a"]}, {}, "change: value is 'of'; allowed: on, off, write"),
        ({}, {"writers": ["c"]}, "facts.writers: value is 'c'"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(change: t.Any, facts: t.Any, words: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        safety(PLAN, change, {**GOOD, **facts})
    assert words in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    SETS,
    SETS,
    SETS,
    SETS | st.none(),
    SETS | st.none(),
    st.booleans() | st.none(),
    st.booleans() | st.none(),
    st.booleans(),
)
def test_no_single_allowed_change_breaks_a_rule(
    on: set[str],
    off: set[str],
    write: set[str],
    sites_on: t.Any,
    writers: t.Any,
    ready: t.Any,
    fenced: t.Any,
    force: bool,
) -> None:
    change = {"on": on, "off": off - on, "write": write}
    facts = {"sites_on": sites_on, "writers": writers, "target_ready": ready, "source_fenced": fenced}
    seen = verdict(safety(PLAN, change, facts), force=force)
    if seen["allowed"]:
        assert ((sites_on or set()) | on) - change["off"]
        if not force:
            assert writers is not None
            assert len(writers | write) <= 1
            assert ready is True
            assert fenced is True
    if force and not seen["gives_up"]:
        assert seen["allowed"] == verdict(safety(PLAN, change, facts))["allowed"]


class TwoSites(RuleBasedStateMachine):
    """Sites die, come back, are fenced and promoted, in any order; every change asks first, with what is true then."""

    def __init__(self) -> None:
        super().__init__()
        self.on = {"a"}
        #: Sites whose database takes writes while they live; a fenced one does not when it comes back.
        self.write = {"a"}
        self.lives = {"a", "b"}
        self.fenced: set[str] = set()

    @rule(site=SITES)
    def dies(self, site: str) -> None:
        self.lives.discard(site)

    @rule(site=SITES)
    def comes_back(self, site: str) -> None:
        self.lives.add(site)

    @rule(site=SITES)
    def is_fenced(self, site: str) -> None:
        """By the epoch, the port, or because its commits wait for the other one."""
        self.fenced.add(site)
        self.write.discard(site)

    @rule(to=SITES, change=st.sampled_from(["on", "off", "write"]), force=st.booleans())
    def a_run_asks(self, to: str, change: str, force: bool) -> None:
        source = "b" if to == "a" else "a"
        facts = {
            "sites_on": sorted(self.on),
            # Nobody can look into a dead site: unless it is fenced it may come back and write.
            "writers": sorted(self.write),
            "target_ready": to in self.lives,
            "source_fenced": source in self.fenced,
        }
        site = source if change == "off" else to
        seen = verdict(safety(PLAN, {change: [site]}, facts), force=force and change != "write")
        if not seen["allowed"]:
            return
        if change == "write":
            self.write.add(site)
            self.fenced.discard(site)
        else:
            (self.on.add if change == "on" else self.on.discard)(site)

    @invariant()
    def a_site_is_on_and_one_writes_at_most(self) -> None:
        assert self.on
        assert len(self.write) <= 1


TestTwoSites = TwoSites.TestCase
TestTwoSites.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
