# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane of the BIG-IP emulator: what clients of a virtual server see (design 10; invariants 4 and 5)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest


async def test_round_robin_takes_turns(start):
    device = await start()
    assert Counter([await device.connect() for _unused in range(9)]) == {"a": 3, "b": 3, "c": 3}


async def test_ratio_follows_the_members_weights(start, backends):
    members = [{**backend.member, "ratio": ratio} for backend, ratio in zip(backends, (1, 2, 3), strict=True)]
    device = await start({"loadBalancingMode": "ratio-member"}, members=members)
    assert Counter([await device.connect() for _unused in range(12)]) == {"a": 2, "b": 4, "c": 6}


async def test_least_connections_goes_where_fewest_are(start, connection, eventually):
    device = await start({"loadBalancingMode": "least-connections-member"})
    async with connection(device.vip) as first, connection(device.vip) as second:
        held = {await first.get(), await second.get()}
        free = ({"a", "b", "c"} - held).pop()
        for _unused in range(3):
            assert await device.connect() == free
            await eventually(lambda: len(device.emulator.plane.virtuals["/Common/web-vip"].flows) == 2)


async def test_priority_groups_join_when_the_higher_is_too_small(start, backends):
    members = [{**b.member, "priorityGroup": priority} for b, priority in zip(backends, (10, 10, 5), strict=True)]
    device = await start({"minActiveMembers": 2}, members=members)
    assert {await device.connect() for _unused in range(6)} == {"a", "b"}
    await device.switch(backends[0], "user-disabled")
    assert {await device.connect() for _unused in range(6)} == {"b", "c"}


async def test_disabled_member_keeps_its_connections_and_gets_no_new_ones(start, backends, connection, eventually):
    """The base of a drain: a running connection goes on, new ones go elsewhere, the counter tells when it is empty."""
    device = await start()
    a = backends[0]
    async with connection(device.vip) as old:
        assert await old.get() == "a"
        await device.switch(a, "user-disabled")
        assert {await device.connect() for _unused in range(10)} == {"b", "c"}
        assert [await old.get() for _unused in range(5)] == ["a"] * 5
        stats = await device.ok("GET", device.member_url(a) + "/stats")
        (block,) = stats["entries"].values()
        assert block["nestedStats"]["entries"]["serverside.curConns"]["value"] == 1
    await eventually(lambda: not device.runtime(a).flows)
    assert device.runtime(a).total == 1


@pytest.mark.parametrize(("action", "survives"), [("none", True), ("reset", False), ("drop", False)])
async def test_forced_offline_does_to_connections_what_the_pool_says(start, backends, connection, action, survives):
    device = await start({"serviceDownAction": action})
    async with connection(device.vip) as old:
        assert await old.get() == "a"
        await device.switch(backends[0], "user-disabled", "user-down")
        if survives:
            assert await old.get() == "a"
        else:
            with pytest.raises(ConnectionError):
                await old.get()
            assert not device.runtime(backends[0]).flows


async def test_disabled_still_takes_persistent_clients_and_forced_offline_does_not(start, backends):
    """Disabled and forced offline differ by exactly this (facts: session and state of a member)."""
    device = await start(virtual={"persist": [{"name": "source_addr"}]})
    assert [await device.connect() for _unused in range(4)] == ["a"] * 4
    await device.switch(backends[0], "user-disabled")
    assert await device.connect() == "a"
    await device.switch(backends[0], "user-disabled", "user-down")
    assert await device.connect() != "a"


async def test_removing_a_member_resets_what_it_still_holds(start, backends, connection):
    device = await start()
    async with connection(device.vip) as old:
        assert await old.get() == "a"
        await device.ok("DELETE", device.member_url(backends[0]))
        with pytest.raises(ConnectionError):
            await old.get()
    assert {await device.connect() for _unused in range(6)} == {"b", "c"}


async def test_a_member_that_refuses_costs_the_client_its_connection(start, backends, connection):
    """The default of the device: the client is reset; ``reselectTries`` tries another member."""
    device = await start()
    await backends[0].stop()
    seen: list[str] = []
    for _unused in range(6):
        try:
            seen.append(await device.connect())
        except ConnectionError:
            seen.append("reset")
    assert Counter(seen) == {"reset": 2, "b": 2, "c": 2}
    await device.ok("PATCH", "/tm/ltm/pool/~Common~web-pool", {"reselectTries": 1})
    assert {await device.connect() for _unused in range(6)} == {"b", "c"}


