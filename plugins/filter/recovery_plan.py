# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recovery_plan
short_description: Check a recovery plan and fill in its defaults
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Takes the text of a plan's file and returns the full plan with every default (D1).
  - A plan that is not valid fails with all its errors at once, each with file, line, field, value and what is allowed.
requirements:
  - jsonschema (Python library on the controller)
options:
  _input:
    description:
      - The text of the file; C(docs/schemas/recovery_plan.schema.json) describes it. A plan as a dictionary is taken,
        too, and its errors name no line.
    type: raw
    required: true
  origin:
    description: Name of the file; stands before each error.
    type: str
    default: ''
seealso:
  - module: onprem.autoscale.recovery_record
"""

EXAMPLES = r"""
- name: Read a plan
  ansible.builtin.set_fact:
    recovery: "{{ lookup('ansible.builtin.file', path) | onprem.autoscale.recovery_plan(origin=path) }}"
  vars:
    path: "{{ inventory_dir }}/recovery_plans/shop.yml"
"""

RETURN = r"""
_value:
  description: The plan with every default.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._yaml_lines import load_with_lines
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan


def recovery_plan(value: str | t.Mapping[str, t.Any], origin: str = "") -> dict[str, t.Any]:
    """The full plan as plain data."""
    try:
        data, lines = load_with_lines(str(value), origin=origin) if isinstance(value, str) else (value, None)
        return parse_plan(data, origin=origin, lines=lines).as_dict()
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.recovery_plan: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"recovery_plan": recovery_plan}
