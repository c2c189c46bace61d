# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus and Alertmanager get for a group (A2, A3)."""

from __future__ import annotations

import typing as t

import pytest
from unit.kit.rules import promtool

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    GroupSpec,
    alert_route,
    alert_rules,
    scrape_job,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._monitoring import duration, quote

CPU = 'max(100 - (avg by (instance) (rate(node_cpu_seconds_total{mode="idle",job="web"}[5m])) * 100))'
MEMORY = (
    'max((1 - (avg by (instance) (node_memory_MemAvailable_bytes{job="web"})'
    ' / avg by (instance) (node_memory_MemTotal_bytes{job="web"}))) * 100)'
)


def rules(spec: GroupSpec) -> dict[str, dict[str, t.Any]]:
    (group,) = alert_rules(spec)["groups"]
    return {rule["labels"]["action"]: rule for rule in group["rules"]}


def test_expressions_are_those_of_s1(make_spec: t.Any) -> None:
    """A3: highest instance above either for out, below both for in."""
    bare = {"scale_in_needs_all_targets": False, "scale_out_needs_whole_window": False}
    found = rules(make_spec(monitoring=bare))
    assert found["scale_out"]["expr"].split("\n") == [f"({CPU} > 80)", "or", f"({MEMORY} > 85)"]
    assert found["scale_in"]["expr"].split("\n") == [f"({CPU} < 30)", "and", f"({MEMORY} < 40)"]


def test_a_target_that_cannot_be_scraped_is_read_as_busy(make_spec: t.Any) -> None:
    """Invariant 9: no scale-in alert under a member that nobody can see; scale-out is not touched."""
    found = rules(make_spec(monitoring__scale_out_needs_whole_window=False))
    assert found["scale_in"]["expr"].split("\n") == [
        f"(({CPU} < 30)", "and", f"({MEMORY} < 40))", "unless on ()", '(up{job="web"} == 0)'
    ]  # fmt: skip
    assert "up{" not in found["scale_out"]["expr"]


def test_each_direction_has_its_own_duration_and_labels(make_spec: t.Any) -> None:
    """A3; the labels are what the trigger works with, and nothing more."""
    found = rules(make_spec())
    assert (found["scale_out"]["for"], found["scale_in"]["for"]) == ("1m", "5m")
    for action, rule in found.items():
        assert rule["labels"] == {
            "group": "web", "action": action, "onprem_autoscale": "true", "severity": rule["labels"]["severity"]
        }  # fmt: skip
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"]
        assert "runbook_url" not in rule["annotations"]
    found = rules(make_spec(monitoring__runbook_url="https://wiki.example.org/web"))
    assert found["scale_out"]["annotations"]["runbook_url"] == "https://wiki.example.org/web"


def test_metrics_and_directions_that_are_not_declared_are_not_asked(make_spec: t.Any) -> None:
    policy = {"type": "threshold", "window": 90, "out": {"cpu": 70.5}}
    spec = make_spec(policies=[policy], monitoring__scale_out_needs_whole_window=False)
    found = rules(spec)
    assert list(found) == ["scale_out"]
    assert found["scale_out"]["expr"] == f"({CPU.replace('[5m]', '[90s]')} > 70.5)"