async def test_nobody_available_resets_the_client(start, backends):
    device = await start()
    for backend in backends:
        await device.switch(backend, "user-disabled")
    with pytest.raises(ConnectionError):
        await device.connect()
    assert device.emulator.state()["virtuals"][0]["refused"] == 1


async def test_connection_limit_of_a_member(start, backends, connection):
    members = [{**backends[0].member, "connectionLimit": 1}, backends[1].member]
    device = await start(members=members)
    async with connection(device.vip) as held:
        assert await held.get() == "a"
        assert [await device.connect() for _unused in range(3)] == ["b"] * 3


async def test_node_session_counts_for_its_members(start, backends):
    """One node, three members on it: disabling the node stops them all."""
    device = await start()
    await device.ok("PATCH", "/tm/ltm/node/~Common~127.0.0.1", {"session": "user-disabled"})
    with pytest.raises(ConnectionError):
        await device.connect()
    await device.ok("PATCH", "/tm/ltm/node/~Common~127.0.0.1", {"session": "user-enabled"})
    assert await device.connect() in {"a", "b", "c"}


async def test_large_answers_keep_their_bytes_with_a_slow_reader(start, connection):
    """Back pressure: 8 MiB through a client that reads late, unchanged and without growing buffers first."""
    device = await start()
    async with connection(device.vip) as slow:
        slow.writer.write(b"GET /size/8388608 HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.2)
        (flow,) = next(iter(device.emulator.plane.virtuals.values())).flows
        assert flow.client.get_write_buffer_size() < 4 * 1024 * 1024
        await slow.reader.readuntil(b"\r\n\r\n")
        assert await slow.reader.readexactly(8388608) == b"x" * 8388608


async def test_half_close_reaches_the_server(start, connection):
    """A client that says it has sent all still gets its answer."""
    device = await start()
    async with connection(device.vip) as client:
        client.writer.write(b"GET / HTTP/1.0\r\n\r\n")
        client.writer.write_eof()
        assert (await client.reader.read()).endswith(b"a")


async def test_graceful_removal_under_load_loses_no_request(start, backends, connection, eventually):
    """Invariant 4: drain, wait for zero connections, remove; not one request of 24 clients fails meanwhile."""
    device = await start({"loadBalancingMode": "least-connections-member"})
    stop = asyncio.Event()
    done: Counter[str] = Counter()

    async def client(keep_alive: int) -> None:
        while not stop.is_set():
            async with connection(device.vip) as link:
                for _unused in range(keep_alive):
                    done[await link.get()] += 1

    clients = [asyncio.create_task(client(1 + number % 4)) for number in range(24)]
    victim = backends[1]
    await eventually(lambda: done["b"] > 50)
    await device.switch(victim, "user-disabled")
    runtime = device.runtime(victim)
    await eventually(lambda: not runtime.flows)
    at_drain = done["b"]
    await device.ok("DELETE", device.member_url(victim))
    await eventually(lambda: done["a"] > 200 and done["c"] > 200)
    stop.set()
    await asyncio.gather(*clients)  # raises what any client met
    assert done["b"] == at_drain


async def test_an_address_that_is_taken_is_tried_again(start, connection, eventually, backends):
    """Two devices may want one address for a moment: the second one gets it when the first lets go."""
    device = await start()
    taken = backends[2].address
    destination = f"{taken[0]}:{taken[1]}"
    await device.ok("POST", "/tm/ltm/virtual", {"name": "second", "destination": destination, "pool": "web-pool"})
    row = next(row for row in device.emulator.state()["virtuals"] if row["name"] == "/Common/second")
    assert row["listening"] is None
    assert "in use" in row["bind_error"]
    await backends[2].stop()
    await eventually(lambda: device.emulator.plane.address("/Common/second") == tuple(taken))


async def test_a_virtual_server_made_and_deleted_over_rest(start, connection, backends):
    device = await start()
    body = {"name": "second", "destination": "/Common/127.0.0.2:0", "pool": "/Common/web-pool"}
    await device.ok("POST", "/tm/ltm/virtual", body)
    address = device.emulator.plane.address("/Common/second")
    async with connection(address) as client:
        assert await client.get() in {"a", "b", "c"}
        await device.ok("DELETE", "/tm/ltm/virtual/~Common~second")
        with pytest.raises(ConnectionError):
            await client.get()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
