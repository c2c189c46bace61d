# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of panels, queries and pages that both dashboards are made of."""

from __future__ import annotations

import itertools

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
P = "onprem_autoscale"
#: Members that have a VM, or get one.
ALIVE = "base|launching|in_service|draining"
Panel = stat.Panel | statetimeline.Panel | timeseries.Panel
Queries = dict[str, str]  # legend -> PromQL


def _queries(panel: Panel, queries: Queries, *, instant: bool = False) -> Panel:
    for number, (legend, expr) in enumerate(queries.items()):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(chr(ord("A") + number))
        panel.with_target(query.instant() if instant else query.range())
    return panel.datasource(SOURCE)


def graph(
    title: str,
    queries: Queries,
    text: str,
    *,
    unit: str = "short",
    top: float | None = None,
    steps: bool = False,
    limits: tuple[str, ...] = (),
    width: int = 12,
) -> timeseries.Panel:
    """Lines over time; *limits* are legends of bounds, drawn dashed."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).min(0).span(width).height(8).line_width(1)
    panel.fill_opacity(10).show_points(VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if top is not None:
        panel.max(top)
    if steps:
        panel.line_interpolation(LineInterpolation.STEP_AFTER)
    for name in limits:
        dashed = DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]})
        panel.override_by_name(name, [dashed, DynamicConfigValue(id_val="custom.fillOpacity", value=0)])
    return _queries(panel, queries)


def number(
    title: str,
    expr: str,
    text: str,
    *,
    unit: str = "short",
    bad_from: float | None = None,
    words: dict[str, str] | None = None,
) -> stat.Panel:
    """One figure; from *bad_from* on it is red. *words* stand for values."""
    panel = stat.Panel().title(title).description(text).unit(unit).span(4).height(4)
    panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.thresholds(_thresholds(bad_from))
    if words:
        panel.mappings([_mapping(words)])
    return _queries(panel, {"": expr}, instant=True)


def timeline(title: str, queries: Queries, text: str, words: dict[str, str], *, width: int = 24) -> statetimeline.Panel:
    """One row a legend, coloured by state: 0 is as it should be."""
    panel = statetimeline.Panel().title(title).description(text).span(width).height(8)
    panel.show_value(VisibilityMode.NEVER).merge_values(True).row_height(0.8).fill_opacity(80)
    panel.thresholds(_thresholds(1)).mappings([_mapping(words)])
    return _queries(panel, queries)


def breakers(title: str, queries: Queries, *, width: int = 24) -> statetimeline.Panel:
    """Breakers over time."""
    text = "Open: launches failed, and no more are tried for a while"
    return timeline(title, queries, text, {"0": "closed", "1": "open", "2": "probing"}, width=width)


def _thresholds(bad_from: float | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _mapping(words: dict[str, str]) -> ValueMapping:
    options = {value: ValueMappingResult(text=text, index=index) for index, (value, text) in enumerate(words.items())}
    return ValueMap(options=options)


def happened(selector: str, by: str) -> str:
    """Ends of actions within a minute, also the very first: a counter begins to exist with its first count."""
    now = f"sum by ({by}) ({P}_actions_total{{{selector}}})"
    before = f"sum by ({by}) ({P}_actions_total{{{selector}}} offset 1m)"
    return f"({now} - ({before} or {now} * 0)) > 0"


def event(name: str, colour: str, expr: str) -> dashboard.AnnotationQuery:
    """A mark in every graph of a page where *expr* has a value."""
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)


def new_page(uid: str, title: str, text: str) -> dashboard.Dashboard:
    """A page without panels, which lets one choose the data source."""
    page = dashboard.Dashboard(title).uid(uid).description(text).tags(["onprem-autoscale"]).editable()
    page.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    return page.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))


def filled(page: dashboard.Dashboard, rows: dict[str, list[Panel]]) -> Dashboard:
    """The page with a row for each title, and its panels."""
    ids = itertools.count(1)
    for title, panels in rows.items():
        page.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            page.with_panel(panel.id(next(ids)))
    return page.build()
