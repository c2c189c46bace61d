# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's metrics, as text: the names, labels, types and buckets of 0.32.0, as far as anybody here reads them."""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable

_FIRST = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

GAUGES = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
}
COUNTERS = {
    "prompt_tokens": "Number of prefill tokens processed.",
    "generation_tokens": "Number of generation tokens processed.",
    "num_preemptions": "Cumulative number of preemption from the engine.",
}
HISTOGRAMS = {
    "time_to_first_token_seconds": _FIRST,
    "inter_token_latency_seconds": _BETWEEN,
    "request_time_per_output_token_seconds": _BETWEEN,
    "e2e_request_latency_seconds": _WHOLE,
    "request_queue_time_seconds": _WHOLE,
    "request_prefill_time_seconds": _WHOLE,
    "request_decode_time_seconds": _WHOLE,
    "iteration_tokens_total": _TOKENS,
}
REASONS = ("stop", "length", "abort", "error", "repetition")
REJECTIONS = ("max_num_queued_reqs", "max_num_queued_tokens")
WAITING = ("capacity", "deferred")


class Histogram:
    """Counts of one histogram."""

    def __init__(self, buckets: Iterable[float]) -> None:
        self.buckets = tuple(float(bound) for bound in buckets)
        self.counts = [0] * (len(self.buckets) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect.bisect_left(self.buckets, value)] += times
        self.total += value * times


class Metrics:
    """What the engine writes at each step; :meth:`text` is the page."""

    def __init__(self, model: str, *, enabled: bool = True) -> None:
        self.model = model
        self.enabled = enabled
        self.created = time.time()
        self.gauges = dict.fromkeys(GAUGES, 0.0)
        self.waiting_by_reason = dict.fromkeys(WAITING, 0)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.success = dict.fromkeys(REASONS, 0)
        self.rejections = dict.fromkeys(REJECTIONS, 0)
        self.histograms = {name: Histogram(buckets) for name, buckets in HISTOGRAMS.items()}

    def text(self) -> str:
        lines = [
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self.created:.2f}",
        ]
        if self.enabled:
            self._own(lines)
        return "\n".join(lines) + "\n"

    def _own(self, lines: list[str]) -> None:
        model = self.model.replace("\\", "\\\\").replace('"', '\\"')
        labels = f'engine="0",model_name="{model}"'
        for name, value in self.gauges.items():
            self._head(lines, name, "gauge", GAUGES[name])
            lines.append(f"vllm:{name}{{{labels}}} {value}")
        self._head(lines, "num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.")
        for reason, count in self.waiting_by_reason.items():
            lines.append(f'vllm:num_requests_waiting_by_reason{{{labels},reason="{reason}"}} {float(count)}')
        for name, value in self.counters.items():
            self._counter(lines, name, COUNTERS[name], {labels: value})
        success = {
            f'engine="0",finished_reason="{reason}",model_name="{model}"': n for reason, n in self.success.items()
        }
        self._counter(lines, "request_success", "Count of successfully processed requests.", success)
        rejections = {f'model_name="{model}",reason="{reason}"': count for reason, count in self.rejections.items()}
        self._counter(lines, "admission_rejections", "Requests that admission control rejected.", rejections)
        for name, histogram in self.histograms.items():
            self._head(lines, name, "histogram", f"Histogram of {name.replace('_', ' ')}.")
            running = 0
            for bound, count in zip((*histogram.buckets, "+Inf"), histogram.counts, strict=True):
                running += count
                lines.append(f'vllm:{name}_bucket{{engine="0",le="{bound}",model_name="{model}"}} {float(running)}')
            lines.append(f"vllm:{name}_count{{{labels}}} {float(running)}")
            lines.append(f"vllm:{name}_sum{{{labels}}} {histogram.total}")
            self._head(lines, f"{name}_created", "gauge", f"When {name} was made.")
            lines.append(f"vllm:{name}_created{{{labels}}} {self.created}")

    def _counter(self, lines: list[str], name: str, what: str, rows: dict[str, int]) -> None:
        self._head(lines, f"{name}_total", "counter", what)
        lines += [f"vllm:{name}_total{{{labels}}} {float(value)}" for labels, value in rows.items()]
        self._head(lines, f"{name}_created", "gauge", what)
        lines += [f"vllm:{name}_created{{{labels}}} {self.created}" for labels in rows]

    @staticmethod
    def _head(lines: list[str], name: str, kind: str, what: str) -> None:
        lines.append(f"# HELP vllm:{name} {what}")
        lines.append(f"# TYPE vllm:{name} {kind}")
