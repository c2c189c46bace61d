# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device and its servers in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from lab.bigip.auth import User
from lab.bigip.emulator import Emulator, load_config

ADMIN = User("admin", "secret")
OPERATOR = User("switch", "secret", role="operator")


class Backend:
    """A small HTTP server that answers with its name; /health can be told to fail or to hang."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.hanging = False
        self.requests = 0
        self.connections = 0
        self.health_requests = 0
        self._server: asyncio.Server | None = None
        self.address = ("127.0.0.1", 0)

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, *self.address)
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def member(self) -> dict[str, str]:
        return {"name": f"{self.address[0]}:{self.address[1]}"}

    @property
    def path(self) -> str:
        return f"/Common/{self.address[0]}:{self.address[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                health = path == b"/health"
                if health:
                    self.health_requests += 1
                    if self.hanging:
                        await asyncio.sleep(60)
                else:
                    self.requests += 1
                status = "200 OK" if self.healthy or not health else "503 Service Unavailable"
                body = b"x" * int(path[6:]) if path.startswith(b"/size/") else self.name.encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                if b"HTTP/1.0" in head or b"connection: close" in head.lower():
                    break
        writer.close()


class Connection:
    """A client's keep-alive connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def get(self, path: str = "/") -> str:
        """The body of the answer. :raises ConnectionError: when the connection is reset or closed."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: vip\r\n\r\n".encode())
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return (await asyncio.wait_for(self.reader.readexactly(length), 10)).decode()
        except asyncio.IncompleteReadError as exc:
            raise ConnectionError("closed") from exc


class Device:
    """An emulator with a REST session of its administrator."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.url = "http://{}:{}/mgmt".format(*emulator.rest_address)
        self.auth: dict[str, Any] = {"auth": aiohttp.BasicAuth(ADMIN.name, ADMIN.password)}

    @property
    def vip(self) -> tuple[str, int]:
        address = self.emulator.plane.address("/Common/web-vip")
        assert address is not None
        return address

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, auth: bool = True
    ) -> tuple[int, Any]:
        """Status and JSON body of one request below /mgmt."""
        options = self.auth if auth else {}
        async with self.session.request(method, self.url + path, json=body, headers=headers, **options) as response:
            text = await response.text()
            is_json = text and "json" in response.headers.get("Content-Type", "")
            return response.status, await response.json() if is_json else text

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        status, answer = await self.call(method, path, body, **options)
        assert status == 200, answer
        return answer

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, self.emulator.control_url + path, json=body) as response:
            return await response.json()

    async def connect(self) -> str:
        """The name of the server behind a new connection."""
        async with Connection(self.vip) as connection:
            return await connection.get()

    def member_url(self, backend: Backend) -> str:
        return f"/tm/ltm/pool/~Common~web-pool/members/{backend.path.replace('/', '~')}"

    async def switch(self, backend: Backend, session: str, state: str = "user-up") -> None:
        await self.ok("PATCH", self.member_url(backend), {"session": session, "state": state})

    def runtime(self, backend: Backend) -> Any:
        return self.emulator.plane.pools["/Common/web-pool"].members[backend.path]


@pytest.fixture
async def backends() -> AsyncIterator[list[Backend]]:
    """Three servers named a, b, c."""
    servers = [await Backend(name).start() for name in "abc"]
    yield servers
    for server in servers:
        await server.stop()


@pytest.fixture
async def start(backends: list[Backend]) -> AsyncIterator[Callable[..., Any]]:
    """Starts a device with a pool of the servers behind web-vip; options go to the pool and to the emulator."""
    async with contextlib.AsyncExitStack() as stack:

        async def starter(
            pool: dict[str, Any] | None = None,
            virtual: dict[str, Any] | None = None,
            members: list[dict[str, Any]] | None = None,
            monitors: list[dict[str, Any]] | None = None,
            **options: Any,
        ) -> Device:
            config = {
                "monitors": monitors or [],
                "pools": [{"name": "web-pool", "members": members or [b.member for b in backends], **(pool or {})}],
                "virtuals": [{"name": "web-vip", "destination": "127.0.0.1:0", "pool": "web-pool", **(virtual or {})}],
            }
            emulator = Emulator([ADMIN, OPERATOR], load_config(config), **{"monitor_scale": 0.1, **options})
            await emulator.start()
            stack.push_async_callback(emulator.stop)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Device(emulator, session)

        yield starter


@pytest.fixture
def connection() -> type[Connection]:
    return Connection


async def _eventually(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < end, "the condition does not become true"
        await asyncio.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds."""
    return _eventually
