# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each emulator needs to serve: listeners with and without TLS, the wish to stop, the word that it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web


def server_tls(cert: Path | str, key: Path | str) -> ssl.SSLContext:
    """The context of a listener."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


async def listen(
    stack: contextlib.AsyncExitStack,
    app: web.Application,
    host: str,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    *,
    cancel: bool = False,
) -> str:
    """Serve *app* until *stack* is closed; its address.

    :param cancel: a client that goes away cancels its request.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=cancel)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    return f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}"


def stop_asked() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


def say_ready(file: Path, found: Mapping[str, Any]) -> None:
    """Write *file*, which whoever started this waits for; it is never there in part."""
    waiting = file.with_suffix(".new")
    waiting.write_text(json.dumps(found))
    waiting.replace(file)
