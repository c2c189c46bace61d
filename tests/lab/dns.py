# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS of the lab: a small server, and a client that caches as a resolver does; :mod:`lab.sites.resolver` is both.

The server asks a function for each question, so that whoever balances (an emulator of BIG-IP DNS or of Avi) decides per
query, over UDP and TCP on one port::

    server = DnsServer(lambda name: (["192.0.2.10"], 5) if name == "www.shop.example" else None)
    await server.start()          # server.address is what it got
    await server.stop()

The client is what a user of the service has between itself and GSLB: answers are kept for their TTL, and a resolver
that is dead is passed over::

    resolver = Resolver([("127.0.0.1", 5301), ("127.0.0.1", 5302)])
    resolver.resolve("www.shop.example")         # ["192.0.2.10"], blocks
    await resolver.find("www.shop.example")      # the same for asyncio
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

Address = tuple[str, int]
# Addresses and TTL of a name; no addresses is an empty answer, None is a name that does not exist.
Lookup = Callable[[str], "tuple[Sequence[str], int] | None"]
RECORDS = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}


class ResolveError(OSError):
    """No resolver gave an address."""


def answer(question: dns.message.Message, lookup: Lookup, *, own: bool = True) -> dns.message.Message:
    """The reply to one query; *lookup* gets the name in lower case, without the dot at its end.

    :param own: the names are the server's own; otherwise it found them elsewhere, as a resolver does.
    """
    reply = dns.message.make_response(question, recursion_available=not own)
    reply.flags |= dns.flags.AA if own else 0
    if not question.question:
        reply.set_rcode(dns.rcode.FORMERR)
        return reply
    asked = question.question[0]
    try:
        found = lookup(asked.name.to_text(omit_final_dot=True).lower())
    except ResolveError:
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply
    if found is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply
    addresses, ttl = found
    fitting = [text for text in addresses if RECORDS[ipaddress.ip_address(text).version] == asked.rdtype]
    if fitting:
        reply.answer.append(dns.rrset.from_text_list(asked.name, ttl, asked.rdclass, asked.rdtype, fitting))
    return reply


class DnsServer:
    """Answers over UDP and TCP, on one port."""

    def __init__(self, lookup: Lookup, listen: Address = ("127.0.0.1", 0), *, own: bool = True) -> None:
        self.lookup = lookup
        self.own = own
        self.address = listen
        self.queries = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> DnsServer:
        """Listen; a port 0 becomes one that is free for both, and is kept for the next start.

        :raises OSError: when the port is taken.
        """
        for attempt in range(10):
            tcp = await asyncio.start_server(self._serve, *self.address)
            port = tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(self.address[0], port)
                )
            except OSError:
                tcp.close()
                if self.address[1] or attempt == 9:
                    raise
                continue
            self._tcp, self.address = tcp, (self.address[0], port)
            break
        return self

    async def stop(self) -> None:
        """Close both; who asks now is refused."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        self._udp = self._tcp = None

    def reply(self, data: bytes) -> bytes | None:
        """The answer to the bytes of a query; none to what is no query."""
        try:
            question = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        self.queries += 1
        # The order of the records is the balancer's.
        return answer(question, self.lookup, own=self.own).to_wire(max_size=65535, want_shuffle=False)

    async def found(self, data: bytes) -> bytes | None:
        """As :meth:`reply`; what has to be found elsewhere holds up nobody else."""
        return self.reply(data) if self.own else await asyncio.to_thread(self.reply, data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                data = await self.found(await reader.readexactly(length))
                if data is None:
                    break
                writer.write(struct.pack("!H", len(data)) + data)
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.transport: Any = None
        self.pending: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        reply = await self.server.found(data)
        if reply is not None and not self.transport.is_closing():
            self.transport.sendto(reply, addr)


@dataclasses.dataclass(frozen=True)
class _Kept:
    addresses: list[str]
    until: float


class Resolver:
    """A caching resolver with several servers behind it. Threads may share one.

    :param resolvers: servers in the order in which they are asked; one that answered last is asked first.
    :param timeout: seconds for one server.
    """

    def __init__(
        self,
        resolvers: Sequence[Address],
        *,
        timeout: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resolvers = [(str(host), int(port)) for host, port in resolvers]
        self.timeout = timeout
        self.asked = 0
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lock = threading.Lock()

    def cached(self, name: str, kind: str = "A") -> list[str] | None:
        """What is still kept of *name*."""
        kept = self._kept.get((name.lower(), kind))
        return list(kept.addresses) if kept is not None and self._clock() < kept.until else None

    def lookup(self, name: str) -> tuple[list[str], int]:
        """As :meth:`resolve`, with the whole seconds for which it still holds: what a resolver tells its clients.

        :raises ResolveError: when no server gives an address.
        """
        addresses = self.resolve(name)
        return addresses, max(0, int(self._kept[name.lower(), "A"].until - self._clock()))

    def resolve(self, name: str, kind: str = "A") -> list[str]:
        """The addresses of *name*, from the cache or from the first server that gives any.

        :raises ResolveError: when none does.
        """
        addresses = self.cached(name, kind)
        if addresses is not None:
            return addresses
        with self._lock:
            addresses = self.cached(name, kind)  # another thread may have asked meanwhile
            return addresses if addresses is not None else self._ask_all(name, kind)

    async def find(self, name: str, kind: str = "A") -> list[str]:
        """As :meth:`resolve`, without holding up the event loop."""
        addresses = self.cached(name, kind)
        return addresses if addresses is not None else await asyncio.to_thread(self.resolve, name, kind)

    def forget(self) -> None:
        """Empty the cache."""
        self._kept.clear()

    def _ask_all(self, name: str, kind: str) -> list[str]:
        said = []
        for server in list(self.resolvers):
            try:
                addresses, ttl = self._ask(server, name, kind)
            except (OSError, dns.exception.DNSException, ValueError) as exc:
                said.append(f"{server[0]}:{server[1]}: {exc}")
                continue
            self.resolvers.remove(server)
            self.resolvers.insert(0, server)
            self._kept[name.lower(), kind] = _Kept(addresses, self._clock() + ttl)
            return list(addresses)
        raise ResolveError(f"{name}: no address; {'; '.join(said) or 'no resolver is given'}")

    def _ask(self, server: Address, name: str, kind: str) -> tuple[list[str], int]:
        self.asked += 1
        query = dns.message.make_query(name, kind)
        # A connected socket learns at once that nobody listens; an unconnected one waits for its timeout.
        with socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(self.timeout)
            udp.connect(server)
            udp.send(query.to_wire())
            reply = dns.message.from_wire(udp.recv(65535))
        if reply.id != query.id:
            raise ValueError("the answer belongs to another query")
        if reply.rcode() != dns.rcode.NOERROR:
            raise ValueError(dns.rcode.to_text(reply.rcode()))
        rows = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
        addresses = [record.address for rrset in rows for record in rrset]
        if not addresses:
            raise ValueError("an answer without an address")
        return addresses, min(rrset.ttl for rrset in rows)
