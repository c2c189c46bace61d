# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Harbor: ``python -m lab.harbor.emulator FOLDER`` reads FOLDER/config.json and writes FOLDER/ready.json."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from ..serving import listen, say_ready, server_tls, stop_asked
from ..tls import make_tls
from .control import Control
from .distribution import Distribution
from .errors import HarborError, bad
from .projects import Projects
from .registries import Registries
from .replication import Replication
from .store import Store
from .worker import Worker, worker

API = "/api/v2.0"
OPEN = (f"{API}/ping", f"{API}/health", f"{API}/systeminfo")
ADMIN = (f"{API}/registries", f"{API}/replication")
MAX_BODY = 256 * 1024 * 1024


class Emulator:
    """One Harbor in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.store = Store(folder)

    def app(self, jobs: Worker) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY)
        for part in (Projects(self.store), Registries(self.store), Replication(self.store, jobs)):
            app.router.add_routes(
                [web.RouteDef(row.method, API + row.path, row.handler, row.kwargs) for row in part.routes()]
            )
        app.router.add_routes(Distribution(self.store, jobs.pushed).routes())
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            if request.path not in OPEN:
                request["user"] = self._user(request)
                if request.path.startswith(ADMIN) and not request["user"]["admin"]:
                    raise HarborError("FORBIDDEN", "forbidden")
                if "sid" in request.cookies and request.method not in ("GET", "HEAD"):
                    raise HarborError("FORBIDDEN", "CSRF token not found in request")
            answer = await handler(request)
            answer.set_cookie("sid", "lab", httponly=True)  # a client that sends it back is taken for a browser
            return answer
        except HarborError as error:
            return error.response()
        except json.JSONDecodeError as error:
            return bad(f"invalid JSON: {error}").response()
        except web.HTTPNotFound:
            return HarborError("NOT_FOUND", f"path {request.path} was not found").response()

    def _user(self, request: web.Request) -> dict[str, Any]:
        scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            name, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
            user = self.config["users"].get(name)
            right = (user or {}).get("password", "").encode()
            if scheme == "Basic" and hmac.compare_digest(right, password.encode()) and user:
                return {"name": name, "admin": user["admin"]}
        raise HarborError("UNAUTHORIZED", "unauthorized")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        ended = stop_asked()
        tls, host = make_tls(self.folder / "tls"), self.config["host"]
        async with contextlib.AsyncExitStack() as stack:
            jobs = await stack.enter_async_context(worker(self.store))
            port, control_port = self.config["port"], self.config["control_port"]
            control = await listen(stack, Control(self.store, jobs).app(), host, control_port)
            url = await listen(stack, self.app(jobs), host, port, server_tls(tls["cert"], tls["key"]))
            say_ready(self.folder / "ready.json", {"url": url, "control": control})
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(Emulator(Path(sys.argv[1])).run())
