#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_group_info
short_description: Show what the ledger knows of scaling groups
version_added: 0.1.0
description:
  - Returns members, leases, lock, running action with its steps, cooldowns and the last events of scaling groups.
  - The ledger is a journal. What really runs is what vCenter, the load balancer and Prometheus say.
  - A ledger that does not exist yet looks empty; nothing is made.
options:
  groups:
    description:
      - Names of the groups. If empty, every group that the ledger or O(specs) names.
    type: list
    elements: str
    default: []
  specs:
    description:
      - Declarations of groups; their bounds and cooldowns are shown beside the counts.
    type: list
    elements: dict
    default: []
  events:
    description:
      - How many of the last events to return, for each group and over all of them.
    type: int
    default: 20
  since:
    description:
      - Only RV(events) that are not older than this, in seconds since the epoch.
    type: float
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_ledger
  - onprem.autoscale._ledger
seealso:
  - module: onprem.autoscale.scaling_action
  - module: onprem.autoscale.scaling_plan
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: Look at one group
  onprem.autoscale.scaling_group_info:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    groups: [web]
    events: 5
  register: known

- name: List the last hundred events of all groups
  onprem.autoscale.scaling_group_info:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    events: 100
"""

RETURN = r"""
groups:
  description: One row a group, in the order of O(groups), else by name. Times are seconds since the epoch.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the group.
      type: str
      returned: success
    spec:
      description:
        - C(kind), C(enabled), C(tenant), C(site), C(size) and C(cooldown) of its declaration, if O(specs) has it.
      type: dict
      returned: success
    members:
      description:
        - C(name), C(action), C(address), C(moid), C(state), C(created_at), C(updated_at), C(unhealthy_since),
          C(missing_since), C(quarantined_at), C(note).
      type: list
      elements: dict
      returned: success
    leases:
      description: C(address), C(member), C(action), C(leased_at).
      type: list
      elements: dict
      returned: success
    lock:
      description:
        - C(owner), C(action), C(acquired_at), C(heartbeat_at), C(expires_at), C(expired), C(remaining); or null.
      type: dict
      returned: success
    action:
      description: The running action with its C(steps), each with its C(seconds); or null.
      type: dict
      returned: success
    cooldowns:
      description: For C(out) and C(in), C(started_at), C(until) and the C(remaining) seconds.
      type: dict
      returned: success
    failures:
      description: For C(out) and C(in), actions that failed or were lost since the last success.
      type: dict
      returned: success
    counts:
      description: Number of C(members), of C(leases), and of members in each state.
      type: dict
      returned: success
    breaker:
      description:
        - C(state) (V(closed), V(open), V(probing)), C(failures), C(opened_at), C(probe_at), C(probes); or null.
      type: dict
      returned: success
    suspended:
      description: Suspended processes with C(process), C(since), C(by), C(reason).
      type: list
      elements: dict
      returned: success
    reconciled:
      description: The last reconcile - C(action), C(at), C(findings), C(leaked); or null.
      type: dict
      returned: success
    work:
      description: What the receiver has waiting for the group; or null.
      type: dict
      returned: success
    events:
      description: The last events of the group, newest first.
      type: list
      elements: dict
      returned: success
events:
  description:
    - The last events of all groups asked for, newest first; see RV(onprem.autoscale.scaling_action#module:event).
  returned: success
  type: list
  elements: dict
"""
