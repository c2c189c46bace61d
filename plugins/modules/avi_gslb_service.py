#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A GSLB service of an Avi controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: avi_gslb_service
short_description: Manage a GSLB service of VMware Avi Load Balancer and switch its members
version_added: 0.3.0
description:
  - Merges what is given into what is there. Groups are known by name, members by address, name or virtual service;
    those that are not listed, and fields that have no option here, stay as they are.
  - Enables and disables members and groups, which is how traffic moves between sites, and never disables the last
    enabled member unless told so.
  - A federation of sites has one leader, and only its controller takes configuration. A follower is not written to,
    except for switches where the federation's C(enable_config_by_members) is set; the error says who leads.
  - A change by somebody else in between is read and compared again, and so is a change whose answer was lost.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_avi
  - onprem.autoscale._avi
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the GSLB service.
    type: str
    required: true
  state:
    description:
      - V(present) makes or changes it, V(absent) deletes it, whatever its members are.
    type: str
    choices: [present, absent]
    default: present
  domain_names:
    description:
      - Domain names that it answers for, below those of the federation. Needed to make one.
    type: list
    elements: str
  enabled:
    description: Whether the service answers. The controller's default is V(true).
    type: bool
  description:
    description: Text for people.
    type: str
  pool_algorithm:
    description:
      - How a group is chosen. With V(priority), the controller's default, the highest one that has a member in service.
    type: str
    choices: [priority, geo]
  ttl:
    description: Seconds that a resolver may keep an answer. If not set, the federation's.
    type: int
  min_members:
    description: Members that must be in service for the service to be up.
    type: int
  controller_health_status:
    description: Whether the controllers' own view of their virtual services counts, beside the monitors.
    type: bool
  health_monitors:
    description: Names of the health monitors. They must exist and be federated. The order does not count.
    type: list
    elements: str
  down_response:
    description: What is answered when no member is in service.
    type: dict
    suboptions:
      type:
        description: The kind of answer.
        type: str
        choices: [none, all_records, fallback_ip, empty]
        required: true
      fallback_ip:
        description: Address for V(fallback_ip).
        type: str
  groups:
    description:
      - Groups to make or change. A new one is enabled unless said otherwise.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the group.
        type: str
        required: true
      state:
        description: Whether it is used; V(absent) removes it with its members.
        type: str
        choices: [enabled, disabled, absent]
      priority:
        description: The highest one answers. The controller's default is 10.
        type: int
      manual_resume:
        description: Whether it stays out, once it was down, until somebody lets it back in.
        type: bool
  members:
    description:
      - Members to make or change. A member is meant by its virtual service where that is given, else by its address,
        else by its name.
    type: list
    elements: dict
    suboptions:
      ip:
        description: Its address.
        type: str
      fqdn:
        description: Its name.
        type: str
      cluster_uuid:
        description: UUID of the site's cluster that O(members[].vs_uuid) belongs to.
        type: str
      vs_uuid:
        description: UUID of its virtual service.
        type: str
      group:
        description:
          - Name of its group. Not needed for a member that is there, nor for a new one where there is one group only.
        type: str
      state:
        description:
          - Whether it gets traffic; V(absent) removes it. A new one is enabled unless said otherwise. A member that is
            not there cannot be disabled, as that would be a misspelt address more often than not.
        type: str
        choices: [enabled, disabled, absent]
      ratio:
        description: Its share among the members of its group, 1 to 20.
        type: int
      preference_order:
        description: Its place where the group's algorithm goes by preference.
        type: int
  extra:
    description:
      - Fields of C(GslbService) that have no option here, by the controller's own names. Dictionaries are merged, other
        values replaced, V(null) takes a field away.
    type: dict
  allow_none:
    description: Whether the last enabled member may be disabled or removed.
    type: bool
    default: false
  take_over:
    description:
      - What to do on a follower that does not take the change.
      - V(never) refuses, V(unreached) makes this site the leader when its controller does not reach the leader, and
        V(always) does so in any case.
      - A leader that comes back is a follower then. Do this for a site that is lost, and not for a moment's outage.
      - The call (C(gslbsiteops/changeleader)) was read in the vendor's list of operations and not tried on a live
        controller.
    type: str
    choices: [never, unreached, always]
    default: never
notes:
  - Verify on a live controller before you rely on it - that it answers 412 to a write that carries a stale
    C(_last_modified), and that a follower with C(enable_config_by_members) takes a PUT of the whole object in which
    only C(enabled) differs. Whatever it answers, the object is read and compared after each write.
"""

EXAMPLES = r"""
- name: Traffic goes to site b, and no longer to site a
  onprem.autoscale.avi_gslb_service:
    hostname: avi-b.example.org
    username: dr
    password: "{{ avi_password }}"
    name: shop
    members:
      - {ip: 198.51.100.10, state: enabled}
      - {ip: 192.0.2.10, state: disabled}

- name: The site that leads GSLB is lost; this one takes the lead and the traffic
  onprem.autoscale.avi_gslb_service:
    hostname: avi-b.example.org
    username: dr
    password: "{{ avi_password }}"
    name: shop
    take_over: unreached
    groups:
      - {name: site-a, priority: 10, manual_resume: true}
      - {name: site-b, priority: 20}

