#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raises alerts for people."""

from __future__ import annotations

DOCUMENTATION = r"""
module: alertmanager_alert
short_description: Raise alerts in Alertmanager, or end them
version_added: 0.1.0
description:
  - Raises alerts, which Alertmanager sends to whom its routes say, and which end by themselves after O(duration).
  - Meant for what a playbook has to tell people, such as an address pool that is empty or a group at its bound. Labels
    decide who is told and what counts as the same alert; annotations are what people read.
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
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - An alert that fires already with the same labels and annotations is left alone until half of O(duration) has
        passed; then it is prolonged, which is a change.
options:
  alerts:
    description:
      - The alerts. They go out in one request.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the alert; becomes the label C(alertname).
        type: str
        required: true
      labels:
        description: The other labels. An empty value is left out.
        type: dict
        default: {}
      annotations:
        description: The annotations, such as C(summary) and C(description).
        type: dict
        default: {}
      generator_url:
        description: Link to where the alert comes from.
        type: str
        default: ''
  duration:
    description:
      - How long the alerts fire from now, in seconds.
    type: int
    default: 300
  state:
    description:
      - V(firing) raises the alerts, V(resolved) ends those that fire.
    type: str
    choices: [firing, resolved]
    default: firing
  wait:
    description:
      - Whether to read the alerts back until Alertmanager shows them (or shows them no more).
  wait_timeout:
    default: 10
seealso:
  - module: onprem.autoscale.alertmanager_route
"""

EXAMPLES = r"""
- name: The address pool is empty
  onprem.autoscale.alertmanager_alert:
    url: http://127.0.0.1:9093
    alerts:
      - name: AutoscaleAddressPoolEmpty
        labels:
          group: web
          severity: critical
        annotations:
          summary: Group web cannot grow, all its addresses are taken
    duration: 600

- name: There are addresses again
  onprem.autoscale.alertmanager_alert:
    url: http://127.0.0.1:9093
    alerts:
      - name: AutoscaleAddressPoolEmpty
        labels:
          group: web
          severity: critical
    state: resolved
"""

RETURN = r"""
alerts:
  description: The alerts as Alertmanager shows them; as asked for where it shows none.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the alert.
      type: str
      sample: AutoscaleAddressPoolEmpty
    changed:
      description: Whether it was raised, prolonged or ended.
      type: bool
    labels:
      description: Its labels.
      type: dict
      sample:
        alertname: AutoscaleAddressPoolEmpty
        group: web
    annotations:
      description: Its annotations.
      type: dict
      sample:
        summary: Group web cannot grow, all its addresses are taken
    starts_at:
      description: Since when it fires (RFC 3339); empty when it does not.
      type: str
      sample: '2026-03-10T12:00:00.000Z'
    ends_at:
      description: Until when it fires (RFC 3339); empty when it does not.
      type: str
      sample: '2026-03-10T12:10:00.000Z'
    fingerprint:
      description: What Alertmanager calls it; empty when it does not fire.
      type: str
      sample: 4b6f9e1f0a5d3c27
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._alertmanager import _alert
from ansible_collections.onprem.autoscale.plugins.module_utils._alertmanager._client import AlertmanagerClient
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._connection import connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter

SPEC = ArgumentSpec(
    {
        "alerts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "labels": {"type": "dict", "default": {}},
                "annotations": {"type": "dict", "default": {}},
                "generator_url": {"type": "str", "default": ""},
            },
        },
        "duration": {"type": "int", "default": 300},
        "state": {"type": "str", "choices": ["firing", "resolved"], "default": "firing"},
    }
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Raise or end the alerts."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    params = module.params
    if params["duration"] <= 0:
        raise InvalidSpecError(f"duration is {params['duration']}", remedy="Give a positive number of seconds.")
    with AlertmanagerClient.from_params(params) as client:
        return _alert.ensure(
            client,
            [_alert.Alert(**alert) for alert in params["alerts"]],
            firing=params["state"] == "firing",
            duration=params["duration"],
            waiter=Waiter(params["wait_timeout"], min(params["wait_interval"], 0.2)) if params["wait"] else None,
            now=datetime.datetime.now(datetime.timezone.utc),
            check_mode=module.check_mode,
        )


def main() -> None:
    """Entry point."""
    run(connection_spec("ALERTMANAGER").merge(wait_spec(10), SPEC).create_module(), work)


if __name__ == "__main__":
    main()
