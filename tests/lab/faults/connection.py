# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ends of a connection: the backend, opened when the first bytes are for it, and resets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

LIMIT = 1024 * 1024
CONNECT_TIMEOUT_S = 10
FLUSH_TIMEOUT_S = 2


class Backend:
    """At most one connection to the backend, opened again when the backend closed it between two calls."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Reader and writer. :raises OSError: nothing answers."""
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()
        if self._streams is None:
            connecting = asyncio.open_connection(
                self.host, self.port, ssl=self.tls, server_hostname=self.host if self.tls else None, limit=LIMIT
            )
            self._streams = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a RST, as a process that died or a firewall does."""
    linger(writer.get_extra_info("socket"))
    writer.transport.abort()


def linger(sock: socket.socket) -> None:
    """Make the next close of *sock* a RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def flush(writer: asyncio.StreamWriter) -> None:
    """Wait until everything written has left this process: what is still here a reset would throw away."""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await writer.drain()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FLUSH_TIMEOUT_S
        while writer.transport.get_write_buffer_size() and loop.time() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)  # TLS has a buffer of its own below
