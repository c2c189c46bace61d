# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drill_refusals
short_description: Why the drill of a recovery plan would touch production
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Compares where a recovery plan rehearses with the declarations of its groups on both sites. What both would use is
    named, with the site and the group.
options:
  _input:
    description: The recovery plan, as the filter P(onprem.autoscale.recovery_plan#filter) gives it.
    type: dict
    required: true
  specs:
    description: The full declarations of the plan's groups, a list for each site.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse what would touch production
  ansible.builtin.fail:
    msg: "{{ refused | join(' ') }}"
  when: refused | length > 0
  vars:
    refused: "{{ recovery | onprem.autoscale.drill_refusals({'a': [spec_a], 'b': [spec_b]}) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each reason; empty where the drill shares nothing with production.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_drill import drill_refusals


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"drill_refusals": drill_refusals}
