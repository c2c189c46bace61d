# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scaling_action: each state, check mode, diff, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

PLAN = {
    "verdict": "act",
    "code": "scale_out",
    "direction": "out",
    "reason": "why",
    "count": 2,
    "size_before": 1,
    "size_after": 3,
    "launches": [{"name": "web-a", "slot": 1}, {"name": "web-b", "slot": 2}],
    "victims": [],
    "cooldown_until": None,
}
VICTIM = {"name": "web-a", "address": "10.0.0.10", "moid": "vm-1"}
PLAN_IN = {**PLAN, "code": "scale_in", "direction": "in", "launches": [], "victims": [VICTIM], "size_after": 0}


@pytest.fixture
def act(run):
    def act(state, name="web-1", *, check_mode=False, diff=False, **options):
        args = {"group": "web", "state": state, **({"name": name} if name else {}), **options}
        return run("scaling_action", args, check_mode=check_mode, diff=diff)

    return act


@pytest.fixture
def info(run):
    return lambda: run("scaling_group_info", {"groups": ["web"]})["groups"][0]


@pytest.fixture
def started(act):
    return act("started", None, direction="out", source="alert", reason="cpu")


def test_started_returns_the_ident_and_its_time(started, info):
    assert started["changed"] is True
    assert (started["name"], started["resumed"]) == ("web-1", False)
    action = info()["action"]
    assert action["started_at"] == started["started_at"]
    assert (action["source"], action["reason"], action["owner"]) == ("alert", "cpu", started["owner"])
    assert [step["step"] for step in action["steps"]] == ["observe"]


def test_started_again_by_name_goes_on(act, started):
    again = act("started", direction="out")
    assert (again["name"], again["started_at"], again["resumed"]) == ("web-1", started["started_at"], True)


def test_a_locked_group_fails_with_a_code(act, started):
    refused = act("started", None, direction="in")
    assert (refused["failed"], refused["changed"], refused["code"]) == (True, False, "locked")
    assert "group web is locked by action web-1 (owner " in refused["msg"]


def test_another_owner_is_refused(act, started):
    """Trigger §6: two attempts of one action never both go on."""
    refused = act("running", step="clone", owner="elsewhere/1")
    assert refused["code"] == "lock_lost"
    assert f"pass owner={started['owner']}" in refused["msg"]


def test_planned_leases_and_marks(act, started, spec, info):
    """A6; design §5: the marks make the VM ours from its first moment."""
    got = act("planned", spec=spec, plan=PLAN, taken=["10.0.0.10"], step="clone")
    assert got["changed"] is True
    assert [(vm["name"], vm["address"]) for vm in got["vms"]] == [("web-a", "10.0.0.11"), ("web-b", "10.0.0.12")]
    marks = got["vms"][1]["marks"]
    assert {key: marks[key] for key in ("group", "action", "address", "slot")} == {
        "group": "web",
        "action": "web-1",
        "address": "10.0.0.12",
        "slot": "2",
    }
    assert all(isinstance(value, str) for value in marks.values()), "extraConfig knows strings only"
    steps = info()["action"]["steps"]
    assert [(step["step"], step["state"]) for step in steps] == [
        ("observe", "done"),
        ("decide", "done"),
        ("lease", "done"),
        ("clone", "running"),
    ]
    again = act("planned", spec=spec, plan=PLAN, taken=["10.0.0.11"])
    assert (again["vms"], again["changed"]) == (got["vms"], False)


def test_planned_takes_no_plan_that_names_others(act, started, spec):
    act("planned", spec=spec, plan=PLAN)
    other = act("planned", spec=spec, plan={**PLAN, "launches": [{"name": "web-z", "slot": 1}]})
    assert other["code"] == "other_plan"


def test_planned_for_a_scale_in_leases_nothing(act, spec, info):
    act("started", None, direction="in")
    got = act("planned", spec=spec, plan=PLAN_IN, step="drain")
    assert got["vms"] == [{"name": "web-a", "address": "10.0.0.10", "marks": {"group": "web"}}]
    assert info()["leases"] == []
    assert info()["members"][0]["state"] == "in_service", "what the ledger did not know is recorded as it was seen"


