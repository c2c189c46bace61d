#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the journal of a recovery run, and writes its report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_record
short_description: Keep the journal of a recovery run, and write its report
version_added: 0.3.0
description:
  - A run of a recovery plan is a file that is whole and on disk before and after each step, so that C(kill -9) costs a
    step and not the run (D3). The same command, given again, takes up the run where it was cut off.
  - One ansible-playbook works on a run at a time; a second one is refused as long as the first one lives. It is known
    by host, process number and start time.
  - At the end there is a report, C(<plan>-<run>.json) and C(<plan>-<run>.html), with RTO and RPO against their targets
    (D4). What was not measured is null.
  - Of failover and failback, one is at a time for a plan. A backup stands beside all else. A drill that was cut off
    holds up no failover; the next drill takes it up, and cleans first.
author:
  - The onprem.autoscale authors (@onprem)
requirements:
  - jsonschema (Python library)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_recovery
attributes:
  check_mode:
    support: full
    details: A step of a run that was begun in check mode only is not looked up, as there is no such file.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: O(state=step) with O(step_state=running) counts an attempt each time.
options:
  directory:
    description: Folder of journals and reports, on the controller; made where there is none.
    type: path
    required: true
  plan:
    description: The plan, as the filter P(onprem.autoscale.recovery_plan#filter) returns it.
    type: dict
    required: true
  state:
    description:
      - V(started) takes up the unfinished run of O(kind) from O(source) to O(target), or begins one.
      - V(step) keeps O(step_state) of O(step).
      - V(ended) writes the report of O(run) and drops its journal, whatever the steps say.
      - V(observed) puts O(outside) into the report of O(run), or of the newest run.
      - V(read) tells what there is.
    type: str
    choices: [started, step, ended, observed, read]
    required: true
  kind:
    description: Kind of the run.
    type: str
    choices: [failover, failback, drill, backup]
  source:
    description: Site that serves until now. Without it, the plan's primary; for a failback, its secondary.
    type: str
  target:
    description: Site that is to serve, or that rehearses. Without it, the other one.
    type: str
  planned:
    description: Whether the source lives and takes part. A failback always is planned.
    type: bool
    default: false
  run:
    description: Name of the run, as RV(run.name) told.
    type: str
  step:
    description: Name of the step.
    type: str
  step_state:
    description:
      - What became of it. A step that begins with V(running) at a closed gate is V(waiting), see RV(step).
    type: str
    choices: [running, done, failed, skipped, waiting]
  next:
    description:
      - Name of the step that begins when O(step) is done, so that one call keeps both. RV(step) is of this one then.
    type: str
  detail:
    description: A sentence about it, for the report.
    type: str
    default: ''
  facts:
    description:
      - What was seen, with O(state=step) or O(state=ended). C(findings) and C(data_checks) are added to those before,
        anything else replaces what was.
      - C(lost_at) and C(served_at) are seconds since 1970, as M(onprem.autoscale.prometheus_outage_info) returns them;
        C(never_lost) says that somebody looked, and that the service was there all the while;
        C(rpo_s) with C(rpo_basis), or C(committed_at), a dictionary of data service and time of the newest commit (or
        of the dump) that the target has; C(findings), a list of sentences or of dictionaries with C(level) (info,
        warning, error) and C(text); C(data_checks), a list of C(name), C(ok), C(detail); C(readiness), as
        P(onprem.autoscale.recovery_readiness#filter) returns it.
    type: dict
    default: {}
  outside:
    description: What was measured from outside.
    type: dict
    suboptions:
      rto_outside_s:
        description: Seconds from the last request that was served before the loss to the first one after it.
        type: float
      rpo_outside_rows:
        description: Committed rows that were not found again.
        type: int
      requests_failed:
        description: Requests that failed.
        type: int
      writers_max:
        description: Most sites that accepted writes at once.
        type: int
  takeover:
    description:
      - Take a run from an owner of which it cannot be told here whether it lives; give up one that is not ours with
        O(state=ended). An owner that is seen to live keeps its run in any case.
    type: bool
    default: false
  approve:
    description: Gates that a person opens, by step or by action; kept in the journal.
    type: list
    elements: str
    default: []
seealso:
  - plugin: onprem.autoscale.recovery_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Begin, or take up
  onprem.autoscale.recovery_record:
    directory: build/dr
    plan: "{{ recovery }}"
    state: started
    kind: failover
    source: a
    target: b
  register: recorded

- name: A step begins
  onprem.autoscale.recovery_record:
    directory: build/dr
    plan: "{{ recovery }}"
    state: step
    run: "{{ recorded.run.name }}"
    step: data:database
    step_state: running

- name: The end
  onprem.autoscale.recovery_record:
    directory: build/dr
    plan: "{{ recovery }}"
    state: ended
    run: "{{ recorded.run.name }}"
    facts:
      lost_at: 1767225600.0
      served_at: 1767225661.5

- name: What clients saw
  onprem.autoscale.recovery_record:
    directory: build/dr
    plan: "{{ recovery }}"
    state: observed
    run: "{{ recorded.run.name }}"
    outside:
      rto_outside_s: 61.2
      rpo_outside_rows: 0
"""

RETURN = r"""
run:
  description: The run; null where O(state=ended) or O(state=observed) left a report only, and for O(state=read).
  returned: always
  type: dict
  contains:
    name:
      description: Its name, the time of its begin in UTC.
      type: str
      sample: '20260310120000'
    resumed:
      description: Whether it was cut off and taken up.
      type: bool
    kind:
      description: Kind of the run.
      type: str
      sample: failover
    source:
      description: Site that served.
      type: str
      sample: a
    target:
      description: Site that is to serve.
      type: str
      sample: b
    planned:
      description: Whether the source takes part.
      type: bool
    steps:
      description:
        - The steps in their order, each with C(name), C(action), C(service), C(site), C(timeout), C(expected), C(gate),
          C(title), C(approved), C(state) (pending, running, done, failed, skipped, waiting), C(began_at), C(ended_at),
          C(attempts), C(detail).
      type: list
      elements: dict
    facts:
      description: What was seen until now.
      type: dict
step:
  description: The step of O(state=step) as it is now; V(waiting) means that its gate is closed and it must not begin.
  returned: always
  type: dict
report:
  description: The report of O(state=ended) and O(state=observed).
  returned: always
  type: dict
report_files:
  description: Where it is, as JSON and as a page.
  returned: always
  type: list
  elements: str
unfinished:
  description: With O(state=read), the runs without an end, each with C(owner) and C(alive) (null when unknown).
  returned: always
  type: list
  elements: dict
reports:
  description: With O(state=read), the reports, newest first.
  returned: always
  type: list
  elements: dict
"""

import contextlib
import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import ArgumentSpec, run
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._files import Files
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._journal import Journal, Outcome, told
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._owner import this_owner

SPEC = ArgumentSpec(
    {
        "directory": {"type": "path", "required": True},
        "plan": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["started", "step", "ended", "observed", "read"], "required": True},
        "kind": {"type": "str", "choices": ["failover", "failback", "drill", "backup"]},
        "source": {"type": "str"},
        "target": {"type": "str"},
        "planned": {"type": "bool", "default": False},
        "run": {"type": "str"},
        "step": {"type": "str"},
        "step_state": {"type": "str", "choices": ["running", "done", "failed", "skipped", "waiting"]},
        "next": {"type": "str"},
        "detail": {"type": "str", "default": ""},
        "facts": {"type": "dict", "default": {}},
        "outside": {
            "type": "dict",
            "options": {
                "rto_outside_s": {"type": "float"},
                "rpo_outside_rows": {"type": "int"},
                "requests_failed": {"type": "int"},
                "writers_max": {"type": "int"},
            },
        },
        "takeover": {"type": "bool", "default": False},
        "approve": {"type": "list", "elements": "str", "default": []},
    },
    required_if=[
        ("state", "started", ["kind"]),
        ("state", "step", ["run", "step", "step_state"]),
        ("state", "ended", ["run"]),
        ("state", "observed", ["outside"]),
    ],
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """One call, under the lock of the plan's files."""
    params, check = module.params, module.check_mode
    plan = parse_plan(params["plan"])
    files = Files(params["directory"], plan.name)
    journal = Journal(files, this_owner(), now=time.time(), check_mode=check)
    if params["state"] == "read":
        return _result(unfinished=journal.unfinished(), reports=files.reports()[::-1])
    with contextlib.nullcontext() if check else files.alone():
        outcome = _do(journal, plan, params)
    if outcome is None:
        return _result(step={"name": params["step"], "state": params["step_state"]}, changed=True)
    return _told(files, outcome, params)


def _do(journal: Journal, plan: t.Any, params: dict[str, t.Any]) -> Outcome | None:
    """None in check mode, where the run itself was begun in check mode only."""
    state, name = params["state"], params["run"]
    if state == "started":
        usual = plan.sites.secondary if params["kind"] == "failback" else plan.sites.primary
        source = params["source"] or (plan.sites.other(params["target"]) if params["target"] else usual)
        return journal.start(
            plan, params["kind"], source, params["target"] or plan.sites.other(source), planned=params["planned"],
            approve=params["approve"], takeover=params["takeover"],
        )  # fmt: skip
    if state == "observed":
        return journal.observe(name, {key: value for key, value in params["outside"].items() if value is not None})
    if journal.check_mode and journal.files.journal(name) is None and journal.files.report(name) is None:
        return None
    if state == "ended":
        return journal.end(name, facts=params["facts"], takeover=params["takeover"])
    outcome = journal.step(
        name, params["step"], params["step_state"], detail=params["detail"], facts=params["facts"],
        approve=params["approve"],
    )  # fmt: skip
    if not params["next"] or params["step_state"] not in ("done", "skipped") or journal.check_mode:
        return outcome
    return dataclasses.replace(journal.step(name, params["next"], "running"), before=outcome.before)


def _told(files: Files, outcome: Outcome, params: dict[str, t.Any]) -> dict[str, t.Any]:
    after = outcome.after
    told_of: dict[str, t.Any] = {"changed": outcome.changed}
    if params["state"] in ("ended", "observed"):
        before = outcome.before if params["state"] == "observed" or not outcome.changed else {}
        told_of["diff"] = {"before": before, "after": after}
        paths = [str(files.report_path(after["run"], kind)) for kind in ("json", "html")]
        return _result(report=after, report_files=paths, **told_of)
    told_of["diff"] = {"before": told(outcome.before) if outcome.before else {}, "after": told(after)}
    wanted = params["next"] or params["step"]
    row = next((row for row in told(after)["steps"] if row["name"] == wanted), None)
    return _result(run=told(after), step=row, **told_of)


def _result(**given: t.Any) -> dict[str, t.Any]:
    """The same keys in every state."""
    empty = {"run": None, "step": None, "report": None, "report_files": [], "unfinished": [], "reports": []}
    return {"changed": False, **empty, **given}


def main() -> None:
    """Entry point."""
    run(SPEC.create_module(), work)


if __name__ == "__main__":
    main()
