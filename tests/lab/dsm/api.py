# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the API server behind the emulator, for the emulator's own parts: as administrator, past the
gateway. An object is named by group (``""`` = core), plural, namespace (``None`` = cluster scope, or all) and name.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

DATABASES = "databases.dataservices.vmware.com"
INFRASTRUCTURE = "infrastructure.dataservices.vmware.com"
AUTHORIZATION = "authorization.dataservices.vmware.com"
INTERNAL = "internal.dataservices.vmware.com"
DSM_VERSION = "v1alpha1"
LINE_LIMIT = 16 * 1024 * 1024  # one event of a watch is one line
WATCH_S = 300  # the server ends a watch after this long; watch() begins the next one


class ApiError(Exception):
    """The API server refused; its Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


def path_of(group: str, plural: str, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
    """The path of an object or a collection: ``/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB``."""
    version = DSM_VERSION if group.endswith(".dataservices.vmware.com") else "v1"
    parts = ["", "apis", group, version] if group else ["", "api", version]
    if namespace:
        parts += ["namespaces", namespace]
    return "/".join([*parts, plural, *filter(None, (name, sub))])


class Api:
    """Async client; ``async with Api(url, token, ca) as api``. Every call raises :class:`ApiError` when refused."""

    def __init__(self, url: str, token: str, ca: Path | None = None) -> None:
        self.url = url
        self.tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca)) if ca else True
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    @property
    def authorization(self) -> str:
        return f"Bearer {self._token}"

    async def __aenter__(self) -> Api:
        self._session = aiohttp.ClientSession(
            base_url=self.url,
            headers={"Authorization": self.authorization, "Accept": "application/json"},
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=LINE_LIMIT,
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("async with Api(...) first")
        return self._session

    # -- objects -------------------------------------------------------------------------------------------------------

    async def list(self, group: str, plural: str, namespace: str | None = None, selector: str = "") -> dict[str, Any]:
        """The List as the server sent it: ``items``, and ``metadata.resourceVersion`` to watch from."""
        query = {"labelSelector": selector} if selector else None
        return await self.call("GET", path_of(group, plural, namespace), query=query)

    async def get(self, group: str, plural: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """The object; ``None`` when there is none."""
        try:
            return await self.call("GET", path_of(group, plural, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def create(self, group: str, plural: str, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.call("POST", path_of(group, plural, namespace), body)

    async def replace(self, group: str, plural: str, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT; 409 when ``metadata.resourceVersion`` is not the newest."""
        return await self.call("PUT", path_of(group, plural, namespace, body["metadata"]["name"]), body)

    async def patch(
        self, group: str, plural: str, namespace: str | None, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A merge patch: ``None`` removes a key, a list replaces the list."""
        return await self._merge(path_of(group, plural, namespace, name), body)

    async def patch_status(
        self, group: str, plural: str, namespace: str | None, name: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A merge patch of the status alone; *status* is what stands below the key ``status``."""
        return await self._merge(path_of(group, plural, namespace, name, "status"), {"status": status})

    async def delete(self, group: str, plural: str, namespace: str | None, name: str) -> None:
        """Asks for it; with finalizers the object stays until they are gone. Nothing to delete is no error."""
        try:
            await self.call("DELETE", path_of(group, plural, namespace, name))
        except ApiError as error:
            if error.code != 404:
                raise

    async def apply(self, group: str, plural: str, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create it, or take over what is given where it exists (server-side apply, forced)."""
        path = path_of(group, plural, namespace, body["metadata"]["name"])
        query = {"fieldManager": "dsm", "force": "true"}
        return await self.call("PATCH", path, body, query=query, media="application/apply-patch+yaml")

    # -- watch ---------------------------------------------------------------------------------------------------------

    async def watch(
        self, group: str, plural: str, namespace: str | None = None
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """``(type, object)`` for ever: first ADDED for all that exist, then what happens.

        When the connection or the server's memory of changes ends, all that exists is told again as ADDED, so that
        whoever listens compares with what it knows; something deleted meanwhile is not told then (finalizers help).
        """
        path = path_of(group, plural, namespace)
        while True:
            try:
                listed = await self.list(group, plural, namespace)
                for item in listed["items"]:
                    yield "ADDED", item
                version = listed["metadata"]["resourceVersion"]
                while version:
                    async for kind, item in self._watch_once(path, version):
                        version = item["metadata"]["resourceVersion"]
                        yield kind, item
            except (aiohttp.ClientError, ApiError, OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.5)

    async def _watch_once(self, path: str, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        async with self.session.get(path, params=query) as answer:
            if answer.status >= 400:
                raise _error(answer.status, await answer.text())
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 500), json.dumps(event["object"]))
                yield event["type"], event["object"]

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.call("PATCH", path, body, media="application/merge-patch+json")

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        media: str = "application/json",
    ) -> Any:
        """One request; the JSON of the answer."""
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, path, params=query, data=data, headers={"Content-Type": media}, timeout=aiohttp.ClientTimeout(60)
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise _error(answer.status, text)
            return json.loads(text) if text.startswith(("{", "[")) else text


def _error(code: int, text: str) -> ApiError:
    try:
        status = json.loads(text)
        return ApiError(code, status.get("reason", ""), status.get("message", text))
    except (ValueError, AttributeError):
        return ApiError(code, "", text[:500])
