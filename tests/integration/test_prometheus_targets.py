# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets that a real Prometheus scrapes (A5, A6, A7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration import prometheus_fixtures as kit
from integration.prometheus_fixtures import Run, job_args

server, exporter, common = kit.server, kit.exporter, kit.common


class TestTarget:
    @pytest.fixture
    def args(
        self, run_module: Run, server: kit.Server, common: dict[str, Any], exporter: kit.Exporter
    ) -> dict[str, Any]:
        seen = run_module("prometheus_scrape_job", job_args(server, common))
        assert not seen["failed"], seen
        return {
            "path": str(server.folder / "autoscale" / "targets" / "web.json"),
            "job": "web",
            "url": server.url,
            "labels": {"group": "web"},
            "targets": [{"address": exporter.address, "labels": {"member": "web-1"}}],
            "wait_timeout": 20,
            "wait_interval": 0.2,
        }

    def test_life_of_a_target(
        self, run_module: Run, server: kit.Server, args: dict[str, Any], exporter: kit.Exporter
    ) -> None:
        """A6, A7: a target is up only when Prometheus really scraped it, and gone only when it let go of it."""
        path = Path(args["path"])
        assert run_module("prometheus_target_info", {"url": server.url, "job": "web"})["registered"] == 0

        seen = run_module("prometheus_target", args, check=True, diff=True)
        assert seen["changed"]
        assert exporter.address in seen["diff"]["after"]
        assert not path.exists()

        seen = run_module("prometheus_target", args)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert exporter.scrapes > 0, "the exporter was really asked"
        assert seen["targets"] == [
            {
                "address": exporter.address,
                "changed": True,
                "failed": False,
                "msg": "",
                "health": "up",
                "seconds": seen["targets"][0]["seconds"],
            }
        ]
        info = run_module("prometheus_target_info", {"url": server.url, "job": "web"})
        assert info["registered"] == 1
        assert info["job_known"]
        assert info["targets"][0]["address"] == exporter.address
        assert info["targets"][0]["labels"]["member"] == "web-1"
        assert info["targets"][0]["labels"]["group"] == "web"
        assert info["targets"][0]["health"] == "up"

        for check in (True, False):
            assert not run_module("prometheus_target", args, check=check)["changed"]

        gone = {**args, "state": "absent"}
        assert run_module("prometheus_target", gone, check=True)["changed"]
        seen = run_module("prometheus_target", gone)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert run_module("prometheus_target_info", {"url": server.url, "job": "web"})["registered"] == 0
        assert json.loads(path.read_text()) == []
        assert not run_module("prometheus_target", gone)["changed"]
        whole = {"path": str(path), "state": "absent"}
        assert run_module("prometheus_target", whole)["changed"]
        assert not path.exists()
        assert not run_module("prometheus_target", whole)["changed"]

    def test_one_of_two_never_comes_up(self, run_module: Run, args: dict[str, Any], exporter: kit.Exporter) -> None:
        """Partial success is told row by row; without allow_partial it is a failure that says why."""
        dead = f"127.0.0.1:{kit.free_port()}"
        both = {
            **args,
            "targets": [*args["targets"], {"address": dead}],
            "wait_timeout": 8,
            "allow_partial": True,
        }
        seen = run_module("prometheus_target", both)
        assert not seen["failed"], seen
        assert seen["failed_targets"] == [dead]
        by_address = {row["address"]: row for row in seen["targets"]}
        assert by_address[exporter.address]["health"] == "up"
        assert "refused" in by_address[dead]["msg"]

        seen = run_module("prometheus_target", {**both, "allow_partial": False, "wait_timeout": 2})
        assert seen["failed"]
        assert seen["failed_targets"] == [dead]
        assert "1 of 2 targets" in seen["msg"]
        seen = run_module("prometheus_target", {**both, "targets": [{"address": dead}], "wait_timeout": 1})
        assert seen["failed"], "nothing good is no partial success"

    def test_a_job_that_does_not_exist(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        info = run_module("prometheus_target_info", {"url": server.url, "job": "nobody"})
        assert not info["failed"]
        assert (info["registered"], info["job_known"]) == (0, False)
        seen = run_module("prometheus_target", {**args, "job": "nobody", "wait_timeout": 1})
        assert seen["failed"]
        assert "Prometheus has no job nobody" in seen["msg"]

    def test_missing_folder_explains_the_trap(self, run_module: Run, args: dict[str, Any], tmp_path: Path) -> None:
        missing = {**args, "path": str(tmp_path / "not" / "there" / "web.json")}
        seen = run_module("prometheus_target", missing)
        assert seen["failed"]
        assert "never watches a folder that was missing" in seen["msg"]
        seen = run_module("prometheus_target", missing, check=True)
        assert not seen["failed"], "in check mode the job that makes the folder is not written either"
        assert seen["changed"]
        assert seen["warnings"]

    def test_backend_down_before_the_file_is_touched(
        self, run_module: Run, server: kit.Server, args: dict[str, Any]
    ) -> None:
        server.stop()
        seen = run_module("prometheus_target", args)
        assert seen["failed"]
        assert "refused" in seen["msg"]
        assert not Path(args["path"]).exists()
        seen = run_module("prometheus_target_info", {"url": server.url, "job": "web"})
        assert seen["failed"]

    def test_bad_input_names_everything_at_once(self, run_module: Run, args: dict[str, Any]) -> None:
        bad = {**args, "targets": [{"address": "http://x:1"}, {"address": "10.0.0.1:9100", "labels": {"a-b": "c"}}]}
        seen = run_module("prometheus_target", bad)
        assert seen["failed"]
        assert "http://x:1" in seen["msg"]
        assert "a-b" in seen["msg"]

    def test_many_writers_lose_nothing(
        self, run_module: Run, args: dict[str, Any], start_module: Callable[..., Any]
    ) -> None:
        """The lock: four calls at once, every target is there afterwards."""
        calls = [
            start_module(
                "prometheus_target",
                {**args, "url": None, "targets": [{"address": f"10.0.0.{n}:9100"}]},
            )
            for n in range(1, 5)
        ]
        for call in calls:
            out, err = call.communicate(timeout=60)
            assert call.returncode == 0, (out, err)
        groups = json.loads(Path(args["path"]).read_text())
        assert sorted(a for g in groups for a in g["targets"]) == [f"10.0.0.{n}:9100" for n in range(1, 5)]
