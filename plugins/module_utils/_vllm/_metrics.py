# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the engine says of itself in /metrics, summed over the engines of one endpoint.
"""

from __future__ import annotations

import dataclasses
import traceback

try:
    from prometheus_client.parser import text_string_to_metric_families

    HAS_PARSER = True
    PARSER_IMPORT_ERROR: str | None = None
except ImportError:
    HAS_PARSER = False
    PARSER_IMPORT_ERROR = traceback.format_exc()


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """``None`` where the page has no such series, as with ``--disable-log-stats``."""

    running: int | None = None
    waiting: int | None = None
    kv_cache: float | None = None  # percent, of the fullest engine
    steps: float | None = None  # of the engine; it stands still when nothing is answered


def read_snapshot(text: str) -> Snapshot:
    """The numbers of one page. :raises ValueError: it is not in Prometheus' text format."""
    values: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("vllm:"):
                values.setdefault(sample.name[len("vllm:") :], []).append(sample.value)
    running, waiting = values.get("num_requests_running"), values.get("num_requests_waiting")
    usage, steps = values.get("kv_cache_usage_perc"), values.get("iteration_tokens_total_count")
    return Snapshot(
        running=int(sum(running)) if running else None,
        waiting=int(sum(waiting)) if waiting else None,
        kv_cache=round(100 * max(usage), 1) if usage else None,
        steps=sum(steps) if steps else None,
    )
