# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's port: session, version, tenant, faults, and what each path does."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import schema
from .auth import LIFETIME_S
from .errors import ApiError, invalid, not_found
from .store import KINDS

if TYPE_CHECKING:
    from ..rest_faults import Fault
    from .emulator import Emulator

LOG = logging.getLogger("lab.avi.rest")
PAGE_SIZE = 25
TENANTS = ("admin", "shop")
GSLB_FIELDS = (
    "name",
    "description",
    "enable_config_by_members",
    "maintenance_mode",
    "leader_change_info",
    "dns_configs",
)


class Rest:
    """The requests of one controller."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request: what stands in its way first, then the request itself."""
        emulator = self.emulator
        key = f"{request.method} {'/'.join(request.path.strip('/').split('/')[:2])}"
        emulator.requests[key] = emulator.requests.get(key, 0) + 1
        fault = emulator.faults.take(request.method, request.path_qs)
        if fault is None:
            return await self._answer(request)
        LOG.info("fault %s on %s %s", fault.action, request.method, request.path)
        return await self._faulty(request, fault)

    async def _faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        busy = web.Response(status=fault.status, text=fault.body or '{"error": "Service unavailable"}')
        failed = web.json_response({"error": "Internal Server Error"}, status=500)
        return await fault.carry_out(request, self._answer, busy=busy, failed=failed)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            response = await self._route(request)
        except ApiError as error:
            LOG.info("%s %s: %s %s", request.method, request.path, error.status, error.message)
            return web.json_response({"error": error.message}, status=error.status)
        if request.method != "GET":
            LOG.info("%s %s: %s", request.method, request.path, response.status)
        return response

    async def _route(self, request: web.Request) -> web.Response:
        parts = [part for part in request.path.split("/") if part]
        if parts == ["login"] and request.method == "POST":
            return await self._login(request)
        auth, method = self.emulator.auth, request.method
        if parts == ["api", "initial-data"] and method == "GET":
            return web.json_response(
                {"version": self.emulator.version, "setup_failed": False, "user_initialized": True}
            )
        auth.check(method, request.cookies, request.headers, request.host)
        if parts == ["logout"] and method == "POST":
            auth.logout(request.cookies)
            return web.json_response({})
        if parts[:1] != ["api"] or len(parts) < 2:
            raise not_found("Page")
        self._check_headers(request)
        kind, rest = parts[1], parts[2:]
        body = await _body(request) if method in {"POST", "PUT", "PATCH"} else None
        if kind == "cluster" and not rest and method == "GET":
            federation = self.emulator.federation
            return web.json_response({"uuid": federation.uuid, "name": federation.name, "nodes": []})
        if kind == "gslb":
            return await self._gslb(request, rest, body)
        if kind == "gslbsiteops" and rest[:1] == ["changeleader"] and method == "POST":
            return await self._change_leader(rest[1:], body or {})
        if kind in KINDS:
            return await self._objects(request, kind, rest, body)
        raise not_found(f"Object type {kind}")

    async def _login(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            given: Mapping[str, Any] = await _body(request)
        else:
            given = await request.post()
        ident, session = self.emulator.auth.login(str(given.get("username", "")), str(given.get("password", "")))
        said = {
            "user": {"username": session.user.name, "is_superuser": session.user.write},
            "version": self.emulator.version,
            "session_cookie_name": "sessionid",
            "user_initialized": True,
            "system_config": {},
            "tenants": [{"name": name} for name in TENANTS],
        }
        answer = web.json_response(said)
        for cookie in ("sessionid", "avi-sessionid"):
            answer.set_cookie(cookie, ident, secure=True, httponly=True, max_age=LIFETIME_S)
        answer.set_cookie("csrftoken", session.token, secure=True, max_age=LIFETIME_S)
        return answer

    def _check_headers(self, request: web.Request) -> None:
        version = request.headers.get("X-Avi-Version")
        if not version:
            raise invalid("X-Avi-Version header is missing")
        try:
            asked = tuple(int(part) for part in version.split("."))
        except ValueError:
            raise invalid(f"Invalid version {version}") from None
        own = tuple(int(part) for part in self.emulator.version["Version"].split("."))
        if asked > own or asked < (16, 4):
            raise invalid(f"Invalid version {version}: supported are 16.4 to {self.emulator.version['Version']}")
        tenant = request.headers.get("X-Avi-Tenant", "admin")
        if tenant not in TENANTS and not (tenant == "*" and request.method == "GET"):
            raise not_found(f"Tenant {tenant}")

    # -- objects -------------------------------------------------------------------------------------------------------

    async def _objects(self, request: web.Request, kind: str, rest: list[str], body: Any) -> web.Response:
        store, method = self.emulator.store, request.method
        if not rest:
            if method == "GET":
                return web.json_response(self._page(request, [self._shown(request, one) for one in store.all(kind)]))
            if method == "POST":
                self._require_leader()
                made = store.add(kind, self.whole(kind, body))
                await self.emulator.changed(tell=True)
                return web.json_response(self._shown(request, made), status=201)
            raise ApiError(405, f"Method {method} not allowed")
        if method == "PUT" and kind == "gslbservice":
            self.emulator.interfere(store.find(kind, rest[0])["name"])
        old = store.find(kind, rest[0])
        if rest[1:] == ["runtime"] and method == "GET" and kind == "gslbservice":
            return web.json_response(self.emulator.runtime(old))
        if rest[1:]:
            raise not_found("Page")
        if method == "GET":
            return web.json_response(self._shown(request, old))
        if method == "DELETE":
            self._require_leader()
            self._require_unused(kind, old)
            store.remove(kind, old["uuid"])
            await self.emulator.changed(tell=True)
            return web.Response(status=204)
        if method == "PUT":
            new = self.whole(kind, body)
            if "_last_modified" in body and str(body["_last_modified"]) != old["_last_modified"]:
                raise ApiError(412, "Concurrent Update Error: Object has been modified since it was read")
        elif method == "PATCH":
            new = self.whole(kind, _patched(old, body))
        else:
            raise ApiError(405, f"Method {method} not allowed")
        new["uuid"] = old["uuid"]
        if any(one["name"] == new["name"] and one["uuid"] != old["uuid"] for one in store.all(kind)):
            raise ApiError(409, f"{kind} object with this Name and Tenant ref already exists!")
        self._require_leader(old if kind == "gslbservice" else None, new)
        written = store.put(kind, new)
        await self.emulator.changed(tell=True)
        return web.json_response(self._shown(request, written))

    def whole(self, kind: str, body: Any) -> dict[str, Any]:
        if kind == "healthmonitor":
            full = schema.monitor(body)
        else:
            full = schema.service(body, [one["domain_name"] for one in self.emulator.store.gslb["dns_configs"]])
            full["health_monitor_refs"] = [
                self._ref("healthmonitor", ref) for ref in full.get("health_monitor_refs", [])
            ]
        return {name: value for name, value in full.items() if name not in schema.META}

    def _ref(self, kind: str, ref: str) -> str:
        """A path with the uuid; a ref may also name its object: ``/api/healthmonitor?name=x``."""
        _head, found, name = str(ref).partition("?name=")
        ident = str(ref).partition("#")[0].rstrip("/").rpartition("/")[2]
        for one in self.emulator.store.all(kind):
            if (found and one["name"] == name) or one["uuid"] == ident:
                return f"/api/{kind}/{one['uuid']}"
        raise invalid(f"{kind} object not found: {ref}")

    def _require_unused(self, kind: str, old: Mapping[str, Any]) -> None:
        path = f"/api/{kind}/{old['uuid']}"
        users = [one["name"] for one in self.emulator.store.all("gslbservice") if path in one["health_monitor_refs"]]
        if kind == "healthmonitor" and users:
            raise ApiError(403, f"Cannot delete, object is referred by: ['GslbService {users[0]}']")

    def _require_leader(self, old: Mapping[str, Any] | None = None, new: Mapping[str, Any] | None = None) -> None:
        """On a follower nothing but the switches of groups and members, and these where the federation lets it."""
        gslb, federation = self.emulator.store.gslb, self.emulator.federation
        if gslb["maintenance_mode"]:
            raise invalid("Gslb is in maintenance mode. Configuration changes are not allowed")
        if federation.is_leader:
            return
        if old is None or new is None or not gslb["enable_config_by_members"]:
            raise invalid(f"Gslb configuration is only allowed on the leader site {federation.leader}")
        if not schema.only_switched(old, new):
            raise invalid("A follower site may only enable or disable Gslb pools and their members")

    def _shown(self, request: web.Request, one: Mapping[str, Any]) -> dict[str, Any]:
        base = f"https://{request.host}/api"
        kind = one["uuid"].partition("-")[0]
        shown = {
            **copy.deepcopy(dict(one)),
            "url": f"{base}/{kind}/{one['uuid']}",
            "tenant_ref": f"{base}/tenant/admin",
        }
        if "health_monitor_refs" in shown:
            shown["health_monitor_refs"] = [f"https://{request.host}{ref}" for ref in shown["health_monitor_refs"]]
            if request.query.get("include_name"):
                names = {one["uuid"]: one["name"] for one in self.emulator.store.all("healthmonitor")}
                shown["health_monitor_refs"] = [
                    f"{ref}#{names[ref.rpartition('/')[2]]}" for ref in shown["health_monitor_refs"]
                ]
        return shown

    @staticmethod
    def _page(request: web.Request, rows: list[dict[str, Any]]) -> dict[str, Any]:
        if "name" in request.query:
            rows = [row for row in rows if row["name"] == request.query["name"]]
        try:
            page, size = int(request.query.get("page", 1)), int(request.query.get("page_size", PAGE_SIZE))
        except ValueError:
            raise invalid("page and page_size have to be numbers") from None
        if page < 1 or not 1 <= size <= 200 or (page > 1 and (page - 1) * size >= len(rows)):
            raise not_found("Page")
        answer = {"count": len(rows), "results": rows[(page - 1) * size : page * size]}
        if page * size < len(rows):
            query = {**request.query, "page": str(page + 1)}
            answer["next"] = str(request.url.with_query(query))
        return answer

    # -- the federation ------------------------------------------------------------------------------------------------

    async def _gslb(self, request: web.Request, rest: list[str], body: Any) -> web.Response:
        store = self.emulator.store
        if not rest and request.method == "GET":
            return web.json_response(self._page(request, [self._shown(request, store.gslb)]))
        if rest[:1] != [store.gslb["uuid"]]:
            raise not_found("gslb object")
        if rest[1:] == ["runtime"] and request.method == "GET":
            return web.json_response(self.emulator.gslb_runtime())
        if request.method == "GET":
            return web.json_response(self._shown(request, store.gslb))
        if request.method not in {"PUT", "PATCH"}:
            raise ApiError(405, f"Method {request.method} not allowed")
        if not self.emulator.federation.is_leader:
            raise invalid(f"Gslb configuration is only allowed on the leader site {self.emulator.federation.leader}")
        if request.method == "PUT" and str(body.get("_last_modified")) != store.gslb["_last_modified"]:
            raise ApiError(412, "Concurrent Update Error: Object has been modified since it was read")
        new = _patched(store.gslb, body) if request.method == "PATCH" else body
        store.set_gslb({**store.gslb, **{name: new[name] for name in GSLB_FIELDS if name in new}})
        await self.emulator.changed(tell=True)
        return web.json_response(self._shown(request, store.gslb))

    async def _change_leader(self, rest: list[str], body: Mapping[str, Any]) -> web.Response:
        federation = self.emulator.federation
        if rest not in ([], ["force"]):
            raise not_found("Page")
        if body.get("new_leader") != federation.uuid:
            raise invalid("new_leader has to be the cluster of the site that this is sent to")
        await federation.lead(force=bool(rest))
        return web.json_response({"new_leader": federation.uuid, "view_id": self.emulator.store.gslb["view_id"]})


def _patched(old: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """``add`` to lists, ``replace`` fields, ``delete`` fields or entries of lists."""
    if set(body) - {"add", "replace", "delete"} or not body:
        raise invalid("PATCH takes add, replace and delete")
    new = copy.deepcopy(dict(old))
    new.update(body.get("replace") or {})
    for name, value in (body.get("add") or {}).items():
        new[name] = [*new.get(name, []), *value] if isinstance(value, list) else value
    for name, value in (body.get("delete") or {}).items():
        if isinstance(value, list) and value:
            new[name] = [one for one in new.get(name, []) if one not in value]
        else:
            new.pop(name, None)
    return new


async def _body(request: web.Request) -> Any:
    try:
        found = json.loads(await request.read() or b"null")
    except ValueError:
        raise invalid("JSON parse error") from None
    if not isinstance(found, dict):
        raise invalid("A JSON object is expected")
    return found


def rest_app(emulator: Emulator) -> web.Application:
    """The application of the controller's port."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", Rest(emulator).handle)
    return app
