#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what model endpoints say of themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_endpoint_info
short_description: Read the state of vLLM endpoints
version_added: 0.2.0
description:
  - Returns what vLLM endpoints say of themselves, and what the canary beside each of them says.
  - An endpoint that does not answer is a row, not a failure.
  - RV(endpoints[].healthy) is no readiness, as vLLM says it of a frozen engine too; RV(endpoints[].ready) is.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_vllm
  - onprem.autoscale._vllm
options:
  canary_port:
    description:
      - Port of the canary that the role C(vllm_host) installs, always HTTP. V(0) asks none.
    type: int
    default: 8001
seealso:
  - module: onprem.autoscale.vllm_endpoint
"""

EXAMPLES = r"""
- name: See how the endpoints are
  onprem.autoscale.vllm_endpoint_info:
    members:
      - {name: llm-1, address: 10.255.48.230}
      - {name: llm-2, address: 10.255.48.231}
  register: seen

- name: Show those that look healthy and do not serve
  ansible.builtin.debug:
    msg: "{{ seen.endpoints | selectattr('healthy') | selectattr('ready', 'false') | map(attribute='name') }}"
"""

RETURN = r"""
endpoints:
  description: One row for each member, in the order of O(members).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: llm-1
    address:
      description: Its address.
      type: str
      sample: 10.255.48.230
    reachable:
      description: Whether it answered.
      type: bool
      sample: true
    msg:
      description: Why it did not, or what could not be read.
      type: str
      sample: healthy
    version:
      description: Version of vLLM; empty when unknown.
      type: str
      sample: 0.32.0
    models:
      description: The models that it names.
      type: list
      elements: str
      sample: [llama-3-8b]
    healthy:
      description: Whether C(/health) is 200.
      type: bool
      sample: true
    load:
      description: Requests that the HTTP server counts; none when unknown.
      type: int
      sample: 2
    running:
      description: Requests that the engine works on; none when unknown.
      type: int
      sample: 2
    waiting:
      description: Requests that wait for the engine; none when unknown.
      type: int
      sample: 0
    kv_cache:
      description: How full the KV cache is, in percent; none when unknown.
      type: float
      sample: 12.5
    ready:
      description: Whether the canary got its tokens; none when there is no canary.
      type: bool
      sample: true
    cold_start:
      description: The stages of the last start, as the host measured them.
      type: list
      elements: dict
      contains:
        stage:
          description: Its name.
          type: str
          sample: load
        seconds:
          description: How long it took.
          type: float
          sample: 12.4
        ok:
          description: Whether it ended well.
          type: bool
          sample: true
        source:
          description: What it was measured by.
          type: str
          sample: journal
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _vllm
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm import _metrics

SPEC = _vllm.connection_spec().merge(
    _vllm.members_spec(), ArgumentSpec({"canary_port": {"type": "int", "default": 8001}})
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read."""
    params = module.params
    _vllm.check_members(params["members"])
    for key, low in (("port", 1), ("canary_port", 0)):
        if not low <= params[key] <= 65535:
            raise InvalidSpecError(f"{key}: value is {params[key]}; allowed: {low} to 65535")
    connection = _vllm.Connection.from_params(params)
    rows = _vllm.info_many(params["members"], connection, canary_port=params["canary_port"] or None)
    return {"changed": False, "endpoints": rows}


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "prometheus-client", _metrics.HAS_PARSER, _metrics.PARSER_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
