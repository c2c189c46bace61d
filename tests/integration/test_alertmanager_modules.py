# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Alertmanager modules against a real Alertmanager (A2, A8, A11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration import prometheus_fixtures as kit

from lab import debs

Run = Callable[..., dict[str, Any]]
ROUTE = {
    "matchers": ['onprem_autoscale="true"', 'group="web"'],
    "group_by": ["group", "action"],
    "group_wait": "0s",
    "group_interval": "75s",
    "repeat_interval": "5m",
}
RECEIVER = {
    "name": "autoscale-web",
    "webhook_configs": [{"url": "http://127.0.0.1:9/alerts", "send_resolved": True, "max_alerts": 0}],
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[kit.Server]:
    with kit.alertmanager(tmp_path) as running:
        yield running


@pytest.fixture
def args(server: kit.Server) -> dict[str, Any]:
    return {
        "url": server.url,
        "config_file": str(server.config),
        "amtool": str(debs.binary("amtool")),
        "name": "web",
        "route": ROUTE,
        "receiver": RECEIVER,
        "wait_interval": 0.2,
    }


def running(server: kit.Server) -> dict[str, Any]:
    return yaml.safe_load(server.get("/api/v2/status")["config"]["original"])


def receivers(server: kit.Server) -> list[str]:
    return [receiver["name"] for receiver in running(server)["receivers"]]


class TestRoute:
    def test_twelve_steps(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        """A2: route and receiver come as first, change and go; check mode changes nothing; the rest stays as it was."""
        first = server.config.read_bytes()
        seen = run_module("alertmanager_route", args, check=True, diff=True)
        assert not seen["failed"], seen
        assert seen["changed"]
        shown = "".join(entry["after"] for entry in seen["diff"])
        assert "autoscale-web" in shown
        assert "people" not in shown, "the diff shows only our own part"
        assert server.config.read_bytes() == first

        seen = run_module("alertmanager_route", args)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert seen["receiver"] == "autoscale-web"
        routes = running(server)["route"]["routes"]
        assert [route["receiver"] for route in routes] == ["autoscale-web", "people"], "ours is asked first"
        assert sorted(receivers(server)) == ["autoscale-web", "people"]
        for check in (True, False):
            seen = run_module("alertmanager_route", args, check=check)
            assert not seen["failed"], seen
            assert not seen["changed"]

        changed = {**args, "route": {**ROUTE, "repeat_interval": "10m"}}
        assert run_module("alertmanager_route", changed, check=True)["changed"]
        assert run_module("alertmanager_route", changed)["changed"]
        assert running(server)["route"]["routes"][0]["repeat_interval"] == "10m"
        assert not run_module("alertmanager_route", changed)["changed"]

        renamed = {**args, "receiver": {**RECEIVER, "name": "autoscale-web2"}}
        assert run_module("alertmanager_route", renamed)["changed"]
        assert sorted(receivers(server)) == ["autoscale-web2", "people"]

        gone = {key: value for key, value in args.items() if key not in ("route", "receiver")} | {"state": "absent"}
        assert run_module("alertmanager_route", gone, check=True)["changed"]
        assert run_module("alertmanager_route", gone)["changed"]
        assert server.config.read_bytes() == first, "removal gives the file from before the first configure"
        assert receivers(server) == ["people"]
        for check in (True, False):
            assert not run_module("alertmanager_route", gone, check=check)["changed"]
        assert server.leftovers() == []

    def test_a_file_that_amtool_refuses_is_never_installed(
        self, run_module: Run, server: kit.Server, args: dict[str, Any]
    ) -> None:
        first = server.config.read_bytes()
        for check in (True, False):
            bad = {**args, "route": {**ROUTE, "group_interval": "often"}}
            seen = run_module("alertmanager_route", bad, check=check)
            assert seen["failed"]
            assert "amtool refuses" in seen["msg"]
            assert "often" in seen["msg"]
            assert ".tmp" not in seen["msg"]
        assert server.config.read_bytes() == first
        assert server.leftovers() == []

    def test_a_reload_that_fails_is_rolled_back(
        self, run_module: Run, server: kit.Server, args: dict[str, Any]
    ) -> None:
        first = server.config.read_bytes()
        lenient = str(kit.accepting_tool(server.folder, "lenient"))
        bad = {**args, "route": {**ROUTE, "group_interval": "often"}, "amtool": lenient}
        seen = run_module("alertmanager_route", bad)
        assert seen["failed"]
        assert "often" in seen["msg"]
        assert "as they were before and are loaded again" in seen["msg"]
        assert server.config.read_bytes() == first
        assert receivers(server) == ["people"]
        assert server.leftovers() == []

    def test_backend_down(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        first = server.config.read_bytes()
        server.stop()
        seen = run_module("alertmanager_route", args)
        assert seen["failed"]
        assert "refused" in seen["msg"]
        assert server.config.read_bytes() == first

    def test_another_file_than_the_one_alertmanager_reads(
        self, run_module: Run, server: kit.Server, args: dict[str, Any], tmp_path: Path
    ) -> None:
        other = tmp_path / "other.yml"
        other.write_text(kit.ALERTMANAGER_YML)
        seen = run_module("alertmanager_route", {**args, "config_file": str(other), "wait_timeout": 1})
        assert seen["failed"]
        assert "--config.file" in seen["msg"]
        assert other.read_text() == kit.ALERTMANAGER_YML

    def test_bad_input(self, run_module: Run, args: dict[str, Any]) -> None:
        seen = run_module("alertmanager_route", {**args, "route": {"group_wait": "0s"}})
        assert seen["failed"]
        assert "swallow every alert" in seen["msg"]
        seen = run_module("alertmanager_route", {**args, "route": {**ROUTE, "receiver": "people"}})
        assert seen["failed"]
        assert "route.receiver" in seen["msg"]
        seen = run_module("alertmanager_route", {**args, "receiver": {**RECEIVER, "name": "people"}})
        assert seen["failed"]
        assert "did not write" in seen["msg"]

    def test_two_groups(self, run_module: Run, server: kit.Server, args: dict[str, Any]) -> None:
        """A10: groups come and go without touching each other."""
        first = server.config.read_bytes()
        for name in ("web", "api"):
            wish = {**args, "name": name, "receiver": {**RECEIVER, "name": f"autoscale-{name}"}}
            assert run_module("alertmanager_route", wish)["changed"]
        assert sorted(receivers(server)) == ["autoscale-api", "autoscale-web", "people"]
        gone = {key: value for key, value in args.items() if key not in ("route", "receiver")} | {"state": "absent"}
        for name in ("web", "api"):
            assert run_module("alertmanager_route", {**gone, "name": name})["changed"]
        assert server.config.read_bytes() == first

    def test_secrets_stay_out_of_the_diff(self, run_module: Run, args: dict[str, Any]) -> None:
        """A15: a token that is given as a value is masked in what people see."""
        webhook = {
            **RECEIVER["webhook_configs"][0],  # type: ignore[index]
            "http_config": {"authorization": {"credentials": "very-secret-token"}},
        }
        wish = {**args, "receiver": {"name": "autoscale-web", "webhook_configs": [webhook]}}
        seen = run_module("alertmanager_route", wish, diff=True)
        assert not seen["failed"], seen
        assert "very-secret-token" not in str(seen["diff"])
        assert "credentials: ***" in str(seen["diff"])


class TestAlert:
    @pytest.fixture
    def alert(self, server: kit.Server) -> dict[str, Any]:
        return {
            "url": server.url,
            "alerts": [
                {
                    "name": "AutoscaleAddressPoolEmpty",
                    "labels": {"group": "web"},
                    "annotations": {"summary": 'Group "web" cannot grow'},
                }
            ],
            "duration": 600,
        }

    def test_fires_is_left_alone_and_ends(self, run_module: Run, server: kit.Server, alert: dict[str, Any]) -> None:
        """A8, A11: one alert, raised once, seen by Alertmanager, ended on request."""
        assert run_module("alertmanager_alert", alert, check=True)["changed"]
        assert server.get("/api/v2/alerts") == []
        seen = run_module("alertmanager_alert", alert)
        assert not seen["failed"], seen
        assert seen["changed"]
        assert seen["alerts"][0]["fingerprint"]
        rows = server.get("/api/v2/alerts")
        assert [row["labels"] for row in rows] == [{"alertname": "AutoscaleAddressPoolEmpty", "group": "web"}]
        assert rows[0]["annotations"] == alert["alerts"][0]["annotations"]
        for check in (True, False):
            assert not run_module("alertmanager_alert", alert, check=check)["changed"]

        other = {**alert["alerts"][0], "annotations": {"summary": "other"}}
        seen = run_module("alertmanager_alert", {**alert, "alerts": [other]})
        assert seen["changed"]
        assert server.get("/api/v2/alerts")[0]["annotations"] == {"summary": "other"}
        assert run_module("alertmanager_alert", {**alert, "duration": 6000})["changed"], "prolonged"

        gone = {**alert, "state": "resolved"}
        assert run_module("alertmanager_alert", gone)["changed"]
        assert server.get("/api/v2/alerts") == []
        assert not run_module("alertmanager_alert", gone)["changed"]

    def test_several_at_once(self, run_module: Run, server: kit.Server, alert: dict[str, Any]) -> None:
        """A superset of labels is not the same alert, and each row says whether it changed."""
        assert run_module("alertmanager_alert", alert)["changed"]
        first = alert["alerts"][0]
        both = {**alert, "alerts": [first, {**first, "labels": {"group": "web", "site": "a", "empty": ""}}]}
        seen = run_module("alertmanager_alert", both)
        assert [row["changed"] for row in seen["alerts"]] == [False, True]
        assert len(server.get("/api/v2/alerts")) == 2

    def test_bad_input_and_backend_down(self, run_module: Run, server: kit.Server, alert: dict[str, Any]) -> None:
        seen = run_module("alertmanager_alert", {**alert, "alerts": [{"name": "A", "labels": {"a-b": "c"}}]})
        assert seen["failed"]
        assert "a-b" in seen["msg"]
        seen = run_module("alertmanager_alert", {**alert, "duration": 0})
        assert seen["failed"]
        assert "duration" in seen["msg"]
        server.stop()
        seen = run_module("alertmanager_alert", alert)
        assert seen["failed"]
        assert "refused" in seen["msg"]
