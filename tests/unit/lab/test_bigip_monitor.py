# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitors of the BIG-IP emulator (invariant 5: what a member without a verdict does); a tenth of the real times."""

from __future__ import annotations

import asyncio
import time

import pytest

from lab.bigip.errors import ApiError
from lab.bigip.monitor import request_bytes, wire_text

HTTP = {
    "name": "health",
    "type": "http",
    "send": "GET /health HTTP/1.0\\r\\n\\r\\n",
    "recv": "200 OK",
    "interval": 1,
    "timeout": 4,
}


def http(**changes: object) -> dict[str, object]:
    return {**HTTP, **changes}


async def member_of(device, backend):
    return await device.ok("GET", device.member_url(backend))


async def test_first_unknown_and_taking_traffic_then_up(start, backends, eventually):
    """A member without a verdict is "checking"/"unknown" and is sent traffic when it is enabled."""
    device = await start({"monitor": "health"}, monitors=[http(interval=5)])
    shown = await member_of(device, backends[0])
    assert (shown["session"], shown["state"]) == ("monitor-enabled", "checking")
    state = device.emulator.state()["pools"][0]["members"][0]
    assert (state["availability"], state["accepts"]) == ("unknown", True)
    assert await device.connect() == "a"
    await eventually(lambda: device.runtime(backends[0]).health == "up")
    assert (await member_of(device, backends[0]))["state"] == "up"
    assert device.emulator.state()["pools"][0]["members"][0]["availability"] == "available"


async def test_down_after_the_timeout_and_up_at_the_first_success(start, backends, eventually):
    device = await start({"monitor": "health"}, monitors=[http()])
    runtime = device.runtime(backends[0])
    await eventually(lambda: runtime.health == "up")
    backends[0].healthy = False
    began = time.monotonic()
    await asyncio.sleep(0.2)
    assert runtime.health == "up"  # two failures are not yet the timeout
    await eventually(lambda: runtime.health == "down")
    assert time.monotonic() - began > 0.25
    assert {await device.connect() for _unused in range(6)} == {"b", "c"}
    shown = await member_of(device, backends[0])
    assert (shown["session"], shown["state"]) == ("monitor-enabled", "down")
    backends[0].healthy = True
    await eventually(lambda: runtime.health == "up")


@pytest.mark.parametrize("trouble", ["hangs", "refuses"])
async def test_a_member_that_never_answered_goes_from_checking_to_down(start, backends, eventually, trouble):
    backends[2].hanging = True
    if trouble == "refuses":
        await backends[2].stop()
    device = await start({"monitor": "health"}, monitors=[http()])
    runtime = device.runtime(backends[2])
    assert runtime.health == "checking"
    await asyncio.sleep(0.2)
    assert runtime.health == "checking"
    await eventually(lambda: runtime.health == "down")


async def test_tcp_monitor_wants_only_the_handshake(start, backends, eventually):
    backends[0].healthy = False
    await backends[1].stop()
    device = await start({"monitor": "fast-tcp"}, monitors=[http(name="fast-tcp", type="tcp", send="", recv="")])
    await eventually(lambda: device.runtime(backends[0]).health == "up")
    await eventually(lambda: device.runtime(backends[1]).health == "down")


async def test_all_of_a_rule_or_some_of_it(start, backends, eventually):
    """``a and b`` wants both; ``min 1 of { a b }`` one."""
    backends[0].healthy = False
    both = [http(), http(name="open", type="tcp", send="", recv="")]
    device = await start({"monitor": "/Common/health and /Common/open"}, monitors=both)
    await eventually(lambda: device.runtime(backends[0]).health == "down")
    pool = await device.ok(
        "PATCH", "/tm/ltm/pool/~Common~web-pool", {"monitor": "min 1 of /Common/health /Common/open"}
    )
    assert pool["monitor"] == "min 1 of { /Common/health /Common/open }"
    await eventually(lambda: device.runtime(backends[0]).health == "up")


async def test_disabled_is_watched_on_forced_offline_is_not(start, backends, eventually):
    """A member may be added disabled and enabled when its monitor says available."""
    device = await start({"monitor": "health"}, monitors=[http()])
    await device.switch(backends[0], "user-disabled")
    await eventually(lambda: device.runtime(backends[0]).health == "up")
    shown = await member_of(device, backends[0])
    assert (shown["session"], shown["state"]) == ("user-disabled", "up")
    await device.switch(backends[0], "user-disabled", "user-down")
    shown = await member_of(device, backends[0])
    assert (shown["session"], shown["state"]) == ("user-disabled", "user-down")
    seen = backends[0].health_requests
    await asyncio.sleep(0.3)
    assert backends[0].health_requests == seen
    await device.switch(backends[0], "user-enabled")
    assert (await member_of(device, backends[0]))["state"] == "checking"
    await eventually(lambda: device.runtime(backends[0]).health == "up")


async def test_own_monitor_of_a_member_and_none(start, backends):
    device = await start({"monitor": "health"}, monitors=[http()])
    await device.ok("PATCH", device.member_url(backends[0]), {"monitor": "/Common/none"})
    shown = await member_of(device, backends[0])
    assert (shown["session"], shown["state"]) == ("user-enabled", "unchecked")


async def test_destination_watches_another_port(start, backends, eventually):
    """An alias port: the member is judged by what answers there."""
    watched = http(destination=f"*:{backends[0].address[1]}")
    await backends[1].stop()
    device = await start({"monitor": "health"}, monitors=[watched])
    await eventually(lambda: device.runtime(backends[1]).health == "up")


@pytest.mark.parametrize("destination", ["8001", "*", "*:http", "*:"])
async def test_a_destination_that_is_no_address_and_port_is_refused(start, destination):
    with pytest.raises(ApiError, match="destination"):
        await start({"monitor": "health"}, monitors=[http(destination=destination)])


async def test_down_with_reset_cuts_running_connections(start, backends, connection, eventually):
    device = await start({"monitor": "health", "serviceDownAction": "reset"}, monitors=[http()])
    async with connection(device.vip) as old:
        assert await old.get() == "a"
        await eventually(lambda: device.runtime(backends[0]).health == "up")
        backends[0].healthy = False
        await eventually(lambda: device.runtime(backends[0]).health == "down")
        with pytest.raises(ConnectionError):
            await old.get()


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        ("GET /\\r\\n", b"GET /\r\n\r\n"),
        ("GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"),
        ("GET /", b"GET /\r\n\r\n"),
    ],
)
def test_send_strings_end_with_an_empty_line(send, expected):
    assert request_bytes(send) == expected


def test_escapes_of_a_send_string():
    assert wire_text("a\\\\r\\r\\n\\t") == b"a\\r\r\n\t"
