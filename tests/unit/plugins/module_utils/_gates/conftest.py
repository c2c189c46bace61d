# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on loopback that do as they are told."""

from __future__ import annotations

import http.server
import socket
import threading
import typing as t

import pytest


class Server(http.server.ThreadingHTTPServer):
    """Answers with ``status`` and ``body``; fails its first ``failures`` requests with 503."""

    daemon_threads = True
    #: The default of 5 drops connections of a test that asks with many threads.
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((address, port), _Handler)
        self.status, self.body, self.failures = 200, b"ready", 0
        self.drip: float = 0.0
        self.requests: list[str] = []
        self.stop = threading.Event()
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append(self.path)
            failing = len(self.server.requests) <= self.server.failures
        self.send_response(503 if failing else self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        for byte in self.server.body:
            if self.server.drip and self.server.stop.wait(self.server.drip):
                return
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return

    def log_message(self, *_args: t.Any) -> None:
        """Silent."""


@pytest.fixture
def make_server() -> t.Iterator[t.Callable[..., Server]]:
    """``make_server("127.0.0.2", 0)``: a running server; all stop at the end."""
    servers: list[Server] = []

    def make(address: str = "127.0.0.1", port: int = 0) -> Server:
        server = Server(address, port)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed_port() -> t.Iterator[int]:
    """A port of 127.0.0.1 that refuses: bound, and never listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def silent_port() -> t.Iterator[int]:
    """A port of 127.0.0.1 that does not answer: its queue of connections is full."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        port = sock.getsockname()[1]
        fillers = []
        for _number in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()
