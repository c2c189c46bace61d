# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: in what two copies of a store differ (C4)."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fingerprint_differences
short_description: In what two copies of a store for vectors differ
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Compares what M(onprem.autoscale.pgvector_info) said of two servers - which tables there are, how many rows they
    have, their checksums, and the neighbours of the probes.
  - What differs between copies by nature, such as sizes and indexes, is not looked at.
options:
  _input:
    description: What it said of the first, or a dictionary with its C(tables).
    type: dict
    required: true
  other:
    description: What it said of the second.
    type: dict
    required: true
  until:
    description:
      - What it said of the first a while later. Rows were written meanwhile, so only the number of rows is compared,
        which has to lie between.
    type: dict
"""

EXAMPLES = r"""
- name: Refuse a copy that is none
  ansible.builtin.fail:
    msg: "{{ differences | join('; ') }}"
  when: differences | length > 0
  vars:
    differences: "{{ source | onprem.autoscale.fingerprint_differences(copy) }}"
"""

RETURN = r"""
_value:
  description: A line for each difference; none when both are the same.
  type: list
  elements: str
"""

import typing as t

Info = t.Mapping[str, t.Any]


def _by_name(info: Info) -> dict[str, t.Mapping[str, t.Any]]:
    return {f"{table['schema']}.{table['name']}": table for table in info["tables"]}


def fingerprint_differences(one: Info, other: Info, until: Info | None = None) -> list[str]:
    """See DOCUMENTATION."""
    first, second = _by_name(one), _by_name(other)
    later = _by_name(until) if until is not None else {}
    lines = []
    for name in sorted({*first, *second, *later}):
        if name not in second:
            # One that came or went while the first was read may be in the copy or not.
            lines += [] if until is not None and not (name in first and name in later) else [f"{name} is missing"]
        elif until is not None:
            lines += _outside(name, first.get(name), later.get(name), second[name])
        elif name not in first:
            lines.append(f"{name} is there and should not be")
        else:
            lines += _unequal(name, first[name], second[name])
    return lines


def _outside(name: str, before: Info | None, after: Info | None, copy: Info) -> list[str]:
    if before is None and after is None:
        return [f"{name} is there and should not be"]
    bounds = sorted(table["rows"] if table else 0 for table in (before, after))
    if bounds[0] <= copy["rows"] <= bounds[1]:
        return []
    return [f"{name} has {copy['rows']} rows, and not {bounds[0]} to {bounds[1]}"]


def _unequal(name: str, one: Info, other: Info) -> list[str]:
    if one["rows"] != other["rows"]:
        return [f"{name} has {other['rows']} rows, and not {one['rows']}"]
    lines = []
    if one["checksum"] != other["checksum"]:
        lines.append(f"{name} has the same number of rows and another checksum: their content differs")
    if one["neighbours"] != other["neighbours"]:
        lines.append(f"{name} answers the same questions with other neighbours")
    return lines


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"fingerprint_differences": fingerprint_differences}
