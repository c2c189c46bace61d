# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test may see and do past DSM: plain HTTP on loopback, no password.

| call | does |
|---|---|
| ``GET /healthz`` | ``{"status": "ok"}`` |
| ``GET /clusters/NS/NAME`` | instances, and what the controller knows |
| ``POST /clusters/NS/NAME/kill {"scope": "primary" or "all"}`` | kill -9; ``all`` also keeps them dead |
| ``POST /clusters/NS/NAME/start`` | let what is dead come back; returns when it was tried |
| ``POST /clusters/NS/NAME/pause``, ``/resume`` | a secondary receives nothing, or again |
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
from aiohttp import web

from ..process import LabError

if TYPE_CHECKING:
    from .controller import Controller, Managed


class Control:
    """Handlers, one a path."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def routes(self) -> list[web.RouteDef]:
        one = "/clusters/{namespace}/{name}"
        return [
            web.get("/healthz", self.healthz),
            web.get(one, self.instances),
            web.post(f"{one}/kill", self.kill),
            web.post(f"{one}/start", self.start),
            web.post(f"{one}/pause", self.pause),
            web.post(f"{one}/resume", self.pause),
        ]

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def instances(self, request: web.Request) -> web.Response:
        return web.json_response(_seen(self._managed(request)))

    async def kill(self, request: web.Request) -> web.Response:
        managed = self._managed(request)
        scope = (await request.json() if request.can_read_body else {}).get("scope", "primary")
        if scope not in {"primary", "all"}:
            raise _refused(f"scope is {scope!r}, not primary or all", web.HTTPBadRequest)
        # Without the lock: power fails also while something is done to a cluster.
        killed = await asyncio.to_thread(managed.cluster.kill, scope)
        return web.json_response({"killed": killed, **_seen(managed)})

    async def start(self, request: web.Request) -> web.Response:
        managed = self._managed(request)
        async with managed.lock:
            managed.cluster.record.held = False
            managed.cluster.save()
            await managed.reconcile()
        return web.json_response(_seen(managed))

    async def pause(self, request: web.Request) -> web.Response:
        managed = self._managed(request)
        try:
            async with managed.lock:
                await asyncio.to_thread(managed.cluster.pause, request.path.endswith("/pause"))
        except (LabError, psycopg.Error) as error:
            raise _refused(str(error), web.HTTPConflict) from None
        return web.json_response(_seen(managed))

    def _managed(self, request: web.Request) -> Managed:
        key = (request.match_info["namespace"], request.match_info["name"])
        managed = self._controller.managed.get(key)
        if managed is None or not managed.cluster.record.made:
            raise _refused(f"there is no cluster {key[0]}/{key[1]}", web.HTTPNotFound)
        return managed


def _seen(managed: Managed) -> dict[str, Any]:
    cluster = managed.cluster
    rows = [
        {
            "name": node.name,
            "port": node.port,
            "role": cluster.role_of(node),
            "running": node.running(),
            "pid": node.pid,
            "data": str(node.data),
        }
        for node in cluster.nodes.values()
    ]
    record = cluster.record
    return {"instances": rows, "role": record.role, "held": record.held, "paused": record.paused}


def _refused(message: str, kind: type[web.HTTPException]) -> web.HTTPException:
    return kind(text=json.dumps({"message": message}), content_type="application/json")
