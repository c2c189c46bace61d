# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 between one client connection and one backend connection: bytes pass unchanged unless a rule spoils them."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import html
from collections.abc import AsyncIterator
from http import HTTPStatus

from .connection import Backend, flush, reset
from .labels import is_read, label_of, same_question
from .rules import Rule, Rules

KEPT_ANSWERS = 4000
KEPT_BYTES = 4 * 1024 * 1024
SOAP_FAULT = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>
<faultstring>A general system error occurred: fault proxy</faultstring>
<detail><RuntimeFaultFault xmlns="urn:vim25" xsi:type="SystemError"><reason>fault proxy</reason></RuntimeFaultFault>
</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>
"""


class BrokenError(Exception):
    """One side sent what is not HTTP, or went away in the middle of it."""


@dataclasses.dataclass
class Request:
    """One request as it came; ``raw`` is what is passed on."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    body: bytes
    close: bool


@dataclasses.dataclass
class Head:
    """The start of an answer."""

    status: int
    raw: bytes
    length: int | None  # None: until the end of the connection
    chunked: bool
    close: bool


class Answers:
    """The last good answer to each read, for stale ones; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[bytes, bytes] = collections.OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        return self._kept.get(key)

    def keep(self, key: bytes, answer: bytes) -> None:
        self._kept[key] = answer
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_ANSWERS:
            self._kept.popitem(last=False)


class HttpConnection:
    """One client's connection, with at most one connection to the backend behind it."""

    def __init__(self, name: str, kind: str, backend: Backend, rules: Rules, answers: Answers) -> None:
        self.name = name
        self.kind = kind
        self.rules = rules
        self.answers = answers
        self.backend = backend

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until one side has enough."""
        try:
            while True:
                request = await read_request(reader, writer)
                if request is None or not await self._one(request, writer):
                    break
            writer.close()
        except (BrokenError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reset(writer)
        finally:
            self.backend.close()

    async def _one(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False when the connection is over."""
        label = label_of(self.kind, request.method, request.target, request.headers, request.body)
        read = is_read(label)
        key = same_question(request.method, request.target, request.body) if read else b""
        rule = self.rules.find(self.name, label)
        old = self.answers.get(key) if rule is not None and rule.fault == "stale" else None
        applied = ""
        if rule is not None and (rule.fault != "stale" or old is not None):
            self.rules.spend(rule)
            applied = rule.fault
        elif rule is not None:
            applied, rule = "stale (none)", None

        if rule is None or rule.fault in ("delay", "cut", "apply_then_status", "apply_then_cut"):
            if rule is not None and rule.fault == "delay":
                await asyncio.sleep(rule.seconds)
            try:
                head, pieces = await self._ask(request)
            except (OSError, BrokenError):
                self.rules.saw(self.name, label, applied, "none", read=read)
                raise
            self.rules.saw(self.name, label, applied, str(head.status), read=read)
            if rule is None or rule.fault == "delay":
                return await self._pass_on(request, head, pieces, writer, key)
            answer = head.raw + b"".join([piece async for piece in pieces])
            if rule.fault == "apply_then_status":
                return await self._say(request, rule, writer)
            if rule.fault == "cut":
                size = len(answer) - len(head.raw)
                writer.write(answer[: len(head.raw) + size // 2] if size else answer[: len(answer) // 2])
                await flush(writer)
            reset(writer)
            return False

        self.rules.saw(self.name, label, applied, "", read=read)
        if rule.fault == "status":
            return await self._say(request, rule, writer)
        if rule.fault == "stale" and old is not None:
            writer.write(old)
            await writer.drain()
            return not request.close
        reset(writer)  # refuse
        return False

    async def _ask(self, request: Request) -> tuple[Head, AsyncIterator[bytes]]:
        reader, writer = await self.backend.streams()
        writer.write(request.raw)
        await writer.drain()
        head = await read_head(reader, request.method)
        return head, read_body(reader, head)

    async def _pass_on(
        self, request: Request, head: Head, pieces: AsyncIterator[bytes], writer: asyncio.StreamWriter, key: bytes
    ) -> bool:
        """The answer as it comes, so that long polls and streams stay what they are."""
        kept: list[bytes] | None = [head.raw] if key and head.status // 100 == 2 and not head.close else None
        size = 0
        writer.write(head.raw)
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()
            size += len(piece)
            if kept is not None:
                kept.append(piece)
                kept = kept if size <= KEPT_BYTES else None
        await writer.drain()
        if kept is not None:
            self.answers.keep(key, b"".join(kept))
        if head.close:
            self.backend.close()
        return not (head.close or request.close)

    async def _say(self, request: Request, rule: Rule, writer: asyncio.StreamWriter) -> bool:
        """Answer in the backend's place."""
        reason = HTTPStatus(rule.status).phrase if rule.status in HTTPStatus._value2member_map_ else "Fault"
        kind, text = "text/html", f"<html><body><h1>{rule.status} {html.escape(reason)}</h1></body></html>\n"
        if rule.body == "soap":
            kind, text = "text/xml; charset=utf-8", SOAP_FAULT
        elif rule.body != "html":
            kind, text = "text/plain", rule.body
        body = text.encode()
        writer.write(
            f"HTTP/1.1 {rule.status} {reason}\r\nServer: fault-proxy\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {'close' if request.close else 'keep-alive'}\r\n\r\n".encode()
        )
        if request.method != "HEAD":
            writer.write(body)
        await writer.drain()
        return not request.close


# ---- reading --------------------------------------------------------------------------------------------------------


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request with its whole body; None at a clean end.

    :raises BrokenError: it is not HTTP, or it ended in the middle.
    """
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenError("the request ended within its headers") from error
        return None
    first, headers = _parse(raw)
    words = first.split(" ")
    if len(words) != 3:
        raise BrokenError(f"this is not HTTP: {first!r}")
    if headers.get("expect", "").lower() == "100-continue":
        raw = b"\r\n".join(line for line in raw.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces = [piece async for piece in _framed(reader, headers, default=0)]
    body = b"".join(pieces)
    plain = _unchunk(body) if "chunked" in headers.get("transfer-encoding", "").lower() else body
    return Request(words[0].upper(), words[1], headers, raw + body, plain, _closes(words[2], headers))


async def read_head(reader: asyncio.StreamReader, method: str) -> Head:
    """Status line and headers of an answer; interim answers are swallowed."""
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise BrokenError("the backend closed the connection") from error
        first, headers = _parse(raw)
        words = first.split(" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise BrokenError(f"this is not HTTP: {first!r}")
        status = int(words[1])
        if status // 100 == 1:
            continue
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = int(headers["content-length"]) if "content-length" in headers and not chunked else None
        if method == "HEAD" or status in (204, 304):
            chunked, length = False, 0
        close = _closes(words[0], headers) or (length is None and not chunked)
        return Head(status, raw, length, chunked, close)


async def read_body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body's bytes as they are on the wire."""
    headers = {"transfer-encoding": "chunked"} if head.chunked else {}
    if head.length is not None:
        headers["content-length"] = str(head.length)
    async for piece in _framed(reader, headers, default=None):
        yield piece


async def _framed(reader: asyncio.StreamReader, headers: dict[str, str], default: int | None) -> AsyncIterator[bytes]:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size:
                yield line + await reader.readexactly(size + 2)
                continue
            trailer = line
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                trailer += line
            yield trailer + line
            return
    length = int(headers["content-length"]) if "content-length" in headers else default
    if length is None:
        while piece := await reader.read(65536):
            yield piece
        return
    while length:
        piece = await reader.read(min(length, 65536))
        if not piece:
            raise BrokenError("the connection ended within a body")
        length -= len(piece)
        yield piece


def _parse(raw: bytes) -> tuple[str, dict[str, str]]:
    lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if ":" in line)
    return lines[0], {name.strip().lower(): value.strip() for name, _colon, value in pairs}


def _closes(version: str, headers: dict[str, str]) -> bool:
    said = headers.get("connection", "").lower()
    return "close" in said or (version == "HTTP/1.0" and "keep-alive" not in said)


def _unchunk(body: bytes) -> bytes:
    plain, rest = b"", body
    while rest:
        line, _sep, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        plain, rest = plain + rest[:size], rest[size + 2 :]
    return plain
