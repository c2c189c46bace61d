# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What asks for scaling a model endpoint (B4): its queue, the time to its first token, its cache, what it turned away.

Who cannot be seen counts as idle for growing, and for shrinking as busy (invariant 9): growing divides by all targets,
also those that are down, and shrinking is silent while one is down or tells nothing.
"""

from __future__ import annotations

import typing as t

from ._promql import duration, quote
from ._spec import GroupSpec, Policy
from ._spec_model import Model, ModelIn, ModelOut
from ._state import OUT

TYPE = "model_signals"


class Signal(t.NamedTuple):
    """One of several: what it means, its PromQL (one sample without labels, or none), its limit and unit."""

    says: str
    query: str
    limit: float
    word: str
    unit: str
    needs: str = ""


def job_name(spec: GroupSpec, part: str) -> str:
    """The companion job of ``vllm``, ``canary`` or ``dcgm``."""
    return f"{spec.monitoring.job}-{part}"


def selector(spec: GroupSpec, part: str) -> str:
    """``job="llm-vllm"``, to stand in braces."""
    return f"job={quote(job_name(spec, part))}"


def waiting(spec: GroupSpec) -> str:
    """Requests in the queue, for each endpoint."""
    vllm = selector(spec, "vllm")
    return f"sum(vllm:num_requests_waiting{{{vllm}}}) / count(up{{{vllm}}})"


def ttft(spec: GroupSpec, window: int) -> str:
    """Seconds to the first token, 95th percentile over all endpoints; nothing without requests."""
    bucket = f"vllm:time_to_first_token_seconds_bucket{{{selector(spec, 'vllm')}}}"
    return f"histogram_quantile(0.95, sum by (le) (rate({bucket}[{duration(window)}])))"


def rejections(spec: GroupSpec, window: int) -> str:
    """Requests that were turned away a second."""
    return f"sum(rate(vllm:admission_rejections_total{{{selector(spec, 'vllm')}}}[{duration(window)}]))"


def _cache(spec: GroupSpec) -> str:
    """KV cache in use of all endpoints: 1 for each that is full."""
    return f"sum(avg by (instance) (vllm:kv_cache_usage_perc{{{selector(spec, 'vllm')}}}))"


def out_signals(spec: GroupSpec, policy: Policy) -> list[Signal]:
    """What asks for another endpoint, each alone."""
    side, window = t.cast(ModelOut, policy.out), policy.window
    vllm, dcgm = selector(spec, "vllm"), selector(spec, "dcgm")
    cache = f"{_cache(spec)} / count(up{{{vllm}}}) * 100"
    gpu = f"avg by (instance) (avg_over_time(DCGM_FI_DEV_GPU_UTIL{{{dcgm}}}[{duration(window)}]))"
    refused = "more than {} requests a second are" if side.rejections else "requests are"
    found = [
        (side.waiting, "more than {} requests wait for each endpoint", waiting(spec), "queue", ""),
        (side.ttft_p95, "the first token takes more than {} s (p95)", ttft(spec, window), "first token", " s"),
        (side.kv_cache, "more than {} % of the KV cache is used", cache, "KV cache", " %"),
        (side.rejections, f"{refused} turned away", rejections(spec, window), "turned away", " a second"),
    ]  # fmt: skip
    signals = [
        Signal(says.format(f"{limit:g}"), query, limit, word, unit)
        for limit, says, query, word, unit in found
        if limit is not None
    ]
    if side.gpu is not None:
        # Near 100 while batching, whether anybody waits or not: it counts only while somebody does.
        says = f"the GPUs are busier than {side.gpu:g} % while requests wait"
        query, needs = f"sum({gpu}) / count(up{{{dcgm}}})", f"sum(vllm:num_requests_waiting{{{vllm}}}) > 0"
        signals.append(Signal(says, query, side.gpu, "GPU", " %", needs))
    return signals


def _fill(spec: GroupSpec, policy: Policy) -> tuple[str, str]:
    """Percent of one endpoint less that all that ran in the window would fill, by requests and by what they keep.

    With one endpoint it is infinite or no number, which is not at most anything.
    """
    vllm, model = selector(spec, "vllm"), t.cast(Model, spec.model)
    span = f"{duration(policy.window)}:{duration(spec.monitoring.scrape_interval)}"
    rest = f"(count(up{{{vllm}}}) - 1)"
    requests = (
        f"max_over_time(sum(vllm:num_requests_running{{{vllm}}})[{span}]) / ({model.max_num_seqs} * {rest}) * 100"
    )
    return requests, f"max_over_time({_cache(spec)}[{span}]) / {rest} * 100"


def _all_tell(spec: GroupSpec, part: str, metric: str) -> list[str]:
    """Every target is up, and tells *metric*."""
    job = selector(spec, part)
    told = f"count(count by (instance) ({metric}{{{job}}}))"
    return [f"and on ()\n({told} == count(up{{{job}}}))", f"unless on ()\n(up{{{job}}} == 0)"]


def expression(spec: GroupSpec, policy: Policy, direction: str) -> str:
    """The PromQL of one direction: out when one signal is above its limit, in when all say that one less would do."""
    more = "\nor\n".join(
        f"({s.query} > {s.limit:g})" if not s.needs else f"(({s.query} > {s.limit:g}) and on () ({s.needs}))"
        for s in (out_signals(spec, policy) if policy.out is not None else [])
    )
    if direction == OUT:
        return more
    side = t.cast(ModelIn, policy.in_)
    requests, cache = _fill(spec, policy)
    parts = [
        f"({requests} <= {side.busy:g})",
        f"and on ()\n({cache} <= {side.busy:g})",
        f"and on ()\n(sum(vllm:num_requests_waiting{{{selector(spec, 'vllm')}}}) == 0)",
    ]
    if side.gpu is not None:
        busiest = f"DCGM_FI_DEV_GPU_UTIL{{{selector(spec, 'dcgm')}}}[{duration(policy.window)}]"
        parts.append(f"and on ()\n(max(avg_over_time({busiest})) < {side.gpu:g})")
    if more:
        parts.append(f"unless on ()\n({more})")
    if spec.monitoring.scale_in_needs_all_targets:
        parts += _all_tell(spec, "vllm", "vllm:num_requests_running")
        parts += _all_tell(spec, "dcgm", "DCGM_FI_DEV_GPU_UTIL") if side.gpu is not None else []
    return "\n".join(parts)


def summary(spec: GroupSpec, policy: Policy, direction: str) -> str:
    """The condition in words."""
    if direction == OUT:
        return f"{spec.name}: {', or '.join(s.says for s in out_signals(spec, policy))},"
    busy = f"{t.cast(ModelIn, policy.in_).busy:g}"
    return f"{spec.name}: nobody waits, and what ran would fill one endpoint less to at most {busy} %,"


def now(spec: GroupSpec, policy: Policy, direction: str) -> str:
    """What each signal says while the alert is there: the alert's own value is that of one of them only."""
    if direction != OUT:
        return 'One endpoint less would be {{ $value | printf "%.1f" }} % full.'
    return (
        f"Now: {', '.join(f'{s.word} {told(s.query)}{s.unit} (limit {s.limit:g})' for s in out_signals(spec, policy))}."
    )


def told(query: str) -> str:
    """A query's value in an annotation, or a question mark."""
    # A raw string of Go's templates has no escapes, and PromQL knows \x60 for the one sign that cannot stand in it.
    safe = query.replace("`", "\\x60")
    return f'{{{{ with query `{safe}` }}}}{{{{ . | first | value | printf "%.2f" }}}}{{{{ else }}}}?{{{{ end }}}}'
