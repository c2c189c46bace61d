# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What people are told of a model endpoint. The autoscaler does not answer these alerts, and no route of ours takes them.
"""

from __future__ import annotations

import typing as t

from ._model_signals import TYPE, rejections, selector, told, ttft, waiting
from ._promql import duration
from ._spec import GroupSpec
from ._spec_model import ModelOut

#: Seconds that a limit of scale-out is exceeded until people are told: growing should have helped by then.
_AFTER_GROWING = 900
_TTFT_LIMIT = 2.0
_WAITING_LIMIT = 2.0

#: Names of the alerts, in the order of their rules.
MODEL_ALERTS = (
    "ModelEndpointDown",
    "ModelCanaryDown",
    "ModelEngineFrozen",
    "ModelEngineStalled",
    "ModelLicenceLost",
    "ModelFirstTokenSlow",
    "ModelQueueLong",
    "ModelCacheFull",
    "ModelResultsBad",
    "ModelRequestsRejected",
)


class _Alert(t.NamedTuple):
    expr: str
    hold: int
    severity: str
    summary: str
    description: str


def model_alerts(
    spec: GroupSpec, *, runbook_base_url: str = "", labels: t.Mapping[str, str] | None = None
) -> list[dict[str, t.Any]]:
    """Rules for people, each with a runbook at ``<runbook_base_url>/<alert>.md``; none for a service."""
    if spec.model is None:
        return []
    found = {**_of_one(spec), **_of_all(spec)}
    rules = []
    for name in MODEL_ALERTS:
        alert = found[name]
        annotations = {"summary": alert.summary, "description": alert.description}
        if runbook_base_url:
            annotations["runbook_url"] = f"{runbook_base_url.rstrip('/')}/{name}.md"
        rules.append(
            {
                "alert": name,
                "expr": alert.expr,
                "for": duration(alert.hold),
                "labels": {"group": spec.name, "severity": alert.severity, **(labels or {})},
                "annotations": annotations,
            }
        )
    return rules


def _of_one(spec: GroupSpec) -> dict[str, _Alert]:
    """What one endpoint suffers from."""
    vllm, canary, dcgm = (selector(spec, part) for part in ("vllm", "canary", "dcgm"))
    who = f"{spec.name}: {{{{ $labels.member }}}} ({{{{ $labels.instance }}}})"
    by = "by (instance, member)"
    return {
        "ModelEndpointDown": _Alert(
            f"max {by} (up{{{vllm}}}) == 0 or absent(up{{{vllm}}})", 300, "warning",
            f"{spec.name}: vLLM{{{{ with $labels.member }}}} on {{{{ . }}}}{{{{ end }}}} does not answer",
            "Prometheus has not scraped it for 5 minutes. While an endpoint cannot be seen the group does not shrink, "
            "and what waits there does not count for growing.",
        ),
        "ModelCanaryDown": _Alert(
            f"max {by} (up{{{canary}}}) == 0", 300, "warning", f"{who}: the canary does not answer",
            "The load balancer's monitor asks it, so the member takes no traffic; a frozen engine would not be seen.",
        ),
        "ModelEngineFrozen": _Alert(
            f"max {by} (vllm_canary_success{{{canary}}}) == 0 and on (instance) up{{{vllm}}} == 1", 90, "critical",
            f"{who}: vLLM answers, and gives no tokens",
            "Its /health says 200 all the same. The canary restarts it; the load balancer's monitor has taken it out.",
        ),
        "ModelEngineStalled": _Alert(
            f"sum {by} (vllm:num_requests_running{{{vllm}}}) > 0\n"
            f"and on (instance) (sum {by} (increase(vllm:iteration_tokens_total_count{{{vllm}}}[2m])) == 0)",
            60, "critical", f"{who}: {{{{ $value }}}} requests run, and the engine makes no step",
            "No iteration for 2 minutes: these requests get no tokens any more.",
        ),
        "ModelLicenceLost": _Alert(
            f"min {by} (vllm_gpu_licensed{{{canary}}}) == 0\n"
            f"or\nmin {by} (DCGM_FI_DEV_VGPU_LICENSE_STATUS{{{dcgm}}}) == 0",
            60, "critical", f"{who}: the GPU has no licence",
            "A vGPU without one is slowed down after some 20 minutes until it is almost idle: requests time out then.",
        ),
        "ModelCacheFull": _Alert(
            f"avg {by} (vllm:kv_cache_usage_perc{{{vllm}}}) * 100 > 95\n"
            f"or\nsum {by} (rate(vllm:num_preemptions_total{{{vllm}}}[5m])) > 0.1",
            600, "warning", f"{who}: the KV cache is full",
            "Requests that run are put aside and computed again: all of them get slower.",
        ),
    }  # fmt: skip


def _of_all(spec: GroupSpec) -> dict[str, _Alert]:
    """What clients of the group suffer from."""
    (policy,) = (row for row in spec.policies if row.type == TYPE)
    side = policy.out if isinstance(policy.out, ModelOut) else None
    slow = side.ttft_p95 if side is not None and side.ttft_p95 is not None else _TTFT_LIMIT
    long = side.waiting if side is not None and side.waiting is not None else _WAITING_LIMIT
    vllm = selector(spec, "vllm")
    ended = f"vllm:request_success_total{{{vllm}}}"
    bad = ended.replace("{", '{finished_reason=~"error|abort",', 1)
    grow = "Either the group is at its maximum, or growing does not help."
    return {
        "ModelFirstTokenSlow": _Alert(
            f"{ttft(spec, policy.window)} > {slow:g}", _AFTER_GROWING, "warning",
            f'{spec.name}: the first token takes {{{{ $value | printf "%.1f" }}}} s (p95)',
            f"More than {slow:g} s for a quarter of an hour. {grow}",
        ),
        "ModelQueueLong": _Alert(
            f"{waiting(spec)} > {long:g}", _AFTER_GROWING, "warning",
            f'{spec.name}: {{{{ $value | printf "%.1f" }}}} requests wait for each endpoint',
            f"More than {long:g} for a quarter of an hour. {grow}",
        ),
        "ModelResultsBad": _Alert(
            f"sum(rate({bad}[5m])) / sum(rate({ended}[5m])) > 0.05", 300, "warning",
            f"{spec.name}: {{{{ $value | humanizePercentage }}}} of the requests end as error or abort",
            "Abort is also what vLLM writes when a client hangs up, and when it is stopped under its clients.",
        ),
        "ModelRequestsRejected": _Alert(
            f"{rejections(spec, policy.window)} > 0", _AFTER_GROWING, "warning",
            f'{spec.name}: {{{{ $value | printf "%.2f" }}}} requests a second are turned away',
            f"Their clients get a 503, as the queues are full: {told(waiting(spec))} wait for each endpoint. {grow}",
        ),
    }  # fmt: skip
