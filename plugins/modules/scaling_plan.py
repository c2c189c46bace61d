#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_plan
short_description: Decide what a scaling group does about a signal
version_added: 0.1.0
description:
  - Merges what the C(*_info) modules saw of a scaling group with the ledger, and asks the planner how many members
    to add or to remove, which, and why or why not.
  - A plan is a decision, no change. M(onprem.autoscale.scaling_action) records it and other modules carry it out.
  - Scale-out counts the larger of registered targets and owned VMs, scale-in the smaller of registered targets and
    members in service, so that a source that lies makes the group do less.
  - An action that already has a plan, as it was interrupted, gets that plan again, less what no longer fits the
    bounds. A launch that is dropped so keeps its address until a later action gives it up with
    M(onprem.autoscale.scaling_action) O(onprem.autoscale.scaling_action#module:state=observed), as its clone may
    still run.
options:
  spec:
    description:
      - Declaration of the group, with or without its defaults.
    type: dict
    required: true
  signal:
    description:
      - Who asks for what.
    type: dict
    required: true
    suboptions:
      direction:
        description: V(out) adds members, V(in) removes them.
        type: str
        required: true
        choices: [out, in]
      source:
        description: Who or what triggered it.
        type: str
        default: person
        choices: [alert, schedule, person, sweep]
      reason:
        description: Why, in words; part of the plan's reason.
        type: str
        default: ""
      count:
        description: Members to add or remove instead of the group's step; at least 1. The bounds hold all the same.
        type: int
      ignore_cooldown:
        description: Decide as if the direction did not rest.
        type: bool
        default: false
      minimum:
        description:
          - Members that a scale-in leaves in service instead of the group's C(size.min), so that a standby site can
            shrink below it; 0 is none. Only for O(signal.direction=in) and O(signal.source=person).
          - It holds for this action. A reconcile restores the group's own minimum wherever it may act.
        type: int
        version_added: 0.3.0
      maximum:
        description:
          - Members at which a scale-out ends, where the group's C(size.max) is not lower, so that it may be asked for
            a size and not for a number of members. A group that has them is refused with V(at_max), which starts no
            cooldown. Only for O(signal.direction=out) and O(signal.source=person).
        type: int
        version_added: 0.3.0
  name:
    description:
      - Name of the running action, as M(onprem.autoscale.scaling_action) returned it. Its stored start time is the
        time of the decision and stands in the names of new VMs, so that a repeated play makes the same names.
      - If not set, the plan is for looking only and uses the present time.
    type: str
    aliases: [action]
  vms:
    description:
      - RV(onprem.autoscale.vsphere_clone_info#module:vms) of the group. If not set, vCenter could not be read, and
        the plan is to refuse; an empty list says that there are none.
    type: list
    elements: dict
  pool_members:
    description:
      - The members of the group's pool from RV(onprem.autoscale.f5_pool_info#module:pools). If not set, the load
        balancer could not be read, and scale-in is refused.
    type: list
    elements: dict
  targets:
    description:
      - RV(onprem.autoscale.prometheus_target_info#module:targets) of the group's job. If not set, Prometheus could
        not be read, and the plan is to refuse.
    type: list
    elements: dict
  epoch:
    version_added: 0.3.0
    description:
      - Result of M(onprem.autoscale.site_epoch) for the group's scope and this site. Where it says that the site
        may not act, the plan is to refuse, also for an action that was interrupted.
      - If not set, the group has no epoch.
    type: dict
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_ledger
  - onprem.autoscale._ledger
seealso:
  - module: onprem.autoscale.scaling_action
  - module: onprem.autoscale.scaling_group_info
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: Decide about one more member
  onprem.autoscale.scaling_plan:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    spec: "{{ spec }}"
    signal:
      direction: out
      source: alert
      reason: cpu 91 % is above 80 %
    name: "{{ started.name }}"
    vms: "{{ seen_vms.vms }}"
    pool_members: "{{ seen_pools.pools[0].members }}"
    targets: "{{ seen_targets.targets }}"
  register: decided

- name: Say why not
  ansible.builtin.debug:
    var: decided.plan.reason
  when: decided.plan.verdict == 'refuse'
"""

RETURN = r"""
plan:
  description: The decision.
  returned: success
  type: dict
  sample:
    verdict: act
    code: scale_out
    direction: out
    reason: "2 to 3 members, asked for by alert: cpu 91 % is above 80 %"
    count: 1
    size_before: 2
    size_after: 3
    launches: [{name: web-20260102030405, slot: 1}]
    victims: []
    cooldown_until: null
  contains:
    verdict:
      description: V(act) or V(refuse).
      type: str
      returned: success
    code:
      description:
        - One of V(scale_out), V(scale_in), V(at_max), V(at_min), V(cooldown), V(disabled), V(no_victim),
          V(unknown_state), V(suspended), V(breaker_open), V(not_holder).
      type: str
      returned: success
    direction:
      description: V(out) or V(in).
      type: str
      returned: success
    reason:
      description: One sentence for people.
      type: str
      returned: success
    count:
      description: Members to make or to remove; 0 for a refusal.
      type: int
      returned: success
    size_before:
      description: The count that the decision was made on; null when it is unknown.
      type: int
      returned: success
    size_after:
      description: The count once the plan is carried out.
      type: int
      returned: success
    launches:
      description: Members to make, each with C(name) and C(slot) (from 1).
      type: list
      elements: dict
      returned: success
    victims:
      description: Members to remove, with C(name), C(address), C(moid) and what was seen of them.
      type: list
      elements: dict
      returned: success
    evictions:
      description: Quarantined members to delete first, as the launches need their room.
      type: list
      elements: dict
      returned: success
    quarantine:
      description: How many of the launches may stay in quarantine when they fail.
      type: int
      returned: success
    minimum:
      description: O(signal.minimum), for when the action is carried on.
      type: int
      returned: success
    cooldown_until:
      description: Seconds since the epoch; set when this refusal itself starts a cooldown (V(at_max), V(at_min)).
      type: float
      returned: success
resumed:
  description: Whether the plan is the one that an interrupted run of the same action had stored.
  returned: success
  type: bool
observed:
  description: The group as it was seen - C(members), C(registered), C(in_service) and C(unread) sources.
  returned: success
  type: dict
"""
