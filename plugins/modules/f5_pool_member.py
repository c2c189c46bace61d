#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a BIG-IP pool."""

from __future__ import annotations

DOCUMENTATION = r"""
module: f5_pool_member
short_description: Add, enable, disable, drain and remove members of a BIG-IP pool
version_added: 0.1.0
description:
  - Works on a list of members in one session. What changes together is sent in one transaction, so that either all of
    it takes effect or nothing, and is read back afterwards.
  - A member takes traffic only after its monitor called it available. It is added disabled, since a BIG-IP sends
    traffic to an enabled member that was not checked yet.
  - A drain shows how many connections are left while it waits, and counts those that were left at its deadline.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_f5
  - onprem.autoscale._f5
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  pool:
    description:
      - Name of the pool. It must exist, except for O(state=absent).
    type: str
    required: true
  partition:
    description:
      - The partition of the pool, and of the nodes that are made for new members.
    type: str
    default: Common
  members:
    description:
      - The members to work on. Members of the pool that are not listed are never touched.
      - Attributes that are not given are left as they are.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description:
          - IPv4 or IPv6 address, with a route domain as in V(10.0.0.1%2) where one is used.
        type: str
        required: true
      port:
        description:
          - Port of the member, 1 to 65535.
        type: int
        required: true
      name:
        description:
          - What results call this member; address and port where nothing is given. Usually the name of the VM.
          - It becomes the description of a member that is added without O(members[].description).
        type: str
      description:
        description:
          - The member's description on the device.
        type: str
      ratio:
        description:
          - Its share where the pool spreads by ratio; the device's default is 1.
        type: int
      priority_group:
        description:
          - Its priority group; the device's default is 0.
        type: int
      connection_limit:
        description:
          - The most connections that it gets; the device's default is 0, no limit.
        type: int
  state:
    description:
      - V(present) adds missing members, disabled, and leaves session and state of existing ones alone.
      - V(enabled) adds missing members, waits until the monitor calls each one available, and enables it then. One that
        is not available in time stays as it is, which is disabled for a new one, and counts as failed.
      - V(disabled) lets persistent and running connections go on, and gives no others to the member.
      - V(forced_offline) lets running connections go on, and gives no others to the member.
      - V(drained) disables, waits until no connection is left or O(drain_timeout) has passed, and then forces offline.
        A member that the pool does not have is drained already.
      - V(absent) removes the members, and their nodes as O(remove_node) says.
    type: str
    choices: [present, absent, enabled, disabled, forced_offline, drained]
    default: present
  wait:
    description:
      - Whether to wait, for the monitor with O(state=enabled), for connections to end with O(state=drained).
      - When false, one look is taken. With O(state=enabled) members that are not available already count as failed;
        with O(state=drained) members that still have connections are left disabled and are not forced offline.
  wait_timeout:
    description:
      - How long to wait for the monitor with O(state=enabled), in seconds.
    default: 120
  drain_timeout:
    description:
      - How long to wait for connections to end with O(state=drained), in seconds.
    type: int
    default: 120
  drain_deadline:
    description:
      - What to do with members that still have connections after O(drain_timeout).
      - V(force) forces them offline, counts the connections that are left, and warns.
      - V(fail) leaves them disabled and fails.
    type: str
    choices: [force, fail]
    default: force
  remove_node:
    description:
      - Whether O(state=absent) also deletes the node of each address. A node is kept while any pool uses it, and when
        it has a name other than its address, for then somebody else made it.
    type: bool
    default: true
  allow_partial:
    description:
      - Whether to succeed when at least one member got there; RV(failed_members) names the others.
    type: bool
    default: false
  save:
    description:
      - Whether to save the configuration after a change. Without it the device forgets the change when it restarts.
    type: bool
    default: true
  sync_group:
    description:
      - The device group to send the configuration to after a change. The module waits until it is in sync.
      - The module never writes to the standby device of a pair.
    type: str
seealso:
  - module: onprem.autoscale.f5_pool_info
"""

EXAMPLES = r"""
- name: Put two new VMs into service once their monitor is content
  onprem.autoscale.f5_pool_member:
    hostname: bigip.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pool: web-pool
    state: enabled
    wait_timeout: 60
    members:
      - {name: web-20260310120000, address: 10.255.48.220, port: 8080}
      - {name: web-20260310120000-2, address: 10.255.48.221, port: 8080}

- name: Let one finish its work, and then take it out
  onprem.autoscale.f5_pool_member:
    pool: web-pool
    state: "{{ item }}"
    drain_timeout: 300
    members:
      - {name: web-20260310120000, address: 10.255.48.220, port: 8080}
  loop: [drained, absent]
  module_defaults:
    group/onprem.autoscale.f5:
      hostname: bigip.example.org
      username: autoscale
      password: "{{ bigip_password }}"

- name: Take a member out of rotation on a pair of devices
  onprem.autoscale.f5_pool_member:
    hostname: bigip-a.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pool: web-pool
    state: disabled
    sync_group: failover-group
    members:
      - {address: 10.255.48.11, port: 8080}
"""

