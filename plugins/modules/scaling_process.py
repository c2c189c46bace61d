#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_process
short_description: Suspend and resume processes of a scaling group
version_added: 0.2.0
description:
  - A group's processes are C(launch) (new VMs), C(terminate) (scale-in) and C(replace) (members that were lost or are
    unhealthy). A suspended one is refused by the planner with the code V(suspended) until it is resumed.
  - Signals for a suspended process wait in the webhook's queue; one that is older than its limit is confirmed with
    Prometheus before it is acted on.
  - An action that runs is not stopped. What it began is finished.
  - Resuming C(launch) also closes an open breaker, as a person has looked.
options:
  group:
    description:
      - Name of the scaling group.
    type: str
    required: true
  processes:
    description:
      - The processes; V(all) stands for all three.
    type: list
    elements: str
    choices: [launch, terminate, replace, all]
    required: true
  state:
    description:
      - Whether they may run.
    type: str
    choices: [suspended, active]
    default: suspended
  by:
    description:
      - Who says so. If not set, host name and process of C(ansible-playbook).
    type: str
  reason:
    description:
      - Why, for those who look at the group later.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_ledger
  - onprem.autoscale._ledger
seealso:
  - module: onprem.autoscale.scaling_group_info
author:
  - The onprem.autoscale authors (@onprem-autoscale)
"""

EXAMPLES = r"""
- name: No new VMs while the template is rebuilt
  onprem.autoscale.scaling_process:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    processes: [launch, replace]
    reason: template is rebuilt

- name: Go on
  onprem.autoscale.scaling_process:
    ledger: sqlite:////var/lib/onprem-autoscale/ledger.db
    group: web
    processes: [all]
    state: active
"""

RETURN = r"""
group:
  description: Name of the group.
  returned: success
  type: str
suspended:
  description: The processes that are suspended now, or would be.
  returned: success
  type: list
  elements: str
breaker:
  description: The group's breaker - C(state), C(failures), C(opened_at), C(probe_at), C(probes); null when it has none.
  returned: success
  type: dict
"""
