# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drill_differences
short_description: What of production is not as it was before a drill
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Compares replication and GSLB before and after a drill, which may touch neither.
options:
  _input:
    description:
      - What was before. C(streams) has a list a store, of C(slot), C(pid), C(name), C(state), C(sync_state) and
        C(lag_bytes); C(gslb) has C(reached) and C(on) for each site.
    type: dict
    required: true
  after:
    description: The same afterwards.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse to call that untouched
  ansible.builtin.fail:
    msg: "{{ differences | join(' ') }}"
  when: differences | length > 0
  vars:
    differences: "{{ before | onprem.autoscale.drill_differences(after) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each difference; empty where nothing changed.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_drill import drill_differences


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"drill_differences": drill_differences}
