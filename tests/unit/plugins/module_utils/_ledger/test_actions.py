# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of actions: lock, plan, steps, end, cooldown, event."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, NotFoundError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue

PLAN = {
    "verdict": "act",
    "code": "scale_out",
    "direction": "out",
    "size_before": 2,
    "size_after": 3,
    "launches": [{"name": "web-a", "slot": 1}],
    "victims": [],
}


def start(ledger, group="web", direction="out", **kwargs):
    return ledger.start_action(group, direction, **{"owner": "me", "ttl": 100, **kwargs})


def test_idents_count_up_per_group(ledger):
    """Trigger §6.4: group and sequence number."""
    first = start(ledger)
    assert first == "web-1"
    assert start(ledger, "db") == "db-1"
    ledger.finish_action(first, state="succeeded")
    assert start(ledger, direction="in") == "web-2"


def test_next_ident_skips_one_that_exists(ledger):
    start(ledger, ident="web-1")
    ledger.finish_action("web-1", state="refused")
    assert start(ledger) == "web-2"


def test_second_action_is_refused_and_told_by_whom_until_when(ledger, clock):
    """Invariant 6: at most one action a group."""
    start(ledger, owner="host-a/1")
    with pytest.raises(ConflictError) as caught:
        start(ledger, owner="host-b/2")
    assert str(caught.value).startswith(
        "group web is locked by action web-1 (owner host-a/1) until 2023-11-14T22:15:00Z. Wait"
    )
    assert caught.value.result["code"] == "locked"
    assert caught.value.result["until"] == clock.now + 100
    assert start(ledger, "db") == "db-1", "another group is free (A10)"
    assert ledger.group_state("web")["action"]["name"] == "web-1"


def test_refused_start_takes_no_number(ledger):
    start(ledger)
    with pytest.raises(ConflictError):
        start(ledger)
    ledger.finish_action("web-1", state="succeeded")
    assert start(ledger) == "web-2"


def test_expired_lock_is_taken_over_and_the_old_action_is_lost(ledger, clock):
    """Invariants 6 and 7: a crash never leaves the lock set, and what it made stays on record."""
    start(ledger)
    ledger.record_plan("web-1", PLAN, [{"name": "web-a"}])
    ledger.lease_addresses("web-1", "web", ["web-a"], ["10.0.0.1"])
    ledger.begin_step("web-1", "clone")
    clock.tick(100)
    assert start(ledger, direction="in", owner="other") == "web-2"
    lost = ledger.action("web-1")
    assert (lost["state"], lost["ended_at"]) == ("lost", clock.now)
    assert lost["steps"][0]["state"] == "failed"
    state = ledger.group_state("web")
    assert [row["name"] for row in state["members"]] == ["web-a"]
    assert [row["address"] for row in state["leases"]] == ["10.0.0.1"]
    assert state["events"][0]["result"] == "lost"
    assert state["events"][0]["members"] == [{"name": "web-a", "address": "10.0.0.1", "state": "planned"}]
    assert state["failures"] == {"out": 1, "in": 0}


def test_the_lost_play_is_stopped_at_its_next_entry(ledger, clock):
    start(ledger)
    clock.tick(101)
    start(ledger, direction="in")
    for entry in (
        lambda: ledger.heartbeat("web-1", "me", 100),
        lambda: ledger.begin_step("web-1", "clone"),
        lambda: ledger.record_plan("web-1", PLAN, []),
        lambda: ledger.lease_addresses("web-1", "web", ["x"], ["10.0.0.1"]),
        lambda: ledger.update_members("web", [{"name": "x"}], ident="web-1"),
        lambda: ledger.finish_action("web-1", state="succeeded", cooldown=5),
    ):
        with pytest.raises(ConflictError, match=r"no longer runs \(it is lost\).*held by action web-2"):
            entry()
    state = ledger.group_state("web")
    assert (state["members"], state["leases"], state["cooldowns"]["out"]["until"]) == ([], [], None)


def test_entries_prolong_the_lock(ledger, clock):
    start(ledger)
    for _step in range(5):
        clock.tick(90)
        ledger.begin_step("web-1", "wait")
    assert ledger.group_state("web")["lock"]["remaining"] == 100
    ledger.heartbeat("web-1", "me", 7)
    assert ledger.group_state("web")["lock"]["expires_at"] == clock.now + 7


def test_expired_but_untaken_lock_goes_on(ledger, clock):
    start(ledger)
    clock.tick(1000)
    ledger.begin_step("web-1", "clone")
    assert ledger.group_state("web")["lock"]["expired"] is False


def test_same_ident_goes_on_after_a_crash(ledger, clock):
    """T4, invariant 7: names come from the stored start time, so it must not move."""
    began = clock.now
    start(ledger, ident="web-7", owner="old")
    ledger.record_plan("web-7", PLAN, [{"name": "web-a"}])
    ledger.begin_step("web-7", "clone")
    clock.tick(100)
    assert start(ledger, ident="web-7", owner="new") == "web-7"
    again = ledger.action("web-7")
    assert (again["started_at"], again["state"], again["owner"]) == (began, "running", "new")
    assert again["plan"] == PLAN
    assert [(step["state"], step["detail"]) for step in again["steps"]] == [("failed", {"interrupted": True})]
    with pytest.raises(ConflictError, match="taken over by new"):
        ledger.begin_step("web-7", "pool", owner="old")
    ledger.begin_step("web-7", "clone", owner="new")
    assert [step["ordinal"] for step in ledger.action("web-7")["steps"]] == [1, 2]


