# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane: connections to virtual servers, carried to members.

Balancing is by connection, as a standard virtual server does it: whatever happens to a member's session or state, a
running connection stays where it is, until its client or server ends it or the pool's ``serviceDownAction`` does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any

from . import names
from .model import Config
from .runtime import MemberRuntime, PoolRuntime, VirtualRuntime

CONNECT_TIMEOUT_S = 5.0
BIND_RETRY_S = 0.2
LOG = logging.getLogger("lab.bigip.dataplane")


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Close with RST and without sending what is buffered."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()  # type: ignore[attr-defined]


class Flow:
    """A client's connection and its connection to a member."""

    __slots__ = ("client", "ended", "eof", "member", "server", "task", "virtual")

    def __init__(self, virtual: VirtualRuntime) -> None:
        self.virtual = virtual
        self.client: asyncio.Transport | None = None
        self.server: asyncio.Transport | None = None
        self.member: MemberRuntime | None = None
        self.task: asyncio.Task[None] | None = None
        self.eof = 0
        self.ended = False

    async def connect(self) -> None:
        """Choose a member and connect; the client is reset when that fails (``reselectTries`` more are tried)."""
        assert self.client is not None
        client = str((self.client.get_extra_info("peername") or ("",))[0])
        pool = self.virtual.pool
        failed: list[MemberRuntime] = []
        for _attempt in range(1 + (pool.conf["reselectTries"] if pool else 0)):
            member = self.virtual.pick(client, failed)
            if member is None:
                break
            self.member = member
            member.opened(self)  # before the handshake: the choice of the next member has to see it
            loop = asyncio.get_running_loop()
            try:
                await asyncio.wait_for(
                    loop.create_connection(lambda: ServerSide(self), *member.target), CONNECT_TIMEOUT_S
                )
            except (OSError, asyncio.TimeoutError) as exc:
                LOG.info("%s: no connection to %s: %s", self.virtual.path, member.path, exc or "timeout")
                member.refused += 1
                member.closed(self)
                self.member = None
                failed.append(member)
                if self.ended:
                    return
                continue
            if not self.ended:
                self.client.resume_reading()
            return
        self.virtual.refused += 1
        self.kill()

    def end(self) -> None:
        """Book the end, once."""
        if not self.ended:
            self.ended = True
            self.virtual.closed(self)
            if self.member is not None:
                self.member.closed(self)

    def kill(self, *, silent: bool = False) -> None:
        """Cut both sides now: with RST, or without a word to the client (``drop``)."""
        self.end()
        if silent and self.client is not None:
            self.client.abort()
        else:
            reset(self.client)
        reset(self.server)
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def half_closed(self, other: asyncio.Transport | None) -> bool:
        """One side has said all it had to: pass that on; close when both have."""
        self.eof += 1
        if other is None:
            return False
        if self.eof > 1:
            for transport in (self.client, self.server):
                if transport is not None:
                    transport.close()
            return False
        if other.can_write_eof() and not other.is_closing():
            other.write_eof()
        return True

    def lost(self, exc: Exception | None, other: asyncio.Transport | None) -> None:
        """One side is gone: a reset is passed on as a reset."""
        self.end()
        if other is None or other.is_closing():
            return
        if exc is not None:
            reset(other)
        else:
            other.close()


class ClientSide(asyncio.Protocol):
    """The side towards the client."""

    def __init__(self, virtual: VirtualRuntime) -> None:
        self.flow = Flow(virtual)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        flow = self.flow
        flow.client = transport  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        # Nothing is read before the member is connected. Python 3.11 starts to read right after this method, whatever
        # was said in it: so it is said just after that, before the next look at the socket.
        flow.client.pause_reading()
        loop.call_soon(self._still_paused)
        flow.virtual.opened(flow)
        flow.task = loop.create_task(flow.connect())

    def _still_paused(self) -> None:
        client = self.flow.client
        if self.flow.server is None and client is not None and not client.is_closing():
            client.resume_reading()
            client.pause_reading()

    def data_received(self, data: bytes) -> None:
        flow = self.flow
        if flow.server is not None and flow.member is not None:
            flow.member.bytes_in += len(data)
            flow.virtual.bytes_in += len(data)
            flow.server.write(data)

    def pause_writing(self) -> None:
        if self.flow.server is not None and not self.flow.server.is_closing():
            self.flow.server.pause_reading()

    def resume_writing(self) -> None:
        if self.flow.server is not None and not self.flow.server.is_closing():
            self.flow.server.resume_reading()

    def eof_received(self) -> bool:
        return self.flow.half_closed(self.flow.server)

    def connection_lost(self, exc: Exception | None) -> None:
        self.flow.lost(exc, self.flow.server)


