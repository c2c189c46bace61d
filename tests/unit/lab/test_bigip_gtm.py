# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIG-IP DNS of the emulator (D5): its objects, which addresses a name is answered with, its sync group."""

from __future__ import annotations

import contextlib
from typing import Any

import aiohttp
import pytest

from lab.bigip.auth import User
from lab.bigip.emulator import Emulator, load_config
from lab.dns import ResolveError, Resolver

from .conftest import ADMIN, OPERATOR, Backend, Device

NAME = "www.shop.example"
POOL = "/tm/gtm/pool/a/~Common~shop"
ADDRESSES = {"site-a": "127.0.48.10", "site-b": "127.0.48.20"}


def member(site: str) -> str:
    return f"{POOL}/members/~Common~{site}:shop-vip"


def seed(backends: dict[str, Backend], **pool: Any) -> dict[str, Any]:
    """Two sites with a data center, a server and a virtual server each; the name goes to both, site a first."""
    servers = [
        {
            "name": site,
            "datacenter": site,
            "product": "generic-host",
            "addresses": [{"name": host}],
            "monitor": "/Common/shop-health",
            "virtualServers": [{"name": "shop-vip", "destination": f"{host}:{backends[site].address[1]}"}],
        }
        for site, host in ADDRESSES.items()
    ]
    mode = {"loadBalancingMode": "global-availability", "ttl": 1, **pool}
    return {
        "monitors": [
            {"name": "shop-health", "send": "GET /health HTTP/1.0", "recv": "200 OK", "interval": 1, "timeout": 3}
        ],
        "datacenters": [{"name": site} for site in ADDRESSES],
        "servers": servers,
        "pools": [{"name": "shop", "members": [f"{site}:shop-vip" for site in ADDRESSES], **mode}],
        "wideips": [{"name": NAME, "poolLbMode": "global-availability", "pools": [{"name": "shop"}]}],
    }


@pytest.fixture
async def sites():
    """A backend on the address of each site, all on one port as behind one name."""
    found: dict[str, Backend] = {}
    for site, host in ADDRESSES.items():
        backend = Backend(site)
        backend.address = (host, 0)
        found[site] = await backend.start()
    yield found
    for backend in found.values():
        await backend.stop()


@pytest.fixture
async def start(sites):
    async with contextlib.AsyncExitStack() as stack:

        async def starter(data: dict[str, Any] | None = None, **options: Any) -> Device:
            config = load_config({"gtm": seed(sites) if data is None else data})
            emulator = Emulator(
                [ADMIN, OPERATOR, User("guest", "secret", role="guest")],
                config,
                monitor_scale=0.05,
                dns=("127.0.0.1", 0),
                **options,
            )
            await emulator.start()
            stack.push_async_callback(emulator.stop)
            return Device(emulator, await stack.enter_async_context(aiohttp.ClientSession()))

        yield starter


async def asked(device: Device) -> list[str]:
    """What a client that keeps nothing is answered."""
    return await Resolver([device.emulator.dns.address], timeout=2).find(NAME)


def health(device: Device, site: str) -> str:
    return device.emulator.gtm.member("a", "/Common/shop", f"/Common/{site}:shop-vip")[0]


async def both_up(device: Device, eventually) -> None:
    await eventually(lambda: {health(device, site) for site in ADDRESSES} == {"available"})


async def test_get_shows_only_the_switch_that_is_true_and_both_forms_are_taken(start):
    device = await start()
    shown = await device.ok("GET", member("site-a"))
    assert (shown["enabled"], "disabled" in shown) == (True, False)
    for body, now in (
        ({"disabled": True}, "disabled"),
        ({"enabled": True}, "enabled"),
        ({"enabled": False, "disabled": True}, "disabled"),
        ({"enabled": True, "disabled": False}, "enabled"),
    ):
        shown = await device.ok("PATCH", member("site-a"), body)
        assert [key for key in ("enabled", "disabled") if key in shown] == [now], body
    status, answer = await device.call("PATCH", member("site-a"), {"enabled": True, "disabled": True})
    assert (status, "invalid property value" in answer["message"]) == (400, True)