def test_a_lost_action_stays_lost(ledger, clock):
    """Invariant 1: its plan was made for a group that another action has changed since."""
    start(ledger, ident="web-1")
    clock.tick(200)
    start(ledger, ident="web-2")
    with pytest.raises(ConflictError, match="locked by action web-2"):
        start(ledger, ident="web-1")
    ledger.finish_action("web-2", state="refused", code="at_max")
    with pytest.raises(ConflictError, match=r"already ended \(lost\)"):
        start(ledger, ident="web-1")


def test_a_repeated_plan_may_name_fewer_members_and_never_others(ledger):
    """T4: an action acts on what it first planned."""
    start(ledger)
    two = {**PLAN, "launches": [{"name": "web-a", "slot": 1}, {"name": "web-b", "slot": 2}]}
    ledger.record_plan("web-1", two, [])
    ledger.record_plan("web-1", PLAN, [])
    with pytest.raises(ConflictError, match="this one adds web-c"):
        ledger.record_plan("web-1", {**PLAN, "launches": [{"name": "web-c", "slot": 1}]}, [])


@pytest.mark.parametrize("state", ["succeeded", "refused", "failed"])
def test_an_ended_action_never_starts_again(ledger, state):
    """T4: a repeated launch of the same action repeats nothing."""
    start(ledger, ident="web-1")
    ledger.finish_action("web-1", state=state)
    with pytest.raises(ConflictError, match=rf"already ended \({state}\)"):
        start(ledger, ident="web-1")
    with pytest.raises(ConflictError, match="already ended"):
        ledger.check_start("web", "out", ident="web-1")


def test_an_ident_belongs_to_one_group_and_direction(ledger):
    start(ledger, ident="x-1")
    with pytest.raises(ConflictError, match="is a scale-out of group web, not a scale-in of group web"):
        start(ledger, ident="x-1", direction="in")
    with pytest.raises(ConflictError, match="not a scale-out of group db"):
        start(ledger, "db", ident="x-1")
    assert ledger.group_state("db")["lock"] is None


def test_check_start_changes_nothing(ledger):
    assert ledger.check_start("web", "out") is None
    assert ledger.groups() == []
    start(ledger)
    with pytest.raises(ConflictError):
        ledger.check_start("web", "out")
    assert ledger.check_start("web", "out", ident="web-1", owner="me") == "web-1"
    assert ledger.action("web-1")["state"] == "running"


def test_unknown_action_is_named(ledger):
    with pytest.raises(NotFoundError, match=r"has no action nope.*state=started"):
        ledger.begin_step("nope", "clone")
    assert ledger.action("nope") is None


def test_event_holds_what_happened(ledger, clock):
    """A9: service, action, VMs, counts, reason, trigger, time of each step, result."""
    start(ledger, source="alert", reason="cpu 91 > 80")
    ledger.record_plan("web-1", PLAN, [{"name": "web-a"}])
    ledger.begin_step("web-1", "clone")
    clock.tick(40)
    ledger.begin_step("web-1", "gate", {"port": 80})
    clock.tick(2.5)
    event = ledger.finish_action(
        "web-1",
        state="succeeded",
        message="one more",
        count_after=3,
        cooldown=300,
        members=[{"name": "web-a", "state": "in_service", "address": "10.0.0.1", "moid": "vm-9"}],
    )
    assert {
        key: event[key] for key in ("group", "action", "kind", "source", "reason", "code", "result", "message")
    } == {
        "group": "web",
        "action": "web-1",
        "kind": "scale_out",
        "source": "alert",
        "reason": "cpu 91 > 80",
        "code": "scale_out",
        "result": "succeeded",
        "message": "one more",
    }
    assert (event["count_before"], event["count_after"], event["seconds"], event["at"]) == (2, 3, 42.5, clock.now)
    assert event["members"] == [{"name": "web-a", "address": "10.0.0.1", "state": "in_service"}]
    assert [(step["step"], step["seconds"], step["state"]) for step in event["steps"]] == [
        ("clone", 40.0, "done"),
        ("gate", 2.5, "done"),
    ]
    assert ledger.events() == [event] == ledger.events(["web"]) == ledger.group_state("web")["events"]
    assert ledger.events(["db"]) == []
    assert ledger.members("web")[0]["moid"] == "vm-9"


def test_cooldown_runs_from_the_end_and_per_direction(ledger, clock):
    """A4: out and in are independent; the rest begins when the action ends."""
    start(ledger)
    clock.tick(60)
    ledger.finish_action("web-1", state="succeeded", cooldown=300)
    assert ledger.cooldowns("web") == {"out": clock.now + 300}
    clock.tick(100)
    cooldowns = ledger.group_state("web")["cooldowns"]
    assert cooldowns["out"]["remaining"] == 200
    assert cooldowns["in"] == {"started_at": None, "until": None, "remaining": 0.0}


