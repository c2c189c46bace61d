# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's DNS server against dnspython's own client, and the caching resolver against the server."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest

from lab.dns import DnsServer, ResolveError, Resolver

NAME = "www.shop.example"


class Names:
    """What the server is to say, changeable while it runs."""

    def __init__(self, addresses: list[str], ttl: int = 5) -> None:
        self.addresses = addresses
        self.ttl = ttl
        self.asked: list[str] = []

    def __call__(self, name: str):
        self.asked.append(name)
        return (self.addresses, self.ttl) if name == NAME else None


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def names():
    return Names(["192.0.2.10", "198.51.100.10", "2001:db8::1"])


@pytest.fixture
async def server(names):
    server = await DnsServer(names).start()
    yield server
    await server.stop()


@pytest.mark.parametrize("transport", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_udp_and_tcp_give_addresses_of_the_asked_family_in_order(server, transport):
    host, port = server.address
    reply = await transport(dns.message.make_query("WWW.shop.example", "A"), host, port=port, timeout=5)
    assert [(record.address, reply.answer[0].ttl) for record in reply.answer[0]] == [
        ("192.0.2.10", 5),
        ("198.51.100.10", 5),
    ]
    reply = await transport(dns.message.make_query(NAME, "AAAA"), host, port=port, timeout=5)
    assert [record.address for record in reply.answer[0]] == ["2001:db8::1"]


async def test_unknown_name_and_name_without_address_are_told_apart(server, names):
    host, port = server.address
    reply = await dns.asyncquery.udp(dns.message.make_query("other.example", "A"), host, port=port, timeout=5)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    names.addresses = []
    reply = await dns.asyncquery.udp(dns.message.make_query(NAME, "A"), host, port=port, timeout=5)
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


async def test_dnspython_stub_resolver_accepts_the_answers(server):
    stub = dns.resolver.Resolver(configure=False)
    stub.nameservers, stub.port = [server.address[0]], server.address[1]
    found = await asyncio.to_thread(stub.resolve, NAME, "A")
    assert [record.address for record in found] == ["192.0.2.10", "198.51.100.10"]


async def test_garbage_gets_no_answer_and_does_no_harm(server):
    assert server.reply(b"\x00" * 5) is None
    assert await Resolver([server.address]).find(NAME)


async def test_cache_holds_an_answer_for_its_ttl_and_no_longer(server, names):
    clock = Clock()
    resolver = Resolver([server.address], clock=clock)
    assert (await resolver.find(NAME))[0] == "192.0.2.10"
    names.addresses = ["203.0.113.9"]
    clock.now += 4.9
    assert (await resolver.find(NAME))[0] == "192.0.2.10"
    clock.now += 0.1
    assert await resolver.find(NAME) == ["203.0.113.9"]
    assert resolver.asked == 2


async def test_next_resolver_is_asked_when_one_is_dead_and_stays_first(server, names):
    dead = await DnsServer(names).start()
    await dead.stop()
    clock = Clock()
    resolver = Resolver([dead.address, server.address], timeout=5, clock=clock)
    assert (await resolver.find(NAME))[0] == "192.0.2.10"
    assert resolver.asked == 2
    clock.now += 10
    await resolver.find(NAME)
    assert resolver.asked == 3
    await server.stop()
    clock.now += 10
    with pytest.raises(ResolveError, match=r"no address.*refused.*refused"):
        await resolver.find(NAME)


async def test_stopped_server_comes_back_on_its_port(server):
    address = server.address
    await server.stop()
    await server.start()
    assert server.address == address
    assert await Resolver([address]).find(NAME)


async def test_clients_of_a_resolver_learn_of_a_change_at_once_and_of_its_failure(server, names):
    clock = Clock()
    resolver = await DnsServer(Resolver([server.address], clock=clock).lookup, own=False).start()
    early, late = (Resolver([resolver.address], clock=clock) for _client in range(2))
    assert (await early.find(NAME))[0] == "192.0.2.10"
    names.addresses = ["203.0.113.9"]
    clock.now += 3.5  # the answer holds for 5 s
    assert (await late.find(NAME))[0] == "192.0.2.10"
    clock.now += 1.4
    assert [(await client.find(NAME))[0] for client in (early, late)] == ["192.0.2.10"] * 2
    clock.now += 0.1
    assert [await client.find(NAME) for client in (early, late)] == [["203.0.113.9"]] * 2
    host, port = resolver.address
    reply = await dns.asyncquery.udp(dns.message.make_query(NAME, "A"), host, port=port, timeout=5)
    assert (reply.flags & dns.flags.AA, reply.flags & dns.flags.RA) == (0, dns.flags.RA)
    await server.stop()
    clock.now += 5
    reply = await dns.asyncquery.udp(dns.message.make_query(NAME, "A"), host, port=port, timeout=5)
    assert reply.rcode() == dns.rcode.SERVFAIL
    await resolver.stop()
