# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with a BIG-IP and its pair (rows 5 and 6 of what the emulator must do beyond answering)."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest

from lab.kit import free_port

POOL = "/tm/ltm/pool/~Common~web-pool"


async def until(device, condition, timeout=5.0):
    """Wait until the state of the control port fulfils *condition*."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition(state := await device.control("GET", "/state")):
        assert asyncio.get_running_loop().time() < end, state
        await asyncio.sleep(0.02)


# -- restart and reboot ------------------------------------------------------------------------------------------------


async def test_restart_answers_503_and_traffic_goes_on(start):
    device = await start()
    await device.control("POST", "/restart", {"seconds": 0.3})
    status, text = await device.call("GET", POOL)
    assert status == 503
    assert "Configuration Utility restarting..." in text
    assert await device.connect() == "a"
    assert (await device.control("GET", "/healthz"))["status"] == "restarting"
    await asyncio.sleep(0.35)
    assert (await device.call("GET", POOL))[0] == 200


async def test_reboot_forgets_what_was_not_saved(start, backends):
    device = await start()
    await device.ok("PATCH", POOL, {"description": "saved"})
    await device.ok("POST", "/tm/sys/config", {"command": "save"})
    await device.ok("PATCH", POOL, {"description": "lost"})
    await device.ok("DELETE", device.member_url(backends[0]))
    assert (await device.control("GET", "/state"))["unsaved"] is True
    await device.ok("POST", "/shared/authn/login", {"username": "admin", "password": "secret"})
    vip = device.vip
    await device.control("POST", "/reboot", {"seconds": 0.3})
    await asyncio.sleep(0.1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await device.call("GET", POOL)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*vip)
    await until(device, lambda state: not state["rebooting"])
    pool = await device.ok("GET", f"{POOL}?expandSubcollections=true")
    assert (pool["description"], len(pool["membersReference"]["items"])) == ("saved", 3)
    assert (await device.control("GET", "/state"))["tokens"] == 0
    assert await device.connect() in {"a", "b", "c"}


async def test_restart_page_with_status_200(start):
    """Some versions send the page with 200: a client that trusts the status parses HTML."""
    device = await start()
    await device.control("POST", "/restart", {"seconds": 5, "status": 200})
    status, text = await device.call("GET", POOL)
    assert status == 200
    assert "Configuration Utility restarting..." in text


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_faults_happen_to_the_calls_they_match(start):
    device = await start()
    await device.control("POST", "/faults", {"method": "PATCH", "path": "web-pool$", "status": 503, "count": 2})
    assert (await device.call("GET", POOL))[0] == 200
    assert [(await device.call("PATCH", POOL, {}))[0] for _unused in range(3)] == [503, 503, 200]
    await device.control("POST", "/faults", {"path": "web-pool", "status": 500, "count": None})
    assert [(await device.call("GET", POOL))[0] for _unused in range(3)] == [500] * 3
    await device.control("DELETE", "/faults")
    assert (await device.call("GET", POOL))[0] == 200


@pytest.mark.parametrize(("action", "applied"), [("refuse", False), ("cut", True), ("apply_then_cut", True)])
async def test_faults_that_break_the_connection(start, action, applied):
    device = await start()
    await device.control("POST", "/faults", {"method": "PATCH", "action": action})
    with pytest.raises(aiohttp.ClientError):
        await device.call("PATCH", POOL, {"description": "new"})
    assert ((await device.ok("GET", POOL)).get("description") == "new") is applied


async def test_applied_and_then_failed(start):
    device = await start()
    await device.control(
        "POST", "/faults", {"match": {"method": "POST", "path": "members$"}, "action": "apply_then_500"}
    )
    status, _answer = await device.call("POST", f"{POOL}/members", {"name": "10.0.0.1:80"})
    assert status == 500
    assert (await device.call("POST", f"{POOL}/members", {"name": "10.0.0.1:80"}))[0] == 409


async def test_delay_and_calls_that_pass_first(start):
    device = await start()
    await device.control("POST", "/faults", {"delay_s": 0.3, "after": 1})
    loop = asyncio.get_running_loop()
    times = []
    for _unused in range(3):
        began = loop.time()
        await device.ok("GET", POOL)
        times.append(loop.time() - began)
    assert times[1] >= 0.3
    assert max(times[0], times[2]) < 0.3


async def test_a_wrong_rule_is_refused(start):
    device = await start()
    assert "actions" not in (await device.control("POST", "/faults", {"action": "explode"}))
    assert (await device.control("GET", "/faults"))["faults"] == []


# -- the pair ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def pair(start):
    """An active and a standby device that share one virtual address."""
    ports, vip = [free_port(), free_port()], free_port()
    devices = []
    for index, role in enumerate(("active", "standby")):
        devices.append(
            await start(
                virtual={"destination": f"127.0.0.1:{vip}"},
                name=f"bigip{index + 1}.lab",
                role=role,
                control=("127.0.0.1", ports[index]),
                peer=f"http://127.0.0.1:{ports[1 - index]}",
            )
        )
    await until(devices[0], lambda state: state["sync"] == "In Sync")
    return devices


async def roles(device):
    items = (await device.ok("GET", "/tm/cm/device"))["items"]
    return {item["name"]: item["failoverState"] for item in items}


async def sync_status(device):
    (block,) = (await device.ok("GET", "/tm/cm/sync-status"))["entries"].values()
    return block["nestedStats"]["entries"]["status"]["description"]


async def test_pair_shows_roles_and_changes_pending_until_synchronized(pair):
    active, standby = pair
    assert await roles(active) == await roles(standby) == {"bigip1.lab": "active", "bigip2.lab": "standby"}
    assert standby.emulator.plane.address("/Common/web-vip") is None
    await active.ok("PATCH", POOL, {"description": "new"})
    assert [await sync_status(device) for device in pair] == ["Changes Pending"] * 2
    assert "description" not in await standby.ok("GET", POOL)
    await active.ok("POST", "/tm/cm", {"command": "run", "utilCmdArgs": "config-sync to-group lab-pair"})
    assert [await sync_status(device) for device in pair] == ["In Sync"] * 2
    assert (await standby.ok("GET", POOL))["description"] == "new"


async def test_failover_moves_the_virtual_servers(pair):
    active, standby = pair
    assert await active.connect() == "a"
    await active.control("POST", "/failover")
    assert active.emulator.plane.address("/Common/web-vip") is None
    assert await standby.connect() in {"a", "b", "c"}
    await until(standby, lambda state: state["role"] == "active")
    assert await roles(standby) == {"bigip1.lab": "standby", "bigip2.lab": "active"}
    stats = await standby.ok("GET", "/tm/cm/traffic-group/~Common~traffic-group-1/stats")
    states = [block["nestedStats"]["entries"]["failoverState"]["description"] for block in stats["entries"].values()]
    assert sorted(states) == ["active", "standby"]


async def test_standby_takes_over_when_the_active_one_dies(pair):
    active, standby = pair
    await active.emulator.stop()
    await until(standby, lambda state: state["role"] == "active" and state["virtuals"][0]["listening"])
    assert await sync_status(standby) == "Disconnected"
    assert await standby.connect() in {"a", "b", "c"}


async def test_failover_without_a_living_peer_is_refused(pair):
    """The active device takes its role back: a dead standby does not end the service."""
    active, standby = pair
    await standby.emulator.stop()
    status, answer = await active.call("POST", "/tm/sys/failover", {"command": "run", "standby": True})
    assert status == 400
    assert "peer cannot be reached" in answer["message"]
    assert await active.connect() in {"a", "b", "c"}


async def test_reboot_of_the_active_one_hands_over_first(pair):
    active, standby = pair
    await active.control("POST", "/reboot", {"seconds": 0.3})
    await until(standby, lambda state: state["role"] == "active" and state["virtuals"][0]["listening"])
    assert await standby.connect() in {"a", "b", "c"}
    await until(active, lambda state: not state["rebooting"])
    assert (await active.control("GET", "/state"))["role"] == "standby"
    with contextlib.suppress(ConnectionError):
        await standby.connect()
