# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alert rules for the autoscaler itself (A12): promtool sees each fire and not fire; each has words and a runbook."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from unit.kit.rules import case_test, each_has_both_kinds, parameters

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import MODEL_ALERTS, alert_rules, parse_spec
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics

ROOT = Path(__file__).resolve().parents[4]
HERE = Path(__file__).resolve().parent
RUNBOOKS = ROOT / "docs" / "runbooks"
CASES = yaml.safe_load((HERE / "autoscaler_cases.yml").read_text(encoding="utf-8"))
JOB = 'job="onprem-autoscale"'
Rules = list[dict[str, t.Any]]


@pytest.mark.parametrize(("alert", "case"), parameters(CASES))
def test_case(alert: str, case: dict[str, t.Any], rules: Rules, promtool: t.Any) -> None:
    """promtool finds the alerts of the case, with these labels and these words, and no others by that name."""
    (rule,) = [rule for rule in rules if rule["alert"] == alert]
    promtool({"groups": [{"name": "x", "rules": rules}]}, [case_test(rule, case, {"job": JOB})])


def test_each_alert_has_a_firing_and_a_quiet_case(rules: Rules) -> None:
    assert [rule["alert"] for rule in rules] == list(CASES), "the same alerts, in the same order"
    each_has_both_kinds(CASES)


def test_labels_and_annotations(rules: Rules) -> None:
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert sorted(rule["annotations"]) == ["description", "runbook_url", "summary"], rule["alert"]
        # The routes of groups take what carries this label: an alert for people must not.
        assert "onprem_autoscale" not in rule["labels"]


def test_runbooks(rules: Rules, defaults: dict[str, t.Any]) -> None:
    """Every rule has a page, every page a rule; the address is that of the repository that galaxy.yml names."""
    spec = parse_spec(yaml.safe_load((ROOT / "inventories/example/scaling_groups/shop.yml").read_text()))
    of_groups = [rule["alert"] for group in alert_rules(spec)["groups"] for rule in group["rules"]]
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {*of_groups, *MODEL_ALERTS, *(rule["alert"] for rule in rules)}
    repository = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    base = defaults["group_monitoring_runbook_base_url"]
    assert base.startswith(f"{repository}/")
    assert base.endswith(str(RUNBOOKS.relative_to(ROOT)))
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"{base}/{rule['alert']}.md"


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("**/*.md")), ids=lambda path: path.stem)
def test_a_runbook_says_what_to_do(page: Path) -> None:
    """Its parts, and playbooks, options and links that exist; a page of an alert has its name."""
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n") or page.stem == "README" or page.parent.name == "recovery"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).resolve().exists(), target
    for playbook in re.findall(r"ansible-playbook onprem\.autoscale\.(\w+)", text):
        assert (ROOT / "playbooks" / f"{playbook}.yml").exists(), playbook
    known = Metrics().render().decode()
    for metric in re.findall(r"onprem_autoscale_\w+", text):
        assert f"# TYPE {metric} " in known, metric
    if page.stem != "README":
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["What it means", "Look at", "Do"], headings


def test_expressions_ask_for_metrics_that_the_receiver_has(rules: Rules) -> None:
    known = Metrics().render().decode()
    asked = {name for rule in rules for name in re.findall(r"onprem_autoscale_\w+", rule["expr"])}
    assert len(asked) > 15
    missing = sorted(name for name in asked if f"# TYPE {name} " not in known)
    assert missing == []


def test_argument_spec_names_the_alerts(rules: Rules) -> None:
    specs = yaml.safe_load((ROOT / "roles/group_monitoring/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    assert options["group_monitoring_alerts_off"]["choices"] == [*(rule["alert"] for rule in rules), *MODEL_ALERTS]


def test_options_reach_the_rules(render: t.Any, promtool: t.Any) -> None:
    rules = {
        rule["alert"]: rule
        for rule in render(
            group_monitoring_receiver_job="scaler",
            group_monitoring_runbook_base_url="https://wiki.example.org/",
            group_monitoring_alert_labels={"team": "night", "severity": "page"},
            group_monitoring_controllers=3,
            group_monitoring_signal_wait=77,
            group_monitoring_at_maximum_for="2h",
            group_monitoring_reconcile_period=100,
        )
    }
    one = rules["AutoscalerControllersMissing"]
    assert one["expr"] == 'max(onprem_autoscale_controllers_alive{job="scaler"}) < 3'
    assert one["labels"] == {"severity": "page", "team": "night"}
    assert one["annotations"]["runbook_url"] == "https://wiki.example.org/AutoscalerControllersMissing.md"
    assert one["annotations"]["summary"] == "{{ $value }} of 3 dispatchers live"
    assert rules["AutoscalerSignalWaitingLong"]["expr"].endswith("> 77")
    assert rules["AutoscalerGroupAtMaximum"]["for"] == "2h"
    assert "> 300)" in rules["AutoscalerReconcileOverdue"]["expr"]
    assert rules["AutoscalerReconcileOverdue"]["for"] == "400s"
    promtool({"groups": [{"name": "x", "rules": list(rules.values())}]}, [])
    never = [rule["alert"] for rule in render(group_monitoring_reconcile_period=0)]
    assert len(never) == len(rules) - 1
    assert "AutoscalerReconcileOverdue" not in never
