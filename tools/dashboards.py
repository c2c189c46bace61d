# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Grafana dashboards (A12), as typed Python; their JSON is kept in roles/group_monitoring/files/dashboards.

``python tools/dashboards.py`` writes the JSON; a test fails when it differs from what this file says.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
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
    VariableRefresh,
    VariableSort,
)

FOLDER = Path(__file__).resolve().parents[1] / "roles" / "group_monitoring" / "files" / "dashboards"
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


def _happened(selector: str, by: str) -> str:
    """Ends of actions within a minute, also the very first: a counter begins to exist with its first count."""
    now = f"sum by ({by}) ({P}_actions_total{{{selector}}})"
    before = f"sum by ({by}) ({P}_actions_total{{{selector}}} offset 1m)"
    return f"({now} - ({before} or {now} * 0)) > 0"


def _event(name: str, colour: str, expr: str) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)


def _page(uid: str, title: str, text: str) -> dashboard.Dashboard:
    page = dashboard.Dashboard(title).uid(uid).description(text).tags(["onprem-autoscale"]).editable()
    page.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    return page.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))


def group() -> Dashboard:
    """One group: what it has, how busy it is, what was done, and whether that worked."""
    page = _page(
        "onprem-autoscale-group", "Scaling group", "One group: members, load, events, health of what scales it"
    )
    choice = dashboard.QueryVariable("group").label("Group").datasource(SOURCE)
    choice.query(f"label_values({P}_group_enabled, group)").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    page.with_variable(choice.sort(VariableSort.ALPHABETICAL_ASC))
    g = 'group="$group"'
    for name, colour, result in (("Scaled", "blue", "succeeded"), ("Failed", "red", "failed")):
        page.annotation(_event(name, colour, _happened(f'{g},direction!="reconcile",result="{result}"', "direction")))

    alive = f'sum(max by (state) ({P}_group_members{{{g},state=~"{ALIVE}"}}))'
    serving = f'sum(max by (state) ({P}_group_members{{{g},state=~"base|in_service"}}))'
    busy = f'100 - avg by (instance, member) (rate(node_cpu_seconds_total{{mode="idle",{g}}}[$__rate_interval])) * 100'
    memory = f"100 * (1 - node_memory_MemAvailable_bytes{{{g}}} / node_memory_MemTotal_bytes{{{g}}})"
    waiting = f"{P}_signal_waiting_since_timestamp_seconds{{{g}}}"
    panels: dict[str, list[Panel]] = {
        "Size": [
            number("Members", alive, "VMs that serve, start or drain, those that people made included"),
            number("Minimum", f"max({P}_group_size_min{{{g}}})", "As declared"),
            number("Maximum", f"max({P}_group_size_max{{{g}}})", "As declared"),
            number("Enabled", f"max({P}_group_enabled{{{g}}})", "As declared", words={"0": "no", "1": "yes"}),
            number("Action", f"max({P}_action_running{{{g}}})", "Whether one runs", words={"0": "none", "1": "runs"}),
            number(
                "Attention",
                f"max({P}_needs_attention{{{g}}})",
                "Given up after too many failures: a person has to look",
                bad_from=1,
                words={"0": "not needed", "1": "NEEDED"},
            ),
            graph(
                "Members against bounds",
                {
                    "members": alive,
                    "in service": serving,
                    "minimum": f"max({P}_group_size_min{{{g}}})",
                    "maximum": f"max({P}_group_size_max{{{g}}})",
                },
                "Marks are ends of actions",
                steps=True,
                limits=("minimum", "maximum"),
                width=24,
            ),
        ],
        "Load": [
            graph("CPU of each member", {"{{member}}": busy}, "Busy time", unit="percent", top=100),
            graph("Memory of each member", {"{{member}}": memory}, "What is not available", unit="percent", top=100),
            graph(
                "CPU of the group",
                {"busiest": f"max({busy})", "mean": f"avg({busy})"},
                "The busiest one is what the alert rules look at",
                unit="percent",
                top=100,
            ),
            graph(
                "Memory of the group",
                {"fullest": f"max({memory})", "mean": f"avg({memory})"},
                "The fullest one is what the alert rules look at",
                unit="percent",
                top=100,
            ),
        ],
        "Events": [
            timeline(
                "What happens",
                {
                    "action runs": f"max({P}_action_running{{{g}}})",
                    "{{direction}} waits": f"max by (direction) ({waiting} > bool 0)",
                    "lock is held": f"max({P}_lock_held{{{g}}})",
                    "{{process}} suspended": f"max by (process) ({P}_process_suspended{{{g}}})",
                },
                "Signals, actions and locks over time",
                {"0": "no", "1": "yes"},
            ),
            graph(
                "Ended actions",
                {"{{direction}} {{result}}": f"sum by (direction, result) ({P}_actions_total{{{g}}})"},
                "Since the start of the receiver",
                steps=True,
            ),
            graph(
                "Alerts that fire",
                {"{{alertname}}": f'count by (alertname) (ALERTS{{alertstate="firing",{g}}}) or vector(0)'},
                "Of the group, and of the autoscaler about it",
                steps=True,
            ),
        ],
        "Health of what scales it": [
            timeline(
                "Members that are scraped",
                {"{{member}} {{instance}}": f"1 - max by (member, instance) (up{{{g}}})"},
                "A member that cannot be seen keeps the group from shrinking",
                {"0": "yes", "1": "no"},
                width=12,
            ),
            breakers("Breaker", {"breaker": f"max({P}_breaker_state{{{g}}})"}, width=12),
            graph(
                "Trouble",
                {
                    "failures in a row": f"max({P}_action_failures_in_a_row{{{g}}})",
                    "in quarantine": f"max({P}_members_quarantined{{{g}}})",
                    "leaked {{what}}": f"max by (what) ({P}_reconcile_leaked{{{g}}})",
                    "found {{kind}}": f"max by (kind) ({P}_reconcile_findings{{{g}}}) or vector(0)",
                    "ledger errors": f"sum(increase({P}_ledger_errors_total[$__rate_interval])) or vector(0)",
                },
                "All of it should be nothing",
                steps=True,
            ),
            graph(
                "Addresses",
                {"in use": f"max({P}_group_addresses_leased{{{g}}})", "pool": f"max({P}_group_addresses{{{g}}})"},
                "Of the group's pool",
                steps=True,
                limits=("pool",),
            ),
        ],
    }
    return _fill(page, panels)


