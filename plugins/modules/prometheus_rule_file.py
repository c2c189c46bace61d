#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one rule file of ours, checked, loaded and verified."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_rule_file
short_description: Keep one rule file of Prometheus
version_added: 0.1.0
description:
  - Writes alert and recording rules into a file of their own, has C(promtool) check them first, reloads Prometheus and
    asks whether it has exactly these groups and rules. If any of this fails, the last good file is put back and loaded.
  - When no pattern of C(rule_files) in O(config_file) covers the file, an entry is added in a marked block, and goes
    with the file; nothing else in O(config_file) is touched.
  - Only a file that this module wrote is ever replaced or removed.
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
  idempotent:
    support: full
options:
  path:
    description:
      - The rule file. A relative path is relative to the folder of O(config_file). A missing folder is made.
    type: path
    required: true
  content:
    description:
      - The file as data, with the key C(groups). Required with O(state=present).
    type: dict
  include:
    description:
      - Whether an entry is added to C(rule_files) when no pattern there covers O(path); with V(false) that is an error.
    type: bool
    default: true
  state:
    description:
      - Whether the file shall exist.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - Whether to ask Prometheus, after the reload, if it really has the rules (or has them no more).
  wait_timeout:
    default: 30
seealso:
  - module: onprem.autoscale.prometheus_scrape_job
"""

EXAMPLES = r"""
- name: The rules of a group
  onprem.autoscale.prometheus_rule_file:
    url: http://127.0.0.1:9090
    path: /etc/prometheus/autoscale/rules/web.yml
    content: "{{ spec | onprem.autoscale.alert_rules }}"

- name: They go
  onprem.autoscale.prometheus_rule_file:
    url: http://127.0.0.1:9090
    path: /etc/prometheus/autoscale/rules/web.yml
    state: absent
"""

RETURN = r"""
path:
  description: The rule file.
  returned: success
  type: str
  sample: /etc/prometheus/autoscale/rules/web.yml
groups:
  description: Names of the rule groups in it; none when absent.
  returned: success
  type: list
  elements: str
  sample: [onprem_autoscale_web]
included_by:
  description: What makes Prometheus read it, V(pattern) for one that was there, V(entry) for ours; empty when absent.
  returned: success
  type: str
  sample: pattern
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
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _client, _rule_file

SPEC = ArgumentSpec(
    {
        "path": {"type": "path", "required": True},
        "content": {"type": "dict"},
        "config_file": {"type": "path", "default": "/etc/prometheus/prometheus.yml"},
        "include": {"type": "bool", "default": True},
        "promtool": {"type": "str", "default": "promtool"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    required_if=[("state", "present", ["content"])],
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring file and server to what is wanted."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    params = module.params
    wish = _rule_file.RuleFile(
        path=params["path"],
        content=params["content"] if params["state"] == "present" else None,
        config_file=params["config_file"],
        include=params["include"],
        promtool=params["promtool"],
    )
    with _client.PrometheusClient.from_params(params) as client:
        return _rule_file.ensure(
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
