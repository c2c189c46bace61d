# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test or a demo may do to it, on a port of its own.

``POST /artifacts {repository, tag, content}`` puts a model there (its project too), ``GET /artifacts`` lists all as
``{repository, tag, digest}``; ``POST /pause {seconds}`` slows each task down; ``POST /fire {policy}`` runs a policy as
its schedule would.
"""

from __future__ import annotations

import json

from aiohttp import web

from .store import Store
from .worker import Worker

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
FILEPATH = "org.cncf.model.filepath"


class Control:
    """Routes of the control port."""

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/artifacts", self._artifacts)
        app.router.add_post("/artifacts", self._seed)
        app.router.add_post("/pause", self._pause)
        app.router.add_post("/fire", self._fire)
        return app

    async def _artifacts(self, _request: web.Request) -> web.Response:
        rows = [
            {"repository": name, "tag": tag, "digest": row["digest"]}
            for name, home in sorted(self._store.repositories.items())
            for row in home["artifacts"].values()
            for tag in sorted(row["tags"]) or [""]
        ]
        return web.json_response(rows)

    async def _seed(self, request: web.Request) -> web.Response:
        body = await request.json()
        repository = body["repository"]
        project = repository.partition("/")[0]
        if project not in self._store.projects:
            self._store.make_project(project)
        parts = [(CONFIG, b"{}", {}), (WEIGHTS, body.get("content", "").encode(), {FILEPATH: "model.safetensors"})]
        rows = [
            {"mediaType": media, "digest": self._store.put_blob(content), "size": len(content), "annotations": notes}
            for media, content, notes in parts
        ]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": rows[0], "layers": rows[1:]}
        row = self._store.put_manifest(repository, body["tag"], json.dumps(manifest).encode(), MANIFEST)
        row["labels"] = list(body.get("labels", ()))
        self._store.save()
        self._worker.pushed(repository)
        return web.json_response({"repository": repository, "tag": body["tag"], "digest": row["digest"]})

    async def _pause(self, request: web.Request) -> web.Response:
        self._worker.pause = float((await request.json())["seconds"])
        return web.json_response({"seconds": self._worker.pause})

    async def _fire(self, request: web.Request) -> web.Response:
        name = (await request.json())["policy"]
        policy = next((row for row in self._store.policies.values() if row["name"] == name), None)
        if policy is None:
            raise web.HTTPNotFound(text=f"there is no policy {name}")
        return web.json_response(self._worker.start(policy, "scheduled"))
