# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: group_spec
short_description: Check the declaration of a scaling group and fill in its defaults
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Takes what the YAML file of a scaling group holds and returns the full declaration with every default.
  - A declaration that is not valid fails with all its errors at once, each with field, value and what is allowed.
  - The full form is valid input too, and comes back as it is.
requirements:
  - jsonschema (Python library on the controller)
options:
  _input:
    description: The declaration of one scaling group; C(docs/schemas/scaling_group.schema.json) describes it.
    type: dict
    required: true
  origin:
    description: Where the declaration comes from, such as the name of its file; stands before each error.
    type: str
    default: ''
seealso:
  - plugin: onprem.autoscale.scrape_job
    plugin_type: filter
  - plugin: onprem.autoscale.alert_rules
    plugin_type: filter
  - plugin: onprem.autoscale.alert_route
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read a group
  ansible.builtin.set_fact:
    group: "{{ lookup('ansible.builtin.file', path) | from_yaml | onprem.autoscale.group_spec(origin=path) }}"
  vars:
    path: "{{ inventory_dir }}/scaling_groups/web.yml"
"""

RETURN = r"""
_value:
  description: The declaration with every default.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_spec


def group_spec(value: t.Mapping[str, t.Any], origin: str = "") -> dict[str, t.Any]:
    """The full declaration as plain data."""
    try:
        return parse_spec(value, origin=origin).as_dict()
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.group_spec: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"group_spec": group_spec}