def test_refusal_at_a_bound_starts_the_cooldown_and_never_shortens_one(ledger, clock):
    """A4: repeated alerts at a bound cause no storm."""
    start(ledger)
    ledger.finish_action("web-1", state="refused", code="at_max", cooldown_until=clock.now + 300)
    start(ledger)
    ledger.finish_action("web-2", state="refused", code="at_max", cooldown_until=clock.now + 5)
    start(ledger)
    event = ledger.finish_action("web-3", state="refused", code="cooldown", count_after=4)
    assert (event["count_before"], event["count_after"]) == (4, 4)
    assert ledger.cooldowns("web") == {"out": clock.now + 300}


def test_finish_twice_changes_nothing(ledger, clock):
    """Invariant 7: every step can be repeated."""
    start(ledger)
    first = ledger.finish_action("web-1", state="succeeded", cooldown=10)
    clock.tick(5)
    start(ledger)
    again = ledger.finish_action("web-1", state="failed", cooldown=1000, removed=["web-a"])
    assert again == first
    assert len(ledger.events()) == 1
    assert ledger.cooldowns("web") == {"out": clock.now + 5}
    assert ledger.group_state("web")["lock"]["action"] == "web-2", "the lock of the next one is not touched"


def test_failed_action_marks_its_step_and_counts(ledger):
    start(ledger)
    ledger.begin_step("web-1", "clone")
    event = ledger.finish_action("web-1", state="failed", code="clone_failed", message="no space")
    assert event["steps"][0]["state"] == "failed"
    start(ledger)
    ledger.finish_action("web-2", state="failed")
    assert ledger.group_state("web")["failures"]["out"] == 2
    start(ledger)
    ledger.finish_action("web-3", state="succeeded")
    assert ledger.group_state("web")["failures"]["out"] == 0


def test_scale_in_removes_members_and_frees_addresses_only_of_the_removed(ledger):
    """Invariant 3: a lease is released only when its VM is gone."""
    start(ledger)
    ledger.record_plan("web-1", PLAN, [{"name": "web-a"}, {"name": "web-b"}])
    ledger.lease_addresses("web-1", "web", ["web-a", "web-b"], ["10.0.0.1", "10.0.0.2"])
    ledger.finish_action("web-1", state="succeeded", members=[{"name": "web-a", "state": "in_service"}])
    start(ledger, direction="in")
    victims = {"victims": [{"name": "web-a"}, {"name": "web-b"}], "size_before": 4, "code": "scale_in"}
    ledger.record_plan("web-2", victims, [{"name": "web-a"}, {"name": "web-b"}])
    assert ledger.members("web")[0]["state"] == "in_service", "a plan does not set a known member back"
    event = ledger.finish_action(
        "web-2", state="failed", members=[{"name": "web-b", "state": "draining"}], removed=["web-a"]
    )
    assert [row["name"] for row in event["members"]] == ["web-b", "web-a"]
    state = ledger.group_state("web")
    assert [row["name"] for row in state["members"]] == ["web-b"]
    assert state["members"][0]["action"] == "web-1", "who made it stays on record"
    assert [row["address"] for row in state["leases"]] == ["10.0.0.2"]


def test_bad_states_are_bugs_and_store_nothing(ledger):
    start(ledger)
    with pytest.raises(ValueError, match="state must be one of"):
        ledger.finish_action("web-1", state="running")
    with pytest.raises(ValueError, match="state of member x"):
        ledger.update_members("web", [{"name": "w"}, {"name": "x", "state": "flying"}])
    assert ledger.members("web") == []
    with pytest.raises(ValueError, match="direction"):
        start(ledger, "db", "up")


def test_groups_are_all_that_were_ever_named(ledger):
    start(ledger, "web")
    ledger.update_members("db", [{"name": "db-x"}])
    assert ledger.groups() == ["db", "web"]
    empty = ledger.group_state("nobody")
    assert (empty["members"], empty["lock"], empty["action"], empty["events"]) == ([], None, None, [])


def test_a_cold_start_is_kept_with_its_event_and_the_last_one_is_in_the_overview(ledger):
    """B3: a row a host and stage; what other actions record is empty, and hides nothing."""
    rows = [
        {"host": "gpu-a", "stage": "load", "seconds": 12.5},
        {"host": "gpu-b", "stage": "load", "seconds": 14.0},
        {"host": "gpu-b", "stage": "gate", "seconds": 3.0},
    ]
    for group, recorded in (("gpu", rows[:1]), ("gpu", rows), ("gpu", ()), ("web", ())):
        event = ledger.finish_action(start(ledger, group), state="succeeded", cold_start=recorded)
        assert event["cold_start"] == list(recorded)
    assert [event["cold_start"] for event in ledger.events(["gpu"])] == [[], rows, rows[:1]]
    assert WorkQueue(ledger).overview().cold_starts == {"gpu": {"load": 14.0, "gate": 3.0}}
