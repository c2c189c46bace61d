# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The shape of a policy: what asks for scaling. Types that a later version will bring stand in the enum, so that their
names are taken, and are refused by the rules.
"""

from __future__ import annotations

import typing as t

from ._schema_fields import _choice, _number, _object, _percent, _seconds

#: field -> values whose names are taken and that this version refuses.
RESERVED: dict[str, tuple[str, ...]] = {"policies[].type": ("schedule", "target", "queue", "forecast")}


def _side(word: str, verb: str, hold: int, cpu: float, memory: float) -> dict[str, t.Any]:
    return _object(
        f"Scale-{word} thresholds",
        f"When to scale {word}; without it no alert asks for that direction.",
        {
            "cpu": _percent("CPU", f"Percent of CPU that the busiest member must be {verb}; null leaves CPU out.", cpu),
            "memory": _percent(
                "Memory", f"Percent of memory that the fullest member must be {verb}; null leaves memory out.", memory
            ),
            "for": _seconds("Duration", "How long the condition must last before the alert fires.", hold, 0),
        },
        {"cpu": cpu, "memory": memory, "for": hold},
        default=None,
        nullable=True,
    )


_POLICY_TYPE = _choice(
    "Type",
    "threshold compares CPU and memory with fixed limits; model_signals asks the model's queue and latency, for a "
    "model_endpoint; the other types are reserved for a later version.",
    ["threshold", "model_signals", *RESERVED["policies[].type"]],
)

_THRESHOLDS = _object(
    "Threshold policy",
    "Limits of CPU and memory.",
    {
        "type": _POLICY_TYPE,
        "window": _seconds("Window", "Range over which the CPU rate is computed.", 300),
        "out": _side("out", "above", 60, 80, 85),
        "in": _side("in", "below", 300, 30, 40),
    },
    {"type": "threshold", "out": {"cpu": 80, "for": 60}, "in": {"cpu": 30, "for": 300}},
    required=("type",),
)

_OUT = _object(
    "Scale-out signals",
    "Each one that is above its limit asks for another endpoint; null leaves a signal out. Null for all of it: no "
    "alert asks for that direction.",
    {
        "waiting": _number("Waiting", "Requests in the queue, for each endpoint.", 2, 2, minimum=0, maximum=100000),
        "ttft_p95": _number(
            "Time to first token", "95th percentile over all endpoints. In seconds.", 2, 2, minimum=0, maximum=3600
        ),
        "kv_cache": _percent("KV cache", "Percent of the KV cache in use, on average over the endpoints.", 85, 85),
        "rejections": _number(
            "Rejections", "Requests turned away a second, of all endpoints; 0 means any.", 0, 0, minimum=0,
            maximum=100000,
        ),
        "gpu": _percent(
            "GPU", "Percent of GPU utilisation, on average. A weak signal: it is near 100 while batching and says "
            "nothing of the queue. Needs another signal beside it, and model.dcgm_port.", 95,
        ),
        "for": _seconds("Duration", "How long the condition must last before the alert fires.", 120, 0),
    },
    {"waiting": 2, "ttft_p95": 2, "for": 120}, default={}, nullable=True,
)  # fmt: skip

_IN = _object(
    "Scale-in signals",
    "When one endpoint less would do: nobody waits, and what ran fills those that stay to at most busy percent. Null: "
    "no alert asks for that direction.",
    {
        "busy": _number(
            "Busy", "Percent of model.max_num_seqs that all that ran in the window may fill on one endpoint less.",
            50, 50, nullable=False, exclusiveMinimum=0, maximum=90,
        ),
        "gpu": _percent("GPU", "Percent of GPU utilisation that every endpoint must be below as well.", 40),
        "for": _seconds("Duration", "How long the condition must last before the alert fires.", 1200, 0),
    },
    {"busy": 50, "for": 1200}, default={}, nullable=True,
)  # fmt: skip

_SIGNALS = _object(
    "Model signals policy",
    "Queue, latency and memory of a model_endpoint.",
    {
        "type": _POLICY_TYPE,
        "window": _seconds("Window", "Range over which rates, and what ran at once, are computed.", 300),
        "out": _OUT,
        "in": _IN,
    },
    {"type": "model_signals", "out": {"waiting": 2, "for": 120}, "in": {"busy": 50, "for": 1200}},
    required=("type",),
)

POLICY = {
    "title": "Policy",
    "description": "What asks for scaling.",
    "if": {"type": "object", "properties": {"type": {"const": "model_signals"}}, "required": ["type"]},
    "then": _SIGNALS,
    "else": _THRESHOLDS,
    "examples": _THRESHOLDS["examples"],
}
