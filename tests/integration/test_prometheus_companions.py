# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Companions of a model endpoint's job in a real Prometheus (B4)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from integration import prometheus_fixtures as kit
from integration.prometheus_fixtures import Run

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    parse_spec,
    scrape_companions,
    scrape_job,
)

server, common = kit.server, kit.common
PAGES = {
    "node": "node_load1 0.5\n",
    "vllm": 'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running_created{engine="0"} 1.7e9\n',
    "canary": "vllm_canary_success 1\n",
    "dcgm": 'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 97\n',
}
LIMIT_S = 30


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """The four programs of one member, each on a port of its own."""
    servers = {}
    for name, page in PAGES.items():

        class Handler(BaseHTTPRequestHandler):
            body = page.encode()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(self.body)

            def log_message(self, *_args: Any) -> None:
                pass

        servers[name] = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=servers[name].serve_forever, daemon=True).start()
    yield {name: one.server_address[1] for name, one in servers.items()}
    for one in servers.values():
        one.shutdown()
        one.server_close()


def samples(server: kit.Server, query: str) -> list[dict[str, str]]:
    return [row["metric"] for row in server.get(f"/api/v1/query?query={query}")["data"]["result"]]


def test_each_program_of_a_member_is_asked_on_its_own_port(
    run_module: Run, server: kit.Server, common: dict[str, Any], ports: dict[str, int]
) -> None:
    """One target in one file; its labels are on the series of all, and all of it goes with the job."""
    first = server.config.read_bytes()
    targets = server.folder / "autoscale" / "targets" / "llm.json"
    data = {
        "name": "llm",
        "kind": "model_endpoint",
        "size": {"min": 1, "max": 2},
        "policies": [{"type": "model_signals"}],
        "model": {"name": "m", "port": ports["vllm"], "canary_port": ports["canary"], "dcgm_port": ports["dcgm"]},
        "vm": {"template": "t"},
        "network": {"name": "n", "start": "10.0.0.2", "end": "10.0.0.9", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1"},
        "load_balancer": {"pool": "p", "port": ports["vllm"]},
        "monitoring": {"scrape_interval": 1, "exporter_port": ports["node"]},
    }
    spec = parse_spec(data)
    args = {
        **common,
        "name": "llm",
        "job": scrape_job(spec, str(targets), refresh_interval=1),
        "companions": scrape_companions(spec, str(targets), refresh_interval=1),
    }
    seen = run_module("prometheus_scrape_job", args)
    assert not seen["failed"], seen
    assert seen["companions"] == ["llm-vllm", "llm-canary", "llm-dcgm"]
    assert not run_module("prometheus_scrape_job", args)["changed"]

    row = {"targets": [f"127.0.0.1:{ports['node']}"], "labels": {"group": "llm", "member": "llm-1"}}
    targets.write_text(json.dumps([row]))
    wanted = {
        "node_load1": ("llm", f"127.0.0.1:{ports['node']}"),
        "vllm:num_requests_running": ("llm-vllm", "127.0.0.1"),
        "vllm_canary_success": ("llm-canary", "127.0.0.1"),
        "DCGM_FI_DEV_GPU_UTIL": ("llm-dcgm", "127.0.0.1"),
    }
    end = time.monotonic() + LIMIT_S
    while not all(samples(server, name) for name in wanted):
        assert time.monotonic() < end, server.get("/api/v1/targets")
        time.sleep(0.2)
    for name, (job, instance) in wanted.items():
        (labels,) = samples(server, name)
        assert labels["job"] == job
        assert (labels["instance"], labels["group"], labels["member"]) == (instance, "llm", "llm-1")
    assert samples(server, '{__name__=~".%2B_created"}') == [], "dropped at scrape"

    fewer = {**args, "companions": args["companions"][:2]}
    assert run_module("prometheus_scrape_job", fewer)["changed"], "dcgm_port was taken out of the declaration"
    assert jobs(server) == ["llm", "llm-canary", "llm-vllm", "self"]
    gone = {**common, "name": "llm", "state": "absent"}
    assert run_module("prometheus_scrape_job", gone)["changed"]
    assert jobs(server) == ["self"]
    assert server.config.read_bytes() == first


def jobs(server: kit.Server) -> list[str]:
    config = yaml.safe_load(server.get("/api/v1/status/config")["data"]["yaml"])
    return sorted(job["job_name"] for job in config["scrape_configs"])
