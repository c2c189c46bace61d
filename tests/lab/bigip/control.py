# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control port: what a test may see and do, and how the two devices of a pair talk. Plain HTTP, no password."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from .. import control
from .model import Config

if TYPE_CHECKING:
    from .emulator import Emulator


class Control(control.Control):
    """Handlers, one a path."""

    emulator: Emulator

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 when the device serves; 503 while it reboots or restarts."""
        emulator = self.emulator
        status = "rebooting" if emulator.rebooting else "restarting" if emulator.restarting else "ok"
        status = status if emulator.serving else "starting"
        return web.json_response(
            {"status": status, "role": emulator.device.role}, status=200 if status == "ok" else 503
        )

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

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/restart", self.restart),
            web.post("/reboot", self.reboot),
            web.post("/failover", self.failover),
            web.post("/expire_tokens", self.expire_tokens),
            web.get("/peer", self.peer),
            web.post("/peer/role", self.peer_role),
            web.post("/peer/changed", self.peer_changed),
            web.post("/peer/synced", self.peer_synced),
            web.get("/peer/config", self.peer_config),
            web.post("/peer/config", self.peer_config),
            web.get("/gtm/version", self.gtm_version),
            web.get("/gtm/config", self.gtm_config),
            web.post("/gtm/peers", self.gtm_peers),
        ]
