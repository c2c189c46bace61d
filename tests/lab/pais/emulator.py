# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One PAIS: ``python -m lab.pais.emulator FOLDER`` reads FOLDER/config.json and writes FOLDER/ready.json."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from ..serving import listen, say_ready, server_tls, stop_asked
from ..tls import make_tls
from .kinds import KINDS, Kind, PaisError, Row, check_policy, invalid, masked

API = "/api/v1/"
REALM = "/realms/lab"
MAX_LIMIT = 5  # few, so that clients have to ask for more


class Emulator:
    """One PAIS in *folder*, with the OIDC provider that it trusts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self._file = folder / "store.json"
        self.rows: dict[str, list[Row]] = {kind: [] for kind in KINDS}
        if self._file.exists():
            self.rows.update(json.loads(self._file.read_text()))
        self._tokens: dict[str, float] = {}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get(f"{REALM}/.well-known/openid-configuration", self._discover)
        app.router.add_post(f"{REALM}/token", self._token)
        app.router.add_get(f"{API}control/mcp-servers/tools", self._tools)
        for name, kind in KINDS.items():
            path, handlers = API + kind.path, _Handlers(self, name, kind)
            app.router.add_get(path, handlers.list)
            app.router.add_post(path, handlers.create)
            app.router.add_get(path + "/{id}", handlers.get)
            app.router.add_route(kind.verb, path + "/{id}", handlers.update)
            app.router.add_delete(path + "/{id}", handlers.remove)
        return app

    def control(self) -> web.Application:
        """The lab's own port: ``GET /objects`` with all secrets, ``DELETE /tokens`` ends every token."""
        app = web.Application()

        async def objects(_request: web.Request) -> web.Response:
            return web.json_response(self.rows)

        async def end(_request: web.Request) -> web.Response:
            self._tokens.clear()
            return web.json_response({})

        app.router.add_get("/objects", objects)
        app.router.add_delete("/tokens", end)
        return app

    def save(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.rows, indent=1))
        os.replace(new, self._file)

    def find(self, kind: str, ident: str) -> Row:
        for row in self.rows[kind]:
            if row["id"] == ident:
                return row
        raise PaisError(404, "NOT_FOUND", f"{KINDS[kind].object} {ident} not found", ("path", "id"), ident)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            if request.path.startswith(API):
                scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
                if scheme != "Bearer" or self._tokens.get(token, 0) < time.time():
                    raise PaisError(401, "UNAUTHORIZED", "the token is not valid")
            return await handler(request)
        except PaisError as error:
            return error.response()
        except json.JSONDecodeError as error:
            return invalid("body", None, str(error)).response()

    # -- OIDC ----------------------------------------------------------------------------------------------------------

    async def _discover(self, request: web.Request) -> web.Response:
        base = f"{request.scheme}://{request.host}{REALM}"
        return web.json_response({"issuer": base, "token_endpoint": f"{base}/token"})

    async def _token(self, request: web.Request) -> web.Response:
        form, config = await request.post(), self.config
        if (form.get("client_id"), form.get("client_secret")) != (config["client_id"], config["client_secret"]):
            return web.json_response({"error": "invalid_client"}, status=401)
        grant = form.get("grant_type")
        right = grant == "password" and config["users"].get(form.get("username")) == form.get("password")
        if not right and grant != "client_credentials":
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = secrets.token_urlsafe(24)
        self._tokens[token] = time.time() + config["lifetime"]
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": config["lifetime"]})

    async def _tools(self, _request: web.Request) -> web.Response:
        """Each MCP server has one."""
        rows = [
            {"id": f"tool-{row['id']}", "object": "mcp_tool", "name": "search", "server": row["name"]}
            for row in self.rows["mcp-servers"]
        ]
        return web.json_response({"object": "list", "data": rows, "has_more": False})

    # -- serve ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        ended = stop_asked()
        tls, host = make_tls(self.folder / "tls"), self.config["host"]
        async with contextlib.AsyncExitStack() as stack:
            await listen(stack, self.control(), host, self.config["control_port"])
            await listen(stack, self.app(), host, self.config["port"], server_tls(tls["cert"], tls["key"]))
            say_ready(self.folder / "ready.json", {})
            await ended.wait()


class _Handlers:
    """The five calls of one kind."""

    def __init__(self, emulator: Emulator, name: str, kind: Kind) -> None:
        self._emulator, self._name, self._kind = emulator, name, kind

    async def list(self, request: web.Request) -> web.Response:
        rows = self._rows(request)
        limit = min(int(request.query.get("limit", MAX_LIMIT)), MAX_LIMIT)
        after = request.query.get("after")
        start = next((index + 1 for index, row in enumerate(rows) if row["id"] == after), 0) if after else 0
        data = [masked(row) for row in rows[start : start + limit]]
        more = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return web.json_response(
            {"object": "list", "data": data, "has_more": start + limit < len(rows), "num_objects": len(rows), **more}
        )

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(masked(self._row(request)))

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self._name == "agents" and body.get("tools") == [] and body.get("index_id"):
            raise PaisError(500, "INTERNAL_ERROR", "Internal Server Error")  # as deployments do
        row = self._checked(request, body, None)
        row |= {"id": str(uuid.uuid4()), "object": self._kind.object, "created_at": int(time.time())}
        row |= {**self._kind.added, **({"kb_id": request.match_info["kb"]} if "kb" in request.match_info else {})}
        self._emulator.rows[self._name].append(row)
        self._emulator.save()
        return web.json_response(masked(row), status=201)

    async def update(self, request: web.Request) -> web.Response:
        row = self._row(request)
        row.update(self._checked(request, await request.json(), row), updated_at=int(time.time()))
        self._emulator.save()
        return web.json_response(masked(row))

    async def remove(self, request: web.Request) -> web.Response:
        row = self._row(request)
        for kind, rows in self._emulator.rows.items():
            self._emulator.rows[kind] = [one for one in rows if row["id"] not in (one["id"], one.get("kb_id"))]
        self._emulator.save()
        return web.Response(status=204)

    def _rows(self, request: web.Request) -> list[Row]:
        rows = self._emulator.rows[self._name]
        if "kb" not in request.match_info:
            return rows
        base = self._emulator.find("knowledge-bases", request.match_info["kb"])
        return [row for row in rows if row["kb_id"] == base["id"]]

    def _row(self, request: web.Request) -> Row:
        row = self._emulator.find(self._name, request.match_info["id"])
        if row not in self._rows(request):
            raise PaisError(404, "NOT_FOUND", f"{self._kind.object} {row['id']} not found")
        return row

    def _checked(self, request: web.Request, body: Any, old: Row | None) -> Row:
        if not isinstance(body, dict):
            raise invalid("body", body, "Input should be an object")
        row = self._kind.checked(body, old)
        others = [one for one in self._rows(request) if one is not old]
        if self._kind.unique and any(one["name"] == row["name"] for one in others):
            raise PaisError(409, "CONFLICT", f"{self._kind.object} {row['name']} exists", ("body", "name"), row["name"])
        if self._name == "knowledge-bases":
            check_policy(row["index_refresh_policy"])
        if row.get("index_id"):
            self._emulator.find("indexes", row["index_id"])
        if self._name == "indexes" and row["chunk_overlap"] >= row["chunk_size"]:
            raise invalid("chunk_overlap", row["chunk_overlap"], "chunk_overlap should be less than chunk_size")
        return row


if __name__ == "__main__":
    asyncio.run(Emulator(Path(sys.argv[1])).run())
