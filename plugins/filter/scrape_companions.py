# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: scrape_companions
short_description: Build the further Prometheus scrape jobs of a model endpoint
version_added: 0.2.0
author: The onprem.autoscale authors
description:
  - Returns entries for C(scrape_configs), for what else the members of a model endpoint tell, on other ports - vLLM's
    own metrics, those of its canary, and those of dcgm-exporter where C(model.dcgm_port) is given. A service has none.
  - Their targets are those of P(onprem.autoscale.scrape_job#filter), from the same C(file_sd) file. C(instance) is the
    host alone.
requirements:
  - jsonschema (Python library on the controller)
options:
  _input:
    description: The declaration of one scaling group, with or without its defaults.
    type: dict
    required: true
  file_sd_path:
    description:
      - Absolute path of the target file on the Prometheus host.
      - Its folder must exist before Prometheus reads the job, otherwise Prometheus does not watch it.
    type: str
    required: true
  scrape_interval:
    description: Time between two scrapes, in seconds. Without it, that of the group (C(monitoring.scrape_interval)).
    type: int
  refresh_interval:
    description: Time until a changed target file is seen at the latest, in seconds.
    type: int
    default: 5
seealso:
  - plugin: onprem.autoscale.scrape_job
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the jobs
  ansible.builtin.debug:
    msg: "{{ group | onprem.autoscale.scrape_companions('/etc/prometheus/autoscale/targets/llm.json') }}"
"""

RETURN = r"""
_value:
  description: Entries for C(scrape_configs), each with its C(job_name).
  type: list
  elements: dict
  sample:
    - job_name: llm-canary
      scrape_interval: 15s
      file_sd_configs:
        - files: [/etc/prometheus/autoscale/targets/llm.json]
          refresh_interval: 5s
      relabel_configs:
        - {source_labels: [__address__], regex: "(.+):[0-9]+", target_label: instance, replacement: "${1}"}
        - {source_labels: [__address__], regex: "(.+):[0-9]+", target_label: __address__, replacement: "${1}:8001"}
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils import _planning
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError


def scrape_companions(
    value: t.Mapping[str, t.Any], file_sd_path: str, scrape_interval: int | None = None, refresh_interval: int = 5
) -> list[dict[str, t.Any]]:
    """Entries of ``scrape_configs``; times in seconds."""
    try:
        return _planning.scrape_companions(
            _planning.parse_spec(value),
            file_sd_path,
            scrape_interval=scrape_interval,
            refresh_interval=refresh_interval,
        )
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.scrape_companions: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"scrape_companions": scrape_companions}
