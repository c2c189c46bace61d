# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_pool_member`` in a process of its own, against the lab BIG-IP with real members."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration import f5_kit as kit
from integration.f5_kit import ON, Device, Run, ask, held_connection, services, start_device

from lab.kit import free_port, wait_for

folder, shared_device, device, member = kit.folder, kit.shared_device, kit.device, kit.member


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
                wait_for(lambda s=stands: device.standing(pool, one) == s, what=f"{state} as {stands}")
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
        assert wait_for(lambda: ask(port) and bad.hits > 0, what="traffic for the healed member")


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
                wait_for(lambda: device.standing(pool, one)[0] == "user-disabled", what="the member to be disabled")
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
        wait_for(lambda: not device.state()["rebooting"], what="the reboot")
        assert set(device.members(pool)) == {kept.name}


def test_a_pair_is_changed_on_its_active_device_and_synced(folder: Path, run_module: Run) -> None:
    ports = [(free_port(), free_port()), (free_port(), free_port())]
    first = start_device(folder, "a.lab", ports[0], "--peer", f"http://127.0.0.1:{ports[1][1]}")
    try:
        second = start_device(
            folder, "b.lab", ports[1], "--peer", f"http://127.0.0.1:{ports[0][1]}", "--role", "standby"
        )
        try:
            wait_for(lambda: (first.state()["role"], second.state()["role"]) == ("active", "standby"), what="the roles")
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
