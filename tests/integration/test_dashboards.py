# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every query of the dashboards against a real Prometheus (A12).

It scrapes a receiver's own metrics, made by the code that makes them, and the recorded members of a demo.
"""

from __future__ import annotations

import copy
import http.server
import re
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from integration import prometheus_fixtures as kit

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import (
    Claim,
    GroupWork,
    Overview,
    Reconciled,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Bounds
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics
from lab import dashboards
from lab.vllm.metrics import Metrics as VllmMetrics

RECORD = Path(__file__).resolve().parents[1] / "unit" / "roles" / "group_monitoring" / "recorded_demo.yml"
#: Where the record is begun, so that all of its four members are there for a while.
BEGIN = 82
WAIT_S = 40
CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: onprem-autoscale
    static_configs: [{{targets: ["{address}"]}}]
  - job_name: web
    static_configs:
{members}
  - job_name: llm-vllm
    metrics_path: /llm
    static_configs: [{{targets: ["{address}"], labels: {{group: llm, member: llm-1}}}}]
  - job_name: llm-canary
    metrics_path: /canary
    static_configs: [{{targets: ["{address}"], labels: {{group: llm, member: llm-1}}}}]
"""
#: Which group each page is looked at for.
GROUPS = {"fleet.json": "web", "group.json": "web", "model.json": "llm"}
#: What the interfaces promise of a canary.
CANARY = """\
vllm_canary_success 1
vllm_canary_failures_in_a_row 0
vllm_canary_seconds 0.2
vllm_gpu_licensed 1
vllm_coldstart_stage_seconds{stage="load"} 12.5
"""


class Receiver:
    """The metrics of a receiver that has a group which works, and one that needs somebody; they move on as one asks."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.metrics.sweep_time.set_to_current_time()

    def render(self) -> bytes:
        """Something of each kind has happened since the last time."""
        now, metrics = time.time(), self.metrics
        metrics.pass_time.set(now)
        metrics.requests.labels("202").inc()
        metrics.request_seconds.observe(0.02)
        metrics.alerts.labels("accepted").inc()
        metrics.sweeps.labels("succeeded").inc()
        metrics.groups_broken.set(0)
        for direction, result in (("out", "succeeded"), ("in", "refused"), ("out", "failed")):
            metrics.actions.labels("web", direction, result).inc()
            metrics.action_seconds.labels(direction).observe(21)
        metrics.actions.labels("llm", "out", "succeeded").inc()
        metrics.attempts.labels("web").inc()
        claim = Claim("web", "out", "web-3", "alert", "r", now - 5, 1, 0.0, "a", False)
        metrics.show([_work("web", running=claim), _work("api", waiting={"in": now - 60}, failures=2)])
        overview = Overview(
            controllers=("a",),
            locks={"web": now + 60},
            breakers={"api": "open"},
            suspended={"api": frozenset({"terminate"})},
            quarantined={"api": 1},
            reconciled={"web": Reconciled(now - 300, {"lease_without_vm": 1}, {"vms": 1})},
            members={"web": {"in_service": 2}, "api": {"quarantined": 1}},
            leases={"web": 2},
        )
        known = {"web": True, "api": True}
        metrics.show_overview(known, overview, now)
        metrics.show_sizes(known, {"web": Bounds(2, 4, 2, 10), "api": Bounds(1, 2, 1, 5)}, overview)
        return metrics.render()


def _work(group: str, **values: t.Any) -> GroupWork:
    defaults = {"running": None, "waiting": {}, "reasons": {}, "cooling": {}, "locked_by": "", "not_before": 0.0}
    return GroupWork(group=group, **{**defaults, "failures": 0, "attention": "", **values})


class Members:
    """The recorded series of each member, second by second."""

    def __init__(self) -> None:
        self.began = time.time()
        self.series: dict[str, list[tuple[str, list[str | None]]]] = {}
        self.labels: dict[str, dict[str, str]] = {}
        for name, text in yaml.safe_load(RECORD.read_text(encoding="utf-8"))["series"].items():
            metric, labels = name[:-1].split("{")
            found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            target = {key: found.pop(key) for key in ("instance", "member", "group", "base") if key in found}
            found.pop("job")
            self.labels[target["member"]] = target
            own = ",".join(f'{key}="{value}"' for key, value in found.items())
            if metric != "up":
                self.series.setdefault(target["member"], []).append((f"{metric}{{{own}}}", _values(text)))

    def render(self, member: str) -> bytes | None:
        """What *member* tells now; ``None`` while it is not there."""
        second = BEGIN + int(time.time() - self.began)
        now = [(name, values[min(second, len(values) - 1)]) for name, values in self.series[member]]
        lines = [f"{name} {value}\n" for name, value in now if value is not None]
        return "".join(lines).encode() or None


class Endpoint:
    """The metrics of vLLM, by the stub that has its names; something of each kind happens as one asks."""

    def __init__(self) -> None:
        self.metrics = VllmMetrics("llama-3-8b")

    def render(self) -> bytes:
        """A request more has ended, and one was turned away."""
        metrics = self.metrics
        metrics.gauges |= {"num_requests_running": 3.0, "num_requests_waiting": 1.0, "kv_cache_usage_perc": 0.4}
        for counts in (metrics.counters, metrics.success, metrics.rejections):
            for name in counts:
                counts[name] += 1
        for histogram in metrics.histograms.values():
            histogram.observe(0.3)
        return metrics.text().encode()


def _values(text: str) -> list[str | None]:
    """One a second, from promtool's notation as the record uses it."""
    found: list[str | None] = []
    for word in text.split():
        value, _x, more = word.partition("x")
        times = int(more) + (value != "_") if more else 1
        found += [None if value in ("_", "stale") else value] * times
    return found


