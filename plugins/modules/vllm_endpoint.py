#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until model endpoints serve tokens, are warm, or serve nobody any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_endpoint
short_description: Wait until vLLM endpoints serve, are warm, or are idle
version_added: 0.2.0
description:
  - Asks endpoints from outside whether they really serve, by streams of tokens. vLLM's C(/health) is no answer, as it
    says 200 also while the engine is frozen.
  - Sends the requests that compile kernels, so that users do not wait for them.
  - Waits until nobody is served any more, as a stop ends running streams with status 200, which clients do not notice.
  - All members are asked side by side.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_vllm
  - onprem.autoscale._vllm
attributes:
  check_mode:
    support: full
    details: In check mode nothing is asked, since a member that was not made cannot answer; the rows say so.
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
    details: This module changes nothing that lasts; V(ready) and V(warmed) make the endpoints answer requests.
options:
  state:
    description:
      - V(ready) - so many streams in a row began and ended in time, with exactly O(tokens) tokens each, without an
        error or an C(abort) within them. The second and later ones sample, and have longer prompts that no cache
        knows.
      - V(warmed) - the requests of O(warmup) were answered. Whether the time to the first token settled is told, and
        is no failure. Each request may take as long as O(wait_timeout) leaves.
      - V(drained) - C(/load), running and waiting requests were 0 and no request came for O(quiet) seconds. An
        endpoint on which nobody listens for that long, or that does not answer or whose requests make no step for
        O(stall) seconds, serves nobody and is drained too.
    type: str
    choices: [ready, warmed, drained]
    required: true
  model:
    description:
      - The model to ask, as clients name it. If not set, the first one that the endpoint names.
    type: str
  tokens:
    description:
      - Tokens of each answer.
    type: int
    default: 8
  consecutive:
    description:
      - Good streams in a row that V(ready) needs.
    type: int
    default: 3
  deadline:
    description:
      - How long one stream of V(ready) may take, in seconds.
    type: float
    default: 30.0
  first_token:
    description:
      - How long its first token may take, in seconds, connecting included.
    type: float
    default: 10.0
  warmup:
    description:
      - What V(warmed) sends.
    type: dict
    suboptions:
      prompts:
        description:
          - Requests at each level of concurrency, at most. A level ends earlier when the 95th percentile of the time
            to the first token is at most 1.2 times that of the batch before. V(0) sends nothing.
        type: int
        default: 32
      concurrency:
        description: The levels, requests at a time.
        type: list
        elements: int
        default: [1, 4]
      lengths:
        description: Lengths of the prompts, in tokens; cut to what the model takes.
        type: list
        elements: int
        default: [32, 512]
      temperatures:
        description: Temperatures; with V(0) alone the sampler stays cold.
        type: list
        elements: float
        default: [0, 0.7, 1]
  quiet:
    description:
      - Seconds in a row without a request that V(drained) needs.
    type: float
    default: 10.0
  stall:
    description:
      - After how many seconds without an answer, or without a step of the engine, an endpoint counts as one that
        serves nobody.
    type: float
    default: 60.0
  wait:
    description:
      - Whether to go on until O(wait_timeout). If V(false), V(ready) fails with the first failed stream, and
        V(drained) looks once, where idle now is idle. V(warmed) always waits.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait for each member, in seconds; a stream that has begun may take longer. When it passes the
        module fails.
    type: int
    default: 300
  wait_interval:
    description:
      - Seconds between two looks; at most 5, jittered by a fifth.
    type: float
    default: 1.0
  allow_partial:
    description:
      - Whether to succeed when some members reached O(state) and others did not. RV(failed_members) names the others.
      - When no member did the module fails in any case.
    type: bool
    default: false
notes:
  - A refusal that would be the same the next time, such as a wrong key or model, fails without waiting.
  - V(drained) reads C(/load), which counts only with vLLM's C(--enable-server-load-tracking), and C(/metrics), which
    C(--disable-log-stats) would empty.
seealso:
  - module: onprem.autoscale.vllm_endpoint_info
  - module: onprem.autoscale.health_gate
  - module: onprem.autoscale.f5_pool_member
"""

EXAMPLES = r"""
- name: Wait until the new endpoint serves tokens
  onprem.autoscale.vllm_endpoint:
    members: [{name: llm-20260310120000, address: 10.255.48.230}]
    model: llama-3-8b
    api_key: "{{ autoscale_model_keys['llm'] }}"
    state: ready
    wait_timeout: 600

- name: Warm it up
  onprem.autoscale.vllm_endpoint:
    members: [{name: llm-20260310120000, address: 10.255.48.230}]
    state: warmed
    warmup: {concurrency: [1, 4, 32]}

- name: Wait until it serves nobody, before it is stopped
  onprem.autoscale.vllm_endpoint:
    members: [{name: llm-20260310120000, address: 10.255.48.230}]
    state: drained
    quiet: 10
    wait_timeout: 900
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
      sample: llm-20260310120000
    address:
      description: Its address.
      type: str
      sample: 10.255.48.230
    changed:
      description: Always false.
      type: bool
      sample: false
    failed:
      description: Whether it was asked and is not in O(state).
      type: bool
      sample: false
    msg:
      description: What came out.
      type: str
      sample: 3 streams of 8 tokens in a row
    seconds:
      description: How long it took, in seconds.
      type: float
      sample: 1.21
    streams:
      description: Streams that were good; in a row for V(ready).
      returned: O(state=ready) or O(state=warmed)
      type: int
      sample: 3
    ttft_p95:
      description: 95th percentile of the seconds to their first token; none when it failed.
      returned: O(state=ready)
      type: float
      sample: 0.0712
    batches:
      description: The batches of requests, in order.
      returned: O(state=warmed)
      type: list
      elements: dict
      sample: [{concurrency: 1, ttft_p95: 4.21}, {concurrency: 1, ttft_p95: 0.06}, {concurrency: 1, ttft_p95: 0.06}]
    load:
      description: Requests that the HTTP server last counted; none when it did not say.
      returned: O(state=drained)
      type: int
      sample: 0
    running:
      description: Requests that the engine worked on at last; none when it did not say.
      returned: O(state=drained)
      type: int
      sample: 0
    waiting:
      description: Requests that waited for the engine at last; none when it did not say.
      returned: O(state=drained)
      type: int
      sample: 0
    stalled:
      description: Whether it counts as drained because it gave no answer, or made no step, for O(stall) seconds.
      returned: O(state=drained)
      type: bool
      sample: false
