# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One scaling group: its members against its bounds, their load, what happened."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Dashboard, VariableRefresh, VariableSort

from .panels import ALIVE, SOURCE, P, Panel, breakers, event, filled, graph, happened, new_page, number, timeline


def group() -> Dashboard:
    """One group: what it has, how busy it is, what was done, and whether that worked."""
    page = new_page(
        "onprem-autoscale-group", "Scaling group", "One group: members, load, events, health of what scales it"
    )
    choice = dashboard.QueryVariable("group").label("Group").datasource(SOURCE)
    choice.query(f"label_values({P}_group_enabled, group)").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    page.with_variable(choice.sort(VariableSort.ALPHABETICAL_ASC))
    g = 'group="$group"'
    for name, colour, result in (("Scaled", "blue", "succeeded"), ("Failed", "red", "failed")):
        page.annotation(event(name, colour, happened(f'{g},direction!="reconcile",result="{result}"', "direction")))

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
    return filled(page, panels)
