# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A3 on recorded series: promtool sees a group's alerts fire when they fired in a real run, and at no other time."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import alert_rules, parse_spec

ROOT = Path(__file__).resolve().parents[4]
RECORD = yaml.safe_load((Path(__file__).parent / "recorded_demo.yml").read_text(encoding="utf-8"))
SECONDS = range(10, 180)
#: Samples were taken at other parts of a second than here.
EDGE_S = 2


def rule_file() -> dict[str, t.Any]:
    spec = parse_spec(yaml.safe_load((ROOT / "inventories/lab/scaling_groups/web.yml").read_text(encoding="utf-8")))
    return alert_rules(spec)


def checks(fired: t.Mapping[str, t.Sequence[t.Sequence[int]]]) -> list[dict[str, t.Any]]:
    """One a second and alert, except close to where it changes."""
    made = []
    for alert, times in fired.items():
        for second in SECONDS:
            if any(abs(second - edge) <= EDGE_S for pair in times for edge in pair):
                continue
            fires = any(first <= second <= last for first, last in times)
            made.append(
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                    "eval_time": f"{second}s",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
            )
    return made


def recorded(fired: t.Mapping[str, t.Sequence[t.Sequence[int]]]) -> list[dict[str, t.Any]]:
    series = [{"series": name, "values": values} for name, values in RECORD["series"].items()]
    return [{"interval": "1s", "input_series": series, "promql_expr_test": checks(fired)}]


def test_alerts_fire_as_they_did(promtool: t.Any) -> None:
    """Out under load, also for members that have just come; in when all are calm, and not while one is away."""
    rules = rule_file()
    assert sorted(rule["alert"] for rule in rules["groups"][0]["rules"]) == sorted(RECORD["fired"])
    asked = [check["exp_samples"][0]["value"] for check in checks(RECORD["fired"])]
    assert asked.count(1) > 100
    assert asked.count(0) > 100
    promtool(rules, recorded(RECORD["fired"]), "1s")


@pytest.mark.parametrize("alert", sorted(RECORD["fired"]))
def test_the_record_can_tell(alert: str, promtool: t.Any) -> None:
    """A rule with another threshold does not pass."""
    rules = rule_file()
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = rule["expr"].replace("> 75", "> 101").replace("< 30", "< 1")
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(rules, recorded(RECORD["fired"]), "1s")
