# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A run of a recovery plan as plain data, and what may happen to it: begun, taken up, a step begun or ended, the report.
Every function returns a new value.
"""

from __future__ import annotations

import copy
import typing as t

from .._common._errors import ConflictError, InvalidSpecError
from ._recovery import RecoveryPlan, parse_plan
from ._recovery_measure import measure, seconds_of
from ._recovery_steps import REAL, Step, cleaning_first, steps_of

Run = dict[str, t.Any]

FINISHED = ("done", "skipped")
STEP_STATES = ("running", "done", "failed", "skipped", "waiting")
OUTSIDE = ("rto_outside_s", "rpo_outside_rows", "requests_failed", "writers_max")
#: Facts of which each report adds some; all others replace the value before.
LISTS = ("findings", "data_checks")
TIMES = ("lost_at", "served_at", "rpo_s")


def new_run(plan: RecoveryPlan, kind: str, source: str, target: str, *, planned: bool, name: str, now: float) -> Run:
    """A run that has just begun."""
    steps = steps_of(plan, kind, source, target, planned=planned)
    return {
        "version": 1,
        "plan": plan.as_dict(),
        "run": name,
        "kind": kind,
        "source": source,
        "target": target,
        "planned": planned or kind == "failback",
        "began_at": round(now, 3),
        "ended_at": None,
        "resumed": 0,
        "steps": [_row(step) for step in steps],
        "approved": [],
        "facts": {"findings": [], "data_checks": []},
    }


def _row(step: Step) -> dict[str, t.Any]:
    return {**step.as_dict(), "state": "pending", "began_at": None, "ended_at": None, "attempts": 0, "detail": ""}


def taken_up(run: Run, plan: RecoveryPlan, *, planned: bool) -> Run:
    """The same run, goes on with what the plan says today: steps keep their state by name.

    A drill begins anew, behind a cleaning, unless all of it is done.
    """
    new = copy.deepcopy(run)
    new["resumed"] += 1
    if unfinished(run):
        new["ended_at"] = None
    planned = planned or run["kind"] == "failback"
    steps = steps_of(plan, run["kind"], run["source"], run["target"], planned=planned)
    if run["kind"] == "drill" and unfinished(run):
        return {**new, "plan": plan.as_dict(), "steps": [_row(step) for step in cleaning_first(plan, steps)]}
    known = {row["name"]: row for row in new["steps"]}
    rows = [_row(step) for step in steps]
    if run["kind"] == "drill" and "drill_clean:first" in known:
        rows.insert(0, known["drill_clean:first"])
    new["steps"] = [{**row, **_progress(known[row["name"]])} if row["name"] in known else row for row in rows]
    if plan.as_dict() != run["plan"] or planned != run["planned"]:
        _add(new["facts"], "findings", [_finding("warning", "The plan was changed while the run was not finished.")])
    return {**new, "plan": plan.as_dict(), "planned": planned}


def _progress(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: row[key] for key in ("state", "began_at", "ended_at", "attempts", "detail")}


def unfinished(run: Run) -> list[str]:
    """Names of the steps that are to be done yet."""
    return [row["name"] for row in run["steps"] if row["state"] not in FINISHED]


def approved(run: Run, gates: t.Sequence[str]) -> Run:
    """With the gates that a person opened, by step or by action."""
    known = {row[key] for row in run["steps"] for key in ("name", "action")}
    for gate in gates:
        if gate not in known:
            manual = [row["name"] for row in run["steps"] if row["gate"] == "manual"] or ["none, the plan has no gates"]
            raise InvalidSpecError(f"approve: value is {gate!r} (no such step); allowed: {', '.join(manual)}")
    return {**run, "approved": sorted({*run["approved"], *gates})}


def with_step(run: Run, name: str, state: str, *, now: float, detail: str = "") -> Run:
    """With the new state of one step; running becomes waiting where a gate is closed.

    :raises InvalidSpecError: there is no such step.
    :raises ConflictError: it is done already, or one before it is not.
    """
    new = copy.deepcopy(run)
    row = step_of(new, name)
    if row["state"] in FINISHED and row["state"] != state:
        raise ConflictError(
            f"Step {name} of run {run['run']} is {row['state']} and cannot become {state}",
            remedy="Go through the steps whose state is neither done nor skipped.",
        )
    if row["state"] == state and state in FINISHED:
        return new
    if state == "running":
        _check_turn(new, row)
        if row["gate"] == "manual" and not {row["name"], row["action"]} & set(new["approved"]):
            state = "waiting"
    if state == "running":
        row["attempts"] += 1
        row["began_at"] = round(now, 3) if row["began_at"] is None else row["began_at"]
        row["ended_at"] = None
    elif state != "waiting":
        row["began_at"] = round(now, 3) if row["began_at"] is None else row["began_at"]
        row["ended_at"] = round(max(now, row["began_at"]), 3)
    row.update(state=state, detail=detail or ("" if state == "running" else row["detail"]))
    return new


def step_of(run: Run, name: str) -> dict[str, t.Any]:
    """The row of one step."""
    for row in run["steps"]:
        if row["name"] == name:
            return row
    raise InvalidSpecError(
        f"step: value is {name!r}; allowed: one of {', '.join(row['name'] for row in run['steps'])} (run {run['run']})"
    )


def _check_turn(run: Run, row: t.Mapping[str, t.Any]) -> None:
    if run["kind"] not in REAL:
        return  # a drill cleans up after a failed step, a backup goes on with the next one
    for before in run["steps"]:
        if before["name"] == row["name"]:
            return
        if before["state"] not in FINISHED:
            raise ConflictError(
                f"Step {row['name']} of run {run['run']} cannot begin: {before['name']} before it is {before['state']}",
                remedy="Go through run.steps in their order.",
            )


def with_facts(run: Run, facts: t.Mapping[str, t.Any]) -> Run:
    """With more that was seen: findings and data checks are added, what is None is left as it was.

    :raises InvalidSpecError: a time that is no number, or a value of another kind.
    """
    new = copy.deepcopy(run)
    for key, value in facts.items():
        if value is None:
            continue
        if key in LISTS:
            rows = [value] if isinstance(value, (str, t.Mapping)) else value
            _add(new["facts"], key, [_finding_of(row) if key == "findings" else _check_of(row) for row in rows])
        elif key == "committed_at":
            if not isinstance(value, t.Mapping):
                raise InvalidSpecError(f"facts.{key}: value is {value!r}; allowed: a dictionary of service and time")
            times = {name: seconds_of(value, name) for name in value}
            new["facts"][key] = {**new["facts"].get(key, {}), **times}
        else:
            new["facts"][key] = seconds_of(facts, key) if key in TIMES else value
    return new


def _finding(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": text}


def _finding_of(row: t.Any) -> dict[str, str]:
    if isinstance(row, t.Mapping):
        return _finding(str(row.get("level") or "warning"), str(row.get("text") or row.get("message") or dict(row)))
    return _finding("warning", str(row))


def _check_of(row: t.Any) -> dict[str, t.Any]:
    if isinstance(row, t.Mapping):
        name = str(row.get("name") or row.get("service") or "data")
        return {"name": name, "ok": bool(row.get("ok")), "detail": str(row.get("detail") or "")}
    return {"name": str(row), "ok": True, "detail": ""}


def _add(facts: dict[str, t.Any], key: str, rows: list[dict[str, t.Any]]) -> None:
    facts[key] = [*facts.get(key, []), *(row for row in rows if row not in facts.get(key, []))]


def ended(run: Run, *, now: float) -> Run:
    """The run is over, whatever its steps say; a second time changes nothing."""
    return run if run["ended_at"] is not None else {**run, "ended_at": round(now, 3)}


def report_of(run: Run) -> dict[str, t.Any]:
    """What is kept of a run; None where nothing was measured, or not yet."""
    plan, facts = parse_plan(run["plan"]), run["facts"]
    measured = measure(plan, run["kind"], run["steps"], facts, planned=run["planned"])
    seen = measured.as_dict()
    report = {
        "plan": plan.name,
        "run": run["run"],
        "pattern": plan.pattern,
        "kind": run["kind"],
        "planned": run["planned"],
        "source": run["source"],
        "target": run["target"],
        "result": _result(run),
        "began_at": run["began_at"],
        "ended_at": run["ended_at"],
        "lost_at": seen["lost_at"],
        "served_at": seen["served_at"],
        **{key: seen[key] for key in ("rto_s", "rpo_s", "rpo_basis")},
        "rto_target_s": plan.targets.rto,
        "rpo_target_s": plan.targets.rpo,
        "rto_met": seen["rto_met"],
        "rpo_met": seen["rpo_met"],
        **dict.fromkeys(OUTSIDE),
        "steps": [_told(row) for row in run["steps"]],
        "data_checks": facts.get("data_checks", []),
        "readiness": facts.get("readiness"),
    }
    return {**report, "findings": [*_own_findings(run, report), *facts.get("findings", [])]}


def _result(run: Run) -> str:
    states = [row["state"] for row in run["steps"]]
    if all(state in FINISHED for state in states):
        return "done"
    return "failed" if "failed" in states else "abandoned"


def _told(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    both = row["began_at"] is not None and row["ended_at"] is not None
    seconds = round(row["ended_at"] - row["began_at"], 3) if both else None
    kept = ("name", "action", "service", "site", "title", "gate", "state", "began_at", "ended_at", "attempts", "detail")
    return {
        **{key: row[key] for key in kept},
        "seconds": seconds,
        "planned_s": row["expected"],
        "timeout_s": row["timeout"],
    }


def _own_findings(run: Run, report: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """What follows from the run itself."""
    rows = []
    for what in ("rto", "rpo"):
        seconds, target = report[f"{what}_s"], report[f"{what}_target_s"]
        if report[f"{what}_met"] is False:
            rows.append(_finding("error", f"{what.upper()} was missed: {seconds:g} s, the target is {target} s."))
        elif report[f"{what}_met"] is None and run["kind"] != "backup" and report["result"] == "done":
            rows.append(_finding("warning", f"{what.upper()} was not measured."))
    rows += [
        _finding("error", f"The check {row['name']} failed: {row['detail'] or 'no detail'}")
        for row in report["data_checks"] if not row["ok"]
    ]  # fmt: skip
    for row in report["steps"]:
        if row["state"] not in FINISHED:
            rows.append(_finding("error", f"Step {row['name']} was left {row['state']}. {row['detail']}".strip()))
        elif row["attempts"] > 1:
            rows.append(_finding("warning", f"Step {row['name']} was begun {row['attempts']} times."))
    if run["resumed"]:
        times = "once" if run["resumed"] == 1 else f"{run['resumed']} times"
        rows.append(_finding("warning", f"The run was cut off and taken up again {times}."))
    return rows
