# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What differs between a service and a model endpoint: defaults, and what the one has and the other may not.
"""

from __future__ import annotations

import copy
import typing as t

from ._problems import MISSING, Problems
from ._schema_model import MODEL, TIMEOUTS
from ._shape import describe

ENDPOINT = "model_endpoint"
SIGNALS = "model_signals"
#: Of the options of the role vllm_host, what the declaration says elsewhere ...
_OPTIONS_SAID = {
    "vllm_host_instance": "model.instance",
    "vllm_host_model_name": "model.name",
    "vllm_host_port": "model.port",
    "vllm_host_canary_port": "model.canary_port",
    "vllm_host_max_num_seqs": "model.max_num_seqs",
    "vllm_host_drain_quiet": "model.drain.quiet",
    "vllm_host_state": "the action",
}
#: ... and what is a secret, which a file in Git must not hold.
_OPTIONS_SECRET = {
    "vllm_host_api_key": "autoscale_model_keys",
    "vllm_host_registry_password": "autoscale_model_registry_passwords",
    "vllm_host_secrets": "variables of the role",
}
_PREFIX = "vllm_host_"
#: Of the scrape job of vLLM's metrics, what the group itself says.
_SCRAPE_SAID = (
    "job_name", "scrape_interval", "file_sd_configs", "scheme", "relabel_configs", "metric_relabel_configs",
)  # fmt: skip
#: Defaults that differ from those of a service.
_DEFAULTS: dict[str, t.Any] = {
    "gates": [],
    "load_balancer": {"health_path": "/readyz"},
    "scale_in": {"drain_timeout": 600},
    "timeouts": {"gate": 1800, "prepare": 3600, "warmup": 600},
}
_OUT = ("waiting", "ttft_p95", "kv_cache", "rejections")

Full = dict[str, t.Any]
Look = t.Callable[[str], t.Any]


def fill_kind(given: Full) -> Full:
    """*given* with the defaults of its kind, where they differ from the schema's."""
    if given.get("kind") != ENDPOINT:
        return given
    full = dict(given)
    for key, value in _DEFAULTS.items():
        if not isinstance(value, dict):
            full.setdefault(key, copy.deepcopy(value))
        elif isinstance(full.get(key, {}), dict):
            mine = full.get(key, {})
            full[key] = {**mine, **{part: item for part, item in value.items() if mine.get(part) is None}}
    return full


def check_kind(look: Look, problems: Problems) -> None:
    """Add to *problems* what the group's kind does not have, or has to have."""
    if look("kind") == ENDPOINT:
        _check_endpoint(look, problems)
    elif look("kind") == "service":
        _check_service(look, problems)


def _check_service(look: Look, problems: Problems) -> None:
    if look("model") is not None:
        problems.add("model", look("model"), "null, or kind: model_endpoint", "a service has none")
    for index, policy in enumerate(look("policies") or []):
        if policy["type"] == SIGNALS:
            problems.add(f"policies[{index}].type", SIGNALS, "threshold, or kind: model_endpoint", "a service has none")
    for key in TIMEOUTS:
        if look(f"timeouts.{key}") is not None:
            allowed = "null, or kind: model_endpoint"
            problems.add(f"timeouts.{key}", look(f"timeouts.{key}"), allowed, "a service has no such phase")
    if look("gates") == []:
        problems.add("gates", [], "a list of at least 1", "nothing would say that a member of a service serves")


def _check_endpoint(look: Look, problems: Problems) -> None:
    for index, policy in enumerate(look("policies") or []):
        if policy["type"] == "threshold":
            note = "CPU and memory say nothing of a model's queue"
            problems.add(f"policies[{index}].type", "threshold", f"{SIGNALS} for a model_endpoint", note)
    if look("model") is None:
        if not problems.touch("model"):
            problems.add("model", MISSING, describe(MODEL).replace(" or null", ""), "kind is model_endpoint")
        return
    _check_signals(look, problems)
    _check_ports(look, problems)
    _check_options(look, problems)
    _check_times(look, problems)


