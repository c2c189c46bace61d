# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrape jobs and rule files of a real Prometheus (A2, A3)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration import prometheus_fixtures as kit
from integration.prometheus_fixtures import Run, job_args

from lab import debs

server, common = kit.server, kit.common
RULES = {
    "groups": [
        {
            "name": "onprem_autoscale_web",
            "interval": "1s",
            "rules": [
                {
                    "alert": "AutoscaleScaleOut",
                    "expr": 'max(100 - avg by (instance)(rate(node_cpu_seconds_total{mode="idle",job="web"}[5m]))'
                    "*100) > 80",
                    "for": "60s",
                    "labels": {"group": "web"},
                    "annotations": {"summary": "{{ $value }} %"},
                }
            ],
        }
    ]
}


def job_names(server: kit.Server) -> list[str]:
    config = yaml.safe_load(server.get("/api/v1/status/config")["data"]["yaml"])
    return sorted(job["job_name"] for job in config["scrape_configs"])


class TestScrapeJob:
    def test_twelve_steps(self, run_module: Run, server: kit.Server, common: dict[str, Any]) -> None:
        """A2: create, repeat, change, remove; check mode changes nothing; nothing else in the file is touched."""
        first = server.config.read_bytes()
        args = job_args(server, common)

        seen = run_module("prometheus_scrape_job", args, check=True, diff=True)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert "job_name: web" in seen["diff"][0]["after"]
        assert seen["diff"][0]["before"] == ""
        assert "self" not in seen["diff"][0]["after"], "the diff shows only our own part"
        assert server.config.read_bytes() == first
        assert not (server.folder / "autoscale").exists()

        seen = run_module("prometheus_scrape_job", args)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert seen["method"] == "block"
        assert (server.folder / "autoscale" / "targets").is_dir(), "Prometheus never watches a folder made later"
        assert job_names(server) == ["self", "web"]
        text = server.config.read_text()
        assert "# BEGIN onprem.autoscale job web" in text
        for line in first.decode().splitlines():
            assert line in text.splitlines()

        before = server.config.stat().st_mtime_ns
        for check in (True, False):
            seen = run_module("prometheus_scrape_job", args, check=check)
            assert not seen["failed"], seen
            assert not seen["changed"]
        assert server.config.stat().st_mtime_ns == before

        changed = job_args(server, common, scrape_interval="2s")
        assert run_module("prometheus_scrape_job", changed, check=True)["changed"]
        seen = run_module("prometheus_scrape_job", changed)
        assert seen["changed"], seen
        running = yaml.safe_load(server.get("/api/v1/status/config")["data"]["yaml"])
        assert [j["scrape_interval"] for j in running["scrape_configs"] if j["job_name"] == "web"] == ["2s"]
        assert not run_module("prometheus_scrape_job", changed)["changed"]

        gone = {**common, "name": "web", "state": "absent"}
        assert run_module("prometheus_scrape_job", gone, check=True)["changed"]
        assert run_module("prometheus_scrape_job", gone)["changed"]
        assert server.config.read_bytes() == first, "removal gives the file from before the first configure"
        assert job_names(server) == ["self"]
        for check in (True, False):
            assert not run_module("prometheus_scrape_job", gone, check=check)["changed"]
        assert server.leftovers() == []

    def test_a_file_that_promtool_refuses_is_never_installed(
        self, run_module: Run, server: kit.Server, common: dict[str, Any]
    ) -> None:
        """A2: the words of promtool arrive, and the file is the same byte by byte."""
        first = server.config.read_bytes()
        for check in (True, False):
            seen = run_module("prometheus_scrape_job", job_args(server, common, scrape_timeout="1h"), check=check)
            assert seen["failed"]
            assert "promtool refuses" in seen["msg"]
            assert "scrape timeout greater than scrape interval" in seen["msg"]
            assert ".tmp" not in seen["msg"]
        assert server.config.read_bytes() == first
        assert server.leftovers() == []

    def test_without_promtool_nothing_is_installed(
        self, run_module: Run, server: kit.Server, common: dict[str, Any]
    ) -> None:
        first = server.config.read_bytes()
        seen = run_module("prometheus_scrape_job", {**job_args(server, common), "promtool": "promtool-of-nobody"})
        assert seen["failed"]
        assert "promtool-of-nobody was not found" in seen["msg"]
        assert server.config.read_bytes() == first

    def test_a_reload_that_fails_is_rolled_back(
        self, run_module: Run, server: kit.Server, common: dict[str, Any]
    ) -> None:
        """A2: what promtool let through and Prometheus refuses is put back, loaded again, and the reason told."""
        first = server.config.read_bytes()
        lenient = str(kit.accepting_tool(server.folder, "lenient"))
        seen = run_module(
            "prometheus_scrape_job", {**job_args(server, common, scrape_timeout="1h"), "promtool": lenient}
        )
        assert seen["failed"]
        assert "scrape timeout greater than scrape interval" in seen["msg"]
        assert "as they were before and are loaded again" in seen["msg"]
        assert server.config.read_bytes() == first
        assert server.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is True
        assert job_names(server) == ["self"]
        assert server.leftovers() == []

    def test_another_file_than_the_one_prometheus_reads(
        self, run_module: Run, server: kit.Server, common: dict[str, Any], tmp_path: Path
    ) -> None:
        """The reload succeeds but the job is not there: verified, rolled back, and the real file is named."""
        other = tmp_path / "other.yml"
        other.write_text(kit.PROMETHEUS_YML)
        args = {**job_args(server, common), "config_file": str(other), "wait_timeout": 1}
        seen = run_module("prometheus_scrape_job", args)
        assert seen["failed"]
        assert f"--config.file={server.config}" in seen["msg"]
        assert other.read_text() == kit.PROMETHEUS_YML

    def test_backend_down(self, run_module: Run, server: kit.Server, common: dict[str, Any]) -> None:
        first = server.config.read_bytes()
        server.stop()
        seen = run_module("prometheus_scrape_job", job_args(server, common))
        assert seen["failed"]
        assert "refused" in seen["msg"]
        assert server.config.read_bytes() == first
        assert server.leftovers() == []

    def test_a_job_of_somebody_else_is_not_taken_over(
        self, run_module: Run, server: kit.Server, common: dict[str, Any]
    ) -> None:
        seen = run_module("prometheus_scrape_job", {**job_args(server, common), "name": "self"})
        assert seen["failed"]
        assert "is not ours" in seen["msg"]

    def test_a_job_is_renamed_in_place(self, run_module: Run, server: kit.Server, common: dict[str, Any]) -> None:
        """A2: changing the job's name leaves no old job behind."""
        first = server.config.read_bytes()
        assert run_module("prometheus_scrape_job", job_args(server, common))["changed"]
        seen = run_module("prometheus_scrape_job", job_args(server, common, job_name="web-frontend"))
        assert not seen["failed"], seen
        assert seen["changed"]
        assert job_names(server) == ["self", "web-frontend"]
        seen = run_module("prometheus_scrape_job", {**common, "name": "web", "state": "absent"})
        assert (seen["changed"], seen["job_name"]) == (True, "web-frontend")
        assert job_names(server) == ["self"]
        assert server.config.read_bytes() == first

    def test_two_groups_come_and_go_in_any_order(
        self, run_module: Run, server: kit.Server, common: dict[str, Any]
    ) -> None:
        """A10: groups do not disturb each other."""
        first = server.config.read_bytes()
        for name in ("web", "api"):
            assert run_module("prometheus_scrape_job", {**job_args(server, common), "name": name})["changed"]
        assert job_names(server) == ["api", "self", "web"]
        for name in ("web", "api"):
            assert run_module("prometheus_scrape_job", {**common, "name": name, "state": "absent"})["changed"]
        assert server.config.read_bytes() == first

    def test_killed_between_writing_and_loading(
        self, run_module: Run, server: kit.Server, common: dict[str, Any], start_module: Callable[..., Any]
    ) -> None:
        """Invariant 7: kill -9 at any moment; the next run ends as an undisturbed one, and removal too."""
        first = server.config.read_bytes()
        for delay in (0.25, 0.3, 0.35, 0.4, 0.5, 0.6):
            process = start_module("prometheus_scrape_job", job_args(server, common, scrape_interval="3s"))
            time.sleep(delay)
            process.kill()
            process.communicate()
            yaml.safe_load(server.config.read_bytes())
            seen = run_module("prometheus_scrape_job", job_args(server, common))
            assert not seen["failed"], seen
            assert job_names(server) == ["self", "web"]
            assert server.leftovers() == []
            assert not run_module("prometheus_scrape_job", job_args(server, common))["changed"]
            run_module("prometheus_scrape_job", {**common, "name": "web", "state": "absent"})
            assert server.config.read_bytes() == first

    def test_mode_and_owner_stay(self, run_module: Run, server: kit.Server, common: dict[str, Any]) -> None:
        server.config.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(server.config, 0, 12345)
        before = server.config.stat()
        assert run_module("prometheus_scrape_job", job_args(server, common))["changed"]
        after = server.config.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_lifecycle_is_off(run_module: Run, tmp_path: Path) -> None:
    """The remedy names the flag."""
    with kit.prometheus(tmp_path, lifecycle=False) as server:
        args = {"url": server.url, "config_file": str(server.config), "promtool": str(debs.binary("promtool"))}
        seen = run_module("prometheus_scrape_job", job_args(server, args))
        assert seen["failed"]
        assert "--web.enable-lifecycle" in seen["msg"]
        assert server.config.read_text() == kit.PROMETHEUS_YML


