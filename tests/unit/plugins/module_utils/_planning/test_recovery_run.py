# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3, D4: what may happen to a run, and what is measured of it."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.kit.recovery import plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import steps_of
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_run import (
    Run,
    approved,
    ended,
    new_run,
    report_of,
    taken_up,
    unfinished,
    with_facts,
    with_step,
)

PLAN = plan_of(steps={"traffic_on": {"gate": "manual"}})
KEYS = {
    *("plan", "run", "pattern", "kind", "planned", "source", "target", "result", "began_at", "ended_at", "lost_at"),
    *("served_at", "rto_s", "rpo_s", "rpo_basis", "rto_target_s", "rpo_target_s", "rto_met", "rpo_met"),
    *("rto_outside_s", "rpo_outside_rows", "steps", "requests_failed", "writers_max", "findings", "data_checks"),
    "readiness",
}


def begun(kind: str = "failover", plan: t.Any = PLAN, *, planned: bool = False) -> Run:
    return new_run(plan, kind, "a", "b", planned=planned, name="20260310120000", now=100.0)


def gone_through(run: Run, *, now: float = 100.0) -> Run:
    run = approved(run, [row["name"] for row in run["steps"] if row["gate"] == "manual"])
    for name in unfinished(run):
        run = with_step(run, name, "running", now=now)
        run = with_step(run, name, "done", now=now + 2)
        now += 3
    return run


def report(run: Run, **facts: t.Any) -> dict[str, t.Any]:
    return report_of(ended(with_facts(run, facts), now=500.0))


def test_a_run_to_its_report() -> None:
    told = report(gone_through(begun()), lost_at=40.5, served_at="150.25")
    assert set(told) == KEYS
    assert (told["result"], told["rto_s"], told["rto_met"]) == ("done", 109.75, True)
    assert (told["rpo_s"], told["rpo_basis"], told["rpo_met"]) == (0.0, "synchronous: database", True)
    assert told["rto_outside_s"] is told["rpo_outside_rows"] is told["requests_failed"] is told["writers_max"] is None
    assert told["findings"] == []
    assert [step["seconds"] for step in told["steps"]] == [2.0] * len(told["steps"])
    assert told["steps"][0]["planned_s"] == 10


def test_what_nobody_saw_is_null_and_said() -> None:
    told = report(gone_through(begun()), served_at=150)
    assert told["rto_s"] is told["rto_met"] is None
    assert {"level": "warning", "text": "RTO was not measured."} in told["findings"]


def test_a_missed_target_and_a_bad_check_are_findings() -> None:
    told = report(
        gone_through(begun()), lost_at=0, served_at=301, data_checks=[{"name": "rows", "ok": False, "detail": "3 gone"}]
    )
    assert told["rto_met"] is False
    texts = [row["text"] for row in told["findings"] if row["level"] == "error"]
    assert texts == ["RTO was missed: 301 s, the target is 300 s.", "The check rows failed: 3 gone"]


def data(replication: str, pattern: str = "warm_standby") -> t.Any:
    services = plan_of(pattern).as_dict()["services"]
    services[1]["replication"] = replication
    return plan_of(pattern, services=services)


@pytest.mark.parametrize(
    ("plan", "facts", "rpo", "basis"),
    [
        (data("asynchronous"), {"committed_at": {"database": 37.5}}, 2.5, "asynchronous: database"),
        (data("asynchronous"), {"committed_at": {"database": 41}}, 0.0, "asynchronous: database"),
        (data("asynchronous"), {}, None, "asynchronous: database, not measured"),
        (data("dump", "pilot_light"), {"committed_at": {"database": 10}}, 30.0, "dump: database"),
        (data("dump", "pilot_light"), {"rpo_s": 7, "rpo_basis": "counted"}, 7.0, "counted"),
        (data("synchronous"), {}, 0.0, "synchronous: database"),
    ],
)
def test_how_much_is_lost(plan: t.Any, facts: dict[str, t.Any], rpo: t.Any, basis: str) -> None:
    told = report(gone_through(begun(plan=plan)), lost_at=40, served_at=50, **facts)
    assert (told["rpo_s"], told["rpo_basis"]) == (rpo, basis)
    assert told["rpo_met"] is (None if rpo is None else True)


def test_what_was_never_taken_over_lost_nothing_that_is_known() -> None:
    told = report(begun(), lost_at=1, served_at=2)
    assert (told["result"], told["rpo_s"], told["rpo_basis"]) == (
        "abandoned",
        None,
        "synchronous: database, not measured",
    )


def test_planned_and_never_lost() -> None:
    told = report(gone_through(begun(plan=data("asynchronous"), planned=True)))
    assert (told["rto_s"], told["rpo_s"]) == (0.0, 0.0)
    assert told["rpo_basis"] == "asynchronous, closed first: database"
    assert report(gone_through(begun()), never_lost=True)["rto_s"] == 0.0
    # A planned run whose step served did not end has not looked.
    assert report(begun(planned=True))["rto_s"] is None


def test_a_drill_is_measured_as_if_the_service_had_been_lost_when_it_began() -> None:
    told = report(gone_through(begun("drill")))
    check = next(step for step in told["steps"] if step["action"] == "drill_check")
    assert told["rto_s"] == check["ended_at"] - told["steps"][0]["began_at"]
    assert told["rto_met"] is True


