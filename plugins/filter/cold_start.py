# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: how long each stage of a launch of model endpoints took, host by host (B3)."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cold_start
short_description: How long each stage of a launch of model endpoints took
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Takes the times out of the results of the steps of a launch.
options:
  _input:
    description: The VMs of the launch, each with C(name) and C(address).
    type: list
    elements: dict
    required: true
  results:
    description:
      - The result of each step by the name of its stage. Rows stand in C(vms), C(members) or C(endpoints), and carry
        C(name) or C(address), and C(seconds).
      - Rows that know their own stages have them in C(phases), a dictionary of seconds, or in C(cold_start), a list of
        C(stage) and C(seconds), and count with these alone.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where the time went
  ansible.builtin.debug:
    msg: "{{ planned.vms | onprem.autoscale.cold_start({'clone': cloned, 'gate': answered, 'join': joined}) }}"
"""

RETURN = r"""
_value:
  description: A row a host and stage - C(host), C(stage) and C(seconds); what took no time at all is left out.
  type: list
  elements: dict
"""

import re
import typing as t

Row = t.Mapping[str, t.Any]
_LISTS = ("vms", "members", "endpoints")


def _own(result: t.Any, vm: Row) -> t.Iterator[Row]:
    for key in _LISTS:
        rows = result.get(key) if hasattr(result, "get") else None
        for row in rows if isinstance(rows, (list, tuple)) else ():
            address = re.sub(r":\d+$", "", str(row.get("address") or ""))
            if row.get("name") == vm["name"] or address == vm["address"]:
                yield row


def _stages(stage: str, row: Row) -> t.Iterator[tuple[str, float]]:
    if "phases" in row:
        yield from row["phases"].items()
    elif "cold_start" in row:
        yield from ((entry["stage"], entry["seconds"]) for entry in row["cold_start"] or ())
    else:
        yield stage, row.get("seconds") or 0.0


def cold_start(vms: t.Iterable[Row], results: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """See DOCUMENTATION."""
    return [
        {"host": vm["name"], "stage": name, "seconds": round(float(seconds), 3)}
        for vm in vms
        for stage, result in results.items()
        for row in _own(result, vm)
        for name, seconds in _stages(stage, row)
        if seconds
    ]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"cold_start": cold_start}
