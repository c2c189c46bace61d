# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: what a reconcile found, as a table for people."""

from __future__ import annotations

DOCUMENTATION = r"""
name: reconcile_lines
short_description: What a reconcile found, as a table for people
version_added: 0.2.0
description:
  - A head line a group, then a line a finding, in columns.
options:
  _input:
    description:
      - A row a group - C(group), C(findings) and C(leaked) of M(onprem.autoscale.scaling_reconcile), C(carried_on) and
        C(error).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the findings
  ansible.builtin.debug:
    msg: "{{ reconciled | onprem.autoscale.reconcile_lines }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

import typing as t

Row = t.Mapping[str, t.Any]
_COLUMNS = ("kind", "name", "address", "repair", "message")


def _head(group: Row) -> str:
    leaked = {what: count for what, count in (group.get("leaked") or {}).items() if count}
    parts = [
        f"{len(group['findings'])} findings" if group["findings"] else "nothing found",
        "leaked: " + ", ".join(f"{count} {what}" for what, count in leaked.items()) if leaked else "0 leaked",
    ]
    if group.get("carried_on"):
        parts.append(f"carried on {group['carried_on']}")
    if group.get("error"):
        parts = [f"FAILED {group['error']}"] if not group["findings"] else [*parts, f"FAILED {group['error']}"]
    return f"{group['group']}: {'; '.join(parts)}"


def reconcile_lines(groups: t.Sequence[Row]) -> list[str]:
    """See DOCUMENTATION."""
    lines = []
    for group in groups:
        lines.append(_head(group))
        table = [[str(row.get(column) or "-") for column in _COLUMNS] for row in group["findings"]]
        widths = [max((len(row[n]) for row in table), default=0) for n in range(len(_COLUMNS) - 1)]
        lines += [
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in table
        ]
    return lines


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"reconcile_lines": reconcile_lines}
