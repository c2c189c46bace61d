# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control ports of REST emulators have in common. Plain HTTP, no password."""

from __future__ import annotations

import json
from typing import Any, Protocol

from aiohttp import web

from .rest_faults import Fault, Faults


class Emulator(Protocol):
    """What is controlled."""

    faults: Faults

    def state(self) -> dict[str, Any]: ...


class Control:
    """Handlers, one a path."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    @staticmethod
    async def _json(request: web.Request) -> dict[str, Any]:
        try:
            body = await request.json() if request.can_read_body else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise web.HTTPBadRequest(text=json.dumps({"message": "a JSON object is expected"}))
        return body

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def state(self, _request: web.Request) -> web.Response:
        return web.json_response(self.emulator.state())

    async def faults(self, request: web.Request) -> web.Response:
        """POST adds a rule (see ``rest_faults.Fault``), GET lists them, DELETE forgets them."""
        faults = self.emulator.faults
        if request.method == "DELETE":
            faults.rules.clear()
        elif request.method == "POST":
            try:
                faults.rules.append(Fault.parse(await self._json(request)))
            except ValueError as error:
                return web.json_response({"message": str(error)}, status=400)
        return web.json_response({"faults": faults.show()})

    def routes(self) -> list[web.RouteDef]:
        """What every one has; more in those that have more."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/state", self.state),
            web.get("/faults", self.faults),
            web.post("/faults", self.faults),
            web.delete("/faults", self.faults),
        ]

    def app(self) -> web.Application:
        """The application of the control port."""
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.add_routes(self.routes())
        return app
