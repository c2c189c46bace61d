# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The shape of what only a model endpoint has: its model, and the phases that a launch has more.
"""

from __future__ import annotations

from ._schema_fields import _choice, _field, _list, _object, _port, _seconds, _text, _whole

#: Further phases of a launch. They have no default here, as a service does not have them.
TIMEOUTS: dict[str, tuple[str, str, None]] = {
    "prepare": (
        "Prepare", "Putting vLLM and the model on the host, and starting it; a model_endpoint only. Without it, 3600.",
        None,
    ),
    "warmup": ("Warm-up", "The warm-up requests of one endpoint; a model_endpoint only. Without it, 600.", None),
}  # fmt: skip

_GATE = _object(
    "Gate",
    "What says that an endpoint serves: streams of tokens, several in a row, with the exact count and a finish reason.",
    {
        "tokens": _whole("Tokens", "Tokens that each stream asks for.", 8, 1, 4096, 8),
        "consecutive": _whole("Consecutive", "Streams in a row that are needed.", 3, 1, 100, 3),
        "deadline": _seconds("Deadline", "How long one stream may take.", 30, 1, 3600),
        "first_token": _seconds("First token", "How long its first token may take.", 10, 1, 3600),
    },
    {"tokens": 8, "consecutive": 3, "deadline": 30, "first_token": 10},
    default={},
)

_WARMUP = _object(
    "Warm-up",
    "Requests before the endpoint joins, as the first ones compile kernels; until the time to the first token settles.",
    {
        "prompts": _whole("Prompts", "Requests at most; 0 leaves the warm-up out.", 32, 0, 10000, 32),
        "concurrency": _list(
            "Concurrency", "Requests at once, one batch after the other.",
            _whole("Concurrency", "Requests at once.", 4, 1, 65536), [1, 4], default=[1, 4], minItems=1,
        ),
        "lengths": _list(
            "Lengths", "Tokens of the prompts.", _whole("Length", "Tokens of a prompt.", 512, 1, 1048576), [32, 512],
            default=[32, 512], minItems=1,
        ),
        "temperatures": _list(
            "Temperatures", "Temperatures of the requests; 0 alone leaves the sampler cold.",
            _field("number", "Temperature", "A temperature.", 0.7, [0.7], minimum=0, maximum=2), [0, 0.7, 1],
            default=[0, 0.7, 1], minItems=1,
        ),
    },
    {"prompts": 32, "concurrency": [1, 4]},
    default={},
)  # fmt: skip

MODEL = _object(
    "Model",
    "What a model_endpoint serves, and how it is asked; null for a service.",
    {
        "name": _text(
            "Name", "Name of the model as clients ask for it.", "llama-3-8b", pattern="^[A-Za-z0-9][A-Za-z0-9._:/-]*$",
            maxLength=200,
        ),
        "port": _port("Port", "vLLM's own HTTP port on the members: gate, drain, metrics.", 8000, 8000),
        "scheme": _choice("Scheme", "How vLLM is asked there.", ["http", "https"], "http"),
        "canary_port": _port(
            "Canary port", "Port of the canary on the members: /readyz, /metrics, /coldstart.", 8001, 8001
        ),
        "dcgm_port": _field(
            ["integer", "null"], "DCGM port", "Port of dcgm-exporter on the members; null: it is not scraped.", None,
            [9400], minimum=1, maximum=65535,
        ),
        "max_num_seqs": _whole(
            "Sequences", "Requests that one endpoint answers at once; in.busy is percent of it.", 64, 1, 65536, 64
        ),
        "prepare": _choice(
            "Prepare", "role runs the role vllm_host on each new host; template: the template carries everything.",
            ["role", "template"], "role",
        ),
        "instance": _text(
            "Instance", "Of the unit vllm@<instance>.", "main", "main", pattern="^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$"
        ),
        "options": _field(
            "object", "Options", "Options of the role vllm_host, the same for all hosts of the group. What this block "
            "says itself, and secrets, do not belong here.", {}, [{"vllm_host_version": "0.32.0"}],
        ),
        "scrape": _field(
            "object", "Scrape", "More of the job of vLLM's own metrics in Prometheus' words, such as tls_config. "
            "monitoring.scrape is that of node_exporter's.", {},
            [{"tls_config": {"ca_file": "/etc/prometheus/site-ca.pem"}}],
        ),
        "gate": _GATE,
        "warmup": _WARMUP,
        "drain": _object(
            "Drain", "When nobody is served any more. The deadline is scale_in.drain_timeout.",
            {
                "quiet": _seconds("Quiet", "How long in a row there must be no request.", 10, 1, 3600),
                "stall": _seconds(
                    "Stall", "After how long without a step of its engine, or an answer, nobody is served.", 60, 1, 3600
                ),
            },
            {"quiet": 10}, default={},
        ),
        "stop_timeout": _seconds(
            "Stop", "How long vLLM may take to stop and to give back the GPU's memory.", 240, 1, 86400
        ),
    },
    {"name": "llama-3-8b", "dcgm_port": 9400},
    required=("name",), default=None, nullable=True,
)  # fmt: skip
