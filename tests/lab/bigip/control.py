# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control port: what a test may see and do, and how the two devices of a pair talk. Plain HTTP, no password."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from .faults import Fault
from .model import Config

if TYPE_CHECKING:
    from .emulator import Emulator


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
        """200 when the device serves; 503 while it reboots or restarts."""
        emulator = self.emulator
        status = "rebooting" if emulator.rebooting else "restarting" if emulator.restarting else "ok"
        status = status if emulator.serving else "starting"
        return web.json_response(
            {"status": status, "role": emulator.device.role}, status=200 if status == "ok" else 503
        )

    async def state(self, _request: web.Request) -> web.Response:
        return web.json_response(self.emulator.state())

    async def restart(self, request: web.Request) -> web.Response:
        """``{"seconds": 5, "status": 503}``: the management plane answers "Configuration Utility restarting..."."""
        body = await self._json(request)
        self.emulator.restart(float(body.get("seconds", 5)), int(body.get("status", 503)))
        return web.json_response({"status": "restarting"})

    async def reboot(self, request: web.Request) -> web.Response:
        """``{"seconds": 2}``: away for so long, back with the saved configuration; /healthz tells when."""
        seconds = float((await self._json(request)).get("seconds", 2))
        if self.emulator.rebooting or not self.emulator.serving:
            return web.json_response({"message": "it is rebooting already"}, status=409)
        self.emulator.serving = False
        self.emulator.spawn(self.emulator.reboot(seconds))
        return web.json_response({"status": "rebooting"})

    async def failover(self, _request: web.Request) -> web.Response:
        """Swap the roles of the pair."""
        try:
            await self.emulator.device.fail_over()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as exc:
            raise web.HTTPBadGateway(text=json.dumps({"message": f"the peer does not answer: {exc}"})) from exc
        return web.json_response({"role": self.emulator.device.role})

    async def expire_tokens(self, _request: web.Request) -> web.Response:
        return web.json_response({"expired": self.emulator.auth.expire()})

    async def faults(self, request: web.Request) -> web.Response:
        """POST adds a rule (see ``faults.Fault``), GET lists them, DELETE forgets them."""
        faults = self.emulator.faults
        if request.method == "DELETE":
            faults.rules.clear()
        elif request.method == "POST":
            try:
                faults.rules.append(Fault.parse(await self._json(request)))
            except ValueError as exc:
                return web.json_response({"message": str(exc)}, status=400)
        return web.json_response({"faults": faults.show()})

    # -- the pair ------------------------------------------------------------------------------------------------------

    async def peer(self, _request: web.Request) -> web.Response:
        if self.emulator.rebooting:
            raise web.HTTPServiceUnavailable
        return web.json_response({"name": self.emulator.device.name, "role": self.emulator.device.role})

    async def peer_role(self, request: web.Request) -> web.Response:
        body = await self._json(request)
        self.emulator.device.peer_role = body["peer_role"]
        await self.emulator.device.take(body["role"])
        return web.json_response({"role": self.emulator.device.role})

    async def peer_changed(self, _request: web.Request) -> web.Response:
        self.emulator.device.pending = True
        return web.json_response({})

    async def peer_synced(self, _request: web.Request) -> web.Response:
        self.emulator.device.pending = self.emulator.device.ahead = False
        return web.json_response({})

    async def peer_config(self, request: web.Request) -> web.Response:
        """GET gives the configuration, POST takes one over."""
        if request.method == "POST":
            await self.emulator.load(Config(await self._json(request)))
            return await self.peer_synced(request)
        return web.json_response(self.emulator.config.data)

    # -- the sync group of BIG-IP DNS ----------------------------------------------------------------------------------

    async def gtm_version(self, _request: web.Request) -> web.Response:
        if not self.emulator.serving:
            raise web.HTTPServiceUnavailable
        return web.json_response({"version": self.emulator.config.data["gtm"]["version"]})

    async def gtm_config(self, _request: web.Request) -> web.Response:
        return web.json_response(self.emulator.config.data["gtm"])

    async def gtm_peers(self, request: web.Request) -> web.Response:
        """POST ``{"peers": ["http://host:port"]}``: the control addresses of the other devices from now on."""
        self.emulator.gtm_group.join((await self._json(request)).get("peers", []))
        return web.json_response({"peers": self.emulator.gtm_group.reached})


def control_app(emulator: Emulator) -> web.Application:
    """The application of the control port."""
    control = Control(emulator)
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.add_routes(
        [
            web.get("/healthz", control.healthz),
            web.get("/state", control.state),
            web.post("/restart", control.restart),
            web.post("/reboot", control.reboot),
            web.post("/failover", control.failover),
            web.post("/expire_tokens", control.expire_tokens),
            web.get("/faults", control.faults),
            web.post("/faults", control.faults),
            web.delete("/faults", control.faults),
            web.get("/peer", control.peer),
            web.post("/peer/role", control.peer_role),
            web.post("/peer/changed", control.peer_changed),
            web.post("/peer/synced", control.peer_synced),
            web.get("/peer/config", control.peer_config),
            web.post("/peer/config", control.peer_config),
            web.get("/gtm/version", control.gtm_version),
            web.get("/gtm/config", control.gtm_config),
            web.post("/gtm/peers", control.gtm_peers),
        ]
    )
    return app
