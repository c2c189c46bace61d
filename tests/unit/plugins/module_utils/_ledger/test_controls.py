# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suspended processes, the breaker, quarantine and quiet ends."""

from __future__ import annotations

import pytest

OPEN = {
    "state": "open",
    "failures": [{"at": 1.0, "member": "web-a", "reason": "no boot"}],
    "opened_at": 5.0,
    "probe_at": 1805.0,
    "probes": 0,
}
CLOSED = {"state": "closed", "failures": [], "opened_at": None, "probe_at": None, "probes": 0}
NONE = {"suspended": [], "breaker": None}


def run(ledger, direction="out", **kwargs):
    ident = ledger.start_action("web", direction, owner="me")
    return ledger.finish_action(ident, **{"state": "succeeded", **kwargs})


def test_nothing_is_held_back_at_first(ledger):
    assert ledger.controls("web") == NONE
    state = ledger.group_state("web")
    assert (state["breaker"], state["suspended"], state["reconciled"]) == (None, [], None)


def test_suspend_and_resume_tell_what_changed(ledger, clock):
    """Who, why and since when stays on record, and each change is an event (A9)."""
    done = ledger.suspend("web", ["terminate", "launch"], by="alice", reason="maintenance")
    assert done == {"changed": True, "processes": ["launch", "terminate"], "breaker_closed": False}
    began = clock.now
    clock.tick(5)
    again = ledger.suspend("web", ["all"], by="bob", reason="more")
    assert again["processes"] == ["replace"]
    assert ledger.controls("web")["suspended"] == ["launch", "replace", "terminate"]
    assert ledger.group_state("web")["suspended"][0] == {
        "process": "launch",
        "since": began,
        "by": "alice",
        "reason": "maintenance",
    }
    assert ledger.suspend("web", ["all"])["changed"] is False
    assert ledger.controls("db") == NONE, "another group is free"
    assert ledger.resume("web", ["replace", "launch"], by="bob")["processes"] == ["launch", "replace"]
    assert ledger.resume("web", ["launch"]) == {"changed": False, "processes": [], "breaker_closed": False}
    assert ledger.controls("web") == {"suspended": ["terminate"], "breaker": None}
    told = [(row["kind"], row["code"], row["result"], row["reason"], row["message"]) for row in ledger.events()]
    assert told == [
        ("process", "resumed", "succeeded", "", "launch, replace resumed by bob"),
        ("process", "suspended", "succeeded", "more", "replace suspended by bob"),
        ("process", "suspended", "succeeded", "maintenance", "launch, terminate suspended by alice"),
    ]
    assert ledger.groups() == ["web"]
    assert ledger.group_state("web")["failures"] == {"out": 0, "in": 0}


def test_an_unknown_process_is_a_bug_and_stores_nothing(ledger):
    with pytest.raises(ValueError, match="not fly"):
        ledger.suspend("web", ["launch", "fly"])
    assert ledger.controls("web") == NONE


def test_the_breaker_is_kept_as_it_is_given(ledger):
    ledger.save_breaker("web", OPEN)
    assert ledger.controls("web")["breaker"] == ledger.group_state("web")["breaker"] == OPEN
    assert ledger.groups() == ["web"]
    ledger.save_breaker("web", CLOSED)
    assert ledger.controls("web")["breaker"] == CLOSED
    ledger.save_breaker("web", None)
    assert ledger.controls("web")["breaker"] is None
    with pytest.raises(ValueError, match="state of a breaker"):
        ledger.save_breaker("web", {"state": "ajar"})


def test_resuming_launch_closes_the_breaker(ledger):
    """Invariant 8: a person has looked. Other processes say nothing of launches."""
    ledger.save_breaker("web", OPEN)
    assert ledger.resume("web", ["terminate", "replace"])["changed"] is False
    assert ledger.controls("web")["breaker"] == OPEN
    assert ledger.resume("web", ["all"]) == {"changed": True, "processes": [], "breaker_closed": True}
    assert ledger.controls("web") == NONE
    assert ledger.events()[0]["message"] == "breaker closed (it was open)"
    ledger.save_breaker("web", {**CLOSED, "failures": OPEN["failures"]})
    assert ledger.resume("web", ["launch"])["breaker_closed"] is True, "what was counted is forgotten too"


def test_an_end_tells_once_that_it_opened_the_breaker(ledger):
    """Invariant 8: one notification; a probe that fails opens nothing that was closed."""
    assert "breaker_opened" not in run(ledger, breaker=CLOSED)
    event = run(ledger, state="failed", breaker=OPEN)
    assert event["breaker_opened"] is True
    assert "breaker_opened" not in run(ledger, state="refused", breaker=OPEN)
    ledger.save_breaker("web", {**OPEN, "state": "probing"})
    assert "breaker_opened" not in run(ledger, state="failed", breaker={**OPEN, "probes": 1})
    assert ledger.controls("web")["breaker"]["probes"] == 1
    assert "breaker_opened" not in run(ledger, breaker=CLOSED)
    assert run(ledger, state="failed", breaker=OPEN)["breaker_opened"] is True
    run(ledger)
    assert ledger.controls("web")["breaker"] == OPEN, "an end that says nothing of it leaves it"


