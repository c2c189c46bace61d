# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: scrape_job
short_description: Build the Prometheus scrape job of a scaling group
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Returns one entry for C(scrape_configs) whose targets stand in a C(file_sd) file.
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
  - plugin: onprem.autoscale.group_spec
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the job
  ansible.builtin.debug:
    msg: "{{ group | onprem.autoscale.scrape_job('/etc/prometheus/autoscale/targets/web.json') }}"
"""

RETURN = r"""
_value:
  description: One entry for C(scrape_configs).
  type: dict
  sample:
    job_name: web
    scrape_interval: 15s
    file_sd_configs:
      - files: [/etc/prometheus/autoscale/targets/web.json]
        refresh_interval: 5s
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils import _planning
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError


def scrape_job(
    value: t.Mapping[str, t.Any], file_sd_path: str, scrape_interval: int | None = None, refresh_interval: int = 5
) -> dict[str, t.Any]:
    """One entry of ``scrape_configs``; times in seconds."""
    try:
        return _planning.scrape_job(
            _planning.parse_spec(value),
            file_sd_path,
            scrape_interval=scrape_interval,
            refresh_interval=refresh_interval,
        )
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.scrape_job: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"scrape_job": scrape_job}
