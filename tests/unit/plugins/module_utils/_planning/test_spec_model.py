# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a model endpoint (A1, B1 to B5)."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_spec

ROOT = pathlib.Path(__file__).resolve().parents[5]

# what changes, field that is named, what the line says about the value, what it says is allowed
BAD = {
    "no model": ({"model": ...}, "model", "missing (kind is model_endpoint)", "a mapping with name, port"),
    "a model without a name": ({"model": {}}, "model.name", "missing", "text"),
    "a model's name with a blank": ({"model__name": "a b"}, "model.name", "'a b'", "matching"),
    "thresholds": (
        {"policies": [{"type": "threshold", "out": {"cpu": 80}}]}, "policies[0].type", "nothing of a model's queue",
        "model_signals"),
    "signals twice": (
        {"policies": [{"type": "model_signals"}] * 2}, "policies[1].type", "the second one", "one model_signals"),
    "signals of nothing": (
        {"policies__0__out": None, "policies__0__in": None}, "policies[0]", "asks for nothing", "out, in or both"),
    "all signals off": (
        {"policies__0__out": {"waiting": None, "ttft_p95": None, "kv_cache": None, "rejections": None}},
        "policies[0].out", "'waiting': None", "at least one of waiting, ttft_p95, kv_cache, rejections"),
    "GPU utilisation alone (B4)": (
        {"policies__0__out": {"waiting": None, "ttft_p95": None, "kv_cache": None, "rejections": None, "gpu": 95},
         "policies__0__in": None, "model__dcgm_port": 9400},
        "policies[0].out", "never alone", "at least one of waiting"),
    "GPU utilisation that nobody measures": (
        {"policies__0__in": {"gpu": 30}}, "policies[0].in.gpu", "nobody measures it", "a model.dcgm_port"),
    "GPU utilisation in one direction": (
        {"policies__0__out": {"gpu": 95}, "model__dcgm_port": 9400}, "policies[0].in.gpu", "missing", "less than"),
    "GPU utilisation, in above out": (
        {"policies__0__out": {"gpu": 90}, "policies__0__in": {"gpu": 90}, "model__dcgm_port": 9400},
        "policies[0].in.gpu", "90", "less than policies[0].out.gpu, which is 90"),
    "a threshold among signals": (
        {"policies__0__out": {"cpu": 80}}, "policies[0].out.cpu", "80 (unknown key", "waiting, ttft_p95"),
    "busy of nothing": ({"policies__0__in": {"busy": 0}}, "policies[0].in.busy", "0", "more than 0 and at most 90"),
    "busy to the brim": ({"policies__0__in": {"busy": 100}}, "policies[0].in.busy", "100", "at most 90"),
    "no busy at all": ({"policies__0__in": {"busy": None}}, "policies[0].in.busy", "None", "a number, more than 0"),
    "a queue of fewer than none": (
        {"policies__0__out": {"waiting": -1}}, "policies[0].out.waiting", "-1", "a number or null, 0 to"),
    "window of one scrape": ({"policies__0__window": 20}, "policies[0].window", "20", "a rate needs two samples"),
    "none at the least (B4)": ({"size__min": 0}, "size.min", "0", "a whole number, 1 to 1000"),
    "first token after the deadline": (
        {"model__gate": {"first_token": 31}}, "model.gate.first_token", "31", "at most model.gate.deadline, which"),
    "a stream longer than the gate": (
        {"timeouts": {"gate": 20}}, "model.gate.deadline", "30", "at most timeouts.gate, which is 20"),
    "a drain that ends before it is quiet": (
        {"scale_in": {"drain_timeout": 5}}, "model.drain.quiet", "10", "at most scale_in.drain_timeout, which is 5"),
    "no streams": ({"model__gate": {"consecutive": 0}}, "model.gate.consecutive", "0", "1 to 100"),
    "warm-up without a length": ({"model__warmup": {"lengths": []}}, "model.warmup.lengths", "[]", "at least 1"),
    "warm-up too hot": (
        {"model__warmup": {"temperatures": [3]}}, "model.warmup.temperatures[0]", "3", "a number, 0 to 2"),
    "warm-up of more than run at once": (
        {"model__max_num_seqs": 2}, "model.warmup.concurrency[1]", "4", "at most model.max_num_seqs, which is 2"),
    "the canary on vLLM's port": (
        {"model__canary_port": 8000}, "model.canary_port", "8000", "a port of its own, as model.port has that one"),
    "vLLM on the exporter's port": (
        {"model__port": 9100}, "model.port", "9100", "a port of its own, as monitoring.exporter_port has"),
    "clients on the canary's port": (
        {"load_balancer__port": 8001}, "load_balancer.port", "8001", "served on, as model.canary_port has that one"),
    "an option that the block says": (
        {"model__options": {"vllm_host_instance": "x"}}, "model.options", "'vllm_host_instance'", "model.instance"),
    "an option of nobody": (
        {"model__options": {"version": "x"}}, "model.options", "'version'", "which begin with vllm_host_"),
    "options without the role": (
        {"model__options": {"vllm_host_version": "x"}, "model__prepare": "template"}, "model.options",
        "['vllm_host_version'] (the role", "nothing with model.prepare template"),
    "a scrape job with another scheme": (
        {"model__scrape": {"scheme": "https"}}, "model.scrape.scheme", "'https'", "any other key"),
    "an instance that is no word": ({"model__instance": "a/b"}, "model.instance", "'a/b'", "matching"),
    "time to prepare in words": ({"timeouts": {"prepare": "long"}}, "timeouts.prepare", "'long'", "1 to 86400"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "shown", "allowed"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_refused_with_field_value_and_what_is_allowed(
    make_endpoint: t.Any, changes: dict[str, t.Any], field: str, shown: str, allowed: str
) -> None:
    """A1: the line names the field, the value and what is allowed; nothing else is reported besides."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec(make_endpoint(**changes), origin="llm.yml")
    (row,) = caught.value.result["errors"]
    assert row["field"] == field
    value_part, allowed_part = row["message"].removeprefix(f"{field}: value is ").split("; allowed: ")
    assert shown in value_part
    assert allowed in allowed_part


def test_a_secret_in_the_options_is_refused_and_not_repeated(make_endpoint: t.Any) -> None:
    """A key never stands in the declaration, and an error about it must not carry it into a log."""
    options = {"vllm_host_api_key": "hush-1", "vllm_host_registry_password": "hush-2", "api_key": "hush-3"}
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec(make_endpoint(model__options=options))
    assert len(caught.value.result["errors"]) == 3
    assert "secrets stand in autoscale_model_keys" in str(caught.value)
    assert "hush" not in str(caught.value) + repr(caught.value.result)


def test_defaults_of_a_model_endpoint(make_endpoint_spec: t.Any) -> None:
    """Nothing but the model's name and the type of the policy has to be said."""
    spec = make_endpoint_spec()
    assert (spec.load_balancer.health_path, spec.gates, spec.scale_in.drain_timeout) == ("/readyz", (), 600)
    assert (spec.timeouts.prepare, spec.timeouts.warmup, spec.timeouts.gate) == (3600, 600, 1800)
    (policy,) = spec.as_dict()["policies"]
    assert policy == {
        "type": "model_signals",
        "window": 300,
        "out": {"waiting": 2, "ttft_p95": 2, "kv_cache": 85, "rejections": 0, "gpu": None, "for": 120},
        "in": {"busy": 50, "gpu": None, "for": 1200},
    }
    assert spec.as_dict()["model"] == {
        "name": "llama-3-8b",
        "port": 8000,
        "scheme": "http",
        "canary_port": 8001,
        "dcgm_port": None,
        "max_num_seqs": 64,
        "prepare": "role",
        "instance": "main",
        "options": {},
        "scrape": {},
        "gate": {"tokens": 8, "consecutive": 3, "deadline": 30, "first_token": 10},
        "warmup": {"prompts": 32, "concurrency": [1, 4], "lengths": [32, 512], "temperatures": [0, 0.7, 1]},
        "drain": {"quiet": 10, "stall": 60},
        "stop_timeout": 240,
    }


def test_what_is_declared_wins_over_the_kind_s_defaults(make_endpoint_spec: t.Any) -> None:
    gate = {"type": "tcp", "port": 9100}
    spec = make_endpoint_spec(
        gates=[gate], load_balancer__health_path="/alive", scale_in={"drain_timeout": 60},
        timeouts={"gate": 90, "prepare": None, "warmup": 30},
    )  # fmt: skip
    assert ([row.type for row in spec.gates], spec.load_balancer.health_path) == (["tcp"], "/alive")
    assert spec.scale_in.drain_timeout == 60
    assert (spec.timeouts.gate, spec.timeouts.prepare, spec.timeouts.warmup) == (90, 3600, 30), "null is not given"


def test_the_full_form_is_valid_the_same_and_hashable(make_endpoint_spec: t.Any) -> None:
    """Filters hand the full form from one to the next; sets of groups are made of specs."""
    spec = make_endpoint_spec(
        model__options={"vllm_host_args": {"dtype": ["a"]}}, model__scrape={"tls_config": {"ca_file": "/ca"}},
        model__dcgm_port=9400, policies__0__out={"gpu": 95}, policies__0__in={"gpu": 40},
    )  # fmt: skip
    full = spec.as_dict()
    assert parse_spec(full) == spec
    assert parse_spec(json.loads(json.dumps(full))) == spec
    assert parse_spec(yaml.safe_load(yaml.safe_dump(full))) == spec
    assert len({spec, make_endpoint_spec()}) == 2


def test_a_service_has_none_of_it_in_its_full_form(make_spec: t.Any) -> None:
    full = make_spec().as_dict()
    assert full["model"] is None
    assert {"prepare", "warmup"}.isdisjoint(full["timeouts"])
    assert set(full["policies"][0]["out"]) == {"cpu", "memory", "for"}


def test_one_direction_may_be_left_out(make_endpoint_spec: t.Any) -> None:
    (policy,) = make_endpoint_spec(policies__0__in=None).policies
    assert (policy.in_, policy.out.waiting) == (None, 2)


def test_the_breaker_s_window_counts_the_time_to_prepare(make_endpoint_spec: t.Any) -> None:
    """Invariant 8: launches that fail after an hour of preparing still open the breaker."""
    assert make_endpoint_spec().breaker.window == 2 * 2 * (300 + 3600)
    assert make_endpoint_spec(timeouts={"prepare": 7200}).breaker.window == 2 * 2 * (300 + 7200)


def test_the_model_of_the_decision_document_is_valid(make_endpoint: t.Any) -> None:
    """Documentation and parser agree, and every default that the page shows is the parser's."""
    page = (ROOT / "docs" / "decisions" / "0008-model-endpoints.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example
    shown = yaml.safe_load(example[1])
    data = make_endpoint(**{key: value for key, value in shown.items() if key != "load_balancer"})
    spec, bare = parse_spec(data), parse_spec(make_endpoint(size=shown["size"]))
    assert spec == bare
    assert shown["load_balancer"] == {"health_path": bare.load_balancer.health_path}


#: Junk, and values that are right in some places.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 10**6)
    | st.floats(allow_nan=True)
    | st.sampled_from(["", "role", "http"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["out", "in", "for", "x"]), inner),
    max_leaves=3,
)
PLACES = [
    "kind", "model", "policies", "gates", "timeouts", "scale_in", "model__port", "model__canary_port",
    "model__dcgm_port", "model__options", "model__scrape", "model__prepare", "model__gate", "model__gate__deadline",
    "model__warmup", "model__warmup__concurrency", "model__drain", "model__drain__quiet", "policies__0__out",
    "policies__0__in", "policies__0__window", "policies__0__type", "timeouts__prepare", "timeouts__gate",
]  # fmt: skip


@settings(deadline=None)
@given(changes=st.dictionaries(st.sampled_from(PLACES), values, max_size=3))
def test_junk_is_refused_or_means_what_its_full_form_says(make_endpoint: t.Any, changes: dict[str, t.Any]) -> None:
    """A1: whatever stands there, it is a group whose full form is the same group, or a refusal that names fields."""
    try:
        data = make_endpoint(**dict(sorted(changes.items())))
    except (AttributeError, IndexError, KeyError, TypeError):
        return  # one change took away what another one is in
    try:
        spec = parse_spec(data)
    except InvalidSpecError as error:
        refused = [row["field"] for row in error.result["errors"]]
    else:
        assert parse_spec(spec.as_dict()) == spec
        assert hash(spec) == hash(parse_spec(data))
        return
    assert refused
    assert all(refused)
