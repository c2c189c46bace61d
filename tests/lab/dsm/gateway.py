# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway of DSM: the two logins, the kubeconfig, and the API server behind, for whom may see it.

Requests are passed on as they are (answers too, watches while they last) in the name of who asked.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from .api import Api
from .tokens import Tokens, User, denied

LOG = logging.getLogger("lab.dsm.gateway")
MEDIA = "application/vnd.vmware.dms-v1+json"
MEDIA_FILE = "application/vnd.vmware.dms-v1+octet-stream"
_RESOURCE = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<resource>[^/]+)(?:/.*)?"
)
_DISCOVERY = re.compile(r"/(api|apis|openapi|version|healthz|livez|readyz)(/.*)?")
_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-authenticate"}
_AUTO = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # what the client did not say is not said for it
_OURS = {"authorization", "host", "content-length"}


def target(path: str) -> tuple[str, str] | None:
    """Group and resource of a path of the Kubernetes API; ``None`` for discovery and the like.

    :raises ValueError: for a path that two readers could understand differently, or that is not of the API.
    """
    if ".." in path or "//" in path or not _DISCOVERY.fullmatch(path):
        raise ValueError(path)
    matched = _RESOURCE.fullmatch(path.rstrip("/"))
    return (matched["group"] or "", matched["resource"]) if matched else None


class Gateway:
    """The gateway's server.

    :param api: client of the API server behind, as its administrator.
    """

    def __init__(self, api: Api, tokens: Tokens, ca: Path, namespace: str) -> None:
        self.tokens = tokens
        self.url = ""  # as clients reach it; known when it listens
        self._api = api
        self._ca = ca
        self._namespace = namespace
        self._session: aiohttp.ClientSession | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.cleanup_ctx.append(self._client)
        app.router.add_post("/provider/session", self._login)
        app.router.add_post("/provider/plugin/session-using-vc-credentials", self._login_vsphere)
        app.router.add_get("/provider/gateway-kubeconfig", self._kubeconfig)
        app.router.add_route("*", "/{path:.*}", self._pass)
        return app

    def kubeconfig(self, token: str) -> str:
        """A kubeconfig for a token."""
        authority = base64.b64encode(self._ca.read_bytes()).decode()
        found = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "dsm", "cluster": {"server": self.url, "certificate-authority-data": authority}},
            ],
            "users": [{"name": "dsm", "user": {"token": token}}],
            "contexts": [
                {"name": "dsm", "context": {"cluster": "dsm", "user": "dsm", "namespace": self._namespace}},
            ],
            "current-context": "dsm",
        }
        return yaml.safe_dump(found, sort_keys=False)

    # -- login ---------------------------------------------------------------------------------------------------------

    async def _login(self, request: web.Request) -> web.Response:
        return await self._session_for(request, "email", "dsm")

    async def _login_vsphere(self, request: web.Request) -> web.Response:
        return await self._session_for(request, "username", "vsphere")

    async def _session_for(self, request: web.Request, field: str, login: str) -> web.Response:
        try:
            given = json.loads(await request.text())
            name, password = str(given[field]), str(given["password"])
        except (ValueError, KeyError, TypeError):
            return _rest(400, {"message": f"the body must be JSON with {field} and password"})
        token = self.tokens.login(name, password, login)
        if token is None:
            LOG.info("login refused: %s", name)
            return _rest(401, {"message": "Invalid credentials"})
        answer = _rest(200, {field: name, "role": self.tokens.users[name].role})
        answer.headers["Authorization"] = f"Bearer {token}"
        return answer

    async def _kubeconfig(self, request: web.Request) -> web.Response:
        user = self._user(request)
        if user is None:
            return _rest(401, {"message": "Unauthorized"})
        if MEDIA_FILE not in request.headers.get("Accept", ""):
            return _rest(406, {"message": f"Accept must be {MEDIA_FILE}"})
        token = self.tokens.login(user.email, user.password, user.login)
        return web.Response(body=self.kubeconfig(token or "").encode(), headers={"Content-Type": MEDIA_FILE})

    def _user(self, request: web.Request) -> User | None:
        kind, _space, token = request.headers.get("Authorization", "").partition(" ")
        return self.tokens.user(token) if kind.lower() == "bearer" else None

    # -- the API server behind -----------------------------------------------------------------------------------------

    async def _client(self, _app: web.Application) -> Any:
        connector = aiohttp.TCPConnector(ssl=self._api.tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            yield

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        try:
            found = target(request.path)
        except ValueError:
            return _status(404, "NotFound", "the server could not find the requested resource")
        user = self._user(request)
        if user is None:
            return _status(401, "Unauthorized", "Unauthorized")
        if found is not None:
            why = denied(user.role, request.method, *found)
            if why:
                return _status(403, "Forbidden", why)
        elif request.method not in {"GET", "HEAD"}:
            return _status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        try:
            return await self._forward(request, user)
        except aiohttp.ClientError as error:
            LOG.warning("%s %s: %s", request.method, request.path, error)
            return _status(503, "ServiceUnavailable", "the API server does not answer")

    async def _forward(self, request: web.Request, user: User) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP | _OURS and not name.lower().startswith("impersonate-")
        }
        headers |= {"Authorization": self._api.authorization, "Impersonate-User": user.email}
        url = URL(self._api.url + request.raw_path, encoded=True)
        body = await request.read() or None
        async with self._session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=_AUTO
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            # One piece after the other: a client that reads slowly holds the server back, one that is gone cancels.
            try:
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError):
                if request.transport is not None:
                    request.transport.abort()  # too late for another answer: who reads must see that it is cut
            return response


def _rest(code: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=code, body=json.dumps(body).encode(), headers={"Content-Type": MEDIA})


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.json_response(body, status=code)