async def test_first_available_member_is_answered_and_the_next_one_when_its_site_is_down(start, sites, eventually):
    device = await start()
    await both_up(device, eventually)
    assert await asked(device) == [ADDRESSES["site-a"]]
    sites["site-a"].healthy = False
    await eventually(lambda: health(device, "site-a") == "offline")
    assert await asked(device) == [ADDRESSES["site-b"]]
    sites["site-a"].healthy = True
    await eventually(lambda: health(device, "site-a") == "available")
    assert await asked(device) == [ADDRESSES["site-a"]]


@pytest.mark.parametrize(
    "path",
    [
        member("site-a"),
        "/tm/gtm/server/~Common~site-a/virtual-servers/shop-vip",
        "/tm/gtm/server/~Common~site-a",
        "/tm/gtm/datacenter/~Common~site-a",
    ],
)
async def test_what_is_disabled_at_any_level_is_not_answered(start, eventually, path):
    device = await start()
    await both_up(device, eventually)
    await device.ok("PATCH", path, {"disabled": True})
    assert await asked(device) == [ADDRESSES["site-b"]]
    stats = await device.ok("GET", f"{POOL}/members/stats")
    states = {
        entry["nestedStats"]["entries"]["serverName"]["description"]: entry["nestedStats"]["entries"][
            "status.enabledState"
        ]["description"]
        for entry in stats["entries"].values()
    }
    expected = "disabled" if "/members/" in path else "disabled-by-parent"
    assert states == {"/Common/site-a": expected, "/Common/site-b": "enabled"}
    await device.ok("PATCH", path, {"enabled": True})
    assert await asked(device) == [ADDRESSES["site-a"]]


async def test_name_without_an_available_member_is_answered_without_addresses(start, sites, eventually):
    device = await start()
    for backend in sites.values():
        backend.healthy = False
    await eventually(lambda: {health(device, site) for site in ADDRESSES} == {"offline"})
    with pytest.raises(ResolveError, match="without an address"):
        await asked(device)
    await device.ok("PATCH", POOL, {"fallbackMode": "fallback-ip", "fallbackIp": "192.0.2.99"})
    assert await asked(device) == ["192.0.2.99"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"loadBalancingMode": "round-robin"}, ["a", "b", "a", "b"]),
        ({"loadBalancingMode": "ratio"}, ["a", "a", "b", "a"]),
        ({"loadBalancingMode": "global-availability"}, ["a", "a", "a", "a"]),
    ],
)
async def test_modes_of_balancing(start, sites, options, expected):
    data = seed(sites, **options)
    data["pools"][0]["members"] = [
        {"name": "site-a:shop-vip", "ratio": 3},
        {"name": "site-b:shop-vip", "ratio": 1},
    ]
    device = await start(data)
    sites_of = {address: site[-1] for site, address in ADDRESSES.items()}
    assert [sites_of[(await asked(device))[0]] for _turn in range(4)] == expected


async def test_order_of_members_decides_and_can_be_changed(start, eventually):
    device = await start()
    await both_up(device, eventually)
    await device.ok("PATCH", member("site-b"), {"memberOrder": 0})
    pool = await device.ok("GET", f"{POOL}?expandSubcollections=true")
    rows = [(row["name"], row["memberOrder"]) for row in pool["membersReference"]["items"]]
    assert rows == [("site-b:shop-vip", 0), ("site-a:shop-vip", 1)]
    assert await asked(device) == [ADDRESSES["site-b"]]
    await device.ok("PATCH", POOL, {"maxAnswersReturned": 2})
    assert await asked(device) == [ADDRESSES["site-b"], ADDRESSES["site-a"]]