def test_a_backup_has_neither() -> None:
    told = report(gone_through(begun("backup")))
    assert told["rto_s"] is told["rpo_s"] is None
    assert told["findings"] == []


def test_a_closed_gate_waits_until_a_person_approves() -> None:
    run = begun()
    for name in unfinished(run)[: unfinished(run).index("traffic_on")]:
        run = with_step(with_step(run, name, "running", now=1), name, "done", now=2)
    run = with_step(run, "traffic_on", "running", now=3)
    row = next(row for row in run["steps"] if row["name"] == "traffic_on")
    assert (row["state"], row["began_at"], row["attempts"]) == ("waiting", None, 0)
    run = with_step(approved(run, ["traffic_on"]), "traffic_on", "running", now=4)
    assert next(row for row in run["steps"] if row["name"] == "traffic_on")["state"] == "running"
    with pytest.raises(InvalidSpecError, match="approve: value is 'trafic'"):
        approved(run, ["trafic"])


def test_steps_are_gone_through_in_their_order_and_done_is_done() -> None:
    run = begun()
    with pytest.raises(ConflictError, match="ready before it is pending"):
        with_step(run, "epoch", "running", now=1)
    run = with_step(with_step(run, "ready", "running", now=1), "ready", "done", now=2)
    assert with_step(run, "ready", "done", now=9) == run
    with pytest.raises(ConflictError, match="is done and cannot become running"):
        with_step(run, "ready", "running", now=3)
    with pytest.raises(InvalidSpecError, match="step: value is 'redy'"):
        with_step(run, "redy", "running", now=3)


def test_a_drill_cleans_up_after_a_failed_step() -> None:
    run = with_step(begun("drill"), "ready", "failed", now=1)
    run = with_step(run, "drill_clean", "running", now=2)
    assert report(with_step(run, "drill_clean", "done", now=3))["result"] == "failed"


def test_a_run_that_is_taken_up_goes_on_with_the_plan_of_today() -> None:
    run = with_step(with_step(begun(), "ready", "running", now=1), "ready", "done", now=2)
    again = taken_up(run, plan_of(targets={"rto": 400, "rpo": 60}), planned=True)
    assert [row["state"] for row in again["steps"]][:2] == ["done", "pending"]
    assert again["steps"][-1]["name"] == "standby:web"
    assert again["resumed"] == 1
    told = report(gone_through(again), lost_at=1, served_at=2)
    assert told["rto_target_s"] == 400
    assert [row["text"] for row in told["findings"]] == [
        "The run was cut off and taken up again once.",
        "The plan was changed while the run was not finished.",
    ]


def test_a_drill_that_is_taken_up_begins_anew_behind_a_cleaning() -> None:
    run = with_step(with_step(begun("drill"), "ready", "running", now=1), "ready", "done", now=2)
    again = taken_up(run, PLAN, planned=False)
    assert [row["name"] for row in again["steps"]][:2] == ["drill_clean:first", "ready"]
    assert {row["state"] for row in again["steps"]} == {"pending"}
    whole = gone_through(again)
    assert [row["state"] for row in taken_up(whole, PLAN, planned=False)["steps"]] == ["done"] * len(whole["steps"])


@pytest.mark.parametrize("facts", [{"lost_at": "noon"}, {"committed_at": 5}, {"committed_at": {"database": "noon"}}])
def test_a_fact_that_no_report_could_hold_is_refused_when_it_comes(facts: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidSpecError, match=r"noon|a dictionary"):
        with_facts(begun(), facts)


def test_findings_and_checks_add_up_and_the_same_counts_once() -> None:
    run = with_facts(begun(), {"findings": "one", "data_checks": [{"name": "x", "ok": True}]})
    run = with_facts(run, {"findings": ["one", {"level": "info", "text": "two"}], "lost_at": None})
    run = with_facts(run, {"data_checks": [{"name": "x", "ok": True}], "committed_at": {"d": 1}})
    run = with_facts(run, {"committed_at": {"e": "2"}})
    assert run["facts"]["findings"] == [{"level": "warning", "text": "one"}, {"level": "info", "text": "two"}]
    assert run["facts"]["data_checks"] == [{"name": "x", "ok": True, "detail": ""}]
    assert run["facts"]["committed_at"] == {"d": 1.0, "e": 2.0}


STEP = st.tuples(
    st.sampled_from([step.name for step in steps_of(PLAN, "failover", "a", "b", planned=True)]),
    st.sampled_from(["running", "done", "failed", "skipped", "waiting"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=25), st.lists(st.integers(0, 24), max_size=3))
def test_no_order_of_calls_undoes_a_step_or_opens_a_gate(calls: list[tuple[str, str]], cuts: list[int]) -> None:
    run = begun(planned=True)
    finished: set[str] = set()
    for now, (name, state) in enumerate(calls):
        if now in cuts:
            run = taken_up(run, PLAN, planned=True)
        try:
            run = with_step(run, name, state, now=float(now))
        except ConflictError:
            continue
        states = {row["name"]: row["state"] for row in run["steps"]}
        assert states["traffic_on"] != "running"  # nobody approved
        assert finished <= {name for name in states if states[name] in ("done", "skipped")}
        finished = {name for name in states if states[name] in ("done", "skipped")}
    told = report(run, lost_at=0, served_at=1)
    assert told["result"] == "done" if len(finished) == len(run["steps"]) else told["result"] != "done"
    for row in told["steps"]:
        assert row["seconds"] is None or row["seconds"] >= 0
