#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the active targets of one Prometheus job."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_target_info
short_description: Read the targets of a Prometheus job and their health
version_added: 0.1.0
description:
  - Returns what Prometheus really scrapes for a job, whatever files say. Targets that relabelling dropped do not count.
  - RV(registered) is the number that scaling decisions are made with.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_prometheus
  - onprem.autoscale._prometheus
options:
  job:
    description:
      - Name of the scrape job. One that Prometheus does not know is no error, see RV(job_known).
    type: str
    required: true
seealso:
  - module: onprem.autoscale.prometheus_target
"""

EXAMPLES = r"""
- name: See who is scraped
  onprem.autoscale.prometheus_target_info:
    url: http://127.0.0.1:9090
    job: web
  register: seen

- name: Show those that cannot be scraped, and why
  ansible.builtin.debug:
    msg: "{{ seen.targets | rejectattr('health', 'eq', 'up') | items2dict('address', 'last_error') }}"
"""

RETURN = r"""
job_known:
  description: Whether Prometheus has such a job, with or without targets.
  returned: success
  type: bool
  sample: true
registered:
  description: Number of active targets, whatever their health.
  returned: success
  type: int
  sample: 2
targets:
  description: The active targets, sorted by address.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Host and port as in the target file.
      type: str
      sample: 10.255.48.220:9100
    health:
      description: V(up), V(down), or V(unknown) before the first scrape.
      type: str
      sample: up
    labels:
      description: The labels of its series.
      type: dict
      sample:
        instance: 10.255.48.220:9100
        job: web
        member: web-20260310120000
    last_error:
      description: Why the last scrape failed; empty when it did not.
      type: str
      sample: ''
    last_scrape:
      description: When it was last scraped (RFC 3339); empty before the first time.
      type: str
      sample: '2026-03-10T12:04:31.215Z'
    scrape_url:
      description: What is fetched.
      type: str
      sample: http://10.255.48.220:9100/metrics
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http, _yaml
from ansible_collections.onprem.autoscale.plugins.module_utils._common._connection import connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _client

SPEC = ArgumentSpec({"job": {"type": "str", "required": True}})


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    job = module.params["job"]
    with _client.PrometheusClient.from_params(module.params) as client:
        targets = client.targets(job)
        known = bool(targets) or client.job_known(job)
    return {"changed": False, "job_known": known, "registered": len(targets), "targets": targets}


def main() -> None:
    """Entry point."""
    run(connection_spec("PROMETHEUS").merge(SPEC).create_module(), work)


if __name__ == "__main__":
    main()
