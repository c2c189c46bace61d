# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus gets for a model endpoint (B4): companions, signals, alerts for people; promtool sees each fire."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from unit.kit.rules import case_test, each_has_both_kinds, parameters, promtool

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    MODEL_ALERTS,
    alert_route,
    alert_rules,
    scrape_companions,
    scrape_job,
)
from lab.vllm.metrics import Metrics

CASES = yaml.safe_load(Path(__file__).with_name("model_cases.yml").read_text(encoding="utf-8"))
BASE = "https://runbooks.example.org"
#: What stands in the braces of a series: {v1} is vLLM on the first endpoint, {c2} the canary on the second one.
WORDS = {
    f"{part[0]}{number}": f'job="llm-{part}",group="llm",member="llm-{number}",instance="10.0.0.{number}"'
    for part in ("vllm", "canary", "dcgm")
    for number in (1, 2, 3)
}


@pytest.fixture(scope="session")
def rules(make_endpoint_spec: t.Any) -> dict[str, dict[str, t.Any]]:
    """By name, with the defaults."""
    (group,) = alert_rules(make_endpoint_spec(), runbook_base_url=BASE)["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


@pytest.mark.parametrize(("alert", "case"), parameters(CASES))
def test_case(alert: str, case: dict[str, t.Any], rules: t.Any, make_endpoint_spec: t.Any, tmp_path: Path) -> None:
    """B4 and invariant 9: promtool finds the alerts of the case, with these labels and words, and no others."""
    if "with" in case:
        (group,) = alert_rules(make_endpoint_spec(**case["with"]), runbook_base_url=BASE)["groups"]
        rules = {rule["alert"]: rule for rule in group["rules"]}
    content = {"groups": [{"name": "x", "rules": list(rules.values())}]}
    promtool(tmp_path, content, [case_test(rules[alert], case, WORDS)])


def test_each_alert_has_a_firing_and_a_quiet_case(rules: t.Any) -> None:
    assert list(rules) == list(CASES) == ["AutoscaleScaleOut", "AutoscaleScaleIn", *MODEL_ALERTS]
    each_has_both_kinds(CASES)


def test_the_autoscaler_answers_what_asks_for_scaling_and_nothing_else(make_endpoint_spec: t.Any, rules: t.Any) -> None:
    """B4: signals have the labels that receiver and routes know; the routes leave what is for people alone."""
    matchers = alert_route(make_endpoint_spec(), "http://a/")["route"]["matchers"]
    for name, rule in rules.items():
        ours = all(f'{key}="{rule["labels"].get(key)}"' in matchers for key in ("onprem_autoscale", "group"))
        assert ours == (name not in MODEL_ALERTS), name
        assert rule["labels"]["group"] == "llm"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        if name in MODEL_ALERTS:
            assert rule["annotations"]["runbook_url"] == f"{BASE}/{name}.md"
        else:
            assert rule["labels"]["action"] == {"AutoscaleScaleOut": "scale_out", "AutoscaleScaleIn": "scale_in"}[name]
            assert rule["annotations"]["runbook"]


def test_expressions_ask_vllm_for_metrics_that_it_has(rules: t.Any) -> None:
    """B4: the stub has the names that were seen on a real one; a name that is gone would be silent for ever."""
    known = set(re.findall(r"^(vllm:\w+)", Metrics("m").text(), re.MULTILINE))
    asked = {name for rule in rules.values() for name in re.findall(r"vllm:\w+", rule["expr"])}
    assert len(asked) > 6
    assert asked - known == set()


def test_alerts_for_people_can_be_left_out_and_labelled(make_endpoint_spec: t.Any, make_spec: t.Any) -> None:
    options = {
        "alerts_off": ["ModelQueueLong", "AutoscaleScaleIn"],
        "alert_labels": {"team": "llm", "severity": "page"},
    }
    (group,) = alert_rules(make_endpoint_spec(), **options)["groups"]
    found = {rule["alert"]: rule for rule in group["rules"]}
    assert "ModelQueueLong" not in found
    assert "AutoscaleScaleIn" in found, "what the autoscaler answers is not for people to switch off there"
    assert found["ModelCanaryDown"]["labels"] == {"group": "llm", "severity": "page", "team": "llm"}
    assert "team" not in found["AutoscaleScaleOut"]["labels"]
    assert "runbook_url" not in found["ModelCanaryDown"]["annotations"]
    (of_service,) = alert_rules(make_spec(), **options)["groups"]
    assert len(of_service["rules"]) == 2, "a service has none of them"


def test_signals_that_are_left_out_are_not_asked(make_endpoint_spec: t.Any) -> None:
    out = {"waiting": 3, "ttft_p95": None, "kv_cache": None, "rejections": None, "for": 0}
    (group,) = alert_rules(make_endpoint_spec(policies__0__out=out, policies__0__in=None))["groups"]
    rule, *people = group["rules"]
    assert rule["expr"] == '(sum(vllm:num_requests_waiting{job="llm-vllm"}) / count(up{job="llm-vllm"}) > 3)'
    assert rule["annotations"]["summary"] == "llm: more than 3 requests wait for each endpoint, for 0s"
    assert [one["alert"] for one in people] == list(MODEL_ALERTS)
    assert "DCGM_FI_DEV_GPU_UTIL" not in str(group), "B4: GPU utilisation is off by default"
    (group,) = alert_rules(make_endpoint_spec(policies__0__out=None))["groups"]
    assert [one["alert"] for one in group["rules"]] == ["AutoscaleScaleIn", *MODEL_ALERTS]


def test_a_job_cannot_break_out_of_its_quotes(make_endpoint_spec: t.Any, tmp_path: Path) -> None:
    """A job's name stands in PromQL, and PromQL in a raw string of an annotation's template."""
    spec = make_endpoint_spec(monitoring__job='a"b`c}}\\d')
    series = {
        f"{metric}{{job={yaml_quoted(spec)}}}": value
        for metric, value in {"up": "1x10", "vllm:num_requests_waiting": "7x10"}.items()
    }
    (group,) = alert_rules(spec)["groups"]
    check = {
        "expr": 'count(ALERTS{alertname="AutoscaleScaleOut",alertstate="firing"})',
        "eval_time": "5m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    rows = [{"series": name, "values": values} for name, values in series.items()]
    promtool(tmp_path, {"groups": [group]}, [{"interval": "1m", "input_series": rows, "promql_expr_test": [check]}])


def yaml_quoted(spec: t.Any) -> str:
    return '"' + f"{spec.monitoring.job}-vllm".replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_companions_ask_the_same_members_on_other_ports(make_endpoint_spec: t.Any, make_spec: t.Any) -> None:
    """One target file as for every group, so that a member comes and goes for all jobs at once."""
    spec = make_endpoint_spec(model__dcgm_port=9400, monitoring__job="models")
    jobs = {job["job_name"]: job for job in scrape_companions(spec, "/t/llm.json", scrape_interval=7)}
    assert list(jobs) == ["models-vllm", "models-canary", "models-dcgm"]
    for job, port in zip(jobs.values(), (8000, 8001, 9400), strict=True):
        assert job["file_sd_configs"] == scrape_job(spec, "/t/llm.json")["file_sd_configs"]
        assert job["scrape_interval"] == "7s"
        instance, address = job["relabel_configs"]
        assert (instance["target_label"], instance["replacement"]) == ("instance", "${1}")
        assert (address["target_label"], address["replacement"]) == ("__address__", f"${{1}}:{port}")
    assert [job["job_name"] for job in scrape_companions(make_endpoint_spec(), "/t")] == ["llm-vllm", "llm-canary"]
    assert scrape_companions(make_spec(), "/t") == []
    with pytest.raises(InvalidSpecError, match="an absolute path"):
        scrape_companions(spec, "llm.json")


def test_companions_have_the_scheme_and_trust_of_their_own_program(make_endpoint_spec: t.Any) -> None:
    """What node_exporter needs is no business of vLLM's, and the other way round."""
    spec = make_endpoint_spec(
        model__scheme="https",
        model__scrape={"tls_config": {"ca_file": "/ca"}},
        monitoring__scrape={"basic_auth": {"username": "a", "password_file": "/p"}},
    )
    vllm, canary = scrape_companions(spec, "/t")
    assert (vllm["scheme"], vllm["tls_config"]) == ("https", {"ca_file": "/ca"})
    assert vllm["metric_relabel_configs"][0]["regex"] == ".+_created"
    assert "basic_auth" not in vllm
    assert {"scheme", "tls_config", "basic_auth"}.isdisjoint(canary)
    assert {"scheme", "tls_config"}.isdisjoint(scrape_job(spec, "/t"))
