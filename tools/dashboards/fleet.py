# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All groups and the autoscaler itself: what needs somebody, what it does, how its backends are."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import Dashboard, VariableRefresh

from .panels import ALIVE, SOURCE, P, Panel, breakers, event, filled, graph, happened, new_page, number, timeline


def fleet() -> Dashboard:
    """The autoscaler as a whole: receivers, dispatchers, and where a group needs somebody."""
    page = new_page(
        "onprem-autoscale-fleet", "Autoscaler", "Receivers, dispatchers, actions, and the groups that need somebody"
    )
    choice = dashboard.QueryVariable("job").label("Job of the receivers").datasource(SOURCE)
    choice.query(f"label_values({P}_dispatcher_last_pass_timestamp_seconds, job)")
    page.with_variable(choice.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    j = 'job=~"$job"'
    for name, colour, result in (("Scaled", "blue", "succeeded"), ("Failed", "red", "failed")):
        labels = f'{j},direction!="reconcile",result="{result}"'
        page.annotation(event(name, colour, happened(labels, "group, direction")))

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
    return filled(page, panels)
