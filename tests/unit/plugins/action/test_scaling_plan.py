# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scaling_plan: what it hands to the planner, and plans that go on after a crash."""

from __future__ import annotations

import time

import pytest

BASE = {"address": "10.0.0.5", "port": 8080, "in_service": True, "availability": "available"}
TARGET = {"address": "10.0.0.5:9100", "labels": {}}


def vm(number, **kwargs):
    return {
        "name": f"web-{number}",
        "moid": f"vm-{number}",
        "address": f"10.0.0.{number}",
        "power_state": "poweredOn",
        "marks": {"group": "web"},
        **kwargs,
    }


@pytest.fixture
def plan(run, spec):
    def plan(direction="out", *, name=None, check_mode=False, rows=True, **changes):
        args = {
            "spec": spec,
            "signal": {"direction": direction, **changes.pop("signal", {})},
            "vms": [],
            "pool_members": [BASE],
            "targets": [TARGET],
            **({"name": name} if name else {}),
            **changes,
        }
        return run("scaling_plan", args, check_mode=check_mode)

    return plan


@pytest.fixture
def start(run):
    def start(name=None, direction="out"):
        args = {"group": "web", "state": "started", "direction": direction, **({"name": name} if name else {})}
        return run("scaling_action", args)

    return start


def test_a_plan_changes_nothing_and_needs_no_ledger_file(plan, tmp_path):
    got = plan(signal={"count": 2, "reason": "cpu", "source": "alert"})
    assert (got["changed"], got["resumed"]) == (False, False)
    assert (got["plan"]["verdict"], got["plan"]["count"], got["plan"]["size_before"]) == ("act", 2, 1)
    assert [row["slot"] for row in got["plan"]["launches"]] == [1, 2]
    assert "asked for by alert: cpu" in got["plan"]["reason"]
    assert not list(tmp_path.iterdir())


def test_names_come_from_the_stored_start(plan, start):
    """Invariant 7: the same names on the second run, however late."""
    began = start()["started_at"]
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(began))
    for alias in ("name", "action"):
        (launch,) = plan(**{alias: "web-1"})["plan"]["launches"]
        assert (launch["name"], launch["slot"]) == (f"web-{stamp}", 1)


def test_cooldown_is_read_from_the_ledger(plan, start, run):
    """A4."""
    start()
    run("scaling_action", {"group": "web", "name": "web-1", "state": "succeeded", "cooldown": 500})
    assert plan()["plan"]["code"] == "cooldown"
    assert plan(signal={"ignore_cooldown": True})["plan"]["code"] == "scale_out"
    assert plan("in")["plan"]["code"] == "at_min", "the other direction does not rest"


def test_members_in_flight_count(plan, start, run, spec):
    """A5: what the ledger knows and vCenter does not show yet."""
    start()
    decided = plan(name="web-1", signal={"count": 3})["plan"]
    run("scaling_action", {"group": "web", "name": "web-1", "state": "planned", "spec": spec, "plan": decided})
    other = plan()["plan"]
    assert (other["code"], other["size_before"]) == ("at_max", 4)


@pytest.mark.parametrize("missing", ["vms", "targets"])
def test_a_source_that_could_not_be_read_refuses(plan, missing):
    """Invariant 9; none and unknown are two things."""
    assert plan(**{missing: None})["plan"]["code"] == "unknown_state"


def test_an_unknown_action_is_named_and_check_mode_has_none(plan):
    assert "has no action web-7. Start it with" in plan(name="web-7")["msg"]
    assert plan(name="check-mode", check_mode=True)["plan"]["verdict"] == "act"
    assert plan(name="check-mode")["failed"] is True


def test_bad_specs_and_signals_are_refused(plan, spec):
    assert "size" in plan(spec={**spec, "size": {"min": 3, "max": 1}})["msg"]
    assert "signal.count" in plan(signal={"count": 0})["msg"]


def test_no_ledger_is_an_error_that_says_where_to_name_it(plan, monkeypatch):
    monkeypatch.delenv("ONPREM_AUTOSCALE_LEDGER")
    assert "Set the option ledger or the environment variable ONPREM_AUTOSCALE_LEDGER" in plan()["msg"]


def test_an_interrupted_action_gets_its_plan_again(plan, start, run, spec):
    """T4: not a new decision, as its VMs may exist by now."""
    start()
    first = plan(name="web-1", signal={"count": 2})["plan"]
    run("scaling_action", {"group": "web", "name": "web-1", "state": "planned", "spec": spec, "plan": first})
    start("web-1")
    made = vm(10, name=first["launches"][0]["name"])
    again = plan(name="web-1", vms=[made], signal={"count": 1})
    assert again["resumed"] is True
    assert again["plan"] == first


def epoch(may_act, **more):
    return {"may_act": may_act, "reason": "epoch 2 of shop is held by b, not by a", "changed": False, **more}


def test_what_the_epoch_says_decides(plan, start, run, spec):
    """D6: also for a plan that is stored; an answer that says nothing is a no."""
    assert plan(epoch=epoch(True))["plan"]["verdict"] == "act"
    for seen in (epoch(False), {}, {"may_act": "yes"}):
        assert plan(epoch=seen)["plan"]["code"] == "not_holder"
    assert plan(epoch={})["plan"]["reason"] == "nobody could say whether this site holds the group's epoch"
    start()
    first = plan(name="web-1")["plan"]
    run("scaling_action", {"group": "web", "name": "web-1", "state": "planned", "spec": spec, "plan": first})
    start("web-1")
    lost = plan(name="web-1", epoch=epoch(False))
    assert (lost["resumed"], lost["plan"]["code"], lost["plan"]["launches"]) == (True, "not_holder", [])


def test_a_minimum_comes_from_a_person_and_as_text(plan):
    assert "signal.minimum" in plan("in", signal={"minimum": 0, "source": "alert"})["msg"]
    assert plan("in", signal={"minimum": "0"})["plan"]["code"] == "no_victim", "all there is is a base member"
