# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One stream of tokens, with a deadline for its first token and one for all of it. They hold for a server that is frozen
and for one that sends byte by byte, which requests' timeout does not promise; hence http.client.
"""

from __future__ import annotations

import dataclasses
import http.client
import io
import json
import os
import socket
import ssl
import time
import typing as t

from .._common._http import shorten
from ._client import Connection

#: Statuses that say the same the next time.
FINAL = frozenset({400, 401, 403, 404, 405, 413, 422})
_LONGEST_LINE = 1 << 20
_LONGEST_REFUSAL = 1 << 14


class StreamFailed(Exception):
    """No good stream; the text says why. ``final``: asking again is pointless; ``silent``: no token came in time."""

    def __init__(self, message: str, *, final: bool = False, silent: bool = False) -> None:
        super().__init__(message)
        self.final = final
        self.silent = silent


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request: what it says, and how many tokens have to come."""

    model: str
    prompt: str | list[int]
    tokens: int
    temperature: float = 0.0

    def body(self) -> bytes:
        """The request's JSON: exactly so many tokens, whatever the model wants to say."""
        return json.dumps(
            {
                "model": self.model,
                "prompt": self.prompt,
                "max_tokens": self.tokens,
                "min_tokens": self.tokens,
                "ignore_eos": True,
                "temperature": self.temperature,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()


class _TimeUp(OSError):
    """A deadline has passed."""


class _Timed:
    """A connected socket as http.client wants one; each send and each receive gets what is left of the time."""

    def __init__(self, sock: socket.socket, left: t.Callable[[], float]) -> None:
        self._sock = sock
        self._left = left

    def _arm(self) -> None:
        left = self._left()
        if left <= 0:
            raise _TimeUp()
        self._sock.settimeout(left)

    def sendall(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def receive(self, buffer: t.Any) -> int:
        self._arm()
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Closed by who opened it: http.client closes early, while the answer is still read."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: _Timed) -> None:
        self._timed = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        return self._timed.receive(buffer)


@dataclasses.dataclass
class Stream:
    """What came of one request."""

    ttft: float | None = None  # seconds to the first token
    seconds: float = 0.0
    tokens: int | None = None  # as the server counts them
    finish: str | None = None
    complete: bool = False  # [DONE] was seen


def run_stream(
    connection: Connection,
    address: str,
    asked: Asked,
    *,
    first_token: float,
    deadline: float,
    clock: t.Callable[[], float] = time.monotonic,
) -> Stream:
    """Ask, read to the end, and judge. The connection is closed in any case, which makes vLLM drop what is left.

    :param first_token: seconds to the first token, connecting included.
    :param deadline: seconds for all of it.
    :raises StreamFailed: refused, late, cut, an error in the stream, ``abort``, or another number of tokens.
    """
    started = clock()
    seen = Stream()

    def left() -> float:
        limit = deadline if seen.ttft is not None else min(first_token, deadline)
        return started + limit - clock()

    sock: socket.socket | None = None
    try:
        sock = _connect(connection, address, left())
        _exchange(connection, address, sock, asked, seen, left, lambda: clock() - started)
    except (_TimeUp, TimeoutError) as error:
        raise _late(seen, first_token, deadline) from error
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        raise StreamFailed(f"TLS: {reason}", final=isinstance(error, ssl.SSLCertVerificationError)) from error
    except http.client.HTTPException as error:
        raise StreamFailed(_cut(seen) if seen.ttft is not None else f"no HTTP answer: {_words(error)}") from error
    except OSError as error:
        raise StreamFailed(f"{_cut(seen)}: {_words(error)}" if seen.ttft is not None else _words(error)) from error
    finally:
        if sock is not None:
            sock.close()
    seen.seconds = clock() - started
    _judge(seen, asked.tokens)
    return seen


def _connect(connection: Connection, address: str, timeout: float) -> socket.socket:
    context = _context(connection) if connection.scheme == "https" else None
    sock = socket.create_connection((address, connection.port), timeout=max(0.001, timeout))
    if context is None:
        return sock
    try:
        return context.wrap_socket(sock, server_hostname=address)
    except BaseException:
        sock.close()
        raise


def _context(connection: Connection) -> ssl.SSLContext:
    if not connection.validate_certs:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    path = connection.ca_path
    try:
        if path and os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError too: no certificate in it
        raise StreamFailed(f"ca_path {path}: {_words(error)}", final=True) from error


def _exchange(
    connection: Connection,
    address: str,
    sock: socket.socket,
    asked: Asked,
    seen: Stream,
    left: t.Callable[[], float],
    elapsed: t.Callable[[], float],
) -> None:
    talk = http.client.HTTPConnection(address, connection.port)
    talk.sock = _Timed(sock, left)  # type: ignore[assignment]
    headers = {**connection.headers, "Content-Type": "application/json", "Accept": "text/event-stream"}
    talk.request("POST", "/v1/completions", body=asked.body(), headers=headers)
    answer = talk.getresponse()
    if answer.status != 200:
        text = _refusal(answer.read(_LONGEST_REFUSAL))
        raise StreamFailed(f"status {answer.status}: {text or answer.reason}", final=answer.status in FINAL)
    kind = answer.headers.get_content_type()
    if kind != "text/event-stream":
        raise StreamFailed(f"status 200, but {kind} instead of a stream")
    while not seen.complete:
        line = answer.readline(_LONGEST_LINE)
        if not line:
            raise StreamFailed(_cut(seen))
        if line.startswith(b"data:"):
            _take(line[5:].strip(), seen, elapsed)


def _take(data: bytes, seen: Stream, elapsed: t.Callable[[], float]) -> None:
    """One event. :raises StreamFailed: it is an error, or nothing that vLLM sends."""
    if data == b"[DONE]":
        seen.complete = True
        return
    try:
        event = json.loads(data)
        if event.get("error"):
            error = event["error"]
            text = error.get("message") if isinstance(error, dict) else error
            raise StreamFailed(f"an error in the stream (status 200): {shorten(str(text))}")
        for choice in event.get("choices") or []:
            if choice.get("finish_reason") not in ("abort", "error") and seen.ttft is None:
                seen.ttft = elapsed()
            seen.finish = choice.get("finish_reason") or seen.finish
        if event.get("usage"):
            seen.tokens = int(event["usage"]["completion_tokens"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StreamFailed(f"no event of vLLM: {shorten(data.decode(errors='replace'))}") from error


def _judge(seen: Stream, tokens: int) -> None:
    if seen.finish not in ("length", "stop"):
        raise StreamFailed(f"the stream ended with finish_reason {seen.finish or 'missing'} (status 200)")
    if seen.tokens != tokens:
        raise StreamFailed(f"{'no' if seen.tokens is None else seen.tokens} tokens counted instead of {tokens}")
    if seen.ttft is None:
        raise StreamFailed("the stream ended without a token")


def _late(seen: Stream, first_token: float, deadline: float) -> StreamFailed:
    if seen.ttft is None:
        return StreamFailed(f"no first token within {min(first_token, deadline):g} s", silent=True)
    return StreamFailed(f"the stream did not end within {deadline:g} s")


def _cut(seen: Stream) -> str:
    return "the stream was cut before its first token" if seen.ttft is None else "the stream was cut before its end"


def _words(error: BaseException) -> str:
    """``connection refused`` and the like."""
    number = getattr(error, "errno", None)
    text = os.strerror(number) if number and number > 0 else str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _refusal(body: bytes) -> str:
    """The server's own words."""
    try:
        found = json.loads(body)
        error = found.get("error", found.get("detail", found))
        text = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = body.decode(errors="replace")
    return shorten(str(text))