def test_an_exhausted_pool_fails_and_keeps_the_action(act, started, spec, info):
    """A8: the play's rescue ends the action."""
    got = act("planned", spec=spec, plan=PLAN, taken=[f"10.0.0.{number}" for number in range(10, 14)])
    assert (got["failed"], got["code"]) == (True, "no_address")
    assert "(10.0.0.10-10.0.0.14) has 1 free, 2 needed" in got["msg"]
    assert info()["action"]["name"] == "web-1"
    assert (info()["members"], info()["leases"]) == ([], [])


def test_what_answers_is_named(act, started, spec, monkeypatch):
    """A8: an address that answers is never given out; the reader learns why."""
    from ansible_collections.onprem.autoscale.plugins.module_utils._gates import _probe

    def answers(address, methods, ports, timeout):
        return "a printer" if address < "10.0.0.14" else None

    monkeypatch.setattr(_probe, "answers", answers)
    got = act("planned", spec=spec, plan=PLAN)
    assert got["answers"] == {f"10.0.0.{number}": "a printer" for number in range(10, 14)}
    assert len(act("planned", spec=spec, plan=PLAN, probe=False)["vms"]) == 2


def gone_by(url, seconds):
    """Let *seconds* pass for all that the ledger knows of members and ended actions."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE members SET updated_at = updated_at - ?", (seconds,))
        database.execute("UPDATE actions SET ended_at = ended_at - ?", (seconds,))
        database.commit()


@pytest.fixture
def phantoms(act, started, spec, url):
    """Two launches of web-1, which failed an hour ago without a VM; web-2 runs."""
    act("planned", spec=spec, plan=PLAN, step="clone")
    act("failed")
    gone_by(url, 3600)
    act("started", None, direction="out")


def test_observed_gives_up_what_never_came_to_be(act, phantoms, spec, info):
    """A5: launches of a failed action do not count for ever; the journal of the next action says who went."""
    rows = [{"name": "web-b", "address": "10.0.0.11", "marks": {"group": "web"}}]
    expected = act("observed", "web-2", spec=spec, vms=rows, check_mode=True, diff=True)
    assert info()["counts"]["planned"] == 2, "check mode changes nothing"
    got = act("observed", "web-2", spec=spec, vms=rows, diff=True)
    assert got == expected
    assert (got["changed"], got["released"]) == (True, ["web-a"])
    assert got["diff"]["before"]["leases"] == {"web-a": "10.0.0.10", "web-b": "10.0.0.11"}
    assert got["diff"]["after"]["leases"] == {"web-b": "10.0.0.11"}
    assert got["diff"]["after"]["step"] == "observe"
    step = info()["action"]["steps"][0]
    assert (step["step"], step["state"], step["detail"]) == ("observe", "running", {"released": ["web-a"]})
    again = act("observed", "web-2", spec=spec, vms=rows)
    assert (again["changed"], again["released"]) == (False, [])


def test_observed_knows_a_renamed_vm_by_its_mark(act, phantoms, spec):
    rows = [{"name": "renamed", "address": "", "marks": {"group": "web", "address": "10.0.0.10"}}]
    assert act("observed", "web-2", spec=spec, vms=rows)["released"] == ["web-b"]


def test_observed_waits_as_long_as_a_clone_may_take(act, phantoms, spec):
    slow = {**spec, "timeouts": {"clone": 7200}}
    assert act("observed", "web-2", spec=slow, vms=[])["released"] == []
    assert act("observed", "web-2", spec=spec, vms=[])["released"] == ["web-a", "web-b"]


def test_observed_releases_nothing_when_vcenter_is_unknown(act, phantoms, spec, info):
    """Invariant 9."""
    assert "nothing is released on a guess" in act("observed", "web-2", spec=spec, vms=None)["msg"]
    assert info()["counts"]["planned"] == 2


def test_observed_in_check_mode_needs_no_action(act, spec):
    assert act("observed", "check-mode", spec=spec, vms=[], check_mode=True)["released"] == []


@pytest.mark.parametrize(("most", "verdict", "kept"), [(2, "act", 1), (1, "refuse", 0)])
def test_what_a_resumed_plan_dropped_is_given_up_by_the_next_action(act, run, spec, url, info, most, verdict, kept):
    """The maximum was lowered while an action was interrupted: its other launches do not hold their addresses for ever.

    They keep them while the action runs, as the interrupted run may have asked for their clones (invariant 3).
    """
    seen = {"vms": [], "pool_members": [], "targets": []}
    signal = {"direction": "out", "count": 2}
    act("started", None, direction="out")
    first = run("scaling_plan", {"name": "web-1", "spec": spec, "signal": signal, **seen})["plan"]
    act("planned", spec=spec, plan=first, step="clone")
    names = [row["name"] for row in first["launches"]]
    act("started", direction="out")
    less = {**spec, "size": {"min": 1, "max": most}}
    assert act("observed", spec=less, vms=[])["released"] == []
    again = run("scaling_plan", {"name": "web-1", "spec": less, "signal": signal, **seen})
    plan = again["plan"]
    assert (again["resumed"], plan["verdict"], plan["count"]) == (True, verdict, kept)
    if kept:
        act("planned", spec=less, plan=plan, step="clone")
    act("succeeded" if kept else "refused", members=[{"name": name, "state": "in_service"} for name in names[:kept]])
    assert len(info()["leases"]) == 2
    gone_by(url, 601)
    act("started", None, direction="out")
    vms = [{"name": name, "address": "", "marks": {"group": "web"}} for name in names[:kept]]
    assert act("observed", "web-2", spec=less, vms=vms)["released"] == names[kept:]
    assert [row["member"] for row in info()["leases"]] == names[:kept]


def rows_and_leases(info):
    group = info()
    return [row["name"] for row in group["members"]], [row["member"] for row in group["leases"]]


def test_a_launch_has_its_row_together_with_its_lease(act, started, spec, info):
    """So a play whose planned failed has nothing to remove: neither is there, or both are and a VM may be too."""
    assert act("planned", spec=spec, plan=PLAN, taken=[f"10.0.0.{last}" for last in range(10, 14)])["failed"] is True
    assert rows_and_leases(info) == ([], [])
    act("planned", spec=spec, plan=PLAN, step="clone")
    other = {**PLAN, "launches": [*PLAN["launches"], {"name": "web-c", "slot": 3}]}
    assert act("planned", spec=spec, plan=other)["code"] == "other_plan"
    assert rows_and_leases(info) == (["web-a", "web-b"], ["web-a", "web-b"])


def test_a_whole_action_in_and_out(act, started, spec, info):
    act("planned", spec=spec, plan=PLAN, step="clone")
    act("running", step="pool", members=[{"name": "web-a", "moid": "vm-1", "state": "launching"}], detail={"n": 1})
    done = act("succeeded", spec=spec, members=[{"name": n, "state": "in_service"} for n in ("web-a", "web-b")])
    event = done["event"]
    assert (event["code"], event["count_before"], event["count_after"]) == ("scale_out", 1, 3)
    assert [step["step"] for step in event["steps"]] == ["observe", "decide", "lease", "clone", "pool"]
    assert 290 < info()["cooldowns"]["out"]["remaining"] <= 300
    act("started", None, direction="in")
    act("planned", "web-2", spec=spec, plan=PLAN_IN, step="drain")
    done = act("succeeded", "web-2", spec=spec, removed=["web-a"])
    assert [row["name"] for row in done["event"]["members"]] == ["web-a"]
    assert [row["member"] for row in info()["leases"]] == ["web-b"]
    assert 110 < info()["cooldowns"]["in"]["remaining"] <= 120
    assert info()["counts"] == {
        "members": 1,
        "leases": 1,
        "planned": 0,
        "launching": 0,
        "in_service": 1,
        "draining": 0,
        "failed": 0,
        "quarantined": 0,
    }


def test_ending_twice_returns_the_recorded_event(act, started):
    first = act("failed", code="clone_failed", message="no space")
    again = act("succeeded", message="other")
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["event"] == first["event"]
    assert first["event"]["message"] == "no space"


@pytest.mark.parametrize(
    ("state", "options", "seconds"),
    [
        ("succeeded", {}, 300),
        ("failed", {}, 300),
        ("failed", {"cooldown": 0}, 0),
        ("failed", {"cooldown": 40}, 40),
        ("refused", {}, 0),
        ("refused", {"cooldown": 50}, 50),
        ("refused", {"cooldown_until": 99999999999.0}, 9e9),
        ("refused", {"plan": {**PLAN, "verdict": "refuse", "launches": [], "cooldown_until": 99999999999.0}}, 9e9),
    ],
)
def test_which_end_starts_which_cooldown(act, started, info, state, options, seconds):
    """A4; a refusal inside the cooldown must not prolong it."""
    act(state, **options)
    remaining = info()["cooldowns"]["out"]["remaining"]
    assert seconds - 10 <= remaining <= seconds or (seconds == 9e9 and remaining > 9e9)


def test_a_refusal_keeps_plan_and_counts(act, started):
    plan = {**PLAN, "verdict": "refuse", "code": "at_max", "launches": [], "size_before": 4, "size_after": 4}
    event = act("refused", plan=plan, message="full")["event"]
    assert (event["code"], event["count_before"], event["count_after"]) == ("at_max", 4, 4)


def test_check_mode_stores_nothing(act, spec, url, info):
    file = Path(url.removeprefix("sqlite:///"))
    got = act("started", None, direction="out", check_mode=True)
    assert got["name"] == "check-mode"
    planned = act("planned", "check-mode", spec=spec, plan=PLAN, check_mode=True)
    assert [vm["address"] for vm in planned["vms"]] == ["10.0.0.10", "10.0.0.11"]
    assert act("running", "check-mode", step="pool", check_mode=True)["changed"] is True
    ended = act("succeeded", "check-mode", direction="out", plan=PLAN, check_mode=True)
    assert (ended["event"]["result"], ended["event"]["count_after"]) == ("succeeded", 3)
    assert not file.exists()


def test_check_mode_tells_of_the_lock(act, started):
    assert act("started", None, direction="out", check_mode=True)["code"] == "locked"


def test_diff_shows_lock_step_members_and_leases(act, spec):
    empty = {"lock": None, "step": None, "members": {}, "leases": {}}
    diff = act("started", None, direction="out", diff=True)["diff"]
    assert diff == {"before": empty, "after": {**empty, "lock": "web-1", "step": "observe"}}
    expected = act("planned", spec=spec, plan=PLAN, step="clone", diff=True, check_mode=True)["diff"]
    real = act("planned", spec=spec, plan=PLAN, step="clone", diff=True)["diff"]
    assert real == expected
    assert real["after"]["leases"] == {"web-a": "10.0.0.10", "web-b": "10.0.0.11"}
    options = {"removed": ["web-b"], "members": [{"name": "web-a", "state": "in_service"}], "diff": True}
    expected = act("failed", check_mode=True, **options)["diff"]
    assert act("failed", **options)["diff"] == expected
    assert expected["after"] == {
        "lock": None,
        "step": None,
        "members": {"web-a": "in_service"},
        "leases": {"web-a": "10.0.0.10"},
    }


def test_an_action_of_another_group_is_not_touched(run, started):
    got = run("scaling_action", {"group": "db", "state": "running", "name": "web-1", "step": "x"})
    assert "action web-1 belongs to group web, not db" in got["msg"]


def test_an_action_that_was_never_started_is_named(act):
    assert "has no action web-9. Start it first" in act("running", "web-9", step="x")["msg"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"state": "started"}, "state is started but all of the following are missing: direction"),
        ({"state": "planned", "name": "x"}, "missing: spec, plan"),
        ({"state": "running", "name": "x"}, "missing: step"),
        ({"state": "observed", "name": "x", "spec": {}}, "missing: vms"),
        ({"state": "failed"}, "missing: name"),
        ({"state": "paused"}, "value of state must be one of"),
        ({"state": "failed", "name": "x", "cooldown": 1, "cooldown_until": 2}, "mutually exclusive"),
        ({"state": "failed", "name": "x", "members": [{"name": "a", "state": "up"}]}, "value of state must be one of"),
    ],
)
def test_bad_options_are_named(run, args, message):
    with pytest.raises(AnsibleError, match=message):
        run("scaling_action", {"group": "web", **args})


def test_a_bad_spec_is_refused_before_anything_is_stored(act, started, spec, info):
    got = act("planned", spec={**spec, "size": {"min": 5, "max": 1}}, plan=PLAN)
    assert got["failed"] is True
    assert "size" in got["msg"]
    assert [step["step"] for step in info()["action"]["steps"]] == ["observe"]


def test_results_hold_plain_data_only(act, started, spec):
    """Ansible stores results; a tagged or library type in them is a warning today and an error tomorrow."""

    def types(value):
        if isinstance(value, dict):
            return {type(value)} | {kind for pair in value.items() for item in pair for kind in types(item)}
        if isinstance(value, list):
            return {type(value)} | {kind for item in value for kind in types(item)}
        return {type(value)}

    got = act("succeeded", plan=PLAN)
    assert types(got) <= {dict, list, str, int, float, bool, type(None)}
    assert json.dumps(got)
