#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_clone
short_description: Clone many VMs from a template at once, or delete them
version_added: 0.1.0
author:
  - The onprem.autoscale authors (@onprem-autoscale)
description:
  - Makes a list of VMs from one template, all at the same time, and waits until each is customized and has its address.
  - Each VM gets marks, which are part of the clone itself. They say whose the VM is, even when the run that made it
    died.
  - A VM that exists with the same marks is continued where it is (powered on, waited for); one with other marks is
    never touched.
  - Every network card of the template is replaced by a new one, so that parallel clones never share a MAC address.
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_vsphere
  - onprem.autoscale._vsphere
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
        description: Name of the VM, at most 80 characters. The guest's host name is made from it.
        type: str
        required: true
      address:
        description:
          - Static IP address of the guest, inside O(network.cidr).
          - Without it the guest uses DHCP, and any routable address that it reports will do.
        type: str
        default: ""
      marks:
        description: Marks of this VM in addition to O(marks).
        type: dict
        default: {}
  state:
    description:
      - V(present) makes the VMs, powers them on, and waits for them.
      - V(absent) shuts the guests down, powers off and deletes. It refuses templates and VMs whose marks differ.
    type: str
    choices: [present, absent]
    default: present
  marks:
    description:
      - Marks of all VMs, like C(group) with the value V(web). They are written as C(onprem.autoscale.<key>) into
        C(extraConfig).
      - At least one mark is needed for each VM, here or in O(vms[].marks).
      - The marks C(template) and C(address) are added by themselves.
    type: dict
    default: {}
  template:
    description:
      - Name or inventory path of the template. Required for O(state=present).
    type: str
  datacenter:
    description:
      - Name of the datacenter. Without it, the template's own; for O(state=absent) all of them.
    type: str
  folder:
    description:
      - Name or inventory path (like V(DC0/vm/web)) of the VM folder. Without it, the datacenter's own.
    type: str
  cluster:
    description:
      - Name or inventory path of the cluster. Without it, and without O(resource_pool) and O(host), the template's own.
    type: str
  resource_pool:
    description:
      - Name or inventory path of the resource pool. Without it, that of the cluster.
    type: str
  host:
    description:
      - Name of the host. Without it, vCenter chooses.
    type: str
  datastore:
    description:
      - Name of the datastore, or of a datastore cluster (then its datastore with most free space is used). Without it,
        the template's own.
    type: str
  network:
    description:
      - What the VMs are plugged into, and what the guests are told about it.
    type: dict
    suboptions:
      name:
        description:
          - Port group, distributed port group or NSX segment. All cards of the template are replaced by one card
            (vmxnet3) there. Without it, each card is replaced by a new one on the same network.
        type: str
      cidr:
        description: The network, like V(10.0.0.0/24). Needed when a VM has an address.
        type: str
      gateway:
        description: Default gateway.
        type: str
      dns_servers:
        description: Name servers.
        type: list
        elements: str
        default: []
      domain:
        description: Domain of the guest, also its search domain.
        type: str
  customization:
    description:
      - V(linuxprep) lets vCenter customize the guest (host name, address); needs open-vm-tools in the template.
      - V(cloudinit) hands metadata to cloud-init's VMware data source; vCenter sends no event, so that the address is
        all that is waited for.
      - V(none) leaves the guest as it is.
    type: str
    choices: [linuxprep, cloudinit, none]
    default: linuxprep
  user_data:
    description:
      - User data for cloud-init, with O(customization=cloudinit). Put no secrets here, every reader of the VM sees it.
    type: str
  cpus:
    description: Number of virtual CPUs. Without it, as the template.
    type: int
  memory_mb:
    description: Memory in MiB. Without it, as the template.
    type: int
  max_in_flight:
    description:
      - How many clone tasks run at the same time. vCenter itself runs 8 per datastore and queues the rest.
    type: int
    default: 8
  timeouts:
    description:
      - How long each phase of one VM may take, in seconds. When one passes, that VM fails and comes back with its moid,
        the last task and the reason; it is not deleted.
    type: dict
    suboptions:
      clone:
        description: The clone task (or the power on of a VM that exists), from the moment it is sent to vCenter.
        type: int
        default: 600
      customization:
        description: From the power on until the guest is customized. V(0) does not wait for it.
        type: int
        default: 600
      address:
        description: From then until the guest reports its address. V(0) does not wait for it.
        type: int
        default: 300
      shutdown:
        description: The shutdown of the guest. When it passes, the VM is powered off. V(0) powers off at once.
        type: int
        default: 60
      destroy:
        description: Each of power off and deletion.
        type: int
        default: 300
  wait:
    description:
      - Whether to wait until the VMs are ready (or gone). With V(false) the module returns when all tasks are sent off.
    type: bool
    default: true
  wait_interval:
    description:
      - Longest time between two looks, in seconds; at most 5. The first looks come sooner.
    type: float
    default: 1.0
  allow_partial:
    description:
      - Whether the call succeeds when at least one VM is ready and others failed (see RV(failed_vms)).
    type: bool
    default: false
