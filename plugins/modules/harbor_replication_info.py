#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads how old the copies are that Harbor's replication made."""

from __future__ import annotations

DOCUMENTATION = r"""
module: harbor_replication_info
short_description: Read how old the copies are that Harbor's replication made
version_added: 0.3.0
description:
  - Returns replication policies, each with its last run, the last one that copied something, and the age of that.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_harbor
  - onprem.autoscale._harbor
options:
  names:
    description: Names of policies; all without it. One that does not exist gives no row.
    type: list
    elements: str
  ping:
    description: Whether Harbor shall try to reach the other side of each policy now.
    type: bool
    default: false
seealso:
  - module: onprem.autoscale.harbor_replication
"""

EXAMPLES = r"""
- name: Read how old the copy of the models is
  onprem.autoscale.harbor_replication_info:
    url: https://harbor-a.example.org
    username: admin
    password: "{{ harbor_a_password }}"
    names: [models-to-b]
    ping: true
  register: seen

- name: Refuse one that is older than a day
  ansible.builtin.fail:
    msg: The copy of the models is too old.
  when: (seen.policies | first | default({})).age | default(none, true) is none or seen.policies[0].age > 86400
"""

RETURN = r"""
policies:
  description: One row a policy, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: models-to-b
    id:
      description: Its number in Harbor.
      type: int
      sample: 4
    enabled:
      description: Whether it may run.
      type: bool
      sample: true
    mode:
      description: C(push) or C(pull).
      type: str
      sample: push
    registry:
      description: Name of the other side.
      type: str
      sample: site-b
    filters:
      description: What it copies.
      type: list
      elements: dict
      sample: [{type: name, value: models/**, decoration: matches}]
    trigger:
      description: When Harbor runs it.
      type: dict
      sample: {type: scheduled, cron: 0 0 1 * * *}
    last:
      description: Its last run, however it ended; none where it never ran.
      type: dict
      sample: {id: 9, status: Succeed, total: 2, failed: 0}
    last_success:
      description: The last run that copied something and failed nowhere; none where there is none.
      type: dict
      sample: {id: 9, status: Succeed, total: 2, start_time: "2026-05-01T01:00:00.000Z"}
    age:
      description:
        - Seconds since RV(policies[].last_success) began, by Harbor's clock. What the copy lacks is younger.
      type: float
      sample: 3600.0
    unreachable:
      description: Why Harbor does not reach the other side; empty where it does. Only with O(ping).
      type: str
      sample: ""
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _harbor
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)

SPEC = _harbor.CONNECTION_SPEC.merge(
    ArgumentSpec({"names": {"type": "list", "elements": "str"}, "ping": {"type": "bool", "default": False}})
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read."""
    with _harbor.connect(module.params) as api:
        rows = _harbor.describe(api, module.params["names"], ping=module.params["ping"])
    return {"changed": False, "policies": rows}


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
