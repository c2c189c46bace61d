# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drill_members
short_description: The VMs of a drill of a recovery plan
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Names and addresses of the members that a drill makes, from the plan's C(drill.pool).
options:
  _input:
    description: The recovery plan, as the filter P(onprem.autoscale.recovery_plan#filter) gives it.
    type: dict
    required: true
  groups:
    description: Names of the groups, in the order in which they come up.
    type: list
    elements: str
    required: true
  run:
    description: Name of the run, which becomes part of the VMs' names.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ recovery | onprem.autoscale.drill_members(['web'], 'd-20261122T195302Z') }}"
"""

RETURN = r"""
_value:
  description: A row for each VM, with C(group), C(name) and C(address).
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_drill import drill_members


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"drill_members": drill_members}
