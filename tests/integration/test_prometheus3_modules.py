# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus modules against Prometheus 3 (A2): fragments, and what changed since 2.42.

Its build takes two minutes, so it belongs to the nightly lane: ``make test-nightly``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import prometheus_fixtures as kit

from lab.build import build_go

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]
Run = Callable[..., dict[str, Any]]
CONFIG = kit.PROMETHEUS_YML + "scrape_config_files:\n  - scrape.d/*.yml   # one file a job\n"


def binaries() -> Path:
    """The folder with ``prometheus`` and ``promtool`` 3."""
    build_go("prometheus3/promtool")
    return build_go("prometheus3/prometheus").parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[kit.Server]:
    (tmp_path / "scrape.d").mkdir()
    with kit.prometheus(tmp_path, CONFIG, binaries=binaries()) as running:
        yield running


@pytest.fixture
def args(server: kit.Server) -> dict[str, Any]:
    return {
        "url": server.url,
        "config_file": str(server.config),
        "promtool": str(binaries() / "promtool"),
        "wait_interval": 0.2,
        "name": "web",
        "job": {
            "scrape_interval": "1s",
            "file_sd_configs": [{"files": [str(server.folder / "targets" / "web.json")], "refresh_interval": "1s"}],
        },
    }


def pools(server: kit.Server) -> list[str]:
    return sorted(server.get("/api/v1/scrape_pools")["data"]["scrapePools"])


def test_fragment_comes_changes_and_goes(run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
    """A2: with scrape_config_files the main file is never touched."""
    first, fragment = server.config.read_bytes(), server.folder / "scrape.d" / "web.yml"
    seen = run_module("prometheus_scrape_job", args, check=True, diff=True)
    assert not seen["failed"], seen
    assert (seen["changed"], seen["method"], seen["path"]) == (True, "fragment", str(fragment))
    assert not fragment.exists()

    seen = run_module("prometheus_scrape_job", args)
    assert not seen["failed"], seen
    assert pools(server) == ["self", "web"]
    assert not run_module("prometheus_scrape_job", args)["changed"]

    changed = {**args, "job": {**args["job"], "scrape_interval": "2s"}}
    assert run_module("prometheus_scrape_job", changed)["changed"]
    assert "2s" in fragment.read_text()

    bad = {**args, "job": {**args["job"], "scrape_timeout": "1h"}}
    good = fragment.read_bytes()
    seen = run_module("prometheus_scrape_job", bad)
    assert seen["failed"]
    assert "promtool refuses" in seen["msg"]
    lenient = str(kit.accepting_tool(server.folder, "lenient"))
    seen = run_module("prometheus_scrape_job", {**bad, "promtool": lenient})
    assert seen["failed"]
    assert "are loaded again" in seen["msg"]
    assert fragment.read_bytes() == good

    twin = server.folder / "scrape.d" / "theirs.yml"
    twin.write_text("scrape_configs:\n- job_name: api\n")
    seen = run_module("prometheus_scrape_job", {**args, "name": "api"})
    assert seen["failed"], "promtool sees the fragments of others too"
    twin.unlink()

    gone = {key: value for key, value in args.items() if key != "job"} | {"state": "absent"}
    assert run_module("prometheus_scrape_job", gone)["changed"]
    assert not fragment.exists()
    assert pools(server) == ["self"]
    assert not run_module("prometheus_scrape_job", gone)["changed"]
    assert server.config.read_bytes() == first
    assert server.leftovers() == []


def test_a_job_moves_from_block_to_fragment(run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
    """After an upgrade of Prometheus the next configure moves the job; it is never there twice."""
    first = server.config.read_bytes()
    seen = run_module("prometheus_scrape_job", {**args, "method": "block"})
    assert not seen["failed"], seen
    assert server.config.read_bytes() != first
    seen = run_module("prometheus_scrape_job", args)
    assert not seen["failed"], seen
    assert (seen["changed"], seen["method"]) == (True, "fragment")
    assert server.config.read_bytes() == first
    assert pools(server) == ["self", "web"]


def test_targets_are_scraped(run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
    """A5: the API of 3.x is read as that of 2.42."""
    assert not run_module("prometheus_scrape_job", args)["failed"]
    exporter = kit.Exporter()
    try:
        target = {
            "path": str(server.folder / "targets" / "web.json"),
            "url": server.url,
            "job": "web",
            "targets": [{"address": exporter.address}],
            "wait_timeout": 20,
        }
        seen = run_module("prometheus_target", target)
        assert not seen["failed"], seen
        info = run_module("prometheus_target_info", {"url": server.url, "job": "web"})
        assert (info["registered"], info["targets"][0]["health"]) == (1, "up")
        seen = run_module("prometheus_target", {**target, "state": "absent"})
        assert not seen["failed"], seen
    finally:
        exporter.close()


def test_rules(run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
    """A3: rule files on 3.x."""
    wish = {key: args[key] for key in ("url", "config_file", "promtool")}
    wish |= {
        "path": "rules/web.yml",
        "content": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "vector(1)"}]}]},
    }
    seen = run_module("prometheus_rule_file", wish)
    assert not seen["failed"], seen
    assert not run_module("prometheus_rule_file", wish)["changed"]
    assert run_module("prometheus_rule_file", {**wish, "state": "absent"})["changed"]
