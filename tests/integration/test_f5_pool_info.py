# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_pool_info`` in a process of its own, against the lab BIG-IP with real members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from integration import f5_kit as kit
from integration.f5_kit import PASSWORD, Device, Run, held_connection, services

folder, shared_device, device, member = kit.folder, kit.shared_device, kit.device, kit.member


def test_info_returns_what_is_there(device: Device, member: Callable[..., dict[str, Any]], run_module: Run) -> None:
    pool, empty = device.new_pool(), device.new_pool(monitor=None)
    port = device.new_virtual(pool)
    with services(True, True) as (one, two):
        member("enabled", pool, [two, {**one.row, "name": "web-20260310120000"}])
        member("disabled", pool, [two])
        with held_connection(port):
            result = run_module("f5_pool_info", {**device.args, "pools": [pool, empty], "virtuals": True})
        assert not result["changed"]
        first, second = result["pools"]
        assert (first["name"], first["partition"], first["monitor"]) == (pool, "Common", "/Common/health")
        assert first["available_members"] == 1
        assert first["virtuals"] == [{"name": f"/Common/vs-{pool}", "destination": f"127.0.0.1:{port}"}]
        assert [row["address"] for row in first["members"]] == sorted([one.address, two.address])
        rows = {row["address"]: row for row in first["members"]}
        assert (rows[one.address]["enabled"], rows[one.address]["in_service"], rows[one.address]["connections"]) == (
            True,
            True,
            1,
        )
        # What reconcile reads: whose member it is, and both fields of what was decided.
        fields = ("description", "session", "state")
        assert [rows[one.address][field] for field in fields] == ["web-20260310120000", "monitor-enabled", "up"]
        assert [rows[two.address][field] for field in fields] == ["", "user-disabled", "up"]
        assert (rows[two.address]["standing"], rows[two.address]["in_service"]) == ("disabled", False)
        assert rows[two.address]["availability"] == "available"
        assert (second["members"], second["monitor"], second["virtuals"]) == ([], None, [])


def test_connection_options_come_from_the_environment(device: Device, run_module: Run) -> None:
    env = {
        "F5_SERVER": "127.0.0.1",
        "F5_SERVER_PORT": str(device.port),
        "F5_USER": "admin",
        "F5_PASSWORD": PASSWORD,
        "F5_CA_PATH": device.args["ca_path"],
    }
    assert not run_module("f5_pool_info", {"pools": [device.new_pool()]}, env=env)["failed"]
