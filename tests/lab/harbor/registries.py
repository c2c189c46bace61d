# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries: the other Harbors that this one knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from .errors import HarborError, bad, missing
from .paging import page
from .remote import RemoteError, remote
from .store import Store, now

MASK = "*****"
#: Of the body of an update and a ping -> where it is kept.
UPDATES = {
    "name": (), "description": (), "url": (), "insecure": (), "ca_certificate": (), "type": (),
    "credential_type": ("credential", "type"),
    "access_key": ("credential", "access_key"),
    "access_secret": ("credential", "access_secret"),
}  # fmt: skip


class Registries:
    """Routes below /api/v2.0; only administrators pass."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/registries", self._list),
            web.post("/registries", self._make),
            web.post("/registries/ping", self._ping),
            web.get("/registries/{id:[0-9]+}", self._get),
            web.put("/registries/{id:[0-9]+}", self._update),
            web.delete("/registries/{id:[0-9]+}", self._remove),
            web.get("/replication/adapters", self._adapters),
        ]

    async def _adapters(self, _request: web.Request) -> web.Response:
        return web.json_response(["harbor"])

    async def _list(self, request: web.Request) -> web.Response:
        part = request.query.get("name", "")
        return page(request, [shown(row) for row in self._store.registries.values() if part in row["name"]])

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(shown(self._row(request.match_info["id"])))

    async def _make(self, request: web.Request) -> web.Response:
        body = await request.json()
        row = {
            "name": body.get("name") or "",
            "type": body.get("type") or "",
            "url": body.get("url") or "",
            "description": body.get("description") or "",
            "insecure": bool(body.get("insecure")),
            "ca_certificate": body.get("ca_certificate") or "",
            "credential": dict(body.get("credential") or {}),
            "creation_time": now(),
            "update_time": now(),
        }
        await self._validate(row)
        if any(other["name"] == row["name"] for other in self._store.registries.values()):
            raise HarborError("CONFLICT", f"registry {row['name']} already exists")
        made = self._store.add("registries", row)
        return web.Response(status=201, headers={"Location": f"/api/v2.0/registries/{made['id']}"})

    async def _update(self, request: web.Request) -> web.Response:
        row = self._row(request.match_info["id"])
        body = await request.json()
        changed = changed_by(row, body)
        await self._validate(changed)
        row.update(changed, update_time=now())
        self._store.save()
        return web.Response()

    async def _remove(self, request: web.Request) -> web.Response:
        number = self._row(request.match_info["id"])["id"]
        for policy in self._store.policies.values():
            if number in (policy["src_registry"], policy["dest_registry"]):
                raise HarborError(
                    "PRECONDITION", f"the registry {number} is referenced by replication policies, cannot delete it"
                )
        del self._store.registries[str(number)]
        self._store.save()
        return web.Response()

    async def _ping(self, request: web.Request) -> web.Response:
        body = await request.json()
        row = self._row(str(body["id"])) if body.get("id") is not None else {"insecure": False, "credential": {}}
        row = changed_by(row, body)
        if not row.get("type") or not row.get("url"):
            raise bad("type or url cannot be empty")
        await healthy(row)
        return web.Response()

    def _row(self, number: str) -> dict[str, Any]:
        if number not in self._store.registries:
            raise missing(f"registry {number} not found")
        return self._store.registries[number]

    async def _validate(self, row: dict[str, Any]) -> None:
        """As Harbor does: a registry that does not answer is neither stored nor changed."""
        if not row["name"]:
            raise bad("name cannot be empty")
        if len(row["name"]) > 64:
            raise bad("the max length of name is 64")
        if row["type"] != "harbor":
            raise bad(f"unsupported registry type: {row['type']} (the lab has harbor only)")
        parts = urlsplit(row["url"])
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise bad(f"invalid URL: {row['url']}")
        row["url"] = row["url"].rstrip("/")
        await healthy(row)
        row["status"] = "healthy"


async def healthy(row: Mapping[str, Any]) -> None:
    """:raises HarborError: it does not answer, or does not take the account."""
    try:
        async with remote(row) as other:
            await other.check()
    except RemoteError as error:
        if "certificate" in str(error):
            raise HarborError("UNKNOWN", f"internal server error: {error}") from None
        raise bad("the registry is unhealthy") from None


def changed_by(row: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of *row* with what *body* gives."""
    changed: dict[str, Any] = {**row, "credential": dict(row.get("credential") or {})}
    for key, place in UPDATES.items():
        if body.get(key) is not None:
            (changed["credential"] if place else changed)[place[1] if place else key] = body[key]
    return changed


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without the secret."""
    credential = row["credential"]
    masked = {**credential, "access_secret": MASK} if credential.get("access_secret") else credential
    return {**row, "credential": masked or None}
