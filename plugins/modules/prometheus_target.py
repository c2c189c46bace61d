#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes targets into a file_sd file and waits until Prometheus scrapes them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_target
short_description: Add targets to a Prometheus job, or take them out, through its target file
version_added: 0.1.0
description:
  - Keeps the targets of one job in one C(file_sd) file, which Prometheus reads by itself without a reload.
  - The file is checked, written whole beside the old one, synced and renamed, under a lock; a reader sees the old or
    the new content and nothing between. Mode and owner stay, and so do targets that are not named.
  - With O(url) and O(wait) the module then asks Prometheus until every named target is scraped, or is gone.
  - The folder of the file must exist when Prometheus reads its configuration, else Prometheus never watches it;
    M(onprem.autoscale.prometheus_scrape_job) takes care of that.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_prometheus
  - onprem.autoscale._prometheus
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The JSON target file of the job, on the host where the module runs.
    type: path
    required: true
  targets:
    description:
      - The targets.
      - May be left out only with O(state=absent), and then means the file as a whole.
    type: list
    elements: dict
    suboptions:
      address:
        description: Host and port of the exporter, such as V(10.0.0.5:9100); IPv6 in brackets.
        type: str
        required: true
      labels:
        description: Labels of this target; they win over O(labels).
        type: dict
        default: {}
  labels:
    description:
      - Labels of all the targets of this call.
    type: dict
    default: {}
  job:
    description:
      - Name of the scrape job; required to wait, with O(url).
    type: str
  state:
    description:
      - V(present) puts the targets in and leaves others alone.
      - V(absent) takes them out and leaves others alone.
      - V(exact) makes them the only ones, or the only ones within O(scope).
    type: str
    choices: [present, absent, exact]
    default: present
  scope:
    description:
      - With O(state=exact), only targets that carry all these labels are taken out; others are left alone.
    type: dict
    default: {}
  allow_partial:
    description:
      - Whether a call succeeds when some, but not all, of its targets are scraped in time; the others stand in
        RV(failed_targets). They stay in the file.
    type: bool
    default: false
  url:
    description:
      - Address of Prometheus. Without it the file is written and nobody is asked.
      - If not set, the environment variable E(PROMETHEUS_URL) is used.
    type: str
    required: false
  wait_timeout:
    default: 60
seealso:
  - module: onprem.autoscale.prometheus_scrape_job
  - module: onprem.autoscale.prometheus_target_info
"""

EXAMPLES = r"""
- name: Two new members are scraped
  onprem.autoscale.prometheus_target:
    path: /etc/prometheus/autoscale/targets/web.json
    job: web
    url: http://127.0.0.1:9090
    labels:
      group: web
    targets:
      - address: 10.255.48.220:9100
        labels:
          member: web-20260310120000
      - address: 10.255.48.221:9100
        labels:
          member: web-20260310120000-2
    wait_timeout: 60

- name: One is taken out, and Prometheus has let go of it
  onprem.autoscale.prometheus_target:
    path: /etc/prometheus/autoscale/targets/web.json
    job: web
    url: http://127.0.0.1:9090
    targets:
      - address: 10.255.48.221:9100
    state: absent

- name: The base members of a group are what the declaration says; members that were launched stay
  onprem.autoscale.prometheus_target:
    path: /etc/prometheus/autoscale/targets/web.json
    state: exact
    scope:
      base: "true"
    labels:
      base: "true"
    targets:
      - address: 10.255.48.11:9100

- name: The file goes as a whole
  onprem.autoscale.prometheus_target:
    path: /etc/prometheus/autoscale/targets/web.json
    state: absent
"""

RETURN = r"""
path:
  description: The file behind O(path) (links resolved).
  returned: success
  type: str
  sample: /etc/prometheus/autoscale/targets/web.json
registered:
  description: How many targets the file holds now.
  returned: always
  type: int
  sample: 4
targets:
  description: One row for each target of the call.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: Host and port.
      type: str
      sample: 10.255.48.220:9100
    changed:
      description: Whether the file did not hold it so before.
      type: bool
    failed:
      description: Whether the wait for it was in vain.
      type: bool
    msg:
      description: Why, in the words of Prometheus where there are some.
      type: str
      sample: 'dial tcp 10.255.48.220:9100: connect: connection refused'
    seconds:
      description: How long it took until it was scraped, or gone; 0 without waiting.
      type: float
      sample: 3.2
    health:
      description: V(up), V(down) or V(unknown) as Prometheus says; empty when it was not asked or does not know it.
      type: str
      sample: up
failed_targets:
  description: Addresses that were not scraped (or not gone) in time.
  returned: always
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

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
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _targets
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus._client import PrometheusClient

SPEC = ArgumentSpec(
    {
        "path": {"type": "path", "required": True},
        "targets": {
            "type": "list",
            "elements": "dict",
            "options": {
                "address": {"type": "str", "required": True},
                "labels": {"type": "dict", "default": {}},
            },
        },
        "labels": {"type": "dict", "default": {}},
        "job": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent", "exact"], "default": "present"},
        "scope": {"type": "dict", "default": {}},
        "allow_partial": {"type": "bool", "default": False},
    },
    required_if=[("state", "present", ["targets"]), ("state", "exact", ["targets"])],
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Write, wait, and tell."""
    params = module.params
    wish = _targets.TargetFile(
        params["path"], params["targets"], params["labels"], params["state"], params["job"] or "", params["scope"]
    )
    asks = bool(params["url"] and params["wait"] and not module.check_mode)
    if asks and not wish.job:
        raise InvalidSpecError("job is missing", remedy="Give the name of the scrape job, or set wait=false.")
    if not asks:
        edit = _targets.write(wish, check_mode=module.check_mode, warn=module.warn)
        return _result(edit, _targets.rows(edit), [])
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    with PrometheusClient.from_params(params) as client:
        client.targets(wish.job)  # a server that is down is found before the file is touched
        edit = _targets.write(wish, check_mode=False, warn=module.warn)
        waiter = Waiter(params["wait_timeout"], params["wait_interval"])
        rows, failed = _targets.await_scrape(edit, wish, client, waiter, allow_partial=params["allow_partial"])
    return _result(edit, rows, failed)


def _result(edit: _targets.Edit, rows: list[dict[str, t.Any]], failed: list[str]) -> dict[str, t.Any]:
    return {
        "changed": edit.changed,
        "path": str(edit.path),
        "registered": edit.registered,
        "targets": rows,
        "failed_targets": failed,
        "diff": edit.diff(),
    }


def main() -> None:
    """Entry point."""
    run(connection_spec("PROMETHEUS", required=False).merge(wait_spec(60), SPEC).create_module(), work)


if __name__ == "__main__":
    main()