- name: A service with a group for each site
  onprem.autoscale.avi_gslb_service:
    hostname: avi-a.example.org
    username: gslb
    password: "{{ avi_password }}"
    name: shop
    domain_names: [www.shop.example]
    ttl: 5
    health_monitors: [shop-health]
    down_response: {type: all_records}
    groups:
      - {name: site-a, priority: 20, manual_resume: true}
      - {name: site-b, priority: 10}
    members:
      - {ip: 192.0.2.10, group: site-a}
      - {ip: 198.51.100.10, group: site-b, state: disabled}
"""

RETURN = r"""
service:
  description: The service as it is now, in check mode as it would be; null when there is none.
  returned: when it could be read
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: shop
    uuid:
      description: Its UUID; null for one that check mode would make.
      type: str
      sample: gslbservice-84827a86-ee29-4bd9-8ea3-652a20b8963d
    enabled:
      description: Whether it answers.
      type: bool
      sample: true
    domain_names:
      description: Names that it answers for.
      type: list
      elements: str
      sample: [www.shop.example]
    ttl:
      description: Seconds that an answer may be kept; null where the federation's value holds.
      type: int
      sample: 5
    pool_algorithm:
      description: The controller's word for how a group is chosen.
      type: str
      sample: GSLB_SERVICE_ALGORITHM_PRIORITY
    availability:
      description: V(available), V(offline), V(disabled) or V(unknown), as this controller sees it.
      type: str
      sample: available
    groups:
      description: Its groups, with name, priority, state and manual_resume.
      type: list
      elements: dict
      sample: [{name: site-a, priority: 20, state: enabled, manual_resume: true}]
members:
  description: All members of the service.
  returned: when it could be read
  type: list
  elements: dict
  contains:
    name:
      description: Its address, else its name, else its virtual service.
      type: str
      sample: 192.0.2.10
    ip:
      description: Its address.
      type: str
      sample: 192.0.2.10
    fqdn:
      description: Its name.
      type: str
      sample: null
    cluster_uuid:
      description: The cluster of its virtual service.
      type: str
      sample: null
    vs_uuid:
      description: Its virtual service.
      type: str
      sample: null
    group:
      description: Its group.
      type: str
      sample: site-a
    state:
      description: V(enabled) or V(disabled).
      type: str
      sample: enabled
    availability:
      description: V(available), V(offline), V(disabled) or V(unknown), as this controller sees it.
      type: str
      sample: available
    changed:
      description: Whether it was changed.
      type: bool
      sample: false
enabled:
  description:
    - Names of the members that get traffic when they are healthy, as they, their group and the service are enabled.
  returned: when it could be read
  type: list
  elements: str
  sample: [192.0.2.10]
leader:
  description: Who takes configuration.
  returned: when the federation could be read
  type: dict
  contains:
    name:
      description: Name of the leading site.
      type: str
      sample: site-a
    reached:
      description: Whether this controller reaches it; null when it does not tell.
      type: bool
      sample: true
    is_local:
      description: Whether it is this controller's own site; null when the user may not read the cluster.
      type: bool
      sample: true
accepts:
  description:
    - What this controller takes now - V(all), V(switches) of groups and members, V(nothing), or V(unknown) when the
      user may not read the cluster. A call without changes asks for it, before a disaster.
  returned: when the federation could be read
  type: str
  sample: all
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _avi
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import (
    HAS_REQUESTS,
    REQUESTS_IMPORT_ERROR,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)

SWITCH = {"type": "str", "choices": ["enabled", "disabled", "absent"]}
GROUP = {
    "name": {"type": "str", "required": True},
    "state": SWITCH,
    "priority": {"type": "int"},
    "manual_resume": {"type": "bool"},
}
MEMBER = {
    "ip": {"type": "str"},
    "fqdn": {"type": "str"},
    "cluster_uuid": {"type": "str"},
    "vs_uuid": {"type": "str"},
    "group": {"type": "str"},
    "state": SWITCH,
    "ratio": {"type": "int"},
    "preference_order": {"type": "int"},
}
DOWN_RESPONSE = {
    "type": {"type": "str", "choices": ["none", "all_records", "fallback_ip", "empty"], "required": True},
    "fallback_ip": {"type": "str"},
}
SPEC = _avi.CONNECTION_SPEC.merge(
    ArgumentSpec(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "domain_names": {"type": "list", "elements": "str"},
            "enabled": {"type": "bool"},
            "description": {"type": "str"},
            "pool_algorithm": {"type": "str", "choices": ["priority", "geo"]},
            "ttl": {"type": "int"},
            "min_members": {"type": "int"},
            "controller_health_status": {"type": "bool"},
            "health_monitors": {"type": "list", "elements": "str"},
            "down_response": {"type": "dict", "options": DOWN_RESPONSE},
            "groups": {"type": "list", "elements": "dict", "options": GROUP},
            "members": {"type": "list", "elements": "dict", "options": MEMBER},
            "extra": {"type": "dict"},
            "allow_none": {"type": "bool", "default": False},
            "take_over": {"type": "str", "choices": ["never", "unreached", "always"], "default": "never"},
        }
    )
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read, merge, write, read again."""
    params = module.params
    _avi.check_wish(params)
    with _avi.connect(params) as controller:
        job = _avi.Job(controller, params)
        try:
            outcome = job.run(check_mode=module.check_mode)
        finally:
            for warning in job.warnings:
                module.warn(warning)
    return outcome.result(diff=module._diff)


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", HAS_REQUESTS, REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
