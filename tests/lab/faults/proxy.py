# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners and the control port of the fault proxy."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from aiohttp import web

from .connection import LIMIT, Backend, linger
from .http import Answers, HttpConnection
from .rules import Rule, Rules
from .tcp import TcpConnection

MODES = ("http", "https", "tcp")
KINDS = ("soap", "icontrol", "path", "postgresql")
BACKLOG = 256


@dataclasses.dataclass(frozen=True)
class Listening:
    """One listener: where clients come in, and the backend behind it. ``listen`` and ``upstream`` are host:port."""

    name: str
    mode: str
    listen: str
    upstream: str
    labels: str = "path"
    upstream_tls: bool | None = None  # as the mode says

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.labels not in KINDS:
            raise ValueError(f"listener {self.name}: mode is one of {MODES}, labels one of {KINDS}")


def address(text: str) -> tuple[str, int]:
    """``127.0.0.1:80`` as host and port."""
    host, _colon, port = text.rpartition(":")
    return host, int(port)


class Listener:
    """Accepts connections, refuses them while a rule says so, and serves each in a task of its own."""

    def __init__(
        self, listening: Listening, rules: Rules, server_tls: ssl.SSLContext | None, upstream_tls: ssl.SSLContext | None
    ) -> None:
        self.listening = listening
        self.rules = rules
        self.answers = Answers()
        self._server_tls = server_tls
        self._upstream_tls = upstream_tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(address(listening.listen), backlog=BACKLOG)
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    async def run(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _peer = await loop.sock_accept(self._socket)
            if self.rules.refuses_connections(self.listening.name):
                linger(connection)
                connection.close()
                continue
            self._spawn(self._serve(connection))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = asyncio.StreamReader(limit=LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _protocol = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._server_tls
            )
        except (OSError, ssl.SSLError, asyncio.TimeoutError):  # a client that went away, or speaks no TLS
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        backend = Backend(*address(self.listening.upstream), self._upstream_tls)
        name, kind = self.listening.name, self.listening.labels
        server: HttpConnection | TcpConnection
        if self.listening.mode == "tcp":
            server = TcpConnection(name, kind, backend, self.rules)
        else:
            server = HttpConnection(name, kind, backend, self.rules, self.answers)
        with contextlib.suppress(OSError):
            await server.serve(reader, writer)
        writer.close()

    def close(self) -> None:
        self._socket.close()
        for task in self._tasks:
            task.cancel()


class Proxy:
    """All listeners, their rules, and the control port.

    :param config: ``control`` (host:port), ``listeners`` (rows of :class:`Listening`), ``cert`` and ``key`` (PEM, for
        https), ``ca`` (PEM that the backends' certificates are checked against; without it they are not).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.rules = Rules()
        self.listeners = [self._listener(Listening(**row)) for row in config["listeners"]]
        self.modes = {listener.listening.name: listener.listening.mode for listener in self.listeners}

    def _listener(self, listening: Listening) -> Listener:
        server = None
        if listening.mode == "https":
            server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            server.load_cert_chain(self.config["cert"], self.config["key"])
        upstream = None
        if listening.mode == "https" if listening.upstream_tls is None else listening.upstream_tls:
            upstream = ssl.create_default_context(cafile=self.config.get("ca"))
            if not self.config.get("ca"):
                upstream.check_hostname, upstream.verify_mode = False, ssl.CERT_NONE
        return Listener(listening, self.rules, server, upstream)

    async def run(self) -> None:
        """Serve until cancelled; the ready file, if one is wanted, names every port."""
        runner = web.AppRunner(self._control_app(), access_log=None)
        await runner.setup()
        host, port = address(self.config["control"])
        await web.TCPSite(runner, host, port).start()
        control = runner.addresses[0][1]
        ports = {listener.listening.name: listener.port for listener in self.listeners}
        if self.config.get("ready_file"):
            path = Path(self.config["ready_file"])
            path.with_suffix(".new").write_text(json.dumps({"control": f"http://{host}:{control}", "ports": ports}))
            path.with_suffix(".new").replace(path)
        print(f"fault proxy: control on {host}:{control}, listeners {ports}", flush=True)
        try:
            await asyncio.gather(*(listener.run() for listener in self.listeners))
        finally:
            for listener in self.listeners:
                listener.close()
            await runner.cleanup()

    # ---- control ----------------------------------------------------------------------------------------------------
    def _control_app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/rules", self._show_rules),
                web.post("/rules", self._add_rule),
                web.delete("/rules", self._remove_rules),
                web.delete("/rules/{ident}", self._remove_rules),
                web.get("/calls", self._calls),
                web.delete("/calls", self._forget_calls),
            ]
        )
        return app

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "listeners": sorted(self.modes)})

    async def _show_rules(self, _request: web.Request) -> web.Response:
        return web.json_response({"rules": self.rules.show()})

    async def _add_rule(self, request: web.Request) -> web.Response:
        try:
            rule = self.rules.add(Rule.parse(await request.json(), self.modes))
        except (ValueError, TypeError) as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response(dataclasses.asdict(rule), status=201)

    async def _remove_rules(self, request: web.Request) -> web.Response:
        ident = request.match_info.get("ident")
        self.rules.remove(int(ident) if ident else None)
        return web.json_response({"rules": self.rules.show()})

    async def _calls(self, _request: web.Request) -> web.Response:
        return web.json_response({"calls": self.rules.calls()})

    async def _forget_calls(self, _request: web.Request) -> web.Response:
        self.rules.forget_calls()
        return web.json_response({"calls": []})
