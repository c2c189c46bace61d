#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until new members serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until members pass their health gates
version_added: 0.1.0
description:
  - Asks members from outside until each of them has passed all gates, or the time is over. A load balancer may send
    traffic to a member whose own monitor has not answered yet, so a member passes its gates before it joins a pool.
  - All members are asked in parallel. A member passes when each gate has had its passes in a row, all at the same time.
  - Environment variables for proxies are not used, and redirects are not followed.
author:
  - The onprem.autoscale authors (@onprem)
requirements:
  - requests (Python library)
extends_documentation_fragment:
  - onprem.autoscale._attributes
attributes:
  check_mode:
    support: full
    details: In check mode nothing is asked, since a member that was not made cannot answer; the rows say so.
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
    details: This module changes nothing.
options:
  members:
    description:
      - The members to ask. An empty list succeeds.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the member, for the result.
        type: str
        required: true
      address:
        description: Where it is asked, an IP address or a host name.
        type: str
        required: true
  gates:
    description:
      - The tests that each member must pass.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description: V(http) asks for a page, V(tcp) opens a connection.
        type: str
        choices: [http, tcp]
        required: true
      port:
        description: Port on the member.
        type: int
        required: true
      path:
        description: Path of the page; only for V(http).
        type: str
        default: /
      scheme:
        description: Only for V(http).
        type: str
        choices: [http, https]
        default: http
      status:
        description: Status code that is healthy; only for V(http).
        type: int
        default: 200
      contains:
        description: Text that the first 64 KiB of the body must contain; only for V(http).
        type: str
      regex:
        description: Python regular expression that must be found in the first 64 KiB of the body; only for V(http).
        type: str
      validate_certs:
        description: Whether the certificate must be valid for the address; only for V(https).
        type: bool
        default: true
      consecutive:
        description: Passes in a row that are needed; at least 1.
        type: int
        default: 1
      timeout:
        description: How long one attempt may take, in seconds; at least 1.
        type: int
        default: 5
  timeout:
    description:
      - How long to wait for the members, in seconds. Each is asked at least once.
    type: int
    default: 300
  wait_interval:
    description:
      - Seconds between two attempts; at most 5, jittered by a fifth.
    type: float
    default: 1.0
  allow_partial:
    description:
      - Whether to succeed when some members passed and others did not. RV(failed_members) names the others.
      - When no member passed the module fails in any case.
    type: bool
    default: false
seealso:
  - module: onprem.autoscale.vsphere_clone
  - module: onprem.autoscale.f5_pool_member
"""

EXAMPLES = r"""
- name: Wait until both new members serve
  onprem.autoscale.health_gate:
    members:
      - {name: web-20260310120000-1, address: 10.255.48.220}
      - {name: web-20260310120000-2, address: 10.255.48.221}
    gates:
      - {type: http, port: 8080, path: /health, status: 200, consecutive: 2}
      - {type: tcp, port: 9100}
    timeout: 120
    allow_partial: true
  register: gated

- name: Who did not
  ansible.builtin.debug:
    msg: "{{ gated.members | selectattr('failed') | map(attribute='msg') }}"
"""

RETURN = r"""
members:
  description: One row for each member, in the order of O(members).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: web-20260310120000-1
    address:
      description: Its address.
      type: str
      sample: 10.255.48.220
    passed:
      description: Whether it passed all gates; false in check mode.
      type: bool
      sample: true
    changed:
      description: Always false.
      type: bool
      sample: false
    failed:
      description: Whether it was asked and did not pass.
      type: bool
      sample: false
    seconds:
      description: How long it took, in seconds.
      type: float
      sample: 4.21
    msg:
      description: What came out, and for a member that did not pass the last answer of each open gate.
      type: str
      sample: passed 2 gates
    gates:
      description: The gates, in the order of O(gates).
      type: list
      elements: dict
      contains:
        type:
          description: Its type.
          type: str
          sample: http
        port:
          description: Its port.
          type: int
          sample: 8080
        passed:
          description: Whether it had its passes in a row.
          type: bool
          sample: true
        attempts:
          description: How often it was asked.
          type: int
          sample: 3
        msg:
          description: What the last attempt saw.
          type: str
          sample: status 200
failed_members:
  description: Names of the members that did not pass.
  returned: always
  type: list
  elements: str
  sample: []
"""

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import (
    HAS_REQUESTS,
    REQUESTS_IMPORT_ERROR,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    check_limits,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._gates import GateResult, MemberResult, run_gates

LIMITS = {"port": (1, 65535), "consecutive": (1, 100), "timeout": (1, 300)}
SPEC = ArgumentSpec(
    {
        "members": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str", "required": True},
            },
        },
        "gates": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "type": {"type": "str", "choices": ["http", "tcp"], "required": True},
                "port": {"type": "int", "required": True},
                "path": {"type": "str", "default": "/"},
                "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
                "status": {"type": "int", "default": 200},
                "contains": {"type": "str"},
                "regex": {"type": "str"},
                "validate_certs": {"type": "bool", "default": True},
                "consecutive": {"type": "int", "default": 1},
                "timeout": {"type": "int", "default": 5},
            },
        },
        "timeout": {"type": "int", "default": 300},
        "wait_interval": {"type": "float", "default": 1.0},
        "allow_partial": {"type": "bool", "default": False},
    }
)


def check_options(members: list[dict[str, t.Any]], gates: list[dict[str, t.Any]]) -> None:
    """Refuse what the argument spec cannot.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    if not gates:
        raise InvalidSpecError("gates: value is []; allowed: at least one gate")
    for index, member in enumerate(members):
        if not member["address"]:
            raise InvalidSpecError(
                f"members[{index}].address: value is empty for {member['name']}; allowed: an address"
            )
    for index, gate in enumerate(gates):
        check_limits(gate, LIMITS, where=f"gates[{index}].")
        try:
            re.compile(gate["regex"] or "")
        except re.error as error:
            raise InvalidSpecError(
                f"gates[{index}].regex: value is {gate['regex']!r} ({error}); allowed: a Python regular expression"
            ) from error


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Ask, and tell."""
    params = module.params
    check_options(params["members"], params["gates"])
    if module.check_mode:
        rows = [
            MemberResult(row["name"], row["address"], [GateResult(gate) for gate in params["gates"]]).as_dict()
            | {"passed": False, "failed": False, "msg": f"check mode: {len(params['gates'])} gates were not asked"}
            for row in params["members"]
        ]
        return {"changed": False, "members": rows, "failed_members": []}
    results = run_gates(params["members"], params["gates"], timeout=params["timeout"], interval=params["wait_interval"])
    failed = [result for result in results if not result.passed]
    answer = {
        "changed": False,
        "members": [result.as_dict() for result in results],
        "failed_members": [result.name for result in failed],
    }
    if failed and (len(failed) == len(results) or not params["allow_partial"]):
        raise WaitTimeoutError(
            f"{len(failed)} of {len(results)} members did not pass their gates: {'; '.join(row.msg for row in failed)}",
            remedy="Look at the members' own logs, or raise the timeout if they only start slowly",
            result=answer,
        )
    return answer


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", HAS_REQUESTS, REQUESTS_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