RETURN = r"""
pool:
  description: Full name of the pool.
  returned: when the pool could be read
  type: str
  sample: /Common/web-pool
members:
  description:
    - One row a member, in the order of O(members). In check mode they show the device as it is; RV(members[].changed)
      and RV(members[].msg) say what would happen.
  returned: when the pool could be read
  type: list
  elements: dict
  contains:
    name:
      description: Its name as given, else address and port.
      type: str
      sample: web-20260310120000
    address:
      description: Its address.
      type: str
      sample: 10.255.48.220
    port:
      description: Its port.
      type: int
      sample: 8080
    changed:
      description: Whether it, or its node, was changed.
      type: bool
      sample: true
    failed:
      description: Whether it did not get there.
      type: bool
      sample: false
    msg:
      description: What happened, or why it failed.
      type: str
      sample: absent -> enabled
    session:
      description: The field C(session) as the device reports it; null when it is not in the pool.
      type: str
      sample: monitor-enabled
    state:
      description: The field C(state) as the device reports it; null when it is not in the pool.
      type: str
      sample: up
    availability:
      description: What its monitor says, V(available), V(offline) or V(unknown); null when it is not in the pool.
      type: str
      sample: available
    in_service:
      description: Whether it takes new connections and is known to be healthy; see M(onprem.autoscale.f5_pool_info).
      type: bool
      sample: true
    connections:
      description: Connections that it has now.
      type: int
      sample: 3
    connections_left:
      description: Connections that were left when the drain ended; null in other states.
      type: int
      sample: 0
    drained:
      description: Whether no connection was left when the drain ended; null in other states.
      type: bool
      sample: true
    node:
      description: What became of its node, V(removed), V(kept) or V(absent) (there was none); null in other states.
      type: str
      sample: removed
    seconds:
      description: Seconds until it was where it is.
      type: float
      sample: 6.2
failed_members:
  description: Names of the members that did not get there.
  returned: when the pool could be read
  type: list
  elements: str
  sample: []
saved:
  description: Whether the configuration was saved.
  returned: when the pool could be read
  type: bool
  sample: true
synced:
  description: Whether the configuration was sent to O(sync_group).
  returned: when the pool could be read
  type: bool
  sample: false
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import (
    HAS_REQUESTS,
    REQUESTS_IMPORT_ERROR,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._apply import STATES, MembersJob, Options
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import connect
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._device import require_active
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._members import parse_members
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._rows import connection_spec

MEMBER = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "name": {"type": "str"},
    "description": {"type": "str"},
    "ratio": {"type": "int"},
    "priority_group": {"type": "int"},
    "connection_limit": {"type": "int"},
}
SPEC = ArgumentSpec(
    {
        "pool": {"type": "str", "required": True},
        "partition": {"type": "str", "default": "Common"},
        "members": {"type": "list", "elements": "dict", "required": True, "options": MEMBER},
        "state": {"type": "str", "choices": list(STATES), "default": "present"},
        "drain_timeout": {"type": "int", "default": 120},
        "drain_deadline": {"type": "str", "choices": ["force", "fail"], "default": "force"},
        "remove_node": {"type": "bool", "default": True},
        "allow_partial": {"type": "bool", "default": False},
        "save": {"type": "bool", "default": True},
        "sync_group": {"type": "str"},
    }
)
OPTIONS = ("wait", "wait_timeout", "wait_interval", "drain_timeout", "drain_deadline", "remove_node", "allow_partial")


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, plan, apply, read again."""
    params = module.params
    wanted = parse_members(params["members"])
    options = Options(**{name: params[name] for name in (*OPTIONS, "save", "sync_group")})
    with connect(params) as client:
        require_active(client)
        job = MembersJob(client, params["pool"], params["partition"], wanted, params["state"], options)
        try:
            result = job.run(check_mode=module.check_mode)
        finally:
            for warning in job.report.warnings:
                module.warn(warning)
    return {**result, "diff": job.report.diff()} if module._diff else result


def main() -> None:
    """Entry point."""
    module = connection_spec().merge(wait_spec(120), SPEC).create_module()
    require_library(module, "requests", HAS_REQUESTS, REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
