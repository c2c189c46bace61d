#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one route of ours and its receiver in the configuration of Alertmanager."""

from __future__ import annotations

DOCUMENTATION = r"""
module: alertmanager_route
short_description: Keep one route and its receiver in the configuration of Alertmanager
version_added: 0.1.0
description:
  - Puts the route as the first child of the top route, and the receiver into C(receivers), each in a marked block.
    Everything else stays as it is, byte by byte; taking both out gives the file from before.
  - C(amtool) checks a copy that lies where the file will lie. Only then the file is replaced, Alertmanager is told to
    reload, and is asked whether it has route and receiver. If any of this fails, the last good content is put back and
    loaded.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_alertmanager
  - onprem.autoscale._alertmanager
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
    details: C(amtool) checks the change in check mode too, on a temporary copy.
  diff_mode:
    support: full
    details: Shows only route and receiver, with secrets masked.
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the pair, as it stands in the marks of the blocks.
    type: str
    required: true
  route:
    description:
      - The route as an entry of C(routes); it must have C(matchers). C(receiver) may be left out. Required with
        O(state=present).
    type: dict
  receiver:
    description:
      - The receiver as an entry of C(receivers). Its C(name) is O(name) by default. Required with O(state=present).
      - Give secrets as files (C(credentials_file)), not as values.
    type: dict
  config_file:
    description:
      - The configuration file of Alertmanager on the host where the module runs.
    type: path
    default: /etc/prometheus/alertmanager.yml
  amtool:
    description:
      - Name or path of C(amtool), which checks the file before it is installed. Without it nothing is installed.
    type: str
    default: amtool
  state:
    description:
      - Whether route and receiver shall exist.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - Whether to ask Alertmanager, after the reload, if it really has both (or neither).
  wait_timeout:
    default: 30
requirements:
  - PyYAML (Python library on the host that runs the module)
  - amtool of the same version as Alertmanager, on the same host
seealso:
  - module: onprem.autoscale.prometheus_rule_file
  - module: onprem.autoscale.alertmanager_alert
"""

EXAMPLES = r"""
- name: The alerts of group web go to the autoscaler
  onprem.autoscale.alertmanager_route:
    url: http://127.0.0.1:9093
    name: web
    route:
      matchers: ['onprem_autoscale="true"', 'group="web"']
      group_by: [group, action]
      group_wait: 0s
      group_interval: 75s
      repeat_interval: 5m
    receiver:
      name: autoscale-web
      webhook_configs:
        - url: http://127.0.0.1:9087/alerts
          send_resolved: true
          max_alerts: 0
          http_config:
            authorization:
              type: Bearer
              credentials_file: /etc/prometheus/autoscale.token

- name: They go nowhere special any more
  onprem.autoscale.alertmanager_route:
    url: http://127.0.0.1:9093
    name: web
    state: absent
"""

RETURN = r"""
path:
  description: The configuration file (links resolved).
  returned: success
  type: str
  sample: /etc/prometheus/alertmanager.yml
receiver:
  description: Name of the receiver.
  returned: success
  type: str
  sample: autoscale-web
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._alertmanager import _client, _route
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http, _yaml
from ansible_collections.onprem.autoscale.plugins.module_utils._common._connection import connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
    waiter_maker,
)

SPEC = ArgumentSpec(
    {
        "name": {"type": "str", "required": True},
        "route": {"type": "dict"},
        "receiver": {"type": "dict"},
        "config_file": {"type": "path", "default": "/etc/prometheus/alertmanager.yml"},
        "amtool": {"type": "str", "default": "amtool"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    required_if=[("state", "present", ["route", "receiver"])],
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring file and server to what is wanted."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    params = module.params
    present = params["state"] == "present"
    wish = _route.Route(
        name=params["name"],
        route=params["route"] if present else None,
        receiver=params["receiver"] if present else None,
        config_file=params["config_file"],
        amtool=params["amtool"],
    )
    with _client.AlertmanagerClient.from_params(params) as client:
        return _route.ensure(
            wish,
            client,
            waiter=waiter_maker(params),
            check_mode=module.check_mode,
        )


def main() -> None:
    """Entry point."""
    run(connection_spec("ALERTMANAGER").merge(wait_spec(30), SPEC).create_module(), work)


if __name__ == "__main__":
    main()
