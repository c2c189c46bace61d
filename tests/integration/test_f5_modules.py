# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_pool_member`` and ``f5_pool_info`` in processes of their own, against the lab BIG-IP with real members."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.f5_kit import (
    PASSWORD,
    Device,
    Service,
    ask,
    eventually,
    free_port,
    held_connection,
    services,
    start_device,
)

Run = Callable[..., dict[str, Any]]
ON = ("monitor-enabled", "up")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bigip")


@pytest.fixture(scope="module")
def shared_device(folder: Path) -> Iterator[Device]:
    it = start_device(folder)
    yield it
    it.stop()


@pytest.fixture
def device(shared_device: Device) -> Iterator[Device]:
    yield shared_device
    shared_device.tell("faults", method="DELETE")
    eventually(lambda: not shared_device.state()["restarting"], what="the end of a restart")


@pytest.fixture
def member(run_module: Run, device: Device) -> Callable[..., dict[str, Any]]:
    """``member(state, pool, services or rows, check=, diff=, **options)``."""

    def call(
        state: str, pool: str, members: list[Any], *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        rows = [one.row if isinstance(one, Service) else one for one in members]
        args = {**device.args, "pool": pool, "state": state, "members": rows, "wait_interval": 0.2, **options}
        return run_module("f5_pool_member", args, check=check, diff=diff)

    return call


def summary(result: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(row["changed"], row["msg"]) for row in result["members"]]


def test_the_life_of_a_member(device: Device, member: Callable[..., dict[str, Any]], run_module: Run) -> None:
    """Each state: check mode, for real, again; ``changed``, diff and the device itself agree each time."""
    pool = device.new_pool()
    with services(True) as (one,):
        standings = {
            "present": ("user-disabled", "up"),
            "enabled": ON,
            "disabled": ("user-disabled", "up"),
            "forced_offline": ("user-disabled", "user-down"),
            "drained": None,
            "absent": None,
        }
        before = "absent"
        for state, stands in standings.items():
            frozen = device.members(pool)
            foretold = member(state, pool, [one], check=True, diff=True)
            assert {k: (v["session"], v["state"] == "user-down") for k, v in device.members(pool).items()} == {
                k: (v["session"], v["state"] == "user-down") for k, v in frozen.items()
            }
            done = member(state, pool, [one], diff=True)
            assert not done["failed"], done["msg"]
            again = member(state, pool, [one], diff=True)
            after = {"present": "disabled", "drained": "forced_offline"}.get(state, state)
            changes = before != after
            assert foretold["diff"] == done["diff"], state
            assert (foretold["changed"], done["changed"], again["changed"]) == (changes, changes, False), state
            assert (done["diff"]["before"] != done["diff"]["after"]) is changes
            assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
            assert summary(done)[0][1] == (f"{before} -> {after}" if changes else f"is {after}")
            assert done["saved"] is changes
            if state == "absent":
                assert device.members(pool) == {}
                assert f"/Common/{one.address}" not in device.state()["nodes"]
            elif stands:
                eventually(lambda s=stands: device.standing(pool, one) == s, what=f"{state} as {stands}")
            before = after
    assert device.state()["unsaved"] is False


def test_two_come_into_service_in_one_call_and_one_session(
    device: Device, member: Callable[..., dict[str, Any]], run_module: Run
) -> None:
    """Invariant 5, and nothing is left behind: the token is given back."""
    pool = device.new_pool()
    before = device.state()
    with services(True, True) as running:
        result = member("enabled", pool, [{**one.row, "name": f"web-{n}"} for n, one in enumerate(running)])
        assert not result["failed"], result["msg"]
        assert [row["name"] for row in result["members"]] == ["web-0", "web-1"]
        assert all(row["in_service"] and row["availability"] == "available" for row in result["members"])
        assert all(0 < row["seconds"] < 10 for row in result["members"])
        after = device.state()
        assert after["logins"] - before["logins"] == 1
        assert after["tokens"] == before["tokens"]
        assert after["transactions"] == 0
        info = run_module("f5_pool_info", {**device.args, "pools": [pool]})["pools"][0]
        assert [row["description"] for row in info["members"]] == ["web-0", "web-1"]


def test_one_unhealthy_member_never_takes_traffic(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    """Invariant 5, seen from the member: while it is waited for, clients come and none reaches it."""
    pool = device.new_pool()
    port = device.new_virtual(pool)
    stop = threading.Event()
    with services(True, False) as (good, bad):

        def clients() -> None:
            while not stop.is_set():
                ask(port)
                time.sleep(0.02)

        crowd = threading.Thread(target=clients)
        crowd.start()
        try:
            result = member("enabled", pool, [good, bad], wait_timeout=4)
            partial = member("enabled", pool, [good, bad], wait_timeout=1, allow_partial=True)
        finally:
            stop.set()
            crowd.join()
        assert result["failed"]
        assert "1 of 2 members" in result["msg"]
        assert f"{bad.name} stays disabled, not available after 4 s" in result["msg"]
        assert "wait_timeout" in result["msg"]
        assert result["failed_members"] == partial["failed_members"] == [bad.name]
        assert not partial["failed"]
        assert good.hits > 0
        assert bad.hits == 0
        assert device.standing(pool, good) == ON
        assert device.standing(pool, bad)[0] == "user-disabled"
        bad.healthy = True
        assert not member("enabled", pool, [good, bad])["failed"]
        assert eventually(lambda: ask(port) and bad.hits > 0, what="traffic for the healed member")


def test_a_pool_without_monitor_warns(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    pool = device.new_pool(monitor=None)
    with services(True) as (one,):
        result = member("enabled", pool, [one])
        assert result["members"][0]["in_service"]
        assert device.standing(pool, one) == ("user-enabled", "unchecked")
        assert any("No monitor watches" in str(warning) for warning in result["warnings"])


def test_forced_offline_really_is(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    """The complaint to beat (f5-ansible issue 2537): from every standing it lands with both fields as written."""
    pool = device.new_pool()
    with services(True) as (one,):
        for state in ("enabled", "disabled", "present"):
            assert not member(state, pool, [one])["failed"]
            result = member("forced_offline", pool, [one])
            assert (result["members"][0]["session"], result["members"][0]["state"]) == ("user-disabled", "user-down")
            assert device.standing(pool, one) == ("user-disabled", "user-down")
        assert not member("enabled", pool, [one])["failed"]
        assert device.standing(pool, one) == ON


def test_a_drain_waits_for_a_live_connection(
    device: Device, member: Callable[..., dict[str, Any]], start_module: Callable[..., subprocess.Popen[str]]
) -> None:
    """Invariant 4 and B5: no new clients, the running one ends in peace, then nothing more."""
    pool = device.new_pool()
    port = device.new_virtual(pool)
    with services(True) as (one,):
        assert not member("enabled", pool, [one])["failed"]
        with held_connection(port) as client:
            args = {
                **device.args,
                "pool": pool,
                "state": "drained",
                "members": [one.row],
                "drain_timeout": 60,
                "wait_interval": 0.2,
            }
            process = start_module("f5_pool_member", args)
            try:
                eventually(lambda: device.standing(pool, one)[0] == "user-disabled", what="the member to be disabled")
                assert device.members(pool)[one.name]["connections"] == 1
                time.sleep(1)
                assert process.poll() is None
                assert not ask(port)
                client.sendall(b"GET /work HTTP/1.1\r\nHost: lab\r\n\r\n")
                assert b"200 OK" in client.recv(4096)
            finally:
                client.close()
                out, _err = process.communicate(timeout=30)
        assert '"drained": true' in out
        assert '"connections_left": 0' in out
        assert device.standing(pool, one) == ("user-disabled", "user-down")


def test_a_drain_s_deadline_forces_and_counts(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    pool = device.new_pool()
    port = device.new_virtual(pool)
    with services(True) as (one,):
        assert not member("enabled", pool, [one])["failed"]
        with held_connection(port), held_connection(port):
            refused = member("drained", pool, [one], drain_timeout=1, drain_deadline="fail")
            assert refused["failed"]
            assert "has 2 connections after 1 s" in refused["msg"]
            assert device.standing(pool, one)[0] == "user-disabled"
            assert device.standing(pool, one)[1] != "user-down"
            result = member("drained", pool, [one], drain_timeout=1)
            row = result["members"][0]
            assert not result["failed"]
            assert (row["drained"], row["connections_left"], row["state"]) == (False, 2, "user-down")
            assert 1 <= row["seconds"] < 5
            assert any("connections left" in str(warning) for warning in result["warnings"])
        assert member("absent", pool, [one])["changed"]


def test_absent_keeps_a_node_that_another_pool_uses(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    """The complaint to beat: absent that deletes the node although others use it."""
    first, second = device.new_pool(), device.new_pool()
    with services(True, True) as (both, only):
        member("present", first, [both, only])
        member("present", second, [both])
        foretold = member("absent", first, [both, only], check=True)
        done = member("absent", first, [both, only])
        again = member("absent", first, [both, only])
        assert (
            [row["node"] for row in foretold["members"]]
            == [row["node"] for row in done["members"]]
            == ["kept", "removed"]
        )
        assert [row["node"] for row in again["members"]] == ["kept", "absent"]
        assert not again["changed"]
        nodes = device.state()["nodes"]
        assert f"/Common/{both.address}" in nodes
        assert f"/Common/{only.address}" not in nodes
        assert set(device.members(second)) == {both.name}
        member("absent", second, [both])


def test_members_that_are_not_listed_are_never_touched(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    pool = device.new_pool()
    with services(True, True) as (mine, other):
        member("enabled", pool, [mine, other])
        for state in ("disabled", "drained", "absent", "present"):
            assert not member(state, pool, [mine])["failed"]
            assert device.standing(pool, other) == ON
        assert member("absent", pool, [mine, other])["changed"]


def test_attributes_change_without_touching_the_standing(
    device: Device, member: Callable[..., dict[str, Any]], run_module: Run
) -> None:
    pool = device.new_pool()
    with services(True) as (one,):
        member("enabled", pool, [one])
        row = {**one.row, "ratio": 3, "priority_group": 2, "connection_limit": 50, "description": "by hand"}
        result = member("present", pool, [row], diff=True)
        assert summary(result) == [(True, "changed")]
        assert result["diff"]["after"]["members"][one.name] == {
            "standing": "enabled",
            "ratio": 3,
            "priority_group": 2,
            "connection_limit": 50,
            "description": "by hand",
        }
        assert device.standing(pool, one) == ON
        assert not member("present", pool, [row])["changed"]
        assert not member("enabled", pool, [one])["changed"]
        seen = run_module("f5_pool_info", {**device.args, "pools": [pool]})["pools"][0]["members"][0]
        assert (seen["ratio"], seen["priority_group"], seen["connection_limit"]) == (3, 2, 50)


def test_info_returns_what_is_there(device: Device, member: Callable[..., dict[str, Any]], run_module: Run) -> None:
    pool, empty = device.new_pool(), device.new_pool(monitor=None)
    port = device.new_virtual(pool)
    with services(True, True) as (one, two):
        member("enabled", pool, [two, one])
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
        assert (rows[two.address]["standing"], rows[two.address]["in_service"]) == ("disabled", False)
        assert rows[two.address]["availability"] == "available"
        assert (second["members"], second["monitor"], second["virtuals"]) == ([], None, [])


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
    started = time.monotonic()
    port = free_port()
    result = run_module("f5_pool_info", {**device.args, "port": port, "pools": ["x"]})
    assert result["failed"]
    assert f"https://127.0.0.1:{port}" in result["msg"]
    assert "refused" in result["msg"]
    assert time.monotonic() - started < 15


def test_a_certificate_that_nobody_vouches_for_is_refused(device: Device, run_module: Run) -> None:
    args = {key: value for key, value in device.args.items() if key != "ca_path"}
    result = run_module("f5_pool_info", {**args, "pools": ["x"]})
    assert "TLS" in result["msg"]
    assert "ca_path" in result["msg"]
    pool = device.new_pool()
    assert not run_module("f5_pool_info", {**args, "pools": [pool], "validate_certs": False})["failed"]


def test_connection_options_come_from_the_environment(device: Device, run_module: Run) -> None:
    env = {
        "F5_SERVER": "127.0.0.1",
        "F5_SERVER_PORT": str(device.port),
        "F5_USER": "admin",
        "F5_PASSWORD": PASSWORD,
        "F5_CA_PATH": device.args["ca_path"],
    }
    assert not run_module("f5_pool_info", {"pools": [device.new_pool()]}, env=env)["failed"]


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
            eventually(lambda: one.name in device.members(pool), what="the member to be added")
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


def test_an_operator_enables_and_disables_but_does_not_add(
    device: Device, member: Callable[..., dict[str, Any]]
) -> None:
    """A15: the role that is enough for each state is documented, and is enough."""
    pool = device.new_pool()
    with services(True, True) as (one, two):
        member("enabled", pool, [one])
        operator = {"username": "op", "save": False}
        result = member("disabled", pool, [one], **operator)
        assert not result["failed"], result["msg"]
        assert device.standing(pool, one)[0] == "user-disabled"
        refused = member("present", pool, [two], **operator)
        assert refused["failed"]
        assert "Manager or Resource Administrator" in refused["msg"]


def test_two_runs_at_once_end_in_one_pool(
    device: Device, start_module: Callable[..., subprocess.Popen[str]], member: Callable[..., dict[str, Any]]
) -> None:
    """409 on a create that somebody else made first is no error; A10."""
    pool = device.new_pool()
    with services(True, True, True) as running:
        args = {**device.args, "pool": pool, "state": "enabled", "wait_interval": 0.2}
        pairs = (running[:2], running[1:])
        processes = [start_module("f5_pool_member", {**args, "members": [one.row for one in pair]}) for pair in pairs]
        outs = [process.communicate(timeout=60)[0] for process in processes]
        assert all('"failed_members": []' in out for out in outs), outs
        assert [device.standing(pool, one) for one in running] == [ON] * 3


def test_a_saved_change_survives_a_reboot(device: Device, member: Callable[..., dict[str, Any]]) -> None:
    pool = device.new_pool()
    with services(True, True) as (kept, lost):
        member("present", pool, [kept])
        assert member("present", pool, [lost], save=False)["saved"] is False
        device.tell("reboot", {"seconds": 0.5})
        eventually(lambda: not device.state()["rebooting"], what="the reboot")
        assert set(device.members(pool)) == {kept.name}


def test_a_pair_is_changed_on_its_active_device_and_synced(folder: Path, run_module: Run) -> None:
    ports = [(free_port(), free_port()), (free_port(), free_port())]
    first = start_device(folder, "a.lab", ports[0], "--peer", f"http://127.0.0.1:{ports[1][1]}")
    try:
        second = start_device(
            folder, "b.lab", ports[1], "--peer", f"http://127.0.0.1:{ports[0][1]}", "--role", "standby"
        )
        try:
            eventually(
                lambda: (first.state()["role"], second.state()["role"]) == ("active", "standby"), what="the roles"
            )
            pool = first.new_pool()
            with services(True) as (one,):
                args = {"pool": pool, "state": "enabled", "members": [one.row], "wait_interval": 0.2}
                refused = run_module("f5_pool_member", {**second.args, **args})
                assert refused["failed"]
                assert "standby device" in refused["msg"]
                assert "a.lab" in refused["msg"]
                result = run_module("f5_pool_member", {**first.args, **args, "sync_group": "lab-pair"})
                assert not result["failed"], result["msg"]
                assert result["synced"]
                assert result["saved"]
                assert one.name in second.members(pool)
                assert first.state()["sync"] == "In Sync"
        finally:
            second.stop()
    finally:
        first.stop()
