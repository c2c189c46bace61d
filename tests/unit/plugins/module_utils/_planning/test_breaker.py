# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launches that fail again and again stop, and one probe tries later (invariant 8)."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Breaker, Controls
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._spec import BreakerRule

NOW = 1_800_000_000.0
RULE = BreakerRule(failures=3, window=3600, probe_after=1800)
ONE = [{"member": "web-1", "reason": "no address after 300 s"}]


def failing(count: int, *, every: float = 300, rule: BreakerRule = RULE) -> Breaker:
    """After *count* launches of one VM each, one *every* so many seconds; the last one is now."""
    breaker = Breaker()
    for index in range(count):
        breaker = breaker.note(rule, NOW - every * (count - 1 - index), ONE)
    return breaker


def test_it_opens_at_the_number_and_tells_once() -> None:
    """Invariant 8: one notification, also when the probe fails later."""
    two = failing(2)
    assert (two.state, two.permit(NOW)) == ("closed", None)
    three = two.note(RULE, NOW, ONE)
    assert (three.state, three.permit(NOW), three.opened_at, three.probe_at) == ("open", 0, NOW, NOW + 1800)
    assert three.opened(two)
    again = three.begin_probe(RULE, NOW + 1800).note(RULE, NOW + 1900, ONE)
    assert not again.opened(three)
    assert not two.opened(Breaker())


def test_each_vm_of_one_launch_counts() -> None:
    assert Breaker().note(RULE, NOW, ONE * 3).state == "open"


def test_old_failures_do_not_count() -> None:
    assert failing(9, every=3600).state == "closed"
    assert len(failing(9, every=3600).failures) == 1


def test_only_a_launch_without_any_failure_clears() -> None:
    assert failing(2).note(RULE, NOW, succeeded=1) == Breaker()
    mixed = failing(2).note(RULE, NOW, ONE, succeeded=5)
    assert mixed.state == "open", "a partial success is no proof that clones work"


def test_an_open_breaker_is_closed_by_a_success() -> None:
    """Of an action that was on its way when it opened."""
    assert failing(3).note(RULE, NOW, succeeded=1) == Breaker()


def test_a_single_probe_runs() -> None:
    breaker = failing(3)
    assert breaker.permit(NOW + 1799) == 0
    assert breaker.begin_probe(RULE, NOW + 1799) == breaker, "not before its time"
    assert breaker.permit(NOW + 1800) == 1
    probing = breaker.begin_probe(RULE, NOW + 1800)
    assert (probing.state, probing.permit(NOW + 1801)) == ("probing", 0), "no second one beside it"
    assert probing.note(RULE, NOW + 1900, succeeded=1) == Breaker()


def test_a_failed_probe_doubles_the_wait_up_to_a_day() -> None:
    breaker, now, waits = failing(3), NOW, []
    for _probe in range(8):
        now = t.cast(float, breaker.probe_at)
        breaker = breaker.begin_probe(RULE, now).note(RULE, now, ONE)
        assert breaker.state == "open"
        waits.append(t.cast(float, breaker.probe_at) - now)
    assert waits == [3600, 7200, 14400, 28800, 57600, 86400, 86400, 86400]
    assert breaker.probes == 8
    assert breaker.opened_at == NOW


def test_a_probe_that_nobody_ends_does_not_block_for_ever() -> None:
    """Its action died with its machine: after probe_after seconds another one may try."""
    probing = failing(3).begin_probe(RULE, NOW + 1800)
    assert probing.permit(NOW + 3599) == 0
    assert probing.permit(NOW + 3600) == 1
    assert probing.begin_probe(RULE, NOW + 3600).permit(NOW + 3601) == 0


def test_a_probe_that_made_no_vm_says_nothing() -> None:
    """No address was free: the breaker stays open, and the next launch is the probe."""
    after = failing(3).begin_probe(RULE, NOW + 1800).note(RULE, NOW + 1810)
    assert (after.state, after.probes, after.permit(NOW + 1810)) == ("open", 0, 1)


def test_what_it_says() -> None:
    text = failing(3).why()
    assert "after 3 failed launches, the last, web-1: no address after 300 s" in text
    assert "one launch of one VM may try at 2027-01-15T08:30:00Z" in text
    assert "a probe is on its way" in failing(3).begin_probe(RULE, NOW + 1800).why()
    assert Breaker().why() == ""


@pytest.mark.parametrize("breaker", [Breaker(), failing(3), failing(3).begin_probe(RULE, NOW + 1800)])
def test_it_survives_the_ledger(breaker: Breaker) -> None:
    assert Breaker.from_dict({**breaker.as_dict(), "updated_at": 5.0}) == breaker
    controls = Controls(frozenset({"launch"}), breaker)
    assert Controls.from_dict(controls.as_dict()) == controls


def test_controls_without_anything() -> None:
    assert Controls.from_dict({"suspended": [], "breaker": None}) == Controls()
    assert Controls(frozenset({"all"})).suspended == {"launch", "terminate", "replace"}


@given(
    st.lists(
        st.tuples(st.floats(1, 90000), st.sampled_from(["note", "probe"]), st.integers(0, 4), st.integers(0, 2)),
        max_size=40,
    ),
    st.builds(BreakerRule, st.integers(1, 5), st.integers(60, 7200), st.integers(1, 86400)),
)
def test_whatever_happens(steps: list[t.Any], rule: BreakerRule) -> None:
    """Between opening and closing at most one VM is permitted at a time, and the wait always ends."""
    breaker, now = Breaker(), NOW
    for wait, what, failed, succeeded in steps:
        now += wait
        before = breaker
        if what == "probe":
            breaker = breaker.begin_probe(rule, now)
        else:
            breaker = breaker.note(rule, now, ONE * failed, succeeded)
        assert breaker.permit(now) in (None, 0, 1)
        assert (breaker.permit(now) is None) == (breaker.state == "closed")
        assert breaker.state != "closed" or len(breaker.failures) < rule.failures
        assert breaker.permit(now + 86400) != 0, "never shut for more than a day"
        assert breaker.opened(before) == (before.state == "closed" and breaker.state == "open")
        assert all(row["at"] > now - rule.window for row in breaker.failures) or what == "probe"
        assert Breaker.from_dict(breaker.as_dict()) == breaker
