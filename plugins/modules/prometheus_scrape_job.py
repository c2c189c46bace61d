#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one scrape job of ours in the configuration of Prometheus."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_scrape_job
short_description: Keep one scrape job in the configuration of Prometheus
version_added: 0.1.0
description:
  - Writes one scrape job, either into a fragment file of its own or into a marked block of the main file. Everything
    else stays as it is, byte by byte; taking the job out gives the file from before.
  - C(promtool) checks a copy that lies where the file will lie. Only then the file is replaced, Prometheus is told to
    reload, and is asked whether it has the job. If any of this fails, the last good content is put back and loaded.
  - The folders of the job's C(file_sd_configs) are made first, for Prometheus never watches one that is missing when it
    reads its configuration.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_prometheus
  - onprem.autoscale._prometheus
  - onprem.autoscale._prometheus.config
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
    details: C(promtool) checks the change in check mode too, on a temporary copy.
  diff_mode:
    support: full
    details: Shows only the job itself, with secrets masked.
  idempotent:
    support: full
options:
  name:
    description:
      - What the job is known by here; it stands in the marks of the block, or names the fragment file.
    type: str
    required: true
  job:
    description:
      - The job as an entry of C(scrape_configs). Its C(job_name) is O(name) by default; when it changes, the job is
        renamed in place. Required with O(state=present).
      - Give secrets as files (C(password_file), C(credentials_file)), not as values.
    type: dict
  companions:
    description:
      - More jobs, as entries of C(scrape_configs) with a C(job_name) each. They come and go with O(job).
      - One that is no longer in the list is taken out.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
  method:
    description:
      - V(fragment) writes C(NAME.yml) into a folder that C(scrape_config_files) of O(config_file) covers (Prometheus
        2.43 and later).
      - V(block) writes a marked block into O(config_file).
      - V(auto) takes the fragment where it can. A job moves when the method changes.
    type: str
    choices: [auto, fragment, block]
    default: auto
  fragment_dir:
    description:
      - Folder for the fragment; by default the first folder of C(scrape_config_files) that fits.
    type: path
  state:
    description:
      - Whether the job shall exist.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - Whether to ask Prometheus, after the reload, if it really has the job (or has it no more).
  wait_timeout:
    default: 30
seealso:
  - module: onprem.autoscale.prometheus_target
  - module: onprem.autoscale.prometheus_rule_file
"""

EXAMPLES = r"""
- name: The job web takes its targets from a file
  onprem.autoscale.prometheus_scrape_job:
    url: http://127.0.0.1:9090
    name: web
    job:
      scrape_interval: 15s
      file_sd_configs:
        - files: [/etc/prometheus/autoscale/targets/web.json]
          refresh_interval: 5s

- name: The job goes
  onprem.autoscale.prometheus_scrape_job:
    url: http://127.0.0.1:9090
    name: web
    state: absent
"""

RETURN = r"""
job_name:
  description: The name of the job in Prometheus.
  returned: success
  type: str
  sample: web
companions:
  description: The names of the companions in Prometheus.
  returned: success
  type: list
  elements: str
  sample: [web-canary]
method:
  description: Where the job is (or would be) kept, V(fragment) or V(block).
  returned: success
  type: str
  sample: block
path:
  description: The file that holds (or would hold) the job.
  returned: success
  type: str
  sample: /etc/prometheus/prometheus.yml
created_directories:
  description: Folders of target files that were missing.
  returned: success
  type: list
  elements: str
  sample: [/etc/prometheus/autoscale/targets]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http, _yaml
from ansible_collections.onprem.autoscale.plugins.module_utils._common._connection import connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
    waiter_maker,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _client, _scrape_job

SPEC = ArgumentSpec(
    {
        "name": {"type": "str", "required": True},
        "job": {"type": "dict"},
        "companions": {"type": "list", "elements": "dict", "default": []},
        "config_file": {"type": "path", "default": "/etc/prometheus/prometheus.yml"},
        "method": {"type": "str", "choices": ["auto", "fragment", "block"], "default": "auto"},
        "fragment_dir": {"type": "path"},
        "promtool": {"type": "str", "default": "promtool"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    required_if=[("state", "present", ["job"])],
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring job and server to what is wanted."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    params = module.params
    wish = _scrape_job.ScrapeJob(
        name=params["name"],
        job=params["job"] if params["state"] == "present" else None,
        config_file=params["config_file"],
        method=params["method"],
        fragment_dir=params["fragment_dir"],
        promtool=params["promtool"],
        companions=params["companions"],
    )
    with _client.PrometheusClient.from_params(params) as client:
        return _scrape_job.ensure(
            wish,
            client,
            waiter=waiter_maker(params),
            check_mode=module.check_mode,
        )


def main() -> None:
    """Entry point."""
    run(connection_spec("PROMETHEUS").merge(wait_spec(30), SPEC).create_module(), work)


if __name__ == "__main__":
    main()
