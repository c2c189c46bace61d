# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: the cold start of an action as a table that a person reads (B3)."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cold_start_lines
short_description: The cold start of an action as a table
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Takes C(cold_start) of an event and returns lines of plain text, a line a stage and a column a host.
  - Stages that happen on the host while another one waits for it are indented, and are no part of the total.
options:
  _input:
    description: Rows with C(host), C(stage) and C(seconds).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ finished.event.cold_start | onprem.autoscale.cold_start_lines }}"
"""

RETURN = r"""
_value:
  description: Lines of text; none for no rows.
  type: list
  elements: str
"""

import typing as t

Row = t.Mapping[str, t.Any]
#: What happens one after the other, seen from the controller; all else happens on the host meanwhile.
IN_TURN = ("clone", "customization", "address", "prepare", "health", "gate", "warmup", "join")


def cold_start_lines(rows: t.Iterable[Row]) -> list[str]:
    """See DOCUMENTATION."""
    seconds: dict[str, dict[str, float]] = {}
    hosts: dict[str, float] = {}
    for row in rows:
        of_stage = seconds.setdefault(row["stage"], {})
        of_stage[row["host"]] = of_stage.get(row["host"], 0.0) + row["seconds"]
        hosts.setdefault(row["host"], 0.0)
        if row["stage"] in IN_TURN:
            hosts[row["host"]] += row["seconds"]
    if not hosts:
        return []

    def line(label: str, of_stage: t.Mapping[str, float]) -> str:
        return label.ljust(16) + "".join(
            (f"{of_stage[host]:.1f} s" if host in of_stage else "-").rjust(max(len(host), 10) + 2) for host in hosts
        )

    head = "cold start".ljust(16) + "".join(host.rjust(max(len(host), 10) + 2) for host in hosts)
    body = [line(f"{'' if stage in IN_TURN else '  '}{stage}", of_stage) for stage, of_stage in seconds.items()]
    return [head, *body, line("total", hosts)]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"cold_start_lines": cold_start_lines}
