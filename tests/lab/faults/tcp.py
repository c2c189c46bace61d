# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any TCP, PostgreSQL above all: pieces pass both ways, and a rule spoils the piece that it names or its answer."""

from __future__ import annotations

import asyncio
import contextlib

from .connection import Backend, flush, reset
from .labels import PostgresLabels, is_read
from .rules import Rule, Rules

PIECE = 65536
CONNECT = "connect"


class TcpConnection:
    """One client's connection. Labels are ``connect``, and then ``message`` or, for PostgreSQL, verb and table."""

    def __init__(self, name: str, kind: str, backend: Backend, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        self.backend = backend
        self.labels = PostgresLabels() if kind == "postgresql" else None
        self._answer: Rule | None = None  # what happens to the next bytes of the backend
        self._passed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on until one side ends."""
        tasks: list[asyncio.Task[None]] = []
        try:
            if not await self._take(CONNECT):
                reset(writer)
                return
            upstream, upstream_writer = await self.backend.streams()
            tasks = [
                asyncio.create_task(self._to_backend(reader, writer, upstream_writer)),
                asyncio.create_task(self._to_client(upstream, writer)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            writer.close()
        except OSError:
            reset(writer)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task
            self.backend.close()

    async def _take(self, label: str) -> bool:
        """Apply the rule for a piece; False when the connection has to be reset before anything is passed on."""
        rule = self.rules.find(self.name, label)
        self.rules.saw(self.name, label, rule.fault if rule else "", "", read=is_read(label))
        if rule is None:
            return True
        self.rules.spend(rule)
        if rule.fault == "refuse":
            return False
        if rule.fault == "delay":
            await asyncio.sleep(rule.seconds)
        else:
            self._answer, self._passed = rule, 0
        return True

    async def _to_backend(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(PIECE):
            if not await self._take(self.labels.label(piece) if self.labels else "message"):
                reset(writer)
                return
            upstream.write(piece)
            await upstream.drain()

    async def _to_client(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await upstream.read(PIECE):
            rule = self._answer
            if rule is None:
                writer.write(piece)
                await writer.drain()
                continue
            if rule.fault == "cut":
                keep = len(piece) // 2 if rule.after_bytes is None else rule.after_bytes - self._passed
                writer.write(piece[: max(0, keep)])
                self._passed += len(piece)
                await flush(writer)
                if keep >= len(piece):
                    continue
            reset(writer)
            return