def _check_signals(look: Look, problems: Problems) -> None:
    policies = [
        (f"policies[{index}]", row) for index, row in enumerate(look("policies") or []) if row["type"] == SIGNALS
    ]
    for where, _row in policies[1:]:
        problems.add(f"{where}.type", SIGNALS, f"one {SIGNALS} policy a group", "the second one")
    for where, row in policies:
        out, inward = row["out"], row["in"]
        if out is None and inward is None:
            problems.add(where, row, "out, in or both", "asks for nothing")
        if out is not None and all(out[key] is None for key in _OUT):
            note = "" if out["gpu"] is None else "GPU utilisation is near 100 while batching: never alone"
            problems.add(f"{where}.out", out, f"at least one of {', '.join(_OUT)}", note)
        _check_gpu(where, out, inward, look, problems)


def _check_gpu(where: str, out: Full | None, inward: Full | None, look: Look, problems: Problems) -> None:
    sides = {"out": out, "in": inward}
    given = {word: side["gpu"] for word, side in sides.items() if side is not None and side["gpu"] is not None}
    if given and look("model.dcgm_port") is None and not problems.touch("model.dcgm_port"):
        for word, value in given.items():
            problems.add(f"{where}.{word}.gpu", value, "null, or a model.dcgm_port", "nobody measures it")
    elif "out" in given and inward is not None:
        limit = f"less than {where}.out.gpu, which is {given['out']}"
        if "in" not in given:
            allowed = f"{limit}, as that would make again what a scale-in took away"
            problems.add(f"{where}.in.gpu", MISSING, allowed)
        elif given["in"] >= given["out"]:
            problems.add(f"{where}.in.gpu", given["in"], limit)


def _check_ports(look: Look, problems: Problems) -> None:
    """Two programs on one port of a member: the second one would not start."""
    fields = ("monitoring.exporter_port", "model.port", "model.canary_port", "model.dcgm_port")
    seen: dict[int, str] = {}
    for field in fields:
        port = look(field)
        if port in seen:
            problems.add(field, port, f"a port of its own, as {seen[port]} has that one")
        elif port is not None:
            seen[port] = field
    owner = seen.get(look("load_balancer.port"), "model.port")
    if owner != "model.port":  # traffic may go to vLLM itself, or to a proxy before it
        allowed = f"the port that clients are served on, as {owner} has that one"
        problems.add("load_balancer.port", look("load_balancer.port"), allowed)


def _check_options(look: Look, problems: Problems) -> None:
    options = look("model.options") or {}
    if options and look("model.prepare") == "template":
        allowed = "nothing with model.prepare template"
        problems.add("model.options", sorted(map(str, options)), allowed, "the role vllm_host does not run")
    for key in options:  # names only: a value may be a secret, whatever it is called
        if key in _OPTIONS_SAID:
            problems.add("model.options", key, f"other options of the role vllm_host; {_OPTIONS_SAID[key]} says it")
        elif key in _OPTIONS_SECRET:
            allowed = f"other options of the role vllm_host; secrets stand in {_OPTIONS_SECRET[key]} in the inventory"
            problems.add("model.options", key, allowed)
        elif not str(key).startswith(_PREFIX):
            problems.add("model.options", key, f"options of the role vllm_host, which begin with {_PREFIX}")
    for key in _SCRAPE_SAID:
        value = (look("model.scrape") or {}).get(key)
        if value is not None:
            problems.add(f"model.scrape.{key}", value, "any other key of a scrape job", "the group itself says it")


def _check_times(look: Look, problems: Problems) -> None:
    """A time that has to fit into another one."""
    for short, long in (
        ("model.gate.first_token", "model.gate.deadline"),
        ("model.gate.deadline", "timeouts.gate"),
        ("model.drain.quiet", "scale_in.drain_timeout"),
    ):
        low, high = look(short), look(long)
        if low is not None and high is not None and low > high:
            problems.add(short, low, f"at most {long}, which is {high}")
    limit = look("model.max_num_seqs")
    for index, value in enumerate(look("model.warmup.concurrency") or []):
        if limit is not None and value > limit:
            field = f"model.warmup.concurrency[{index}]"
            problems.add(field, value, f"at most model.max_num_seqs, which is {limit}", "the rest would only wait")