@pytest.fixture
def exporter() -> Iterator[tuple[str, Members]]:
    receiver, members, endpoint = Receiver(), Members(), Endpoint()
    pages = {"/metrics": receiver.render, "/llm": endpoint.render, "/canary": CANARY.encode}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            body = page() if page else members.render(self.path[1:])
            self.send_response(200 if body else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_args: t.Any) -> None:
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", members
    server.shutdown()
    server.server_close()


@pytest.fixture
def prometheus(tmp_path: Path, exporter: tuple[str, Members]) -> Iterator[kit.Server]:
    address, members = exporter
    rows = [
        {"targets": [address], "labels": {**labels, "__metrics_path__": f"/{member}"}}
        for member, labels in members.labels.items()
    ]
    listed = "\n".join(f"      - {yaml.safe_dump(row, default_flow_style=True, width=9999).strip()}" for row in rows)
    with kit.prometheus(tmp_path, CONFIG.format(address=address, members=listed)) as server:
        yield server


def test_every_query_returns_data(prometheus: kit.Server) -> None:
    """And a query that has none is named: one for a metric that nobody has, and one that Prometheus refuses."""
    pages = dashboards.pages()
    assert sorted(pages) == sorted(GROUPS)
    assert sum(1 for page in pages.values() for _query in dashboards.queries(page)) > 60
    end = time.monotonic() + WAIT_S
    missing = ["not asked yet"]
    while missing and time.monotonic() < end:
        time.sleep(2)
        # What has happened in the demo's group; the other one has not done anything yet.
        missing = [
            line
            for name, page in pages.items()
            for line in dashboards.without_data(
                page, prometheus.url, minutes=2, rate_interval="5s", values={"group": GROUPS[name]}
            )
        ]
    assert missing == []
    broken = copy.deepcopy(dict(pages["group.json"]))
    broken["panels"][1]["targets"][0]["expr"] = 'onprem_autoscale_no_such_metric{group="$group"}'
    broken["panels"][2]["targets"][0]["expr"] = "sum by ("
    found = dashboards.without_data(broken, prometheus.url, minutes=2, rate_interval="5s", values={"group": "web"})
    assert [line.partition(": ")[0] for line in found] == ["Scaling group / Members / A", "Scaling group / Minimum / A"]
    assert "no series" in found[0]
    assert "parse error" in found[1]


def test_variables_are_filled_in_from_prometheus(prometheus: kit.Server) -> None:
    """As Grafana does: the first group, the only job. A variable without a value is named."""
    page = copy.deepcopy(dict(dashboards.pages()["fleet.json"]))
    page["panels"] = page["panels"][:2]
    page["annotations"] = {"list": []}
    end = time.monotonic() + WAIT_S
    while (found := dashboards.without_data(page, prometheus.url, minutes=2)) and time.monotonic() < end:
        time.sleep(1)
    assert found == []
    page["templating"]["list"][1]["query"] = "label_values(onprem_autoscale_no_such_metric, job)"
    (first, *_others) = dashboards.without_data(page, prometheus.url, minutes=2)
    assert first.startswith("Autoscaler / variable job: ")
