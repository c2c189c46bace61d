#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_template
short_description: Make a template from a prepared VM
version_added: 0.1.0
author:
  - The onprem.autoscale authors (@onprem-autoscale)
description:
  - Makes a template as a full clone of a VM. The VM itself stays as it is.
  - The template carries the marks C(kind=template) and C(source), and none of the marks of its source.
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
    support: partial
    details: With O(replace=true) the template is made again each time.
options:
  name:
    description: Name of the template.
    type: str
    required: true
  source:
    description:
      - Name or inventory path of the prepared VM. Required for O(state=present).
      - It must be powered off, see O(force).
    type: str
  state:
    description:
      - V(present) makes the template unless one of that name exists.
      - V(absent) deletes it. It never deletes a VM; a template that this module did not make, only with O(force=true).
    type: str
    choices: [present, absent]
    default: present
  replace:
    description:
      - Whether to make an existing template again from O(source). The old one is deleted when the new one is complete.
    type: bool
    default: false
  force:
    description:
      - With O(state=present), copy a VM that is powered on; its disks are then as after a power cut.
      - With O(state=absent), delete a template that this module did not make.
    type: bool
    default: false
  datacenter:
    description: Name of the datacenter; needed only when there are several and O(source) does not tell.
    type: str
  folder:
    description:
      - Name or inventory path of the VM folder. Without it, the datacenter's own.
    type: str
  datastore:
    description: Name of the datastore. Without it, the one of O(source).
    type: str
  annotation:
    description: Text for the template's notes. Without it, as O(source).
    type: str
  wait_timeout:
    default: 600
seealso:
  - module: onprem.autoscale.vsphere_clone
"""

EXAMPLES = r"""
- name: A template from the prepared VM
  onprem.autoscale.vsphere_template:
    hostname: vcenter.example.org
    username: autoscale@vsphere.local
    password: "{{ vcenter_password }}"
    name: web-template
    source: DC0/vm/web-golden
"""

RETURN = r"""
template:
  description: The template; empty where there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: web-template
    moid:
      description: Managed object id.
      type: str
      sample: vm-7
    is_template:
      description: Whether it is a template.
      type: bool
      sample: true
    marks:
      description: Marks of this collection on it.
      type: dict
      sample: {kind: template, source: web-golden}
    created:
      description: When it was made, in seconds since 1970.
      type: float
      sample: 1777636800.0
    created_at:
      description: The same in ISO 8601, UTC.
      type: str
      sample: "2026-05-01T12:00:00Z"
    seconds:
      description: Seconds that this call worked on it.
      type: float
      sample: 61.0
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
        "name": {"type": "str", "required": True},
        "source": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "replace": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "datacenter": {"type": "str"},
        "folder": {"type": "str"},
        "datastore": {"type": "str"},
        "annotation": {"type": "str"},
    },
    required_if=[("state", "present", ["source"])],
).merge(_client.CONNECTION_SPEC, wait_spec(600))


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    require_library(module, "pyVmomi", _client.HAS_PYVMOMI, _client.PYVMOMI_IMPORT_ERROR)
    run(module, lambda module: _work.keep_template(module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
