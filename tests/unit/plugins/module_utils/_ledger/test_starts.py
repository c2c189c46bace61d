# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may start what, when: the lock, attempts of a dispatcher, and actions that are gone on with (invariants 6, 7)."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError

PLAN = {
    "direction": "out",
    "size_before": 2,
    "size_after": 3,
    "launches": [{"name": "web-a", "slot": 1}],
    "victims": [],
}
TTL = 120


def start(ledger, direction="out", **kwargs):
    return ledger.start_action("web", direction, **{"owner": "a/1", **kwargs})


def refused(ledger, direction="out", **kwargs):
    """The code with which a start is refused; the check says the same beforehand, and nothing has changed."""
    before = ledger.group_state("web")
    with pytest.raises(ConflictError) as checked:
        ledger.check_start("web", direction, **{"owner": "a/1", **kwargs})
    with pytest.raises(ConflictError) as caught:
        start(ledger, direction, **kwargs)
    assert str(checked.value) == str(caught.value)
    assert ledger.group_state("web") == before
    return caught.value.result["code"]


def allowed(ledger, direction="out", **kwargs):
    """The ident of a start; the check says beforehand what is gone on with."""
    known = {row["action"] for row in ledger.events(["web"])} | {None}
    goes_on = ledger.check_start("web", direction, **{"owner": "a/1", **kwargs})
    ident = start(ledger, direction, **kwargs)
    assert goes_on in (None, ident)
    assert ident not in known, "an action that has ended never comes back"
    return ident, goes_on is not None


def test_a_lock_lives_for_two_minutes_by_default(ledger, clock):
    start(ledger)
    assert ledger.lock_state("web")["remaining"] == TTL
    clock.tick(TTL - 1)
    assert refused(ledger, owner="b/1") == "locked"
    clock.tick(1)
    assert ledger.lock_state("web")["expired"] is True
    assert allowed(ledger, owner="b/1") == ("web-1", True)


def test_lock_state_and_cut_off_of_nothing(ledger):
    assert ledger.lock_state("web") is None
    assert ledger.cut_off("web") is None


def test_cut_off_is_the_running_action_whose_lock_ran_out(ledger, clock):
    """T4: what a dead play began is found, with what is needed to finish it."""
    start(ledger, source="alert", reason="cpu", attempt=2)
    ledger.record_plan("web-1", PLAN, [{"name": "web-a"}])
    assert ledger.cut_off("web") is None
    began = clock.now
    clock.tick(TTL)
    found = ledger.cut_off("web")
    assert {key: found[key] for key in ("ident", "direction", "owner", "started_at", "plan", "reason")} == {
        "ident": "web-1",
        "direction": "out",
        "owner": "a/1",
        "started_at": began,
        "plan": PLAN,
        "reason": "cpu",
    }
    assert (found["lock"]["expired"], found["lock"]["attempt"]) == (True, 2)
    start(ledger, ident="web-1", owner="b/1")
    assert ledger.cut_off("web") is None
    ledger.finish_action("web-1", state="succeeded")
    assert ledger.cut_off("web") is None


def test_an_action_without_any_lock_is_cut_off_too(ledger):
    """A lock that somebody deleted by hand."""
    start(ledger)
    with ledger.write() as connection:
        ledger._free(connection, "web", "web-1")
    assert ledger.cut_off("web")["lock"] is None
    assert allowed(ledger, owner="b/1") == ("web-1", True)


@pytest.mark.parametrize("direction", ["out", "in"])
def test_the_next_run_of_the_same_direction_goes_on_with_a_dead_action(ledger, clock, direction):
    """Invariant 7: same ident, start time, plan and addresses, so that the same VMs come of it."""
    began = clock.now
    start(ledger, direction)
    ledger.record_plan("web-1", PLAN, [{"name": "web-a"}])
    ledger.lease_addresses("web-1", "web", ["web-a"], ["10.0.0.1"])
    ledger.begin_step("web-1", "clone")
    clock.tick(TTL)
    assert allowed(ledger, direction, owner="b/1") == ("web-1", True)
    action = ledger.action("web-1")
    assert (action["started_at"], action["plan"], action["state"], action["owner"]) == (began, PLAN, "running", "b/1")
    assert ledger.lease_addresses("web-1", "web", ["web-a"], []) == {"web-a": "10.0.0.1"}
    assert ledger.events() == []
    with pytest.raises(ConflictError, match="taken over by b/1"):
        ledger.begin_step("web-1", "pool", owner="a/1")


@pytest.mark.parametrize(
    ("dead", "next_one"), [("out", "in"), ("in", "out"), ("out", "reconcile"), ("reconcile", "out"), ("reconcile",) * 2]
)
def test_any_other_start_makes_a_dead_action_lost(ledger, clock, dead, next_one):
    """A reconcile keeps no plan, so it is always begun anew."""
    start(ledger, dead)
    clock.tick(TTL)
    assert allowed(ledger, next_one, owner="b/1") == ("web-2", False)
    assert ledger.action_states(["web-1", "web-2", "web-3", ""]) == {"web-1": "lost", "web-2": "running"}
    event = ledger.events()[0]
    assert (event["action"], event["kind"]) == ("web-1", dead if dead == "reconcile" else f"scale_{dead}")
    failures = ledger.group_state("web")["failures"]
    assert failures == {"out": 0, "in": 0, **({dead: 1} if dead != "reconcile" else {})}


