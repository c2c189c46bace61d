# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 on asyncio: just enough for vLLM's clients, balancers and proxies; keep-alive, and chunks for streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

LARGEST_HEAD = 65536
LARGEST_BODY = 32 << 20


@dataclass
class Call:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: Connection


class Connection(asyncio.Protocol):
    """One client. ``handle(call)`` answers by :meth:`answer`, or by ``begin_stream``, ``send``, ``end_stream``."""

    def __init__(
        self, handle: Callable[[Call], None], log: Callable[[Call, int, str], None], keep_alive: float, everyone: set
    ):
        self._handle = handle
        self._log = log
        self._keep_alive = keep_alive
        self._everyone = everyone
        self._buffer = b""
        self._call: Call | None = None
        self._close = False
        self._chunked = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.when_gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._everyone.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._everyone.discard(self)
        self._stop_timer()
        if self.when_gone:
            gone, self.when_gone = self.when_gone, None
            gone()

    def data_received(self, data: bytes) -> None:
        self._stop_timer()
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._call is not None or self._transport.is_closing():
            return
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > LARGEST_HEAD:
                self._refuse(431)
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        headers = {}
        for line in lines:
            name, _colon, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length", "0")
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or not length.isdigit():
            self._refuse(400)
            return
        if "transfer-encoding" in headers:
            self._refuse(411)
            return
        if int(length) > LARGEST_BODY:
            self._refuse(413)
            return
        if len(rest) < int(length):
            if headers.get("expect", "").lower() == "100-continue" and not rest:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body, self._buffer = rest[: int(length)], rest[int(length) :]
        old = words[2] == "HTTP/1.0"
        wish = headers.get("connection", "").lower()
        self._close = old or wish == "close"
        self._chunked = not old
        self._call = Call(words[0], words[1].partition("?")[0], headers, body, self)
        self._handle(self._call)

    def _refuse(self, status: int) -> None:
        self._close = True
        self._call = Call("-", "-", {}, b"", self)
        self.answer(status, {"error": HTTPStatus(status).phrase})

    def _head(self, status: int, kind: str, more: str) -> bytes:
        assert self._call is not None
        self._log(self._call, status, self.peer())
        close = "connection: close\r\n" if self._close else ""
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nserver: uvicorn\r\ncontent-type: {kind}\r\n"
        return f"{first}{more}{close}\r\n".encode()

    def peer(self) -> str:
        """Address and port of the client."""
        name = self._transport.get_extra_info("peername") or ("-", 0)
        return f"{name[0]}:{name[1]}"

    def answer(self, status: int, content: Any = b"", kind: str = "application/json") -> None:
        """The whole answer; what is not bytes is written as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._transport.write(self._head(status, kind, f"content-length: {len(body)}\r\n") + body)
        self._done()

    def begin_stream(self) -> None:
        more = "transfer-encoding: chunked\r\n" if self._chunked else ""
        self._transport.write(self._head(200, "text/event-stream; charset=utf-8", more))

    def send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def end_stream(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n" if self._chunked else b"")
        self._done()

    def _done(self) -> None:
        self._call = None
        self.when_gone = None
        if self._close:
            self._transport.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._timer = asyncio.get_running_loop().call_later(self._keep_alive, self._transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close_when_idle(self) -> None:
        """Now, or after the answer that is under way."""
        self._close = True
        if self._call is None:
            self._transport.close()