def fleet() -> Dashboard:
    """The autoscaler as a whole: receivers, dispatchers, and where a group needs somebody."""
    page = _page(
        "onprem-autoscale-fleet", "Autoscaler", "Receivers, dispatchers, actions, and the groups that need somebody"
    )
    choice = dashboard.QueryVariable("job").label("Job of the receivers").datasource(SOURCE)
    choice.query(f"label_values({P}_dispatcher_last_pass_timestamp_seconds, job)")
    page.with_variable(choice.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    j = 'job=~"$job"'
    for name, colour, result in (("Scaled", "blue", "succeeded"), ("Failed", "red", "failed")):
        labels = f'{j},direction!="reconcile",result="{result}"'
        page.annotation(_event(name, colour, _happened(labels, "group, direction")))

    def slow(quantile: float, metric: str, by: str = "") -> str:
        return f"histogram_quantile({quantile}, sum by (le{by}) (rate({P}_{metric}_bucket{{{j}}}[$__rate_interval])))"

    failed_sweeps = f'{P}_sweeps_total{{{j},result="failed"}}'
    waits = f"{P}_signal_waiting_since_timestamp_seconds{{{j}}}"
    panels: dict[str, list[Panel]] = {
        "Receivers": [
            number("Receivers up", 'sum(up{job=~"$job"})', "As Prometheus sees them"),
            number("Dispatchers alive", f"max({P}_controllers_alive{{{j}}})", "As the ledger knows them"),
            number(
                "Last pass",
                f"max(time() - {P}_dispatcher_last_pass_timestamp_seconds{{{j}}})",
                "Since the dispatcher looked last",
                unit="s",
                bad_from=120,
            ),
            number("Groups enabled", f"sum(max by (group) ({P}_group_enabled{{{j}}}))", "As declared"),
            number(
                "Groups that need attention",
                f"sum(max by (group) ({P}_needs_attention{{{j}}}))",
                "The autoscaler has given up there",
                bad_from=1,
            ),
            number(
                "Broken declarations", f"max({P}_group_files_broken{{{j}}})", "Files that cannot be read", bad_from=1
            ),
            graph(
                "Deliveries",
                {"{{code}}": f"sum by (code) (rate({P}_receiver_requests_total{{{j}}}[$__rate_interval]))"},
                "Alertmanager's POSTs by answer",
                unit="reqps",
            ),
            graph(
                "Time to answer",
                {"half": slow(0.5, "receiver_request_seconds"), "95 %": slow(0.95, "receiver_request_seconds")},
                "From request to answer",
                unit="s",
            ),
            graph(
                "Alerts",
                {"{{result}}": f"sum by (result) (increase({P}_receiver_alerts_total{{{j}}}[$__rate_interval]))"},
                "In accepted deliveries, by what became of them",
            ),
            graph(
                "Ledger and sweep",
                {
                    "ledger errors": f"sum(increase({P}_ledger_errors_total{{{j}}}[$__rate_interval])) or vector(0)",
                    "failed sweeps": f"sum(increase({failed_sweeps}[$__rate_interval])) or vector(0)",
                    "alerts cut off": f"sum(increase({P}_receiver_truncated_alerts_total{{{j}}}[$__rate_interval]))",
                },
                "All of it should be nothing",
            ),
        ],
        "Actions": [
            graph(
                "Ended actions",
                {"{{direction}} {{result}}": f"sum by (direction, result) (increase({P}_actions_total{{{j}}}[1h]))"},
                "Within an hour",
                steps=True,
            ),
            graph(
                "Time of an action",
                {
                    "{{direction}} half": slow(0.5, "action_seconds", ", direction"),
                    "{{direction}} 95 %": slow(0.95, "action_seconds", ", direction"),
                },
                "From its claim to its end",
                unit="s",
            ),
            graph(
                "Running now",
                {"{{group}}": f"max by (group) ({P}_action_running{{{j}}})"},
                "Actions and reconciles",
                steps=True,
            ),
            graph(
                "Waiting signals",
                {"{{group}} {{direction}}": f"max by (group, direction) ((time() - {waits}) * ({waits} > bool 0))"},
                "For how long; 0 = nothing waits",
                unit="s",
            ),
            graph(
                "Launches of plays",
                {"{{group}}": f"sum by (group) (increase({P}_action_attempts_total{{{j}}}[1h]))"},
                "Within an hour; more than actions: plays died",
                steps=True,
            ),
            graph(
                "Failures in a row",
                {"{{group}}": f"max by (group) ({P}_action_failures_in_a_row{{{j}}})"},
                "Up to max_failures, then a person is asked for",
                steps=True,
            ),
        ],
        "Groups": [
            graph(
                "Members",
                {"{{group}}": f'sum by (group) (max by (group, state) ({P}_group_members{{{j},state=~"{ALIVE}"}}))'},
                "VMs that serve, start or drain",
                steps=True,
            ),
            graph(
                "Room to grow",
                {
                    "{{group}}": f"max by (group) ({P}_group_size_max{{{j}}}) - on (group) "
                    f'sum by (group) (max by (group, state) ({P}_group_members{{{j},state=~"{ALIVE}"}}))'
                },
                "Members up to the maximum",
                steps=True,
            ),
            breakers("Breakers", {"{{group}}": f"max by (group) ({P}_breaker_state{{{j}}})"}),
            timeline(
                "Locks",
                {"{{group}}": f"max by (group) ({P}_lock_held{{{j}}})"},
                "Held by an action, of anybody",
                {"0": "free", "1": "held"},
                width=12,
            ),
            graph(
                "Locks that ran out",
                {
                    "{{group}}": f"clamp_min(time() - max by (group) ({P}_lock_expiry_timestamp_seconds{{{j}}}), 0)"
                    f" * on (group) max by (group) ({P}_lock_expiry_timestamp_seconds{{{j}}} > bool 0)"
                },
                "For how long; the play that held it is dead",
                unit="s",
            ),
            graph(
                "Leaks",
                {"{{group}} {{what}}": f"max by (group, what) ({P}_reconcile_leaked{{{j}}})"},
                "What nobody owned at the last reconcile",
                steps=True,
            ),
            graph(
                "Since the last reconcile",
                {
                    "{{group}}": f"(time() - max by (group) ({P}_reconcile_last_run_timestamp_seconds{{{j}}} > 0))"
                    f" or max by (group) ({P}_reconcile_last_run_timestamp_seconds{{{j}}})"
                },
                "0 = never",
                unit="s",
            ),
            graph(
                "In quarantine",
                {"{{group}}": f"max by (group) ({P}_members_quarantined{{{j}}})"},
                "Kept for a look",
                steps=True,
            ),
            graph(
                "Free addresses",
                {"{{group}}": f"max by (group) ({P}_group_addresses{{{j}}} - {P}_group_addresses_leased{{{j}}})"},
                "Of each group's pool",
                steps=True,
            ),
        ],
    }
    return _fill(page, panels)


def _fill(page: dashboard.Dashboard, rows: dict[str, list[Panel]]) -> Dashboard:
    ids = itertools.count(1)
    for title, panels in rows.items():
        page.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            page.with_panel(panel.id(next(ids)))
    return page.build()


def render(page: Dashboard) -> str:
    """The JSON as it is kept in the repository."""
    return json.dumps(page, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


PAGES = {"group.json": group, "fleet.json": fleet}


def main() -> None:
    """Write both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, build in PAGES.items():
        (FOLDER / name).write_text(render(build()), encoding="utf-8")


if __name__ == "__main__":
    main()
