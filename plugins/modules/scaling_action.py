#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_action
short_description: Journal an action of a scaling group
version_added: 0.1.0
description:
  - Takes the lock of a scaling group, records each step of the action before and after it happens, leases
    addresses, and ends the action with an event, a cooldown and the lock given back.
  - At most one action runs per group. The lock is a lease with an owner and an expiry that every entry prolongs,
    so that a crash never leaves it set. A play whose lock was taken over fails at its next entry and must stop.
options:
  group:
    description:
      - Name of the scaling group.
    type: str
    required: true
  state:
    description:
      - V(started) takes the lock and opens the action. An action of the same O(direction) that was cut off goes on,
        with its stored start time and plan. With O(direction=reconcile) one of either direction goes on, see
        RV(direction). From then on a small process prolongs the lock until C(ansible-playbook) ends, however it ends.
      - V(observed) gives up launches of earlier actions that died before their VMs came to be - members that are
        planned or launching, whose action no longer runs, and that O(vms) do not show. Their rows and leases go, so
        that they no longer count as owned. Use it right after vCenter was read. A member whose last entry, or whose
        action's end, is not longer ago than C(timeouts.clone) of O(spec) stays, as its clone may still run.
      - V(planned) stores O(plan) and, for a scale-out, leases an address for each launch - all or none. When the
        address pool is exhausted the task fails with RV(code=no_address) and the action goes on, so that the play
        can end it.
      - V(running) ends the running step and begins O(step).
      - V(succeeded), V(refused) and V(failed) end the action. Ending it a second time changes nothing and returns the
        recorded event.
    type: str
    required: true
    choices: [started, observed, planned, running, succeeded, refused, failed]
  name:
    description:
      - Name of the action. With O(state=started) the next C(<group>-<number>) is taken if it is not set.
      - Required in all other states.
    type: str
  owner:
    description:
      - Who runs the action. Give it in all tasks of a play or in none; a task whose owner is not the lock's is
        refused.
      - If not set, host name and process id of C(ansible-playbook) are used.
    type: str
  lock_ttl:
    description:
      - Seconds until the lock expires once nobody prolongs it any more. While C(ansible-playbook) lives it is
        prolonged every quarter of that, also during a long step; not while that process is stopped.
    type: int
    default: 120
  lock_wait:
    description:
      - Seconds to wait for a lock that another action holds; used with O(state=started).
      - If not set, a scale-out or scale-in does not wait, and a reconcile waits as long as the holder shows no life.
    type: int
    version_added: 0.2.0
  attempt:
    description:
      - How often this action was launched, counted by the dispatcher. A lock that still lives is handed to a higher
        attempt of the same action, as its dispatcher knows that the earlier one is dead; a lower one is refused for
        ever.
    type: int
    version_added: 0.2.0
  takeover:
    description:
      - Take the lock of the action O(name) although it still lives. Only for people who know that its play is dead.
    type: bool
    default: false
    version_added: 0.2.0
  direction:
    description:
      - Direction of the action. Required with O(state=started).
    type: str
    choices: [out, in, reconcile]
  source:
    description:
      - Who or what triggered the action; used with O(state=started).
    type: str
    default: person
    choices: [alert, schedule, person, sweep]
  reason:
    description:
      - Why the action was asked for; used with O(state=started).
    type: str
    default: ""
  spec:
    description:
      - Declaration of the group. Required with O(state=observed) and O(state=planned). When an action ends it gives
        the cooldown.
    type: dict
  vms:
    description:
      - RV(onprem.autoscale.vsphere_clone_info#module:vms) of all VMs with the group's mark, of which C(name),
        C(address) and C(marks) are used. Required with O(state=observed); an empty list says that there are none.
    type: list
    elements: dict
  plan:
    description:
      - RV(onprem.autoscale.scaling_plan#module:plan). Required with O(state=planned). When a refused action ends
        it gives the counts and the cooldown.
    type: dict
  taken:
    description:
      - Addresses that are in use though the ledger does not know it, for example those that vCenter and the pool
        showed.
    type: list
    elements: str
    default: []
  probe:
    description:
      - Whether to ask the network before an address is leased, as the group's C(network.probe) says. An address that
        answers is never leased.
    type: bool
    default: true
  step:
    description:
      - The step that begins now. Required with O(state=running); with O(state=planned) the step behind the lease.
    type: str
  detail:
    description:
      - What to store beside the step. No secrets.
    type: dict
  members:
    description:
      - What is now known of members. A member that the ledger does not know is added.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the member.
        type: str
        required: true
      address:
        description: Its address.
        type: str
      moid:
        description: Its managed object id.
        type: str
      state:
        description: Its state.
        type: str
        choices: [planned, launching, in_service, draining, removed, failed, quarantined]
  removed:
    description:
      - Names of members whose VMs are verified gone. Their addresses are free again.
    type: list
    elements: str
    default: []
  quarantined:
    description:
      - Members whose launch failed and whose VM is kept for diagnosis. They keep their addresses. Used when an action
        ends.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the member.
        type: str
        required: true
      note:
        description: Why.
        type: str
        default: ""
    version_added: 0.2.0
  launched:
    description:
      - How many members of the action serve. With O(launch_failures) and O(spec) it feeds the group's breaker.
    type: int
    default: 0
    version_added: 0.2.0
  launch_failures:
    description:
      - What P(onprem.autoscale.launch_failures#filter) returns. Each one counts; enough of them open the breaker.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
  cold_start:
    description:
      - How long the stages of a launch of model endpoints took, as P(onprem.autoscale.cold_start#filter) returns it;
        for the event.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name of the member.
        type: str
        required: true
      stage:
        description: Name of the stage.
        type: str
        required: true
      seconds:
        description: How long it took.
        type: float
        required: true
    version_added: 0.3.0
  quiet:
    description:
      - Leave no event and no action behind; for a reconcile that found nothing.
    type: bool
    default: false
    version_added: 0.2.0
  code:
    description:
      - Short code of the result in the event. If not set, that of the plan.
    type: str
    default: ""
  message:
    description:
      - The result in words, for the event.
    type: str
    default: ""
  count_after:
    description:
      - Members after the action. If not set, what the plan said, and unknown after a failure.
    type: int
  cooldown:
    description:
      - Seconds for which the direction rests from now, the end of the action. V(0) starts no cooldown.
      - If not set, a success or a failure starts the cooldown of O(spec), or 300 seconds without O(spec); a
        refusal starts the one that its plan names.
      - A cooldown never shortens one that runs.
    type: int
  cooldown_until:
    description:
      - End of the cooldown in seconds since the epoch, instead of O(cooldown).
    type: float
attributes:
  check_mode:
    support: full
    details: Whether the group is locked and which addresses would be leased is looked up; nothing is stored.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - Ending, planning and O(state=observed) a second time change nothing. O(state=started) and O(state=running) are
        journal entries, so each call adds one.
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_ledger
  - onprem.autoscale._ledger
seealso:
  - module: onprem.autoscale.scaling_plan
  - module: onprem.autoscale.scaling_group_info
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: Take the group's lock
  onprem.autoscale.scaling_action:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    state: started
    direction: out
    source: alert
    reason: cpu 91 % is above 80 %
  register: started

- name: Give up launches of earlier actions that came to nothing
  onprem.autoscale.scaling_action:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    name: "{{ started.name }}"
    state: observed
    spec: "{{ spec }}"
    vms: "{{ seen_vms.vms }}"

- name: Record the plan, lease the addresses
  onprem.autoscale.scaling_action:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    name: "{{ started.name }}"
    state: planned
    spec: "{{ spec }}"
    plan: "{{ decided.plan }}"
    taken: "{{ observed_addresses }}"
    step: clone
  register: planned

- name: The next step begins
  onprem.autoscale.scaling_action:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    name: "{{ started.name }}"
    state: running
    step: health
    members:
      - name: web-20260102030405
        moid: vm-42
        state: launching

- name: End the action
  onprem.autoscale.scaling_action:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    name: "{{ started.name }}"
    state: succeeded
    spec: "{{ spec }}"
    members:
      - name: web-20260102030405
        state: in_service
"""

RETURN = r"""
name:
  description: Name of the action; V(check-mode) when a new one would have been started.
  returned: success
  type: str
  sample: web-12
owner:
  description: Who holds the lock now.
  returned: O(state=started)
  type: str
started_at:
  description: When the action was first started, in seconds since the epoch; kept when it is interrupted and goes on.
  returned: O(state=started)
  type: float
direction:
  description:
    - Direction of the action. After O(direction=reconcile) it is V(out) or V(in) when such an action was cut off; run
      that one to its end, then begin again.
  returned: O(state=started)
  type: str
resumed:
  description: Whether the action had been started before.
  returned: O(state=started)
  type: bool
released:
  description:
    - Names of the members that were given up; also in the C(detail) of the running step. In check mode those that
      would be.
  returned: O(state=observed)
  type: list
  elements: str
  sample: [web-20260102030405-2]
step:
  description: The step that runs now.
  returned: O(state=running)
  type: str
vms:
  description:
    - What M(onprem.autoscale.vsphere_clone) takes - the launches of the plan with their leased addresses and the
      marks that make the VM ours; for a scale-in the victims.
  returned: O(state=planned)
  type: list
  elements: dict
  sample:
    - name: web-20260102030405
      address: 10.255.48.220
      marks: {group: web, action: web-12, address: 10.255.48.220, slot: "1", created: "2026-01-02T03:04:05Z"}
event:
  description:
    - The recorded event - C(id), C(group), C(action), C(kind), C(direction), C(at), C(started_at), C(seconds),
      C(source), C(reason), C(code), C(result), C(message), C(owner), C(members) (C(name), C(address), C(state)),
      C(count_before), C(count_after) and C(steps) (C(step), C(state), C(started_at), C(ended_at), C(seconds),
      C(detail)) and C(cold_start) (C(host), C(stage), C(seconds); empty but for launches of model endpoints).
    - C(breaker_opened) and C(breaker) when this end opened the group's breaker.
    - Times are seconds since the epoch.
  returned: when an action ends
  type: dict
answers:
  description: Which addresses of the pool answer though nobody leased them, and how.
  returned: failure with RV(code=no_address)
  type: dict
  sample: {10.255.48.221: 10.255.48.221 accepts connections on TCP port 22}
code:
  description:
    - Why the task failed, where a play can act on it - V(locked), V(lock_lost), V(stale_attempt), V(ended),
      V(other_action), V(other_plan), V(no_address).
  returned: failure
  type: str
"""
