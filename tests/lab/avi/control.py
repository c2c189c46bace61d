# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control port: what a test may see and do, and how the sites talk. Plain HTTP, no password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from .. import control
from .errors import ApiError

if TYPE_CHECKING:
    from .emulator import Emulator


class Control(control.Control):
    """Handlers, one a path."""

    emulator: Emulator

    async def expire_sessions(self, _request: web.Request) -> web.Response:
        return web.json_response({"expired": self.emulator.auth.expire()})

    async def link(self, request: web.Request) -> web.Response:
        """``{"site": "b", "up": false}``: cut or mend the link to another site, seen from here."""
        body = await self._json(request)
        cut = self.emulator.federation.cut
        (cut.discard if body["up"] else cut.add)(body["site"])
        await self.emulator.federation.beat()
        return web.json_response({"reached": self.emulator.federation.reached})

    async def gslb(self, request: web.Request) -> web.Response:
        """Set fields of the federation's object here, as an administrator of the leader would."""
        store = self.emulator.store
        store.set_gslb({**store.gslb, **await self._json(request)})
        await self.emulator.changed(tell=True)
        return web.json_response(store.gslb)

    async def touch(self, request: web.Request) -> web.Response:
        """``{"name": "shop", "fields": {}}``: another administrator saves the service, now or, with ``before_puts``,
        just before each of so many PUTs of it."""
        body = await self._json(request)
        emulator, fields = self.emulator, body.get("fields") or {}
        if "before_puts" in body:
            emulator.interferences[body["name"]] = (fields, int(body["before_puts"]))
        else:
            emulator.touch(body["name"], fields)
            await emulator.changed(tell=True)
        return web.json_response({})

    async def seed(self, request: web.Request) -> web.Response:
        """``{"healthmonitors": [..], "services": [..]}`` as REST bodies; what has a name already is replaced."""
        body = await self._json(request)
        try:
            await self.emulator.seed(body)
        except ApiError as error:
            return web.json_response({"message": error.message}, status=400)
        return web.json_response(self.emulator.state())

    async def targets(self, request: web.Request) -> web.Response:
        """``{"192.0.2.10": ["127.0.0.1", 8080]}``: where probes of an address go in truth."""
        found = {name: (host, int(port)) for name, (host, port) in (await self._json(request)).items()}
        self.emulator.probes.targets.update(found)
        await self.emulator.changed()
        return web.json_response({})

    async def peer(self, request: web.Request) -> web.Response:
        """GET gives this site's objects, POST brings another's."""
        federation = self.emulator.federation
        body = await self._json(request)
        if (body.get("from") or request.query.get("from")) in federation.cut:
            raise web.HTTPServiceUnavailable
        if request.method == "POST":
            federation.take(body)
        return web.json_response(self.emulator.store.as_dict())

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/expire_sessions", self.expire_sessions),
            web.post("/link", self.link),
            web.post("/gslb", self.gslb),
            web.post("/touch", self.touch),
            web.post("/seed", self.seed),
            web.post("/targets", self.targets),
            web.get("/peer", self.peer),
            web.post("/peer", self.peer),
        ]
