# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the BIG-IP modules do when input, login, device or network is bad: a word that helps, or the work goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from integration import f5_kit as kit
from integration.f5_kit import ON, PASSWORD, Device, Run, services

from lab.kit import free_port, wait_for

folder, shared_device, device, member = kit.folder, kit.shared_device, kit.device, kit.member


def test_a_missing_pool_is_named_with_similar_ones(
    device: Device, member: Callable[..., dict[str, Any]], run_module: Run
) -> None:
    pool = device.new_pool()
    row = {"address": "127.0.51.1", "port": 80}
    for result in (
        run_module("f5_pool_info", {**device.args, "pools": [f"{pool}x"]}),
        member("present", f"{pool}x", [row]),
        member("drained", f"{pool}x", [row], check=True),
    ):
        assert result["failed"]
        assert f"There is no pool /Common/{pool}x" in result["msg"]
        assert f"/Common/{pool}" in result["msg"].partition("Did you mean ")[2]
    gone = member("absent", f"{pool}x", [row])
    assert not gone["failed"]
    assert not gone["changed"]


def test_bad_input_is_refused_before_anything_is_asked(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    logins = device.state()["logins"]
    assert "'web-1' is not an IP address" in member("present", "any", [{"address": "web-1", "port": 80}])["msg"]
    assert "port 70000" in member("present", "any", [{"address": "127.0.51.1", "port": 70000}])["msg"]
    assert "more than once" in member("present", "any", [{"address": "127.0.51.1", "port": 80}] * 2)["msg"]
    assert device.state()["logins"] == logins


def test_a_wrong_password_is_said_and_not_repeated(device: Device, run_module: Run) -> None:
    result = run_module("f5_pool_info", {**device.args, "password": "wr0ng-one", "pools": ["x"]})
    assert result["failed"]
    assert "refused user 'admin'" in result["msg"]
    assert "wr0ng-one" not in str(result)


def test_a_backend_that_is_down_is_named_quickly(device: Device, run_module: Run) -> None:
    port = free_port()
    for patience, longest in ((0, 15), (120, 30)):
        started = time.monotonic()
        args = {**device.args, "port": port, "pools": ["x"], "busy_timeout": patience}
        result = run_module("f5_pool_info", args)
        assert result["failed"]
        assert f"https://127.0.0.1:{port}" in result["msg"]
        assert "refused" in result["msg"]
        assert time.monotonic() - started < longest


def test_a_certificate_that_nobody_vouches_for_is_refused(device: Device, run_module: Run) -> None:
    args = {key: value for key, value in device.args.items() if key != "ca_path"}
    result = run_module("f5_pool_info", {**args, "pools": ["x"]})
    assert "TLS" in result["msg"]
    assert "ca_path" in result["msg"]
    pool = device.new_pool()
    assert not run_module("f5_pool_info", {**args, "pools": [pool], "validate_certs": False})["failed"]


def test_a_restarting_device_is_waited_for(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    pool = device.new_pool()
    with services(True) as (one,):
        device.tell("restart", {"seconds": 4})
        started = time.monotonic()
        assert not member("present", pool, [one])["failed"]
        assert time.monotonic() - started > 3
        device.tell("restart", {"seconds": 6})
        late = member("present", pool, [one], busy_timeout=1)
        assert late["failed"]
        assert "Configuration Utility restarting" in late["msg"]
        assert "busy_timeout" in late["msg"]


def test_a_restart_in_the_middle_is_survived(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    """503 on the commit: nothing was applied; it is read again and sent again."""
    pool = device.new_pool()
    device.tell(
        "faults",
        {"method": "PATCH", "path": "/transaction/", "status": 503, "body": "Configuration Utility restarting..."},
    )
    with services(True) as (one,):
        result = member("enabled", pool, [one])
        assert not result["failed"], result["msg"]
        assert device.standing(pool, one) == ON


@pytest.mark.parametrize("action", ["apply_then_500", "apply_then_cut", "cut", "refuse"])
@pytest.mark.parametrize(
    ("state", "method", "path"),
    [
        ("enabled", "PATCH", "/transaction/"),
        ("drained", "PATCH", "/transaction/"),
        ("absent", "PATCH", "/transaction/"),
        ("absent", "DELETE", "/ltm/node/"),
    ],
)
def test_a_lost_answer_is_settled_by_reading(
    device: Device, member: Callable[..., dict[str, Any]], action: str, state: str, method: str, path: str
) -> None:
    """Invariant 7: apply, then fail."""
    pool = device.new_pool()
    with services(True) as (one,):
        if state != "enabled":
            member("enabled", pool, [one])
        device.tell("faults", {"method": method, "path": path, "action": action})
        result = member(state, pool, [one])
        assert device.state()["faults"] == []
        assert not result["failed"], result["msg"]
        assert result["changed"]
        if state == "absent":
            assert device.members(pool) == {}
            assert f"/Common/{one.address}" not in device.state()["nodes"]
        else:
            assert device.standing(pool, one) == (ON if state == "enabled" else ("user-disabled", "user-down"))


def test_a_token_that_expires_in_the_middle_is_renewed(
    device: Device, start_module: Callable[..., subprocess.Popen[str]]
) -> None:
    pool = device.new_pool()
    before = device.state()["logins"]
    with services(False) as (one,):
        args = {
            **device.args,
            "pool": pool,
            "state": "enabled",
            "members": [one.row],
            "wait_timeout": 30,
            "wait_interval": 0.2,
        }
        process = start_module("f5_pool_member", args)
        try:
            wait_for(lambda: one.name in device.members(pool), what="the member to be added")
            assert device.tell("expire_tokens")["expired"] >= 1
            one.healthy = True
        finally:
            out, _err = process.communicate(timeout=40)
        assert '"failed_members": []' in out, out
        assert device.standing(pool, one) == ON
        assert device.state()["logins"] == before + 2


def test_no_more_tokens_says_what_to_do(device: Device, run_module: Run) -> None:
    login = f"https://127.0.0.1:{device.port}/mgmt/shared/authn/login"
    body = {"username": "op", "password": PASSWORD, "loginProviderName": "tmos"}
    statuses = {device.session.post(login, json=body, timeout=10).status_code for _unused in range(101)}
    assert statuses == {200, 400}
    result = run_module("f5_pool_info", {**device.args, "username": "op", "pools": ["x"]})
    assert result["failed"]
    assert "maximum active login tokens" in result["msg"]
    assert "20 minutes" in result["msg"]
    device.tell("expire_tokens")
