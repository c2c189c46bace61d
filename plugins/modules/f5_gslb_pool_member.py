#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a pool of BIG-IP DNS."""

from __future__ import annotations

DOCUMENTATION = r"""
module: f5_gslb_pool_member
short_description: Enable and disable members of a BIG-IP DNS (GTM) pool
version_added: 0.3.0
description:
  - Decides which sites BIG-IP DNS answers a name with, by enabling and disabling members of the pool behind it.
  - What is to be enabled is enabled first and waited for; only then the rest is disabled, so that the name has an
    answer all the time. Everything is read back after it was written.
  - Resolvers keep an answer for the TTL of the pool. To see the change as clients do, ask the DNS itself, for instance
    with P(community.general.dig#lookup).
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
      - Name of the pool. It must exist.
    type: str
    required: true
  pool_type:
    description:
      - Which records the pool answers with.
    type: str
    choices: [a, aaaa]
    default: a
  partition:
    description:
      - The partition of the pool.
    type: str
    default: Common
  members:
    description:
      - The members to work on. They must be in the pool; members that are not listed are never touched.
      - Without any the pool is only read.
    type: list
    elements: dict
    default: []
    suboptions:
      server:
        description:
          - The server object of BIG-IP DNS.
        type: str
        required: true
      virtual_server:
        description:
          - The virtual server of O(members[].server). One that a BIG-IP made known by itself has its path as its name,
            such as V(/Common/shop).
        type: str
        required: true
      state:
        description:
          - What this member is to be; O(state) where nothing is given.
        type: str
        choices: [enabled, disabled]
  state:
    description:
      - What members without O(members[].state) are to be.
      - V(enabled) waits until BIG-IP DNS calls the member available, see O(wait). It fails when the pool, the virtual
        server, its server or its data center is disabled, since the member would not be used.
      - V(disabled) takes it out of the answers. Running connections are not touched.
    type: str
    choices: [enabled, disabled]
  allow_none:
    description:
      - Whether members may be disabled when none is left that the name can be answered with.
      - Without it the module refuses to disable the last enabled member, and to disable one that may serve when all
        that are left are offline.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until BIG-IP DNS calls the enabled members available. When false, they are enabled without that.
      - A member that no monitor watches is not waited for, with a warning.
  wait_timeout:
    description:
      - How long to wait for that, in seconds. When it passes the module fails, and nothing was disabled.
    default: 120
notes:
  - Any device of a DNS sync group can be asked; the others take the change over by themselves within seconds. When a
    site is lost, set O(hostname) to a device that lives.
  - BIG-IP DNS saves its configuration by itself.
seealso:
  - module: onprem.autoscale.f5_pool_member
  - module: onprem.autoscale.avi_gslb_service
"""

EXAMPLES = r"""
- name: Move a name from site a to site b, and never leave it without an answer
  onprem.autoscale.f5_gslb_pool_member:
    hostname: bigip-b.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pool: shop
    members:
      - {server: site-b, virtual_server: shop-vip, state: enabled}
      - {server: site-a, virtual_server: shop-vip, state: disabled}

- name: Which sites are on?
  onprem.autoscale.f5_gslb_pool_member:
    hostname: bigip-b.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pool: shop
  register: traffic

- name: Take the service off the air on purpose
  onprem.autoscale.f5_gslb_pool_member:
    hostname: bigip-b.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pool: shop
    state: disabled
    allow_none: true
    members:
      - {server: site-a, virtual_server: shop-vip}
      - {server: site-b, virtual_server: shop-vip}
"""

RETURN = r"""
pool:
  description: Full name of the pool.
  returned: when the pool could be read
  type: str
  sample: /Common/shop
enabled:
  description: Names of the members that are enabled, in the pool's order. In check mode as the device stands.
  returned: when the pool could be read
  type: list
  elements: str
  sample: ["site-b:shop-vip"]
unavailable:
  description: What BIG-IP DNS said of the members that did not become available.
  returned: when O(wait_timeout) passed
  type: dict
members:
  description:
    - Every member of the pool, in its order. In check mode they show the device as it is; RV(members[].changed) and
      RV(members[].msg) say what would happen.
  returned: when the pool could be read
  type: list
  elements: dict
  contains:
    name:
      description: Server and virtual server.
      type: str
      sample: site-b:shop-vip
    server:
      description: Full name of the server.
      type: str
      sample: /Common/site-b
    virtual_server:
      description: The virtual server.
      type: str
      sample: shop-vip
    state:
      description: Its own switch, V(enabled) or V(disabled).
      type: str
      sample: enabled
    enabled_state:
      description: The same as the device sums it up, V(disabled-by-parent) where what it belongs to is disabled.
      type: str
      sample: enabled
    availability:
      description: What its monitors say, V(available), V(offline) or V(unknown).
      type: str
      sample: available
    reason:
      description: The device's words for that.
      type: str
      sample: Available
    order:
      description: Its place in the pool.
      type: int
      sample: 0
    ratio:
      description: Its share where the pool spreads by ratio.
      type: int
      sample: 1
    changed:
      description: Whether it was changed.
      type: bool
      sample: true
    msg:
      description: What happened.
      type: str
      sample: disabled -> enabled
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
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import connect
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._gslb import (
    STATES,
    GslbJob,
    GslbOptions,
    parse_wanted,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._rows import connection_spec

MEMBER = {
    "server": {"type": "str", "required": True},
    "virtual_server": {"type": "str", "required": True},
    "state": {"type": "str", "choices": list(STATES)},
}
SPEC = connection_spec().merge(
    wait_spec(120),
    ArgumentSpec(
        {
            "pool": {"type": "str", "required": True},
            "pool_type": {"type": "str", "choices": ["a", "aaaa"], "default": "a"},
            "partition": {"type": "str", "default": "Common"},
            "members": {"type": "list", "elements": "dict", "default": [], "options": MEMBER},
            "state": {"type": "str", "choices": list(STATES)},
            "allow_none": {"type": "bool", "default": False},
        }
    ),
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, check, enable, wait, disable, read again."""
    params = module.params
    wanted = parse_wanted(params["members"], params["state"])
    options = GslbOptions(**{name: params[name] for name in ("wait", "wait_timeout", "wait_interval", "allow_none")})
    with connect(params) as client:
        job = GslbJob(client, params["pool"], params["partition"], params["pool_type"], wanted, options)
        try:
            result = job.run(check_mode=module.check_mode)
        finally:
            for warning in job.warnings:
                module.warn(warning)
    return {**result, "diff": job.diff(predicted=module.check_mode)} if module._diff else result


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", HAS_REQUESTS, REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
