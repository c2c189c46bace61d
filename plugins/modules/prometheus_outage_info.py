#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from Prometheus when a service was lost and served again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_outage_info
short_description: Read when a service was lost, and served again
version_added: 0.3.0
description:
  - Looks at the raw samples of a series that is 1 while the service is there, such as C(probe_success) of
    blackbox_exporter.
  - The time between RV(lost_at) and RV(served_at) is what its clients went without, within the time between two
    samples.
  - With several series, the service is there while one of them is 1.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_prometheus
  - onprem.autoscale._prometheus
options:
  selector:
    description:
      - Selector of the series, without range and functions.
    type: str
    required: true
  since:
    description:
      - Seconds since 1970. Outages that ended before are left out.
    type: float
  lookback:
    description:
      - How far to look back, in seconds. It reaches to O(since) in any case.
    type: float
    default: 3600
  settle:
    description:
      - Seconds. Successes that the next failure followed sooner do not end an outage, as when some resolvers still know
        the address of a site that is lost.
    type: float
    default: 5
notes:
  - Where samples are missing, because Prometheus or the exporter was away, nobody knows. That is no outage; within
    one, it is told as RV(outages[].unknown_s).
seealso:
  - module: onprem.autoscale.prometheus_target_info
"""

EXAMPLES = r"""
- name: For how long the shop was away
  onprem.autoscale.prometheus_outage_info:
    url: http://127.0.0.1:9090
    selector: probe_success{job="shop"}
  register: outage

- name: Say so
  ansible.builtin.debug:
    msg: "{{ outage.served_at - outage.lost_at }} s"
  when: outage.served_at is not none
"""

RETURN = r"""
lost_at:
  description:
    - The last success before the newest outage, in seconds since 1970.
    - V(null) without an outage, or when no success was seen before it.
  returned: success
  type: float
  sample: 1773144001.25
served_at:
  description: The first success after it; V(null) while it lasts.
  returned: success
  type: float
  sample: 1773144061.5
failing:
  description: Whether it lasts, as of RV(seen_until).
  returned: success
  type: bool
  sample: false
blind:
  description: Whether there is no sample of late, so that nobody knows how the service is.
  returned: success
  type: bool
  sample: false
sample_s:
  description: Seconds between two samples, which is how exact the times are. 0 with less than two samples.
  returned: success
  type: float
  sample: 0.25
seen_until:
  description: The time of the last sample; V(null) without any.
  returned: success
  type: float
  sample: 1773144080.0
outages:
  description: All of the time looked at, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    lost_at:
      description: As RV(lost_at).
      type: float
      sample: 1773144001.25
    served_at:
      description: As RV(served_at).
      type: float
      sample: 1773144061.5
    failed_at:
      description: The first failure.
      type: float
      sample: 1773144001.5
    failures:
      description: How many samples failed.
      type: int
      sample: 240
    unknown_s:
      description: For how long of it there was no sample.
      type: float
      sample: 0.0
series:
  description: Labels of the series that were found.
  returned: success
  type: list
  elements: dict
  sample:
    - {__name__: probe_success, instance: 'http://www.shop.example/health', job: shop}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http, _yaml
from ansible_collections.onprem.autoscale.plugins.module_utils._common._connection import connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _client, _outage

SPEC = ArgumentSpec(
    {
        "selector": {"type": "str", "required": True},
        "since": {"type": "float"},
        "lookback": {"type": "float", "default": 3600},
        "settle": {"type": "float", "default": 5},
    }
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read."""
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "PyYAML", _yaml.HAS_YAML, _yaml.YAML_IMPORT_ERROR)
    lookback, since = module.params["lookback"], module.params["since"]
    if lookback <= 0:
        raise InvalidSpecError(f"lookback is {lookback:g}; it must be more than 0")
    with _client.PrometheusClient.from_params(module.params) as client:
        found = _outage.look(client, module.params["selector"], lookback, since, module.params["settle"])
    return {"changed": False, **found}


def main() -> None:
    """Entry point."""
    run(connection_spec("PROMETHEUS").merge(SPEC).create_module(), work)


if __name__ == "__main__":
    main()
