#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads pools of a BIG-IP."""

from __future__ import annotations

DOCUMENTATION = r"""
module: f5_pool_info
short_description: Read pools of a BIG-IP with their members and live connections
version_added: 0.1.0
description:
  - Returns pools with all their members, what was decided about each (session and state), what its monitor says, and
    how many connections it has at this moment.
  - Two requests a pool, however many members it has.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_f5
  - onprem.autoscale._f5
options:
  pools:
    description:
      - Names of the pools. One that does not exist is an error that names similar pools.
    type: list
    elements: str
    required: true
  partition:
    description:
      - The partition of the pools.
    type: str
    default: Common
  virtuals:
    description:
      - Whether to return the virtual servers that use each pool (one request more).
    type: bool
    default: false
seealso:
  - module: onprem.autoscale.f5_pool_member
"""

EXAMPLES = r"""
- name: See who is in service
  onprem.autoscale.f5_pool_info:
    hostname: bigip.example.org
    username: autoscale
    password: "{{ bigip_password }}"
    pools: [web-pool]
  register: seen

- name: Show the members that take traffic
  ansible.builtin.debug:
    msg: "{{ seen.pools[0].members | selectattr('in_service') | map(attribute='address') }}"
"""

RETURN = r"""
pools:
  description: The pools, in the order of O(pools).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the pool.
      type: str
      sample: web-pool
    partition:
      description: Its partition.
      type: str
      sample: Common
    monitor:
      description: Its monitors as the device writes them; V(none) where there is none.
      type: str
      sample: /Common/http
    load_balancing_mode:
      description: How connections are spread.
      type: str
      sample: round-robin
    service_down_action:
      description: What happens to the connections of a member that goes down.
      type: str
      sample: none
    available_members:
      description: How many members are in service.
      type: int
      sample: 2
    virtuals:
      description: The virtual servers that use the pool.
      returned: when O(virtuals) is true
      type: list
      elements: dict
      contains:
        name:
          description: Full name of the virtual server.
          type: str
          sample: /Common/web-vip
        destination:
          description: Where it listens, as the device writes it.
          type: str
          sample: 10.255.48.229:80
    members:
      description: The members, sorted by address and port.
      type: list
      elements: dict
      contains:
        name:
          description: The member's name on the device.
          type: str
          sample: 10.255.48.220:8080
        address:
          description: Its address.
          type: str
          sample: 10.255.48.220
        port:
          description: Its port.
          type: int
          sample: 8080
        description:
          description: Its description; the name of the VM where M(onprem.autoscale.f5_pool_member) added it.
          type: str
          sample: web-20260310120000
        session:
          description: The field C(session) as the device reports it.
          type: str
          sample: monitor-enabled
        state:
          description: The field C(state) as the device reports it.
          type: str
          sample: up
        standing:
          description:
            - What was decided about it, read from both fields. V(down) is a member that is enabled and yet forced
              down, which only others set.
          type: str
          sample: enabled
        enabled:
          description: Whether RV(pools[].members[].standing) is V(enabled).
          type: bool
          sample: true
        availability:
          description: What its monitor says, V(available), V(offline) or V(unknown).
          type: str
          sample: available
        reason:
          description: The device's reason for it.
          type: str
          sample: Pool member is available
        in_service:
          description:
            - Whether it takes new connections on purpose, that is, it is enabled, its node is enabled, and its monitor
              calls it available. Without any monitor an enabled member counts.
            - A member whose monitor has not answered yet is not in service, although the device sends traffic to it.
          type: bool
          sample: true
        connections:
          description: Connections that it has now.
          type: int
          sample: 3
        connections_total:
          description: Connections that it has had since its counters were reset.
          type: int
          sample: 1024
        ratio:
          description: Its share where the pool spreads by ratio.
          type: int
          sample: 1
        priority_group:
          description: Its priority group; 0 is the lowest.
          type: int
          sample: 0
        connection_limit:
          description: The most connections that it gets; 0 is no limit.
          type: int
          sample: 0
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
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import connect
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._pools import read_pool, virtuals_of
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._rows import connection_spec, pool_row

SPEC = ArgumentSpec(
    {
        "pools": {"type": "list", "elements": "str", "required": True},
        "partition": {"type": "str", "default": "Common"},
        "virtuals": {"type": "bool", "default": False},
    }
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read all pools in one session."""
    params = module.params
    with connect(params) as client:
        pools = [read_pool(client, name, params["partition"]) for name in params["pools"]]
        rows = [pool_row(pool) for pool in pools]
        if params["virtuals"]:
            found = virtuals_of(client, [pool.full_name for pool in pools])
            rows = [{**row, "virtuals": found[pool.full_name]} for row, pool in zip(rows, pools, strict=True)]
    return {"changed": False, "pools": rows}


def main() -> None:
    """Entry point."""
    module = connection_spec().merge(SPEC).create_module()
    require_library(module, "requests", HAS_REQUESTS, REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
