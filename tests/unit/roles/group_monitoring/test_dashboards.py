# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards (A12): kept as they are built, fit for Grafana, and asking only for metrics that exist."""

from __future__ import annotations

import copy
import importlib
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics
from lab import dashboards
from lab.vllm.metrics import Metrics as VllmMetrics

ROOT = Path(__file__).resolve().parents[4]
PAGES = dashboards.pages()


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """tools/dashboards; tools/ is no package."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("dashboards")


def test_the_json_is_what_the_code_says(builder: t.Any) -> None:
    """Else: make dashboards"""
    assert sorted(builder.PAGES) == sorted(PAGES)
    for name, build in builder.PAGES.items():
        assert (builder.FOLDER / name).read_text(encoding="utf-8") == builder.render(build()), (
            f"{name} is not up to date"
        )


@pytest.mark.parametrize("name", PAGES)
def test_fits_grafanas_model(name: str) -> None:
    assert dashboards.problems(PAGES[name]) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda page: page.update(titel="x"), r"\$\.titel: no such field"),
        (lambda page: page.update(title=7), r"\$\.title: 7 is no str"),
        (lambda page: page.update(graphTooltip=9), r"graph_tooltip: 9 is no DashboardCursorSync"),
        (lambda page: page["panels"][1].update(title=["x"]), r"panels\[1\]\.title: \['x'\] is no str"),
        (lambda page: page["panels"][1]["gridPos"].update(w="4"), r"grid_pos\.w: '4' is no int"),
        (lambda page: page["panels"][1]["targets"][0].update(exp="up"), r"targets\[0\]\.exp: no such field"),
        (lambda page: page["panels"][1]["options"].update(colorMode="loud"), r"'loud' is no BigValueColorMode"),
        (lambda page: page["panels"][1]["fieldConfig"]["defaults"].update(unitt="s"), r"unitt: no such field"),
        (lambda page: page["templating"]["list"][0].update(type="querry"), r"type_val: 'querry' is no VariableType"),
    ],
)  # fmt: skip
def test_the_model_can_tell(change: t.Callable[[t.Any], t.Any], found: str) -> None:
    page = copy.deepcopy(dict(PAGES["group.json"]))
    change(page)
    assert any(re.search(found, line) for line in dashboards.problems(page)), dashboards.problems(page)


@pytest.mark.parametrize("name", PAGES)
def test_panels(name: str) -> None:
    """Each has words, a place of its own, and the data source that is chosen; ids are there once."""
    page = PAGES[name]
    ids, places = [], set()
    for panel in page["panels"]:
        ids.append(panel["id"])
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _y in cells) < 24, panel["title"]
        places |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
    assert len(ids) == len(set(ids))
    assert page["uid"]


def test_queries_ask_for_metrics_that_exist() -> None:
    known = Metrics().render().decode()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", known))
    asked = {name for page in PAGES.values() for query in dashboards.queries(page)
             for name in re.findall(r"onprem_autoscale_\w+", query.expr)}  # fmt: skip
    assert len(asked) > 25
    histograms = {f"{name}_bucket" for name, kind in kinds.items() if kind == "histogram"}
    assert asked - set(kinds) - histograms == set()


def test_queries_ask_vllm_for_metrics_that_it_has() -> None:
    """B4: the stub has the names that were seen on a real one."""
    known = set(re.findall(r"^(vllm:\w+)", VllmMetrics("m").text(), re.MULTILINE))
    asked = {name for query in dashboards.queries(PAGES["model.json"]) for name in re.findall(r"vllm:\w+", query.expr)}
    assert len(asked) > 8
    assert asked - known == set()


@pytest.mark.parametrize("name", PAGES)
def test_variables_are_those_of_the_page(name: str) -> None:
    page = PAGES[name]
    known = {variable["name"]: "x" for variable in page["templating"]["list"]} | {"__rate_interval": "1m"}
    for query in dashboards.queries(page):
        assert "$" not in dashboards.fill_in(query.expr, known)


def test_what_a12_asks_for() -> None:
    """CPU and memory of group and instance, count against bounds, timeline of events, backend health."""
    titles = {panel["title"] for panel in PAGES["group.json"]["panels"]}
    assert titles >= {
        "CPU of each member", "CPU of the group", "Memory of each member", "Memory of the group",
        "Members against bounds", "What happens", "Health of what scales it", "Breaker", "Members that are scraped",
    }  # fmt: skip
    assert [row["name"] for row in PAGES["group.json"]["annotations"]["list"]] == ["Scaled", "Failed"]
