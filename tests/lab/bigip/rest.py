# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management port: authentication, faults, transactions, and what each path does."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from ..rest_faults import Fault
from . import gtm_rest, ltm
from .auth import User
from .device import GROUP
from .errors import ApiError, not_found, unknown_path
from .names import from_uri
from .system import System, sync_target
from .target import Target
from .transactions import Command
from .view import query

if TYPE_CHECKING:
    from .emulator import Emulator

LOG = logging.getLogger("lab.bigip.rest")
RESTARTING = "<html><head><title>503</title></head><body>Configuration Utility restarting...</body></html>"
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
LTM_OBJECTS = {"pool", "node", "virtual", "monitor"}
CONFIGURED = {"ltm", "gtm"}


class Rest:
    """The requests of one device."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request: what stands in its way first, then the request itself."""
        emulator = self.emulator
        key = f"{request.method} {'/'.join(request.path.strip('/').split('/')[:4])}"
        emulator.requests[key] = emulator.requests.get(key, 0) + 1
        if emulator.restarting:
            return web.Response(status=emulator.restarting_status, text=RESTARTING, content_type="text/html")
        fault = emulator.faults.take(request.method, request.path_qs)
        if fault is not None:
            LOG.info("fault %s on %s %s", fault.action, request.method, request.path)
            return await self._faulty(request, fault)
        return await self._answer(request)

    async def _faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        said = fault.body or json.dumps(ApiError(fault.status, "There is an active asynchronous task executing").body())
        busy = web.Response(status=fault.status, text=said, content_type="application/json")
        error = ApiError(500, "java.net.SocketTimeoutException", framework=True)
        failed = web.json_response(error.body(), status=500)
        return await fault.carry_out(request, self._answer, busy=busy, failed=failed)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            body = await self._dispatch(request)
        except ApiError as exc:
            LOG.info("%s %s: %s %s", request.method, self._named(request), exc.status, exc.message)
            return web.json_response(exc.body(request.path), status=exc.status)
        if request.method != "GET":
            LOG.info("%s %s: 200", request.method, self._named(request))
        if body is None:
            return web.Response(status=200, content_type="application/json")
        return web.json_response(body)

    @staticmethod
    def _named(request: web.Request) -> str:
        """The path for the log: a token in it is a secret."""
        head, found, _token = request.path.partition("/authz/tokens/")
        return f"{head}{found}..." if found else request.path

    async def _dispatch(self, request: web.Request) -> dict[str, Any] | None:
        auth = self.emulator.auth
        uri = request.path
        parts = [part for part in uri.split("/") if part]
        if request.method not in METHODS:
            raise ApiError(405, f"Method {request.method} is not allowed", framework=True)
        body = await self._body(request)
        if parts == ["mgmt", "shared", "authn", "login"]:
            if request.method != "POST":
                raise ApiError(405, "Method not allowed", framework=True)
            return auth.login(body)
        header = request.headers.get("X-F5-Auth-Token")
        user = auth.authenticate(header, request.headers.get("Authorization"), uri)
        if parts[:4] == ["mgmt", "shared", "authz", "tokens"]:
            return self._tokens(request.method, parts[4:], body, user)
        if parts[:2] != ["mgmt", "tm"] or len(parts) < 3:
            raise unknown_path(uri)
        return await self._tm(request, parts[2:], body, user)

    @staticmethod
    async def _body(request: web.Request) -> Any:
        data = await request.read()
        if not data:
            return {}
        try:
            return json.loads(data)
        except ValueError:
            raise ApiError(400, "Found invalid JSON body in the request.", api_error=1) from None

    def _tokens(self, method: str, parts: list[str], body: Any, user: User) -> dict[str, Any] | None:
        auth = self.emulator.auth
        own = [token for token in auth.tokens.values() if user.role == "admin" or token.user is user]
        if not parts and method == "GET":
            return {"items": [token.body() for token in own], "kind": "shared:authz:tokens:authtokencollectionstate"}
        if len(parts) != 1:
            raise unknown_path("/mgmt/shared/authz/tokens")
        if auth.token(parts[0]) not in own:
            raise ApiError(403, "Operation is forbidden.", framework=True)
        if method == "PATCH":
            return auth.patch(parts[0], body)
        if method == "DELETE":
            return auth.delete(parts[0])
        return auth.token(parts[0]).body()

    async def _tm(self, request: web.Request, parts: list[str], body: Any, user: User) -> dict[str, Any] | None:
        method = request.method
        if method != "GET" and not isinstance(body, dict):
            raise ApiError(400, "Found invalid JSON body in the request.", api_error=1)
        if parts[0] == "transaction":
            return await self._transaction(method, parts[1:], body, user)
        if method == "GET":
            options = {name: value for name, value in request.query.items() if name not in {"ver"}}
            return query(self._read(parts, options.get("expandSubcollections") == "true"), options)
        configured = parts[0] in CONFIGURED or parts[:2] == ["auth", "partition"]
        partition = ltm.locate(parts).partition if configured else None
        if configured and method == "POST":
            partition = body.get("partition") or partition or "Common"
        self.emulator.auth.authorize(user, method, parts, body, partition)
        ident = request.headers.get("X-F5-REST-Coordination-Id")
        if ident is not None:
            return self.emulator.transactions.add(ident, user.name, Command(method, parts, body))
        if not configured:
            return await self._command(method, parts, body)
        target = ltm.locate(parts)
        shown = await self.emulator.change(lambda config: ltm.change(config, method, target, body))
        return self._show(shown) if shown is not None else None

    def _show(self, target: Target, *, expand: bool = False) -> dict[str, Any]:
        if target.type.startswith("gtm "):
            return gtm_rest.show(self.emulator.gtm_view, target, expand=expand)
        return ltm.show(self.emulator.view, target, expand=expand)

    def _read(self, parts: list[str], expand: bool) -> dict[str, Any]:
        emulator = self.emulator
        if parts[:2] == ["ltm", "profile"] and len(parts) == 3:
            return ltm.profiles(parts[2])
        if parts[:2] == ["ltm", "virtual"] and len(parts) == 4 and parts[3] in {"profiles", "policies"}:
            return emulator.view.virtual_part(from_uri(parts[2]), parts[3])
        if parts == ["ltm", "message-routing", "sip", "profile", "session"]:
            return ltm.profiles("session")
        if parts[:2] == ["auth", "partition"] or (parts[0] == "ltm" and set(parts[1:2]) <= LTM_OBJECTS):
            if parts[-1] == "stats":
                return ltm.show_stats(emulator.stats, ltm.locate(parts[:-1]))
            return self._show(ltm.locate(parts), expand=expand)
        if parts[0] == "gtm" and parts[1:2] != ["global-settings"]:
            if parts[-1] == "stats":
                return gtm_rest.show_stats(emulator.gtm_view, ltm.locate(parts[:-1]))
            return self._show(ltm.locate(parts), expand=expand)
        return System(emulator.view, emulator.device, emulator.auth).read(parts)

    async def _transaction(
        self, method: str, parts: list[str], body: dict[str, Any], user: User
    ) -> dict[str, Any] | None:
        transactions = self.emulator.transactions
        if not parts:
            if method == "POST":
                return transactions.start(user.name)
            return {
                "kind": "tm:transactioncollectionstate",
                "items": [item.show() for item in transactions.open.values() if item.user == user.name],
            }
        item = transactions.find(parts[0], user.name)
        if parts[1:2] == ["commands"]:
            commands = [command.show(item.ident, number) for number, command in enumerate(item.commands, 1)]
            return {"kind": "tm:transaction:commandscollectionstate", "items": commands}
        if method == "DELETE":
            transactions.open.pop(item.ident)
            return None
        if method in {"PATCH", "PUT"} and transactions.commit_wanted(body):
            validate_only = bool(body.get("validateOnly"))
            await self.emulator.change(lambda config: transactions.carry_out(item, config), validate_only=validate_only)
            return transactions.close(item)
        return item.show()

    async def _command(self, method: str, parts: list[str], body: dict[str, Any]) -> dict[str, Any]:
        """The commands that are no objects: save, config-sync, failover."""
        emulator = self.emulator
        if method != "POST":
            raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")
        if parts == ["sys", "config"] and body.get("command") in {"save", "load"}:
            if body["command"] == "save":
                emulator.save()
            else:
                await emulator.load(emulator.saved.copy())
            return {"kind": f"tm:sys:config:{body['command']}state", **body}
        if parts == ["cm"] and body.get("command") == "run":
            direction, group = sync_target(str(body.get("utilCmdArgs", "")))
            if emulator.device.peer is None or group != GROUP:
                raise not_found("device group", f"/Common/{group}")
            try:
                await emulator.sync(direction)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as exc:
                raise ApiError(400, f"01070734:3: Configuration error: the peer cannot be reached: {exc}") from exc
            return {"kind": "tm:cm:runstate", **body}
        if parts == ["sys", "failover"] and body.get("command") == "run":
            try:
                await emulator.device.fail_over()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as exc:
                raise ApiError(400, f"01070734:3: Configuration error: the peer cannot be reached: {exc}") from exc
            return {"kind": "tm:sys:failover:runstate", **body}
        raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")


def rest_app(emulator: Emulator) -> web.Application:
    """The application of the management port."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", Rest(emulator).handle)
    return app
