# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recovery_lines
short_description: A recovery run, its report, or a readiness, as a table for people
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - A head line, then a line a step with planned and actual seconds, and the findings; or a line a check with its
    reason.
options:
  _input:
    description: A run or a report of M(onprem.autoscale.recovery_record), or what
      P(onprem.autoscale.recovery_readiness#filter) returns.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the run
  ansible.builtin.debug:
    msg: "{{ recorded.report | onprem.autoscale.recovery_lines }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

import time
import typing as t

Row = t.Mapping[str, t.Any]


def recovery_lines(value: Row) -> list[str]:
    """See DOCUMENTATION."""
    return _readiness(value) if "checks" in value else _run(value)


def _readiness(seen: Row) -> list[str]:
    head = (
        f"{seen['plan']}: site {seen['target']} is {'ready' if seen['ready'] else 'NOT READY'}, {seen['score']} of 100"
    )
    rows = [
        ["well" if row["ok"] else "MUST" if row["must"] else "weak", row["name"], str(row["weight"]), row["reason"]]
        for row in sorted(seen["checks"], key=lambda row: (row["ok"], not row["must"]))
    ]
    return [head, *_table(["", "check", "weight", "reason"], rows)]


def _run(run: Row) -> list[str]:
    state = run.get("result") or ("waiting" if any(row["state"] == "waiting" for row in run["steps"]) else "unfinished")
    lines = [f"{run['plan']} {run['run']}: {run['kind']} from {run['source']} to {run['target']}, {state}"]
    if "alive" in run:
        lives = {True: "at work", False: "gone", None: "not to be seen from here"}[run["alive"]]
        lines.append(f"  {run['owner']}: {lives}")
    if "rto_target_s" in run and run["kind"] != "backup":
        lines += [f"  {_measure(run, what)}" for what in ("rto", "rpo")]
    rows = []
    for row in run["steps"]:
        planned = row.get("planned_s", row.get("expected"))
        rows.append([
            "-" if row["began_at"] is None else time.strftime("%H:%M:%S", time.gmtime(row["began_at"])),
            row["name"], row["site"], row["state"], f"{planned} s", _took(row), row["detail"],
        ])  # fmt: skip
    lines += _table(["UTC", "step", "site", "state", "planned", "actual", ""], rows)
    findings = run["findings"] if "findings" in run else (run.get("facts") or {}).get("findings", [])
    return [*lines, *(f"  {row['level']}: {row['text']}" for row in findings)]


def _measure(run: Row, what: str) -> str:
    seconds, outside = run[f"{what}_s"], run.get("rto_outside_s" if what == "rto" else "rpo_outside_rows")
    verdict = {True: "kept", False: "MISSED", None: "NOT MEASURED"}[run[f"{what}_met"]]
    parts = [
        f"{what.upper()} {'-' if seconds is None else f'{seconds:g} s'}",
        f"target {run[f'{what}_target_s']} s",
        verdict,
    ]
    if what == "rpo" and run["rpo_basis"]:
        parts.append(run["rpo_basis"])
    if outside is not None:
        parts.append(f"from outside {outside:g} {'s' if what == 'rto' else 'rows'}")
    return ", ".join(parts)


def _took(row: Row) -> str:
    if row["began_at"] is None or row["ended_at"] is None:
        return "-"
    return f"{row['ended_at'] - row['began_at']:.1f} s"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head) - 1)]
    return [
        ("  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])).rstrip()
        for row in [head, *rows]
    ]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"recovery_lines": recovery_lines}
