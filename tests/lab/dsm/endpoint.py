# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's address: one port that stays, before whichever instance is the primary.

It ends TLS (the lab's PostgreSQL is built without), takes plaintext too unless told otherwise, and can shut clients
out while replication goes on. ``with Endpoint.threaded(server.port, tls=make_tls(folder)) as address:`` puts TLS
before one server that stands alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_CHUNK = 1 << 18
_LONGEST_STARTUP = 10_000  # PostgreSQL's own limit
_TRUE = {"true", "on", "yes", "1", "database"}
SHUT_OUT = "the database does not accept connections at the moment: they are blocked by its administrator"


@dataclass(frozen=True)
class Startup:
    """The first packet of a session."""

    code: int
    raw: bytes
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def replication(self) -> bool:
        """Whether this is a WAL sender's client, or a base backup."""
        return self.parameters.get("replication", "").lower() in _TRUE


def parse_startup(packet: bytes) -> Startup:
    """Read a startup, SSL, GSS or cancel packet, its length word included; ``ValueError`` when it is none."""
    if len(packet) < 8 or struct.unpack_from("!I", packet)[0] != len(packet):
        raise ValueError("not a packet of PostgreSQL's protocol")
    code = struct.unpack_from("!I", packet, 4)[0]
    if code in (_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST):
        return Startup(code, packet)
    if code >> 16 != 3:
        raise ValueError(f"protocol version {code >> 16}.{code & 0xFFFF} is not spoken here")
    words = packet[8:].split(b"\0")
    if len(words) < 2 or words[-2:] != [b"", b""] or len(words) % 2:
        raise ValueError("the startup packet has no end")
    texts = [word.decode("utf-8", "replace") for word in words[:-2]]
    return Startup(code, packet, dict(zip(texts[::2], texts[1::2], strict=True)))


def refusal(message: str, sqlstate: str, hint: str = "") -> bytes:
    """An ErrorResponse that ends the session."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message, **({"H": hint} if hint else {})}
    body = b"".join(key.encode() + text.encode() + b"\0" for key, text in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def tls_context(paths: Mapping[str, Path]) -> ssl.SSLContext:
    """What :func:`lab.tls.make_tls` made, for a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["cert"], paths["key"])
    return context


class Endpoint:
    """The address of one cluster. All methods belong to the loop that it was started in.

    :param port: 0 takes a free one at the start and keeps it.
    :param tls: ``ca``, ``cert`` and ``key`` as of :func:`lab.tls.make_tls`; without it, TLS is declined.
    """

    def __init__(
        self,
        upstream: int | None = None,
        *,
        port: int = 0,
        tls: Mapping[str, Path] | None = None,
        require_tls: bool = False,
    ) -> None:
        self.port = port
        self.host = "127.0.0.1"
        self.upstream = upstream
        self.blocked = False
        self.require_tls = require_tls
        self._context = tls_context(tls) if tls else None
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], Startup | None] = {}

    async def start(self) -> Endpoint:
        """Listen."""
        self._server = await asyncio.start_server(self._accepted, self.host, self.port, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Listen no longer, and cut everybody."""
        if self._server:
            self._server.close()
            await self._cut()
            await self._server.wait_closed()
            self._server = None

    async def switch(self, upstream: int | None) -> None:
        """From now on to that port; ``None``: nobody is the primary. Whoever is on the one before is cut."""
        if upstream != self.upstream:
            self.upstream = upstream
            await self._cut()

    async def block(self, blocked: bool) -> None:
        """Refuse clients, and cut those that are connected; replication passes."""
        self.blocked = blocked
        if blocked:
            await self._cut(spare_replication=True)

    @classmethod
    @contextlib.contextmanager
    def threaded(
        cls, upstream: int, *, port: int = 0, tls: Mapping[str, Path] | None = None, require_tls: bool = False
    ) -> Iterator[Endpoint]:
        """One endpoint in a thread of its own, for code that knows no loop. Only its ``port`` is to be used."""
        endpoint = cls(upstream, port=port, tls=tls, require_tls=require_tls)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="lab-dsm-endpoint", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(endpoint.start(), loop).result(10)
            yield endpoint
        finally:
            asyncio.run_coroutine_threadsafe(endpoint.stop(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    # ---- one session -------------------------------------------------------------------------------------------------
    async def _cut(self, spare_replication: bool = False) -> None:
        victims = [
            task
            for task, startup in self._sessions.items()
            # Who has not said what it wants yet is asked whether it is blocked later on.
            if not (spare_replication and (startup is None or startup.replication))
        ]
        for task in victims:
            task.cancel()
        if victims:
            await asyncio.wait(victims, timeout=5)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._sessions[task] = None
        try:
            # A cut must not look like an error of the server to asyncio: whoever cancels waits for the end only.
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.CancelledError):
                await self._session(task, reader, writer)
        finally:
            del self._sessions[task]
            writer.transport.abort()

    async def _session(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        encrypted = False
        while True:
            startup = parse_startup(await _read_packet(reader))
            if startup.code == _SSL_REQUEST and self._context and not encrypted:
                writer.write(b"S")
                await writer.start_tls(self._context)
                encrypted = True
            elif startup.code in (_SSL_REQUEST, _GSS_REQUEST):
                writer.write(b"N")
                await writer.drain()
            else:
                break
        self._sessions[task] = startup
        if startup.code != _CANCEL_REQUEST:
            answer = self._refuses(startup, encrypted)
            if answer:
                return await _say(writer, answer)
        try:
            if self.upstream is None:
                raise ConnectionRefusedError
            to_reader, to_writer = await asyncio.open_connection(self.host, self.upstream, limit=_CHUNK)
        except OSError:
            return await _say(writer, refusal("no primary of this cluster is running", "57P03"))
        try:
            to_writer.write(startup.raw)
            done, rest = await asyncio.wait(
                [asyncio.ensure_future(_pump(reader, to_writer)), asyncio.ensure_future(_pump(to_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            to_writer.transport.abort()  # the pumps end with it
            raise
        for one in done:
            one.exception()
        # What the server said last is with the client already; a client that went is a server's business no longer.
        to_writer.close()
        for one in rest:
            one.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(_close(writer), 2)
        return None

    def _refuses(self, startup: Startup, encrypted: bool) -> bytes | None:
        if self.require_tls and not encrypted:
            user, database = (startup.parameters.get(key, "") for key in ("user", "database"))
            text = f'no pg_hba.conf entry for host "127.0.0.1", user "{user}", database "{database}", no encryption'
            return refusal(text, "28000")
        if self.blocked and not startup.replication:
            return refusal(SHUT_OUT, "57P03", "blockDatabaseConnections is set on the cluster.")
        return None


async def _read_packet(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readexactly(4), 60)
    length = struct.unpack("!I", head)[0]
    if not 8 <= length <= _LONGEST_STARTUP:
        raise ValueError("not a packet of PostgreSQL's protocol")
    return head + await asyncio.wait_for(reader.readexactly(length - 4), 60)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()


async def _say(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await asyncio.wait_for(_close(writer), 5)


async def _close(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    writer.close()
    await writer.wait_closed()
