# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab BIG-IP of one test module, pools to play with, and real HTTP servers as members.

A test file takes the fixtures at the end by name: ``device = kit.device``, and those that it stands on.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.bigip.spawn import Spawned, start
from lab.kit import free_port, wait_for

PASSWORD = "lab-only"
OPERATOR = {"name": "op", "password": PASSWORD, "role": "operator"}
ON = ("monitor-enabled", "up")
Run = Callable[..., dict[str, Any]]


class Device:
    """A device of the lab with the calls that these tests make. ``args`` are the connection options of the modules."""

    def __init__(self, spawned: Spawned) -> None:
        self.spawned = spawned
        self.port, self.control, self.log = spawned.port, spawned.control, spawned.log
        self.stop = spawned.stop
        self.args = {
            "hostname": spawned.hostname,
            "port": spawned.port,
            "username": spawned.username,
            "password": spawned.password,
            "ca_path": str(spawned.ca),
        }
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (spawned.username, spawned.password)
        self.session.verify = str(spawned.ca)
        self._names = itertools.count(1)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Straight to the device, beside the modules."""
        url = f"https://127.0.0.1:{self.port}/mgmt/tm/{path}"
        answer = self.session.request(method, url, json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json() if answer.content else {}

    def tell(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """To the control port."""
        return self.spawned.call(method, f"/{path}", body)

    def state(self) -> dict[str, Any]:
        return self.spawned.state()

    def new_pool(self, monitor: str | None = "/Common/health") -> str:
        name = f"pool-{next(self._names)}"
        self.rest("POST", "ltm/pool", {"name": name, **({"monitor": monitor} if monitor else {})})
        return name

    def new_virtual(self, pool: str) -> int:
        """A virtual server before *pool*; its port on 127.0.0.1."""
        port = free_port()
        body = {
            "name": f"vs-{pool}",
            "destination": f"/Common/127.0.0.1:{port}",
            "pool": f"/Common/{pool}",
            "ipProtocol": "tcp",
        }
        self.rest("POST", "ltm/virtual", body)
        return port

    def members(self, pool: str) -> dict[str, dict[str, Any]]:
        """What really stands there, by name (``127.0.52.1:8080``)."""
        return self.spawned.members(f"/Common/{pool}")

    def standing(self, pool: str, member: Service) -> tuple[str, str]:
        found = self.members(pool)[member.name]
        return found["session"], found["state"]


def start_device(folder: Path, name: str = "bigip1.lab", ports: tuple[int, int] = (0, 0), *more: str) -> Device:
    """Start a device with the monitor ``health`` and the user ``op``; *ports* are its management and control port."""
    send = "GET /health HTTP/1.1\\r\\nHost: lab\\r\\nConnection: close\\r\\n\\r\\n"
    monitor = {"name": "health", "type": "http", "interval": 2, "timeout": 7, "send": send, "recv": "200 OK"}
    spawned = start(
        folder / name,
        {"monitors": [monitor], "users": [OPERATOR]},
        *("--name", name, *more),
        listen_port=ports[0],
        control_port=ports[1],
        monitor_scale=0.2,
        password=PASSWORD,
    )
    return Device(spawned)


class Service(ThreadingHTTPServer):
    """What runs on a member: ``/health`` answers 200 while ``healthy``; ``hits`` are other requests."""

    daemon_threads = True
    _addresses = itertools.count(1)

    def __init__(self, healthy: bool = True) -> None:
        number = next(self._addresses)
        self.address = f"127.0.{52 + number // 250}.{1 + number % 250}"
        super().__init__((self.address, 0), Answer)
        self.healthy = healthy
        self.hits = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def name(self) -> str:
        return f"{self.address}:{self.server_port}"

    @property
    def row(self) -> dict[str, Any]:
        return {"address": self.address, "port": self.server_port}

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections of these tests are cut on purpose."""


class Answer(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = 200
        if self.path == "/health":
            status = 200 if self.server.healthy else 503
        else:
            self.server.hits += 1
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@contextlib.contextmanager
def services(*healthy: bool) -> Iterator[list[Service]]:
    """One service each."""
    running = [Service(one) for one in healthy]
    try:
        yield running
    finally:
        for one in running:
            one.shutdown()
            one.server_close()


@contextlib.contextmanager
def held_connection(port: int) -> Iterator[socket.socket]:
    """A client of a virtual server that has had one answer and keeps its connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /work HTTP/1.1\r\nHost: lab\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        yield client


def ask(port: int) -> bool:
    """Whether a new client of a virtual server is served."""
    try:
        with held_connection(port):
            return True
    except (OSError, AssertionError):
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bigip")


@pytest.fixture(scope="module")
def shared_device(folder: Path) -> Iterator[Device]:
    it = start_device(folder)
    yield it
    it.stop()


@pytest.fixture
def device(shared_device: Device) -> Iterator[Device]:
    yield shared_device
    shared_device.tell("faults", method="DELETE")
    wait_for(lambda: not shared_device.state()["restarting"], what="the end of a restart")


@pytest.fixture
def member(run_module: Run, device: Device) -> Callable[..., dict[str, Any]]:
    """``member(state, pool, services or rows, check=, diff=, **options)``."""

    def call(
        state: str, pool: str, members: list[Any], *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        rows = [one.row if isinstance(one, Service) else one for one in members]
        args = {**device.args, "pool": pool, "state": state, "members": rows, "wait_interval": 0.2, **options}
        return run_module("f5_pool_member", args, check=check, diff=diff)

    return call