async def test_references_are_kept_whole(start):
    device = await start()
    for path, words in (
        ("/tm/gtm/datacenter/~Common~site-a", "referenced by server /Common/site-a"),
        (POOL, "referenced by wide IP"),
        ("/tm/gtm/monitor/http/~Common~shop-health", "is in use"),
    ):
        status, answer = await device.call("DELETE", path)
        assert (status, words in answer["message"]) == (400, True), answer
    for body, words in (
        ({"name": "site-c:shop-vip"}, "GTM Server (/Common/site-c) was not found"),
        ({"name": "site-a:other"}, "(other) was not found"),
        ({"name": "site-a:shop-vip"}, "already exists"),
        ({"name": "no-colon"}, "is not a pool member"),
    ):
        status, answer = await device.call("POST", f"{POOL}/members", body)
        assert (status // 100, words in answer["message"]) == (4, True), answer
    await device.ok("DELETE", "/tm/gtm/server/~Common~site-a/virtual-servers/shop-vip")
    rows = (await device.ok("GET", f"{POOL}/members"))["items"]
    assert [(row["name"], row["memberOrder"]) for row in rows] == [("site-b:shop-vip", 0)]


async def test_member_whose_virtual_server_has_a_path_for_a_name(start):
    device = await start()
    virtual = {"name": "/Common/shop", "destination": "127.0.48.10:81"}
    await device.ok("POST", "/tm/gtm/server/~Common~site-a/virtual-servers", virtual)
    await device.ok("POST", f"{POOL}/members", {"name": "site-a:/Common/shop", "partition": "Common"})
    shown = await device.ok("PATCH", f"{POOL}/members/~Common~site-a:~Common~shop", {"disabled": True})
    assert (shown["name"], shown["subPath"], shown["disabled"]) == ("shop", "site-a:/Common", True)
    assert shown["fullPath"] == "/Common/site-a:/Common/shop"


async def test_operator_may_switch_members_and_nothing_else(start):
    device = await start()
    for user, path, body, expected in (
        ("switch", member("site-a"), {"disabled": True}, 200),
        ("switch", member("site-a"), {"ratio": 2}, 403),
        ("guest", member("site-a"), {"enabled": True}, 403),
    ):
        login = {"username": user, "password": "secret"}
        token = (await device.ok("POST", "/shared/authn/login", login, auth=False))["token"]["token"]
        headers = {"X-F5-Auth-Token": token}
        status, _answer = await device.call("PATCH", path, body, headers=headers, auth=False)
        assert status == expected, (user, body)


async def test_change_reaches_the_other_device_and_waits_for_one_that_is_away(start, sites, eventually):
    first = await start()
    second = await start(gtm_peers=[first.emulator.control_url])
    await first.control("POST", "/gtm/peers", {"peers": [second.emulator.control_url]})

    def states() -> list[bool]:
        return [
            device.emulator.config.data["gtm"]["pools"]["a"]["/Common/shop"]["members"]["/Common/site-a:shop-vip"][
                "enabled"
            ]
            for device in (first, second)
        ]

    await first.ok("PATCH", member("site-a"), {"disabled": True})
    await eventually(lambda: states() == [False, False])
    await second.ok("PATCH", member("site-a"), {"enabled": True})
    await eventually(lambda: states() == [True, True])
    # The first device is lost with all it knew, and changes go on at the second one.
    address, control = first.emulator.rest_address, first.emulator.control_url
    await first.emulator.stop()
    await second.ok("PATCH", member("site-a"), {"disabled": True})
    await eventually(lambda: not second.emulator.gtm_group.reached[control])
    host, _colon, port = control.removeprefix("http://").rpartition(":")
    returned = await start(
        listen=address, control=(host, int(port)), gtm_peers=[second.emulator.control_url], name="returned.lab"
    )
    assert await asked(returned) == [ADDRESSES["site-b"]]


async def test_newer_of_two_configurations_wins_as_a_whole(start, eventually):
    first, second = await start(name="one.lab"), await start(name="two.lab")
    await first.ok("PATCH", member("site-a"), {"disabled": True})
    await second.ok("PATCH", member("site-b"), {"disabled": True})
    for device, other in ((first, second), (second, first)):
        await device.control("POST", "/gtm/peers", {"peers": [other.emulator.control_url]})
    await eventually(lambda: first.emulator.config.data["gtm"] == second.emulator.config.data["gtm"])
    assert "enabled" in await first.ok("GET", member("site-a"))
    assert "disabled" in await first.ok("GET", member("site-b"))


async def test_reboot_keeps_what_was_changed_since_gtm_saves_by_itself(start, eventually):
    device = await start()
    await both_up(device, eventually)
    await device.ok("PATCH", member("site-a"), {"disabled": True})
    address = device.emulator.dns.address
    await device.control("POST", "/reboot", {"seconds": 0.05})
    await eventually(lambda: device.emulator.serving)
    assert device.emulator.dns.address == address
    await both_up(device, eventually)
    assert await asked(device) == [ADDRESSES["site-b"]]
