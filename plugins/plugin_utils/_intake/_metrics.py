# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The receiver's own metrics, in a registry of their own. docs/receiver.md lists them.
"""

from __future__ import annotations

import typing as t

from ...module_utils._ledger._work_rows import DIRECTIONS, GroupWork, Overview
from ._groups import Bounds
from ._libraries import prometheus_client

if t.TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

_PREFIX = "onprem_autoscale"
_BREAKER = {"closed": 0, "open": 1, "probing": 2}
_PROCESSES = ("launch", "terminate", "replace")
#: States of members that have (or are getting) a VM.
_OWNED = ("planned", "launching", "in_service", "draining", "failed", "quarantined")
_LEAKS = ("vms", "members", "targets", "leases")
_SECONDS_OF_ACTIONS = (10, 30, 60, 120, 180, 300, 600, 1200, 2400)


class Metrics:
    """Counters are fed where things happen; what the ledger says is set by :meth:`show` once a pass."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.requests = self._counter("receiver_requests", "Deliveries by HTTP answer", "code")
        self.request_seconds = prometheus_client.Histogram(
            f"{_PREFIX}_receiver_request_seconds",
            "Time from request to answer",
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self.alerts = self._counter("receiver_alerts", "Alerts in accepted deliveries by what became of them", "result")
        self.truncated = self._counter("receiver_truncated_alerts", "Alerts that Alertmanager cut off (max_alerts)")
        self.ledger_errors = self._counter("ledger_errors", "Calls that the ledger refused", "caller")
        self.actions = self._counter("actions", "Ended actions", "group", "direction", "result")
        self.attempts = self._counter("action_attempts", "Launches; more than actions = some died", "group")
        self.action_seconds = prometheus_client.Histogram(
            f"{_PREFIX}_action_seconds",
            "Claim to end of an action",
            ["direction"],
            registry=self.registry,
            buckets=_SECONDS_OF_ACTIONS,
        )
        self.dropped = self._counter("signals_dropped", "Waiting signals that were not acted on", "group", "reason")
        self.sweeps = self._counter("sweeps", "Sweeps over Prometheus' alerts", "result")
        self.sweep_time = self._gauge("sweep_last_success_timestamp_seconds", "When the last sweep succeeded")
        self.pass_time = self._gauge("dispatcher_last_pass_timestamp_seconds", "When the dispatcher last looked")
        self.groups_broken = self._gauge("group_files_broken", "Group files that cannot be read")
        self.running = self._gauge("action_running", "1 while an action of the group runs", "group")
        self.waiting = self._gauge("signal_waiting_since_timestamp_seconds", "0 = nothing waits", "group", "direction")
        self.failures = self._gauge("action_failures_in_a_row", "Failed actions since the last good one", "group")
        self.attention = self._gauge("needs_attention", "1 = given up, a person has to look", "group")

        self.taken_over = self._counter("actions_taken_over", "Actions of a dispatcher that was gone", "group")
        self.controllers = self._gauge("controllers_alive", "Dispatchers of this ledger that were heard of in time")
        self.lock_held = self._gauge("lock_held", "1 while the group's lock is held", "group")
        self.lock_expiry = self._gauge("lock_expiry_timestamp_seconds", "When the lock runs out; 0 = none", "group")
        self.breaker = self._gauge("breaker_state", "0 closed, 1 open, 2 probing", "group")
        self.suspended = self._gauge("process_suspended", "1 = suspended by hand", "group", "process")
        self.quarantined = self._gauge("members_quarantined", "Failed VMs kept for diagnosis", "group")
        self.enabled = self._gauge("group_enabled", "1 = declared and enabled", "group")
        self.size_min = self._gauge("group_size_min", "Members at least, as declared", "group")
        self.size_max = self._gauge("group_size_max", "Members at most, as declared", "group")
        self.members = self._gauge("group_members", "Members by state; base = made by people", "group", "state")
        self.addresses = self._gauge("group_addresses", "Addresses that the pool can give out", "group")
        self.leased = self._gauge("group_addresses_leased", "Addresses that members have", "group")
        self.reconciled = self._gauge(
            "reconcile_last_run_timestamp_seconds", "When the group was last reconciled; 0 = never", "group"
        )
        self.findings = self._gauge("reconcile_findings", "Of the last reconcile", "group", "kind")
        self.leaked = self._gauge("reconcile_leaked", "What nobody owned at the last reconcile", "group", "what")
        self.cold_start = self._gauge(
            "cold_start_seconds", "Of the last launch of model endpoints, its slowest host", "group", "stage"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return prometheus_client.Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return prometheus_client.Gauge(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def show(self, groups: t.Iterable[GroupWork]) -> None:
        """Set what the ledger says of each group."""
        for work in groups:
            self.running.labels(work.group).set(work.running is not None)
            self.failures.labels(work.group).set(work.failures)
            self.attention.labels(work.group).set(bool(work.attention))
            for direction in DIRECTIONS:
                self.waiting.labels(work.group, direction).set(work.waiting.get(direction, 0.0))

    def show_overview(self, groups: t.Iterable[str], overview: Overview, now: float) -> None:
        """Set what the ledger says at *now* of *groups* and of any other that it knows; what it forgot disappears."""
        by_group = (overview.locks, overview.breakers, overview.suspended, overview.quarantined, overview.reconciled)
        for gauge in (
            self.lock_held,
            self.lock_expiry,
            self.breaker,
            self.suspended,
            self.quarantined,
            self.reconciled,
        ):
            gauge.clear()
        self.findings.clear()
        self.leaked.clear()
        self.cold_start.clear()
        for group, stages in overview.cold_starts.items():
            for stage, seconds in stages.items():
                self.cold_start.labels(group, stage).set(seconds)
        self.controllers.set(len(overview.controllers))
        for group in sorted({*groups, *(name for names in by_group for name in names)}):
            expiry = overview.locks.get(group, 0.0)
            self.lock_held.labels(group).set(expiry > now)
            self.lock_expiry.labels(group).set(expiry)
            self.breaker.labels(group).set(_BREAKER.get(overview.breakers.get(group, "closed"), 0))
            self.quarantined.labels(group).set(overview.quarantined.get(group, 0))
            for process in _PROCESSES:
                self.suspended.labels(group, process).set(process in overview.suspended.get(group, ()))
            last = overview.reconciled.get(group)
            self.reconciled.labels(group).set(last.at if last else 0.0)
            for what in _LEAKS:
                self.leaked.labels(group, what).set(last.leaked.get(what, 0) if last else 0)
            for kind, count in last.findings.items() if last else ():
                self.findings.labels(group, kind).set(count)

    def show_sizes(self, known: t.Mapping[str, bool], bounds: t.Mapping[str, Bounds], overview: Overview) -> None:
        """Set what the groups are allowed and what they have."""
        for gauge in (self.enabled, self.size_min, self.size_max, self.members, self.addresses, self.leased):
            gauge.clear()
        for group, enabled in known.items():
            self.enabled.labels(group).set(enabled)
        for group, bound in bounds.items():
            self.size_min.labels(group).set(bound.min)
            self.size_max.labels(group).set(bound.max)
            self.members.labels(group, "base").set(bound.base)
            self.addresses.labels(group).set(bound.addresses)
        for group in sorted({*bounds, *overview.members, *overview.leases}):
            self.leased.labels(group).set(overview.leases.get(group, 0))
            for state in _OWNED:
                self.members.labels(group, state).set(overview.members.get(group, {}).get(state, 0))

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return prometheus_client.generate_latest(self.registry)
