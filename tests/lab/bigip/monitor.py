# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health monitors: one probe for each monitor of each member, on the device's timers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

# The device compares the receive string with this much of the answer (TMOS: 5,120 bytes).
RECEIVE_LIMIT = 5120


def wire_text(send: str) -> bytes:
    r"""A send string as bytes: the device stores ``\r\n`` as written and sends the two characters it means."""
    escapes = {"\\r": "\r", "\\n": "\n", "\\t": "\t", "\\\\": "\\"}
    return re.sub(r"\\[rnt\\]", lambda match: escapes[match.group(0)], send).encode("latin-1", "replace")


def request_bytes(send: str) -> bytes:
    """An HTTP send string, ended by an empty line when it is not."""
    data = wire_text(send)
    while not data.endswith(b"\r\n\r\n"):
        data += b"\r\n" if data.endswith(b"\r\n") else b"\r\n\r\n"
    return data


async def check(kind: str, monitor: Mapping[str, Any], host: str, port: int) -> bool:
    """One probe of one target; whether it passed. The caller bounds the time."""
    context = None
    if kind == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except ConnectionRefusedError:
        return kind == "gateway-icmp"  # the host answered, which is all that a ping asks
    except OSError:
        return False
    try:
        return await _talk(kind, monitor, reader, writer)
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.transport.abort()


async def _talk(
    kind: str, monitor: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    if kind in {"tcp-half-open", "gateway-icmp"}:
        return True
    send, receive = monitor.get("send") or "", monitor.get("recv") or ""
    if kind in {"http", "https"}:
        writer.write(request_bytes(send or "GET /"))
    elif send:
        writer.write(wire_text(send))
    elif not receive:
        return True
    pattern = re.compile(receive) if receive else None
    text = b""
    while len(text) < RECEIVE_LIMIT:
        block = await reader.read(RECEIVE_LIMIT)
        text += block
        matched = bool(text) if pattern is None else bool(pattern.search(text[:RECEIVE_LIMIT].decode("latin-1")))
        if matched:
            return monitor.get("reverse") != "enabled"
        if not block:
            break
    return monitor.get("reverse") == "enabled" and bool(text)


class Probe:
    """A monitor on a target. ``passed`` is ``None`` until the first verdict.

    A success is a verdict at once; a failure becomes one when nothing has succeeded for the monitor's ``timeout``.

    :param scale: factor on every time of the monitor, to let a test see in tenths of seconds what takes seconds.
    """

    def __init__(
        self,
        kind: str,
        monitor: Mapping[str, Any],
        target: tuple[str, int],
        changed: Callable[[], None],
        *,
        scale: float = 1.0,
    ) -> None:
        self.kind = kind
        self.monitor = dict(monitor)
        self.given = target
        self.target = self._aliased(target)
        self.passed: bool | None = None
        self.count = 0
        self._changed = changed
        self._scale = scale
        self._task = asyncio.get_running_loop().create_task(self._run())

    def _aliased(self, target: tuple[str, int]) -> tuple[str, int]:
        destination = str(self.monitor.get("destination", "*:*")).rpartition("/")[2]
        address, _separator, port = destination.rpartition("." if destination.count(":") > 1 else ":")
        return (
            target[0] if address in {"", "*"} else address,
            int(port) if port.isdigit() and port != "0" else target[1],
        )

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        interval = self.monitor["interval"] * self._scale
        timeout = self.monitor["timeout"] * self._scale
        until_up = self.monitor.get("timeUntilUp", 0) * self._scale
        # The device spreads first probes over the interval; half of it keeps the time of a test the same each run.
        await asyncio.sleep(interval / 2)
        last_good = loop.time()
        good_since: float | None = None
        while True:
            started = loop.time()
            left = timeout if self.passed is False else last_good + timeout - started
            passed = False
            with contextlib.suppress(asyncio.TimeoutError):
                passed = await asyncio.wait_for(check(self.kind, self.monitor, *self.target), max(left, 0.05))
            self.count += 1
            now = loop.time()
            if passed:
                last_good = now
                good_since = now if good_since is None else good_since
                if now - good_since >= until_up:
                    self._verdict(True)
            else:
                good_since = None
                if now - last_good >= timeout - 0.001:
                    self._verdict(False)
            # A probe that would end behind the deadline is brought forward to it: down comes after timeout, not later.
            pause = interval - (now - started)
            if not passed and self.passed is not False:
                pause = min(pause, last_good + timeout - now)
            await asyncio.sleep(max(pause, 0.01))

    def _verdict(self, passed: bool) -> None:
        if self.passed is not passed:
            self.passed = passed
            self._changed()