def test_another_ident_makes_a_dead_action_lost(ledger, clock):
    start(ledger, ident="web-5")
    clock.tick(TTL)
    assert allowed(ledger, ident="web-6", owner="b/1") == ("web-6", False)
    assert ledger.action("web-5")["state"] == "lost"
    assert refused(ledger, ident="web-5") == "locked"
    ledger.finish_action("web-6", state="refused")
    assert refused(ledger, ident="web-5") == "ended"


def test_a_reconcile_goes_on_under_its_own_name(ledger, clock):
    """A dispatcher launches the same ident again."""
    start(ledger, "reconcile", ident="web-3", attempt=1)
    clock.tick(TTL)
    assert allowed(ledger, "reconcile", ident="web-3", attempt=2, owner="b/1") == ("web-3", True)
    assert refused(ledger, "out", ident="web-3", attempt=3, owner="c/1") == "other_action"


def test_a_living_lock_is_refused_even_to_its_own_ident(ledger):
    """Two plays of one action at once would act twice: a name alone proves nothing."""
    start(ledger, ident="web-1")
    assert refused(ledger, ident="web-1", owner="b/1") == "locked"
    assert refused(ledger, ident="web-1", owner="b/1", attempt=9) == "locked", "the holder has no attempt to compare"
    assert refused(ledger, takeover=True, owner="b/1") == "locked", "force needs the name of what it takes over"
    assert refused(ledger, ident="web-2", takeover=True, owner="b/1") == "locked"


def test_the_same_play_may_say_it_again(ledger):
    assert allowed(ledger, ident="web-1", attempt=1) == ("web-1", False)
    assert allowed(ledger, ident="web-1", attempt=1) == ("web-1", True)
    assert allowed(ledger, ident="web-1") == ("web-1", True)


def test_force_takes_the_lock_of_the_same_action(ledger):
    start(ledger, ident="web-1", attempt=4)
    assert allowed(ledger, ident="web-1", owner="b/1", takeover=True) == ("web-1", True)
    with pytest.raises(ConflictError, match="taken over by b/1"):
        ledger.heartbeat("web-1", "a/1", TTL)


def test_a_higher_attempt_takes_over_a_living_lock(ledger):
    """The dispatcher knows that its earlier play is dead: it need not wait for the expiry."""
    start(ledger, ident="web-1", attempt=1)
    assert allowed(ledger, ident="web-1", attempt=2, owner="b/1") == ("web-1", True)
    assert ledger.lock_state("web")["attempt"] == ledger.action("web-1")["attempt"] == 2
    with pytest.raises(ConflictError, match="taken over by b/1"):
        ledger.begin_step("web-1", "clone", owner="a/1")


@pytest.mark.parametrize("seconds", [0, TTL, 100 * TTL])
@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_a_late_attempt_never_comes_back(ledger, clock, seconds, attempt):
    """Invariant 6: a play that was started, hung before its first entry and wakes up after it was given up."""
    start(ledger, ident="web-1", attempt=2)
    clock.tick(seconds)
    assert refused(ledger, ident="web-1", attempt=attempt, owner="b/1") == "stale_attempt"
    assert allowed(ledger, ident="web-1", attempt=attempt, owner="b/1", takeover=True) == ("web-1", True)


def test_an_attempt_stays_known_when_a_person_goes_on_by_hand(ledger, clock):
    """Else the late play of the dispatcher would come back, and a later one would push the person aside."""
    start(ledger, ident="web-1", attempt=2)
    clock.tick(TTL)
    assert allowed(ledger, owner="person/1") == ("web-1", True)
    assert (ledger.lock_state("web")["attempt"], ledger.action("web-1")["attempt"]) == (None, 2)
    assert refused(ledger, ident="web-1", attempt=2, owner="b/1") == "stale_attempt"
    assert refused(ledger, ident="web-1", attempt=3, owner="b/1") == "locked"
    clock.tick(TTL)
    assert refused(ledger, ident="web-1", attempt=1, owner="b/1") == "stale_attempt"
    assert allowed(ledger, ident="web-1", attempt=3, owner="b/1") == ("web-1", True)


def test_attempts_are_compared_within_one_action(ledger, clock):
    start(ledger, ident="web-1", attempt=5)
    assert refused(ledger, ident="web-2", attempt=9, owner="b/1") == "locked"
    clock.tick(TTL)
    assert allowed(ledger, "in", ident="web-2", attempt=1, owner="b/1") == ("web-2", False)
    assert ledger.lock_state("web")["attempt"] == 1


def test_a_dispatcher_gives_up_its_own_play_and_not_a_persons(ledger, clock):
    """It knows that what it launched is dead; of who went on by hand it knows nothing."""

    def give_up(ident):
        with ledger.write() as connection:
            return ledger.close_dead(connection, ident, code="gave_up", message="dead")

    start(ledger, ident="web-1", attempt=1)
    clock.tick(TTL)
    start(ledger, owner="person/1")
    assert give_up("web-1") is False
    ledger.begin_step("web-1", "clone", owner="person/1")
    clock.tick(TTL)
    assert give_up("web-1") is True
    assert (give_up("web-1"), give_up("web-9")) == (False, False)
    start(ledger, ident="web-2", attempt=1)
    assert give_up("web-2") is True
    assert ledger.lock_state("web") is None