failed_members:
  description: Names of the members that are not in O(state).
  returned: always
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _vllm
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _http
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
    waiter_maker,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm import _metrics
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._ready import Gate
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._rows import Row
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._warm import WarmUp

SPEC = (
    _vllm.connection_spec()
    .merge(_vllm.members_spec(), wait_spec(300))
    .merge(
        ArgumentSpec(
            {
                "state": {"type": "str", "choices": ["ready", "warmed", "drained"], "required": True},
                "model": {"type": "str"},
                "tokens": {"type": "int", "default": 8, "no_log": False},
                "consecutive": {"type": "int", "default": 3},
                "deadline": {"type": "float", "default": 30.0},
                "first_token": {"type": "float", "default": 10.0, "no_log": False},
                "warmup": {
                    "type": "dict",
                    "apply_defaults": True,
                    "options": {
                        "prompts": {"type": "int", "default": 32},
                        "concurrency": {"type": "list", "elements": "int", "default": [1, 4]},
                        "lengths": {"type": "list", "elements": "int", "default": [32, 512]},
                        "temperatures": {"type": "list", "elements": "float", "default": [0, 0.7, 1]},
                    },
                },
                "quiet": {"type": "float", "default": 10.0},
                "stall": {"type": "float", "default": 60.0},
                "allow_partial": {"type": "bool", "default": False},
            }
        )
    )
)
LIMITS = (
    ("port", 1, 65535),
    ("tokens", 1, 1024),
    ("consecutive", 1, 100),
    ("deadline", 0.1, 3600),
    ("first_token", 0.1, 3600),
    ("quiet", 0, 3600),
    ("stall", 1, 3600),
)
WARMUP_LIMITS = (("concurrency", 1, 256), ("lengths", 1, 1_000_000), ("temperatures", 0, 2))


def check_options(params: t.Mapping[str, t.Any]) -> None:
    """Refuse what the argument spec cannot.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    _vllm.check_members(params["members"])
    for key, low, high in LIMITS:
        if not low <= params[key] <= high:
            raise InvalidSpecError(f"{key}: value is {params[key]:g}; allowed: {low} to {high}")
    plan = params["warmup"]
    if not 0 <= plan["prompts"] <= 10_000:
        raise InvalidSpecError(f"warmup.prompts: value is {plan['prompts']}; allowed: 0 to 10000")
    for key, low, high in WARMUP_LIMITS:
        if not plan[key] or not all(low <= value <= high for value in plan[key]):
            raise InvalidSpecError(f"warmup.{key}: value is {plan[key]}; allowed: a list of {low} to {high}")


def ask(params: t.Mapping[str, t.Any]) -> list[Row]:
    """The rows of all members."""
    members, connection = params["members"], _vllm.Connection.from_params(params)
    waiter = waiter_maker(params)
    if params["state"] == "ready":
        gate = Gate(**{key: params[key] for key in ("model", "tokens", "consecutive", "deadline", "first_token")})
        return _vllm.ready_many(members, connection, gate, waiter)
    if params["state"] == "warmed":
        lists = {key: tuple(params["warmup"][key]) for key, _low, _high in WARMUP_LIMITS}
        plan = WarmUp(params["model"], params["tokens"], params["warmup"]["prompts"], **lists)
        return _vllm.warm_many(members, connection, plan, lambda: Waiter(params["wait_timeout"]))
    return _vllm.drain_many(members, connection, quiet=params["quiet"], stall=params["stall"], waiter=waiter)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Ask, and tell."""
    params = module.params
    check_options(params)
    if module.check_mode:
        skipped = {"changed": False, "failed": False, "msg": "check mode: was not asked", "seconds": 0.0}
        return {"changed": False, "members": [{**row, **skipped} for row in params["members"]], "failed_members": []}
    rows = ask(params)
    failed = [row for row in rows if row.failed]
    answer = {
        "changed": False,
        "members": [row.as_dict() for row in rows],
        "failed_members": [row.name for row in failed],
    }
    if failed and (len(failed) == len(rows) or not params["allow_partial"]):
        whose = "; ".join(f"{row.name} ({row.address}): {row.msg}" for row in failed)
        raise WaitTimeoutError(
            f"{len(failed)} of {len(rows)} members are not {params['state']}: {whose}",
            remedy={
                "ready": "Look at vLLM's journal on the member, or raise wait_timeout if it only starts slowly",
                "warmed": "Look at vLLM's journal on the member; a longer wait_timeout gives it more time to compile",
                "drained": "Stop nothing yet; wait longer with wait_timeout, or see who still sends requests",
            }[params["state"]],
            result=answer,
        )
    return answer


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "requests", _http.HAS_REQUESTS, _http.REQUESTS_IMPORT_ERROR)
    require_library(module, "prometheus-client", _metrics.HAS_PARSER, _metrics.PARSER_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