class ServerSide(asyncio.Protocol):
    """The side towards the member."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.flow.server = transport  # type: ignore[assignment]
        if self.flow.ended:
            reset(transport)

    def data_received(self, data: bytes) -> None:
        flow = self.flow
        if flow.client is not None and flow.member is not None:
            flow.member.bytes_out += len(data)
            flow.virtual.bytes_out += len(data)
            flow.client.write(data)

    def pause_writing(self) -> None:
        if self.flow.client is not None and not self.flow.client.is_closing():
            self.flow.client.pause_reading()

    def resume_writing(self) -> None:
        if self.flow.client is not None and not self.flow.client.is_closing():
            self.flow.client.resume_reading()

    def eof_received(self) -> bool:
        return self.flow.half_closed(self.flow.client)

    def connection_lost(self, exc: Exception | None) -> None:
        self.flow.lost(exc, self.flow.client)


class DataPlane:
    """Everything that runs, brought into line with a configuration by :meth:`apply`."""

    def __init__(self, *, monitor_scale: float = 1.0) -> None:
        self.pools: dict[str, PoolRuntime] = {}
        self.virtuals: dict[str, VirtualRuntime] = {}
        self._servers: dict[str, tuple[tuple[str, int], asyncio.Server]] = {}
        self._scale = monitor_scale
        self._lock = asyncio.Lock()
        self._wanted: dict[str, tuple[str, int] | None] = {}
        self._retries: set[asyncio.Task[None]] = set()

    async def apply(self, config: Config, *, listening: bool = True) -> None:
        """Start, change and stop what *config* asks for; without *listening* (a standby) no virtual server runs."""
        async with self._lock:
            self._apply_pools(config)
            await self._apply_virtuals(config, listening)

    def _apply_pools(self, config: Config) -> None:
        for path in set(self.pools) - set(config.pools):
            for member in self.pools.pop(path).members.values():
                self._remove(member)
        for path, conf in config.pools.items():
            pool = self.pools.setdefault(path, PoolRuntime(path))
            pool.conf = conf
            for member in set(pool.members) - set(conf["members"]):
                self._remove(pool.members.pop(member))
            for member in conf["members"]:
                if member not in pool.members:
                    pool.members[member] = MemberRuntime(path, member)
                    pool.members[member].on_down = self._down
                pool.members[member].configure(config, self._scale)

    @staticmethod
    def _remove(member: MemberRuntime) -> None:
        member.stop()
        for flow in list(member.flows):
            flow.kill()

    def _down(self, member: MemberRuntime) -> None:
        """A member went down or was forced down: what its pool says about running connections happens."""
        action = self.pools[member.pool].conf["serviceDownAction"]
        LOG.info("%s: member %s is down (serviceDownAction %s)", member.pool, member.path, action)
        if action == "none":
            return
        # "reselect" would carry a connection over to another member; no TCP server takes one up, so it ends as well.
        for flow in list(member.flows):
            flow.kill(silent=action == "drop")

    async def _apply_virtuals(self, config: Config, listening: bool) -> None:
        for path in set(self.virtuals) - set(config.virtuals):
            self._close(path)
            self._wanted.pop(path, None)
            for flow in list(self.virtuals.pop(path).flows):
                flow.kill()
        for path, conf in config.virtuals.items():
            virtual = self.virtuals.setdefault(path, VirtualRuntime(path))
            virtual.conf = conf
            virtual.pool = self.pools.get(conf.get("pool") or "")
        for path, conf in config.virtuals.items():
            await self._place(self.virtuals[path], conf, listening)

    async def _place(self, virtual: VirtualRuntime, conf: dict[str, Any], listening: bool) -> None:
        """Listen where the virtual server should, or not at all."""
        address, port = names.split_destination(conf["destination"])
        wanted = (names.host(address), port) if listening and conf.get("enabled", True) else None
        self._wanted[virtual.path] = wanted
        if self._servers.get(virtual.path, (None,))[0] != wanted:
            self._close(virtual.path)
            if wanted is not None:
                await self._listen(virtual, wanted)
        if not listening:
            for flow in list(virtual.flows):
                flow.kill()

    def _close(self, path: str) -> None:
        if path in self._servers:
            self._servers.pop(path)[1].close()

    async def _listen(self, virtual: VirtualRuntime, address: tuple[str, int]) -> None:
        try:
            server = await asyncio.get_running_loop().create_server(lambda: ClientSide(virtual), *address, backlog=1024)
        except OSError as exc:
            # The device takes any destination; one that cannot be listened on here shows in /state and in the log.
            if not virtual.bind_error:
                LOG.error("%s: cannot listen on %s:%s yet: %s", virtual.path, *address, exc)
            virtual.bind_error = str(exc)
            retry = asyncio.get_running_loop().create_task(self._listen_later(virtual, address))
            self._retries.add(retry)
            retry.add_done_callback(self._retries.discard)
            return
        virtual.bind_error = ""
        self._servers[virtual.path] = (address, server)

    async def _listen_later(self, virtual: VirtualRuntime, address: tuple[str, int]) -> None:
        """Try again: the other device of a pair may hold the address for a moment longer."""
        await asyncio.sleep(BIND_RETRY_S)
        async with self._lock:
            if self._wanted.get(virtual.path) == address and virtual.path not in self._servers:
                await self._listen(virtual, address)

    def address(self, path: str) -> tuple[str, int] | None:
        """Where a virtual server really listens (its port when the destination says 0)."""
        if path not in self._servers:
            return None
        return self._servers[path][1].sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Drop every connection, listener and probe."""
        await self.apply(Config())
        for retry in self._retries:
            retry.cancel()