class TestRuleFile:
    @pytest.fixture
    def args(self, server: kit.Server, common: dict[str, Any]) -> dict[str, Any]:
        return {**common, "path": str(server.folder / "rules" / "web.yml"), "content": RULES}

    def names(self, server: kit.Server) -> list[str]:
        return [group["name"] for group in server.get("/api/v1/rules")["data"]["groups"]]

    def test_twelve_steps(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        """A2, A3: rules come, change and go; the main file is not touched where a pattern covers the path."""
        first, path = server.config.read_bytes(), Path(args["path"])
        seen = run_module("prometheus_rule_file", args, check=True, diff=True)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert "AutoscaleScaleOut" in seen["diff"][0]["after"]
        assert not path.exists()

        seen = run_module("prometheus_rule_file", args)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert seen["included_by"] == "pattern"
        assert self.names(server) == ["onprem_autoscale_web"]
        for check in (True, False):
            assert not run_module("prometheus_rule_file", args, check=check)["changed"]

        other = json.loads(json.dumps(RULES))
        other["groups"][0]["rules"][0]["expr"] = "vector(1) > 90"
        other["groups"][0]["rules"].append({"alert": "AutoscaleScaleIn", "expr": "vector(1) < 3"})
        seen = run_module("prometheus_rule_file", {**args, "content": other})
        assert seen["changed"], seen
        rules = server.get("/api/v1/rules")["data"]["groups"][0]["rules"]
        assert [rule["name"] for rule in rules] == ["AutoscaleScaleOut", "AutoscaleScaleIn"]
        assert rules[0]["query"] == "vector(1) > 90"

        gone = {**args, "state": "absent"}
        assert run_module("prometheus_rule_file", gone, check=True)["changed"]
        assert path.exists()
        assert run_module("prometheus_rule_file", gone)["changed"]
        assert not path.exists()
        assert self.names(server) == []
        assert not run_module("prometheus_rule_file", gone)["changed"]
        assert server.config.read_bytes() == first
        assert server.leftovers() == []

    def test_promtool_refuses_a_bad_rule(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        """A2: never installed; a good file that is there stays."""
        assert run_module("prometheus_rule_file", args)["changed"]
        good = Path(args["path"]).read_bytes()
        bad = {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate(("}]}]}
        seen = run_module("prometheus_rule_file", {**args, "content": bad})
        assert seen["failed"]
        assert "promtool refuses" in seen["msg"]
        assert "could not parse expression" in seen["msg"]
        assert Path(args["path"]).read_bytes() == good
        assert server.leftovers() == []

    def test_path_outside_of_the_patterns_gets_an_entry(
        self, run_module: Run, server: kit.Server, args: dict[str, Any]
    ) -> None:
        first = server.config.read_bytes()
        path = server.folder / "elsewhere" / "web.yml"
        seen = run_module("prometheus_rule_file", {**args, "path": str(path), "include": False})
        assert seen["failed"]
        assert "rule_files" in seen["msg"]
        seen = run_module("prometheus_rule_file", {**args, "path": str(path)})
        assert not seen["failed"], seen
        assert seen["included_by"] == "entry"
        assert self.names(server) == ["onprem_autoscale_web"]
        assert not run_module("prometheus_rule_file", {**args, "path": str(path)})["changed"]
        assert run_module("prometheus_rule_file", {**args, "path": str(path), "state": "absent"})["changed"]
        assert server.config.read_bytes() == first
        assert not path.exists()

    def test_a_rule_that_only_prometheus_refuses_is_rolled_back(
        self, run_module: Run, server: kit.Server, args: dict[str, Any]
    ) -> None:
        assert run_module("prometheus_rule_file", args)["changed"]
        good = Path(args["path"]).read_bytes()
        bad = {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate(("}]}]}
        lenient = str(kit.accepting_tool(server.folder, "lenient"))
        seen = run_module("prometheus_rule_file", {**args, "content": bad, "promtool": lenient})
        assert seen["failed"]
        assert "are loaded again" in seen["msg"]
        assert Path(args["path"]).read_bytes() == good
        assert self.names(server) == ["onprem_autoscale_web"]
        assert server.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is True

    def test_somebody_elses_rule_file_is_safe(self, run_module: Run, args: dict[str, Any]) -> None:
        Path(args["path"]).write_text("groups: []\n")
        for state in ("present", "absent"):
            seen = run_module("prometheus_rule_file", {**args, "state": state})
            assert seen["failed"]
            assert "does not begin with" in seen["msg"]
        assert Path(args["path"]).read_text() == "groups: []\n"
