# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry itself (/v2/): manifests and blobs, uploaded in one piece or in chunks."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from .errors import HarborError, bad, missing
from .store import Store

_NAME = "{name:[a-z0-9]+(?:[._/-]+[a-z0-9]+)*}"


class Distribution:
    """Routes; *pushed* is told the repository of each manifest that comes."""

    def __init__(self, store: Store, pushed: Callable[[str], None]) -> None:
        self._store = store
        self._pushed = pushed
        self._uploads: dict[str, bytearray] = {}

    def routes(self) -> list[web.RouteDef]:
        manifest, blob, upload = (
            f"/v2/{_NAME}/manifests/{{reference}}",
            f"/v2/{_NAME}/blobs/{{digest}}",
            f"/v2/{_NAME}/blobs/uploads/{{upload}}",
        )
        return [
            web.get("/v2/", self._base),
            web.get(manifest, self._manifest),
            web.put(manifest, self._put_manifest),
            web.get(f"/v2/{_NAME}/tags/list", self._tags),
            web.post(f"/v2/{_NAME}/blobs/uploads/", self._begin),
            web.patch(upload, self._chunk),
            web.put(upload, self._finish),
            web.get(blob, self._blob),
        ]

    async def _base(self, _request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Docker-Distribution-API-Version": "registry/2.0"})

    async def _manifest(self, request: web.Request) -> web.Response:
        row = self._store.artifact(request.match_info["name"], request.match_info["reference"])
        body = self._store.blob(row["digest"])
        headers = {"Docker-Content-Digest": row["digest"], "Content-Type": row["manifest_media_type"]}
        return web.Response(body=body, headers=headers)

    async def _put_manifest(self, request: web.Request) -> web.Response:
        name, reference = request.match_info["name"], request.match_info["reference"]
        media = request.headers.get("Content-Type", "")
        row = self._store.put_manifest(name, reference, await request.read(), media)
        if reference.startswith("sha256:") and reference != row["digest"]:
            raise bad(f"the manifest's digest is {row['digest']}, not {reference}")
        self._pushed(name)
        headers = {"Location": f"/v2/{name}/manifests/{row['digest']}", "Docker-Content-Digest": row["digest"]}
        return web.Response(status=201, headers=headers)

    async def _tags(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        rows = self._store.repository(name)["artifacts"].values()
        return web.json_response({"name": name, "tags": sorted(tag for row in rows for tag in row["tags"])})

    async def _blob(self, request: web.Request) -> web.Response:
        digest = request.match_info["digest"]
        headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        return web.Response(body=self._store.blob(digest), headers=headers)

    # -- uploads -------------------------------------------------------------------------------------------------------

    async def _begin(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        project = name.partition("/")[0]
        if project not in self._store.projects:
            raise missing(f"project {project} not found")
        number = secrets.token_hex(8)
        self._uploads[number] = bytearray()
        return self._accepted(name, number)

    async def _chunk(self, request: web.Request) -> web.Response:
        self._upload(request).extend(await request.read())
        return self._accepted(request.match_info["name"], request.match_info["upload"])

    async def _finish(self, request: web.Request) -> web.Response:
        content = self._upload(request)
        content.extend(await request.read())
        wanted = request.query.get("digest", "")
        digest = self._store.put_blob(bytes(content))
        if wanted != digest:
            raise HarborError("BAD_REQUEST", f"provided digest {wanted} did not match uploaded content")
        del self._uploads[request.match_info["upload"]]
        location = f"/v2/{request.match_info['name']}/blobs/{digest}"
        return web.Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})

    def _upload(self, request: web.Request) -> bytearray:
        number = request.match_info["upload"]
        if number not in self._uploads:
            raise missing(f"upload {number} unknown to registry")
        return self._uploads[number]

    def _accepted(self, name: str, number: str) -> web.Response:
        location = f"/v2/{name}/blobs/uploads/{number}"
        return web.Response(status=202, headers={"Location": location, "Docker-Upload-UUID": number})
