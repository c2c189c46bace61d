# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: which launches failed by themselves, and why; what the breaker counts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: launch_failures
short_description: Which launches failed by themselves, and why
version_added: 0.2.0
description:
  - Looks through the results of the steps of a launch for rows that failed, and names each VM once, with the message
    of the first step that it failed in.
  - A step that failed as a whole, for example as a backend did not answer, has no such rows. It is no failure of a VM,
    so that the breaker does not count it.
options:
  _input:
    description:
      - The VMs of the launch, each with C(name) and C(address).
    type: list
    elements: dict
    required: true
  results:
    description:
      - Results of the steps in their order. Their rows stand in C(vms), C(members) or C(targets), and carry C(name) or
        C(address), C(failed) and C(msg).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Name the members that failed
  ansible.builtin.set_fact:
    launch_failures: "{{ planned.vms | onprem.autoscale.launch_failures([cloned, gated, joined, registered]) }}"
"""

RETURN = r"""
_value:
  description:
    - A row a VM that failed - C(name), C(address), C(reason), and C(made), whether the VM exists as far as the results
      show.
  type: list
  elements: dict
"""

import re
import typing as t

Row = t.Mapping[str, t.Any]
_LISTS = ("vms", "members", "targets", "failed_vms", "failed_members", "failed_targets")
_REASON = 300


def _rows(results: t.Iterable[t.Any]) -> t.Iterator[Row]:
    for result in results:
        for key in _LISTS:
            rows = result.get(key) if hasattr(result, "get") else None
            if isinstance(rows, (list, tuple)):
                yield from (row for row in rows if hasattr(row, "get"))


def launch_failures(vms: t.Iterable[Row], results: t.Sequence[t.Any]) -> list[dict[str, t.Any]]:
    """See DOCUMENTATION."""
    found = list(_rows(results))
    failures = []
    for vm in vms:
        own = [
            row
            for row in found
            if row.get("name") == vm["name"] or re.sub(r":\d+$", "", str(row.get("address") or "")) == vm["address"]
        ]
        failed = next((row for row in own if row.get("failed")), None)
        if failed is not None:
            failures.append(
                {
                    "name": vm["name"],
                    "address": vm["address"],
                    "reason": str(failed.get("msg") or "no message")[:_REASON],
                    "made": any(row.get("moid") for row in own),
                }
            )
    return failures


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"launch_failures": launch_failures}