notes:
  - The clone limit O(max_in_flight) counts this call only.
  - Privileges needed on the objects that are named, Virtual machine > Provisioning (deploy template, customize guest),
    Edit inventory (create from existing, remove), Interaction (power on, power off), Change configuration (add or
    remove device, advanced configuration, change CPU count, change memory), Resource > Assign virtual machine to
    resource pool, Datastore > Allocate space, Network > Assign network.
seealso:
  - module: onprem.autoscale.vsphere_clone_info
  - module: onprem.autoscale.vsphere_template
"""

EXAMPLES = r"""
- name: Two more web servers
  onprem.autoscale.vsphere_clone:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    template: web-template
    folder: DC0/vm/web
    marks:
      group: web
      action: 4f1c2d
    network:
      name: VM Network
      cidr: 10.255.48.0/24
      gateway: 10.255.48.1
      dns_servers: [10.255.48.2]
      domain: example.org
    vms:
      - name: web-20260501120000-1
        address: 10.255.48.220
      - name: web-20260501120000-2
        address: 10.255.48.221
    timeouts:
      clone: 300
    allow_partial: true
  register: clones

- name: Delete one again
  onprem.autoscale.vsphere_clone:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    state: absent
    marks:
      group: web
    vms:
      - name: web-20260501120000-1
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
      description: Managed object id; empty while there is none.
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
      description: All marks of this collection on the VM.
      type: dict
      sample: {group: web}
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
      description:
        - How far it is; in a failed row, the phase that failed.
        - One of V(queued), V(clone), V(other) (a clone of that name is in flight elsewhere), V(power_on),
          V(customization), V(address), V(ready), or V(shutdown), V(power_off), V(destroy), V(absent).
      type: str
      sample: ready
    phases:
      description: Seconds that each phase took.
      type: dict
      sample: {clone: 61.2, customization: 20.1, address: 4.0}
    seconds:
      description: Seconds from the first request for it to its end.
      type: float
      sample: 85.3
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

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import ArgumentSpec, require_library, run
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere import _client, _work

SPEC = ArgumentSpec(
    {
        "vms": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str", "default": ""},
                "marks": {"type": "dict", "default": {}},
            },
        },
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "marks": {"type": "dict", "default": {}},
        "template": {"type": "str"},
        "datacenter": {"type": "str"},
        "folder": {"type": "str"},
        "cluster": {"type": "str"},
        "resource_pool": {"type": "str"},
        "host": {"type": "str"},
        "datastore": {"type": "str"},
        "network": {
            "type": "dict",
            "options": {
                "name": {"type": "str"},
                "cidr": {"type": "str"},
                "gateway": {"type": "str"},
                "dns_servers": {"type": "list", "elements": "str", "default": []},
                "domain": {"type": "str"},
            },
        },
        "customization": {"type": "str", "choices": ["linuxprep", "cloudinit", "none"], "default": "linuxprep"},
        "user_data": {"type": "str"},
        "cpus": {"type": "int"},
        "memory_mb": {"type": "int"},
        "max_in_flight": {"type": "int", "default": 8},
        "timeouts": {
            "type": "dict",
            "apply_defaults": True,
            "options": {
                "clone": {"type": "int", "default": 600},
                "customization": {"type": "int", "default": 600},
                "address": {"type": "int", "default": 300},
                "shutdown": {"type": "int", "default": 60},
                "destroy": {"type": "int", "default": 300},
            },
        },
        "wait": {"type": "bool", "default": True},
        "wait_interval": {"type": "float", "default": 1.0},
        "allow_partial": {"type": "bool", "default": False},
    },
    required_if=[("state", "present", ["template"])],
).merge(_client.CONNECTION_SPEC)


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    require_library(module, "pyVmomi", _client.HAS_PYVMOMI, _client.PYVMOMI_IMPORT_ERROR)
    run(module, lambda module: _work.clone_vms(module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
