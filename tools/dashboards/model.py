# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One group of model endpoints: how it answers, what fills it, whether it lives, how long it takes to come."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Dashboard, VariableRefresh, VariableSort

from .panels import SOURCE, Panel, event, filled, graph, happened, new_page, number, timeline


def model() -> Dashboard:
    """What clients see, what asks for scaling, what the canaries say."""
    page = new_page(
        "onprem-autoscale-model", "Model endpoints", "One group that serves a model: answers, load, health, cold start"
    )
    choice = dashboard.QueryVariable("group").label("Group").datasource(SOURCE)
    choice.query("label_values(vllm:num_requests_running, group)").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    page.with_variable(choice.sort(VariableSort.ALPHABETICAL_ASC))
    g = 'group="$group"'
    page.annotation(event("Scaled", "blue", happened(f'{g},direction!="reconcile",result="succeeded"', "direction")))

    running, waiting = f"vllm:num_requests_running{{{g}}}", f"vllm:num_requests_waiting{{{g}}}"
    cache = f"vllm:kv_cache_usage_perc{{{g}}} * 100"
    first = _latency("time_to_first_token_seconds", g)
    ended = f"vllm:request_success_total{{{g}}}"
    panels: dict[str, list[Panel]] = {
        "Answers": [
            number("Endpoints", f"count(count by (member) ({running}))", "That tell their metrics"),
            number("First token", first.format(0.95), "95th percentile", unit="s"),
            number("Wait", f"sum({waiting})", "Requests in the queues"),
            number("Run", f"sum({running})", "Requests that are answered now"),
            number("Tokens", f"sum(rate(vllm:generation_tokens_total{{{g}}}[$__rate_interval]))", "Made, a second"),
            number(
                "Canaries", f"min(vllm_canary_success{{{g}}})", "Whether all get tokens", words={"0": "NO", "1": "yes"}
            ),
            graph(
                "Time to the first token",
                {"p50": first.format(0.5), "p95": first.format(0.95)},
                "Over all endpoints; p95 is what asks for scaling",
                unit="s",
            ),
            graph(
                "Time between tokens",
                {
                    "p50": _latency("inter_token_latency_seconds", g).format(0.5),
                    "p95": _latency("inter_token_latency_seconds", g).format(0.95),
                },
                "Over all endpoints",
                unit="s",
            ),
            graph(
                "Requests that ended",
                {"{{finished_reason}}": f"sum by (finished_reason) (rate({ended}[$__rate_interval]))"},
                "A second; error and abort are not what clients wanted",
            ),
            graph(
                "Requests turned away",
                {"{{reason}}": f"sum by (reason) (rate(vllm:admission_rejections_total{{{g}}}[$__rate_interval]))"},
                "A second, as queues were full",
            ),
        ],
        "Load": [
            graph("Running", {"{{member}}": f"sum by (member) ({running})"}, "Requests that are answered now"),
            graph("Waiting", {"{{member}}": f"sum by (member) ({waiting})"}, "Requests in the queue"),
            graph(
                "KV cache", {"{{member}}": f"max by (member) ({cache})"}, "In use", unit="percent", top=100
            ),
            graph(
                "Put aside",
                {"{{member}}": f"sum by (member) (rate(vllm:num_preemptions_total{{{g}}}[$__rate_interval]))"},
                "Requests a second that ran and had to give their cache back",
            ),
        ],
        "Life": [
            timeline(
                "Canary",
                {"{{member}}": f"1 - min by (member) (vllm_canary_success{{{g}}})"},
                "Whether it got its tokens; the load balancer's monitor asks it",
                {"0": "yes", "1": "no"},
                width=12,
            ),
            timeline(
                "Scraped",
                {"{{member}} {{job}}": f"1 - max by (member, job) (up{{{g}}})"},
                "A member that cannot be seen keeps the group from shrinking",
                {"0": "yes", "1": "no"},
                width=12,
            ),
            graph(
                "Steps of the engine",
                {"{{member}}": f"sum by (member) (rate(vllm:iteration_tokens_total_count{{{g}}}[$__rate_interval]))"},
                "A second; none while requests run is an engine that stands still",
            ),
            graph(
                "Cold start",
                {"{{member}} {{stage}}": f"max by (member, stage) (vllm_coldstart_stage_seconds{{{g}}})"},
                "Seconds of each stage of the last start on the host",
                unit="s",
                steps=True,
            ),
        ],
    }  # fmt: skip
    return filled(page, panels)


def _latency(name: str, group: str) -> str:
    """A percentile over all endpoints, with a place for which."""
    bucket = f"vllm:{name}_bucket{{{{{group}}}}}"
    return f"histogram_quantile({{}}, sum by (le) (rate({bucket}[$__rate_interval])))"
