#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_clone_info
short_description: Read VMs by their marks or names
version_added: 0.1.0
author:
  - The onprem.autoscale authors (@onprem-autoscale)
description:
  - Lists VMs in any power state with one property call, however many there are.
  - Several filters narrow the answer together.
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_vsphere
  - onprem.autoscale._vsphere
options:
  marks:
    description:
      - Only VMs that carry all of these marks, like C(group) with the value V(web). Templates are left out.
    type: dict
    default: {}
  names:
    description:
      - Only VMs of these names. A name that does not exist is not listed, and is no error.
    type: list
    elements: str
  datacenter:
    description:
      - Only VMs of this datacenter. Makes the call cheaper in a large vCenter.
    type: str
seealso:
  - module: onprem.autoscale.vsphere_clone
"""

EXAMPLES = r"""
- name: All VMs of the group web
  onprem.autoscale.vsphere_clone_info:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    marks:
      group: web
  register: members
"""

RETURN = r"""
vms:
  description: The VMs, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the VM.
      type: str
      sample: web-20260501120000-1
    moid:
      description: Managed object id.
      type: str
      sample: vm-42
    address:
      description: Address that the guest reports, else the one that the VM was made with (mark C(address)).
      type: str
      sample: 10.255.48.220
    addresses:
      description: All addresses that the guest reports.
      type: list
      elements: str
      sample: [10.255.48.220]
    power_state:
      description: V(poweredOn), V(poweredOff) or V(suspended).
      type: str
      sample: poweredOn
    marks:
      description: All marks of this collection on the VM.
      type: dict
      sample: {group: web}
    template:
      description: Name of the template it was cloned from; empty if not known.
      type: str
      sample: web-template
    is_template:
      description: Whether it is a template itself.
      type: bool
      sample: false
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
    tools_status:
      description: Whether VMware Tools runs.
      type: str
      sample: guestToolsRunning
    customization_status:
      description: What VMware Tools reports of the customization.
      type: str
      sample: TOOLSDEPLOYPKG_SUCCEEDED
"""

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import ArgumentSpec, require_library, run
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere import _client, _work

SPEC = ArgumentSpec(
    {
        "marks": {"type": "dict", "default": {}},
        "names": {"type": "list", "elements": "str"},
        "datacenter": {"type": "str"},
    },
).merge(_client.CONNECTION_SPEC)


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    require_library(module, "pyVmomi", _client.HAS_PYVMOMI, _client.PYVMOMI_IMPORT_ERROR)
    run(module, lambda module: _work.list_vms(module.params))


if __name__ == "__main__":
    main()
