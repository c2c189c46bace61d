# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: status_lines
short_description: A group's state as lines that a person reads
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Takes one row of M(onprem.autoscale.scaling_group_info) and returns lines of plain text.
  - The last of its events that has a C(cold_start) is shown as P(onprem.autoscale.cold_start_lines#filter) does.
options:
  _input:
    description: One group as RV(onprem.autoscale.scaling_group_info#module:groups) has it.
    type: dict
    required: true
  epochs:
    description: Results of M(onprem.autoscale.site_epoch); that of the group's scope is shown.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
"""

EXAMPLES = r"""
- name: Show every group
  ansible.builtin.debug:
    msg: "{{ known.groups | map('onprem.autoscale.status_lines') | flatten }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.filter.cold_start_lines import cold_start_lines


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _count(value: t.Any) -> str:
    return "?" if value is None else str(value)


def _rest(group: t.Mapping[str, t.Any], direction: str) -> str:
    remaining = (group.get("cooldowns") or {}).get(direction, {}).get("remaining") or 0
    return f"{remaining:.0f} s" if remaining else "ready"


def _guards(group: t.Mapping[str, t.Any]) -> list[str]:
    """What holds the group back, and what the last reconcile found."""
    lines = []
    breaker = group.get("breaker") or {}
    if breaker.get("state", "closed") != "closed":
        reasons = sorted({row["reason"] for row in breaker["failures"] if row.get("reason")})
        lines.append(
            f"  breaker {breaker['state']} since {_clock(breaker['opened_at'])},"
            f" {len(breaker['failures'])} launches failed;"
            f" one may try from {_clock(breaker['probe_at'])}{': ' + '; '.join(reasons) if reasons else ''}"
        )
    lines += [
        f"  suspended {row['process']} since {_clock(row['since'])} by {row['by']}"
        f"{': ' + row['reason'] if row['reason'] else ''}"
        for row in group.get("suspended") or ()
    ]
    last = group.get("reconciled")
    if last:
        leaked = {what: count for what, count in (last["leaked"] or {}).items() if count}
        leaks = ", ".join(f"{count} {what}" for what, count in leaked.items()) or "nothing"
        lines.append(f"  reconciled {_clock(last['at'])}: {len(last['findings'] or ())} findings, {leaks} leaked")
    return lines


def _epoch(scope: str, epochs: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """Which site may act, and what each store says of it."""
    seen = next((row for row in epochs if row["scope"] == scope), None)
    if seen is None:
        return [f"  scope {scope}: no stores of its epoch are declared, so that this site acts"]
    may = "may act" if seen["may_act"] else f"may not act: {seen['reason']}"
    lines = [
        f"  scope {scope}: epoch {seen['epoch']}, holder {seen['holder'] or '-'}{', alone' if seen['alone'] else ''};"
        f" site {seen['site']} {may}"
    ]
    lines += [
        f"    store {row['name']:<12} "
        + (f"epoch {row['epoch']} {row['holder'] or '-'}" if row["reached"] else row["msg"])
        for row in seen["stores"]
        if not row["reached"] or (row["epoch"], row["holder"]) != (seen["epoch"], seen["holder"])
    ]
    return lines


def status_lines(group: t.Mapping[str, t.Any], epochs: t.Iterable[t.Mapping[str, t.Any]] = ()) -> list[str]:
    """A head line, which site may act, what holds the group back, a line each member and event, the last cold start."""
    spec, lock = group.get("spec") or {}, group.get("lock")
    size = spec.get("size") or {}
    bounds = f", min {size['min']}, max {size['max']}" if size else ""
    enabled = "" if spec.get("enabled", True) else ", DISABLED"
    lines = [
        f"{group['name']}: {len(group['members'])} made by us{bounds}{enabled};"
        f" out {_rest(group, 'out')}, in {_rest(group, 'in')};"
        f" {'locked by ' + str(lock['action']) if lock else 'idle'}"
    ]
    if spec.get("recovery"):
        lines += _epoch(spec["recovery"]["scope"], epochs)
    lines += _guards(group)
    lines += [
        f"  member {row['name']:<28} {row.get('address') or '-':<16} {row['state']:<10}"
        f" since {_clock(row['created_at'])}{'  ' + row['note'] if row.get('note') else ''}"
        for row in group["members"]
    ]
    lines += [
        f"  {_clock(event['at'])}  {event['action']:<10} {event['code']:<10}"
        f" {_count(event['count_before'])} -> {_count(event['count_after'])}  {event['result']:<9}"
        f" by {event['source']}{': ' + event['message'] if event.get('message') else ''}"
        for event in group["events"]
    ]
    last = next((event["cold_start"] for event in group["events"] if event.get("cold_start")), [])
    lines += [f"  {line}" for line in cold_start_lines(last)]
    return lines


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_lines": status_lines}