def test_a_job_cannot_break_out_of_its_quotes(make_spec: t.Any) -> None:
    job = 'we"b\\'
    found = rules(make_spec(monitoring__job=job))
    assert f"job={quote(job)}" in found["scale_out"]["expr"]
    assert quote(job) == '"we\\"b\\\\"'
    assert quote("a\nb") == '"a\\nb"'


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (1, "1s"), (60, "1m"), (90, "90s"), (3600, "1h"), (5400, "90m"), (86400, "1d")]
)
def test_duration(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_scrape_job(make_spec: t.Any) -> None:
    """A2. A short refresh interval, as the file watch fails for good when the folder came late."""
    assert scrape_job(make_spec(monitoring__job="web-service"), "/etc/prometheus/targets/web.json") == {
        "job_name": "web-service",
        "scrape_interval": "15s",
        "file_sd_configs": [{"files": ["/etc/prometheus/targets/web.json"], "refresh_interval": "5s"}],
    }
    assert scrape_job(make_spec(), "/a", scrape_interval=30)["scrape_interval"] == "30s"
    more = {"scheme": "https", "tls_config": {"ca_file": "/etc/ca.pem"}}
    assert more.items() <= scrape_job(make_spec(monitoring__scrape=more), "/a").items()


def test_relative_paths_are_refused(make_spec: t.Any) -> None:
    with pytest.raises(InvalidSpecError, match=r"file_sd_path: value is 'web.json'; allowed: an absolute path"):
        scrape_job(make_spec(), "web.json")
    with pytest.raises(InvalidSpecError, match="token_file"):
        alert_route(make_spec(), "https://a/", "token")
    with pytest.raises(InvalidSpecError, match="receiver_url: value is 'a'"):
        alert_route(make_spec(), "a")


def test_alert_route(make_spec: t.Any) -> None:
    """A2; the secret is named by its file and never written (A15)."""
    made = alert_route(make_spec(), "https://autoscale:9087/alerts", "/etc/am/token", ca_file="/etc/am/ca.pem")
    assert made["route"] == {
        "receiver": "autoscale-web",
        "matchers": ['onprem_autoscale="true"', 'group="web"'],
        "group_by": ["group", "action"],
        "group_wait": "0s",
        "group_interval": "30s",
        "repeat_interval": "2m",
        "continue": False,
    }
    assert made["receiver"] == {
        "name": "autoscale-web",
        "webhook_configs": [
            {
                "url": "https://autoscale:9087/alerts",
                "send_resolved": True,
                "max_alerts": 0,
                "http_config": {
                    "authorization": {"type": "Bearer", "credentials_file": "/etc/am/token"},
                    "tls_config": {"ca_file": "/etc/am/ca.pem"},
                },
            }
        ],
    }


def test_pace_of_the_route(make_spec: t.Any) -> None:
    """T3: an alert that persists is sent again after the cooldown, and never faster than Alertmanager can."""
    short = alert_route(make_spec(cooldown={"out": 8, "in": 900}), "http://a/")["route"]
    assert (short["group_interval"], short["repeat_interval"]) == ("10s", "10s")
    own = alert_route(make_spec(monitoring={"group_interval": 2, "repeat_interval": 4}), "http://a/", timeout=5)
    assert (own["route"]["group_interval"], own["route"]["repeat_interval"]) == ("2s", "4s")
    assert own["receiver"]["webhook_configs"][0]["timeout"] == "5s"
    assert "http_config" not in own["receiver"]["webhook_configs"][0]


def test_promtool_accepts_rules_and_fires_as_a3_says(make_spec: t.Any, tmp_path: t.Any) -> None:
    """A3 and invariant 9 in Prometheus' own evaluation."""
    cases = [
        # idle seconds a minute of two instances, available memory in percent, targets up -> alerts that fire
        ((6, 54), (90, 90), (1, 1), {"AutoscaleScaleOut"}),
        ((54, 54), (90, 10), (1, 1), {"AutoscaleScaleOut"}),
        ((54, 54), (90, 90), (1, 1), {"AutoscaleScaleIn"}),
        ((54, 30), (90, 90), (1, 1), set()),
        ((54, 54), (90, 50), (1, 1), set()),
        ((54, 54), (90, 90), (1, 0), set()),
    ]
    promtool(tmp_path, alert_rules(make_spec()), [_case(*case) for case in cases], "15s")


@pytest.mark.parametrize(
    ("whole_window", "spurious"), [(True, False), (False, True)], ids=["ours", "the bare expression"]
)
def test_a_member_that_comes_or_goes_is_not_read_as_busy(
    make_spec: t.Any, tmp_path: t.Any, whole_window: bool, spurious: bool
) -> None:
    """A3: rate() over a window that a series only partly fills makes idle members look busy; none grows for that."""
    spec = make_spec(monitoring__scale_out_needs_whole_window=whole_window)
    # Every member is idle for 90 % of the time; one comes after 20 minutes, in the other case one goes then.
    for values, up in (("_x80 0+13.5x80", "_x80 1x80"), ("0+13.5x80 stale", "1x80 stale")):
        series = [
            {"series": 'node_cpu_seconds_total{mode="idle",cpu="0",job="web",instance="a"}', "values": "0+13.5x160"},
            {"series": 'up{job="web",instance="a"}', "values": "1x160"},
            {"series": 'node_cpu_seconds_total{mode="idle",cpu="0",job="web",instance="b"}', "values": values},
            {"series": 'up{job="web",instance="b"}', "values": up},
        ]
        # The alert's condition at any time in the ten minutes after; how long it lasts depends on window and threshold.
        seen = 'count_over_time(ALERTS{alertname="AutoscaleScaleOut"}[10m])'
        check = {"expr": f"count({seen}) or vector(0)", "eval_time": "30m",
                 "exp_samples": [{"labels": "{}", "value": int(spurious)}]}  # fmt: skip
        tests = [{"interval": "15s", "input_series": series, "promql_expr_test": [check]}]
        promtool(tmp_path, alert_rules(spec), tests, "15s")


def _case(idle: t.Any, memory: t.Any, up: t.Any, fires: set[str]) -> dict[str, t.Any]:
    series = []
    for number in (0, 1):
        labels = f'job="web",instance="i{number}"'
        series += [
            {"series": f'node_cpu_seconds_total{{mode="idle",cpu="0",{labels}}}', "values": f"0+{idle[number]}x30"},
            {"series": f"node_memory_MemAvailable_bytes{{{labels}}}", "values": f"{memory[number]}x30"},
            {"series": f"node_memory_MemTotal_bytes{{{labels}}}", "values": "100x30"},
            {"series": f"up{{{labels}}}", "values": f"{up[number]}x30"},
        ]
    checks = [
        {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', "eval_time": "20m",
         "exp_samples": [{"labels": "{}", "value": int(name in fires)}]}
        for name in ("AutoscaleScaleOut", "AutoscaleScaleIn")
    ]  # fmt: skip
    return {"interval": "1m", "input_series": series, "promql_expr_test": checks}
