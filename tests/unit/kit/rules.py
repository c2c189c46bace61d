# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""promtool's own unit tests over alert rules, and the form in which cases are written down."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from lab.debs import binary

Rule = dict[str, t.Any]
Case = dict[str, t.Any]


def promtool(
    folder: Path, content: t.Mapping[str, t.Any], tests: t.Sequence[t.Mapping[str, t.Any]], interval: str = "1m"
) -> None:
    """Run *tests* over a rule file; what promtool says is the error."""
    (folder / "rules.yml").write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    path = folder / "tests.yml"
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": list(tests)}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    command = [str(binary("promtool")), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def case_test(rule: Rule, case: Case, words: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The test of one case: series with *words* in their braces, a time, and the alerts that are there then."""
    alerts = []
    for expected in case.get("alerts", []):
        labels = {key: value for key, value in expected.items() if key not in ("summary", "description")}
        said = {key: expected.get(key, rule["annotations"][key]) for key in ("summary", "description")}
        assert not any("{{" in text for text in said.values()), f"{rule['alert']}: write down what it says: {said}"
        alerts.append({"exp_labels": labels, "exp_annotations": {**rule["annotations"], **said}})
    series = []
    for name, values in case["series"].items():
        assert isinstance(values, str), f"{name}: YAML reads {values} as a number; put it in quotes"
        for word, text in words.items():
            name = name.replace(f"{{{word}}}", text)
        series.append({"series": name, "values": values})
    return {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"alertname": rule["alert"], "eval_time": case["at"], "exp_alerts": alerts}],
    }


def parameters(cases: t.Mapping[str, t.Sequence[Case]]) -> list[t.Any]:
    """A parameter of pytest for each case, named by its alert, its kind and its words."""
    found = []
    for alert, rows in cases.items():
        for case in rows:
            kind = "firing" if "firing" in case else "quiet"
            found.append(pytest.param(alert, case, id=f"{alert}-{kind}: {case[kind]}"))
    return found


def each_has_both_kinds(cases: t.Mapping[str, t.Sequence[Case]]) -> None:
    """Every alert has a case in which it fires, and one in which it is quiet."""
    for alert, found in cases.items():
        kinds = [[kind for kind in ("firing", "quiet") if kind in case] for case in found]
        assert sorted({kind for one in kinds for kind in one}) == ["firing", "quiet"], alert
        for case in found:
            assert bool(case.get("alerts")) == ("firing" in case), f"{alert}: {case}"