def test_quarantine_begins_once_and_ends_with_another_state(ledger, clock):
    """Invariant 8: the VM is kept, with the reason, and counts and keeps its address."""
    ident = ledger.start_action("web", "out", owner="me")
    ledger.lease_addresses(ident, "web", ["web-a"], ["10.0.0.1"])
    event = ledger.finish_action(ident, state="failed", quarantined=[{"name": "web-a", "note": "gate: refused"}])
    assert event["members"] == [{"name": "web-a", "address": "10.0.0.1", "state": "quarantined"}]
    began = clock.now
    clock.tick(60)
    ledger.update_members("web", [{"name": "web-a", "state": "quarantined"}, {"name": "web-a", "moid": "vm-1"}])
    row = ledger.members("web")[0]
    assert (row["state"], row["quarantined_at"], row["note"], row["moid"]) == (
        "quarantined",
        began,
        "gate: refused",
        "vm-1",
    )
    assert ledger.group_state("web")["counts"]["quarantined"] == 1
    assert ledger.leased_addresses() == {"10.0.0.1"}
    ledger.update_members("web", [{"name": "web-a", "state": "draining"}])
    row = ledger.members("web")[0]
    assert (row["quarantined_at"], row["note"]) == (None, "gate: refused")
    ledger.update_members("web", [{"name": "web-a", "state": "in_service"}])
    assert ledger.members("web")[0]["note"] == "", "who serves has no complaint against it"


def test_a_reconcile_has_its_own_kind_and_no_cooldown(ledger):
    event = run(ledger, "reconcile", state="failed")
    assert (event["kind"], event["direction"], event["result"]) == ("reconcile", "reconcile", "failed")
    state = ledger.group_state("web")
    assert state["failures"] == {"out": 0, "in": 0}
    assert ledger.cooldowns("web") == {}
    run(ledger, "out", state="failed")
    run(ledger, "reconcile")
    assert ledger.group_state("web")["failures"]["out"] == 1, "a reconcile that went well is no launch that did"
    run(ledger, "reconcile", cooldown=60)
    assert ledger.cooldowns("web").keys() == {"reconcile"}, "only when it was asked for"


def test_a_quiet_reconcile_leaves_no_event_and_one_row(ledger, clock):
    """They come by the clock in every group: a ledger must not grow by them."""
    ident = ledger.start_action("web", "reconcile", owner="me")
    ledger.begin_step(ident, "compare")
    clock.tick(3)
    event = ledger.finish_action(ident, state="succeeded", code="unchanged", quiet=True)
    loud = run(ledger, "reconcile")
    assert event.keys() == loud.keys()
    assert {key: event[key] for key in ("id", "action", "group", "kind", "result", "code", "seconds", "members")} == {
        "id": None,
        "action": ident,
        "group": "web",
        "kind": "reconcile",
        "result": "succeeded",
        "code": "unchanged",
        "seconds": 3.0,
        "members": [],
    }
    assert ledger.finish_action(ident, state="failed", quiet=True) == event, "again changes nothing"
    assert ledger.lock_state("web") is None
    last = run(ledger, "reconcile", quiet=True)["action"]
    assert ledger.action(ident) is None
    assert ledger.action(last)["state"] == "succeeded"
    assert ledger.action(loud["action"])["state"] == "succeeded"
    assert [row["id"] for row in ledger.events()] == [loud["id"]]
    assert ledger.start_action("web", "reconcile", owner="me") == "web-4", "no ident is given out twice"


def test_a_quiet_end_of_another_action_keeps_its_row(ledger):
    event = run(ledger, state="refused", quiet=True, code="suspended")
    run(ledger, "reconcile", quiet=True)
    assert (event["id"], event["kind"], event["code"]) == (None, "scale_out", "suspended")
    assert ledger.action(event["action"])["state"] == "refused"
    assert ledger.finish_action(event["action"], state="failed") == event


def test_a_step_may_say_who_is_gone(ledger):
    """Invariant 3: rows and leases go in the transaction that checks the lock."""
    ident = ledger.start_action("web", "out", owner="me")
    ledger.lease_addresses(ident, "web", ["web-a", "web-b"], ["10.0.0.1", "10.0.0.2"])
    ledger.begin_step(ident, "evicted", removed=["web-a", "nobody"], owner="me")
    assert [row["name"] for row in ledger.members("web")] == ["web-b"]
    assert ledger.leased_addresses() == {"10.0.0.2"}
