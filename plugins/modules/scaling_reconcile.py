#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_reconcile
short_description: Compare what the ledger says of a group with what its backends show
version_added: 0.2.0
description:
  - Compares ledger, vCenter marks, pool members, Prometheus targets and address leases of one group, says what does
    not fit, and what to do about it.
  - What only the ledger has to learn is stored at once - VMs of ours that it did not know, members whose VM is
    confirmed gone, since when a member is unhealthy. Everything else is returned for other modules to do; the
    playbook C(reconcile) does.
  - A ledger that was lost is rebuilt so, from the marks that every VM of ours carries.
  - Nothing is believed to be gone because one listing did not show it, and a source that was not given leads to no
    repair that would need it.
options:
  spec:
    description:
      - Declaration of the group, with or without its defaults.
    type: dict
    required: true
  name:
    description:
      - Name of the running action of direction C(reconcile), as M(onprem.autoscale.scaling_action) returned it.
    type: str
    required: true
    aliases: [action]
  state:
    description:
      - V(unseen) only lists RV(names), the members that O(vms) does not show, so that they can be looked for by name.
      - V(compared) compares, with the result of that look in O(vms_again).
    type: str
    choices: [unseen, compared]
    default: compared
  owner:
    description:
      - Who runs the action. If not set, host name and process of C(ansible-playbook).
    type: str
  vms:
    description:
      - RV(onprem.autoscale.vsphere_clone_info#module:vms) with the group's mark. If not set, vCenter could not be read.
    type: list
    elements: dict
  vms_again:
    description:
      - The same for a second read, by name, of all members that O(vms) did not show. Those that it does not show
        either are gone. If not set, nobody is believed to be gone.
    type: list
    elements: dict
  pool_members:
    description:
      - The members of the group's pool from RV(onprem.autoscale.f5_pool_info#module:pools). If not set, the load
        balancer could not be read.
    type: list
    elements: dict
  targets:
    description:
      - RV(onprem.autoscale.prometheus_target_info#module:targets) of the group's job. If not set, Prometheus could
        not be read.
    type: list
    elements: dict
  epoch:
    version_added: 0.3.0
    description:
      - Result of M(onprem.autoscale.site_epoch) for the group's scope and this site. Where it says that the site
        may not act, findings are reported, the ledger learns what is so, and there are no repairs.
      - If not set, the group has no epoch.
    type: dict
attributes:
  check_mode:
    support: full
    details: The findings are returned and nothing is stored.
  diff_mode:
    support: none
    details: The findings say what differs.
  idempotent:
    support: full
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_ledger
  - onprem.autoscale._ledger
seealso:
  - module: onprem.autoscale.scaling_action
  - module: onprem.autoscale.vsphere_clone_info
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: Compare
  onprem.autoscale.scaling_reconcile:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    spec: "{{ spec }}"
    name: "{{ started.name }}"
    vms: "{{ seen_vms.vms }}"
    vms_again: "{{ seen_again.vms }}"
    pool_members: "{{ seen_pools.pools[0].members }}"
    targets: "{{ seen_targets.targets }}"
  register: compared

- name: Say what was found
  ansible.builtin.debug:
    msg: "{{ compared.findings | map(attribute='message') | list }}"
"""

RETURN = r"""
names:
  description: Members that vCenter did not show, as ledger, pool and Prometheus know them.
  returned: O(state=unseen)
  type: list
  elements: str
findings:
  description: What does not fit, one row a matter.
  returned: O(state=compared)
  type: list
  elements: dict
  contains:
    kind:
      description:
        - One of V(vm_without_member), V(member_without_vm), V(target_without_vm), V(vm_without_target),
          V(lease_without_vm), V(vm_deleted), V(vm_powered_off), V(vm_unhealthy), V(vm_unknown), V(vm_half_made),
          V(vm_left_over), V(quarantine_over), V(below_min), V(above_max), V(address_conflict), V(foreign_member),
          V(base_member_unhealthy), V(unread), V(missing_unconfirmed), V(protected).
      type: str
      returned: success
    what:
      description: V(vm), V(member), V(target), V(lease) or V(group).
      type: str
      returned: success
    name:
      description: Name of the member, as far as it is known.
      type: str
      returned: success
    address:
      description: Its address.
      type: str
      returned: success
    repair:
      description: V(adopt), V(forget), V(remove), V(finish), V(retire), V(replace), V(launch), V(restore) or V(none).
      type: str
      returned: success
    leak:
      description: Whether it is something that nobody would ever have taken away.
      type: bool
      returned: success
    message:
      description: One sentence for people.
      type: str
      returned: success
leaked:
  description: How many C(vms), C(members), C(targets) and C(leases) of the findings are leaks.
  returned: O(state=compared)
  type: dict
  sample: {vms: 1, members: 0, targets: 1, leases: 0}
adopt:
  description: VMs of ours that the ledger did not know.
  returned: O(state=compared)
  type: list
  elements: dict
forget:
  description: Names of members whose VM is confirmed gone; their rows and leases are deleted.
  returned: O(state=compared)
  type: list
  elements: str
states:
  description: What was learnt of members - C(name), and C(state), C(unhealthy_since) or C(missing_since).
  returned: O(state=compared)
  type: list
  elements: dict
conflicts:
  description: Members that could not be given the address that they were adopted with, as another one holds its lease.
  returned: O(state=compared)
  type: list
  elements: dict
pool_remove:
  description: Pool members to remove, with C(address) and C(port).
  returned: O(state=compared)
  type: list
  elements: dict
target_remove:
  description: Targets to remove, with C(address).
  returned: O(state=compared)
  type: list
  elements: dict
retire:
  description: Members to drain, remove and delete now.
  returned: O(state=compared)
  type: list
  elements: dict
replaced:
  description: Members to retire once the launches of RV(plan) serve.
  returned: O(state=compared)
  type: list
  elements: dict
plan:
  description:
    - What to launch or to finish, in the shape of RV(onprem.autoscale.scaling_plan#module:plan), with the direction
      V(reconcile). A launch with C(marks) finishes a VM that is there; one with C(keep) must not be deleted when that
      fails.
  returned: O(state=compared)
  type: dict
repairs:
  description: Whether there is anything to do besides what was stored.
  returned: O(state=compared)
  type: bool
"""
