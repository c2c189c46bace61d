#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_mark
short_description: Set or remove marks of VMs that exist
version_added: 0.2.0
author:
  - The onprem.autoscale authors (@onprem-autoscale)
description:
  - Writes marks (C(onprem.autoscale.<key>) in C(extraConfig)) of a list of VMs, all at the same time, and reads them
    back. A running VM keeps running.
  - C(protected) keeps a member of a group from scale-in. C(quarantined) is set by the collection itself on a VM that
    failed and is kept for diagnosis.
  - A VM that does not carry O(marks) is never touched.
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_vsphere
  - onprem.autoscale._vsphere
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  vms:
    description:
      - The VMs. Every one comes back in RV(vms), in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the VM.
        type: str
        required: true
      moid:
        description:
          - Managed object id of the VM. A VM of this name with another id is not taken for it.
        type: str
        default: ""
  marks:
    description:
      - Marks that each VM must carry already, like C(group) with the value V(web). At least one is needed.
    type: dict
    required: true
  set:
    description:
      - Marks to write. A value is one line of at most 256 characters; V(true) is written as the text C(true).
      - Keys that the clone wrote (C(action), C(address), C(created), C(group), C(kind), C(slot), C(source),
        C(template)) are refused, here and in O(remove), so that nobody rewrites whose a VM is.
    type: dict
    default: {}
  remove:
    description:
      - Keys of marks to take away. One that is not there is no error.
    type: list
    elements: str
    default: []
  datacenter:
    description:
      - Name of the datacenter. Without it, the VMs are looked for in all of them.
    type: str
  wait_timeout:
    default: 60
  allow_partial:
    description:
      - Whether the call succeeds when at least one VM is as wanted and others failed (see RV(failed_vms)).
    type: bool
    default: false
notes:
  - Privilege needed on the VMs, Virtual machine > Change configuration > Advanced configuration.
seealso:
  - module: onprem.autoscale.vsphere_clone
  - module: onprem.autoscale.vsphere_clone_info
"""

EXAMPLES = r"""
- name: Keep a member from scale-in
  onprem.autoscale.vsphere_mark:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    vms:
      - name: web-20260501120000-1
    marks:
      group: web
    set:
      protected: "true"

- name: Let it go again
  onprem.autoscale.vsphere_mark:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    vms:
      - name: web-20260501120000-1
    marks:
      group: web
    remove: [protected]
"""

RETURN = r"""
vms:
  description: One row a VM, in the order of O(vms).
  returned: always, once the VMs have been looked up
  type: list
  elements: dict
  contains:
    name:
      description: Name of the VM.
      type: str
      sample: web-20260501120000-1
    moid:
      description: Managed object id; empty where there is no such VM.
      type: str
      sample: vm-42
    address:
      description: Address that the guest reports, else the one that the VM was made with.
      type: str
      sample: 10.255.48.220
    power_state:
      description: V(poweredOn), V(poweredOff) or V(suspended), as last seen.
      type: str
      sample: poweredOn
    marks:
      description: All marks of this collection on the VM, as read last.
      type: dict
      sample: {group: web, protected: "true"}
    template:
      description: Name of the template it was cloned from.
      type: str
      sample: web-template
    host:
      description: Name of the host it runs on.
      type: str
      sample: esx1.example.org
    created:
      description: When it was made, in seconds since 1970.
      type: float
      sample: 1777636800.0
    created_at:
      description: The same in ISO 8601, UTC.
      type: str
      sample: "2026-05-01T12:00:00Z"
    phase:
      description: V(queued) (not tried), V(mark) (sent to vCenter) or V(ready).
      type: str
      sample: ready
    phases:
      description: Empty; there is only one phase.
      type: dict
      sample: {}
    seconds:
      description: Seconds from the request to its end.
      type: float
      sample: 0.4
    last_task:
      description: The last vCenter task of it (moid, operation, state, progress, error).
      type: dict
    changed:
      description: Whether it was changed.
      type: bool
    failed:
      description: Whether it failed.
      type: bool
    msg:
      description: Why it failed, and what to do about it.
      type: str
      sample: ""
failed_vms:
  description: Names of the VMs that failed.
  returned: always, once the VMs have been looked up
  type: list
  elements: str
  sample: []
"""

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere import _client, _work

SPEC = ArgumentSpec(
    {
        "vms": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {"name": {"type": "str", "required": True}, "moid": {"type": "str", "default": ""}},
        },
        "marks": {"type": "dict", "required": True},
        "set": {"type": "dict", "default": {}},
        "remove": {"type": "list", "elements": "str", "default": []},
        "datacenter": {"type": "str"},
        "allow_partial": {"type": "bool", "default": False},
    },
).merge(_client.CONNECTION_SPEC, wait_spec(60))


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    require_library(module, "pyVmomi", _client.HAS_PYVMOMI, _client.PYVMOMI_IMPORT_ERROR)
    run(module, lambda module: _work.mark_vms(module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
