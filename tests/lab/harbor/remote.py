# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ends of a copy: this Harbor, and another one over HTTP."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from .errors import HarborError
from .store import Store

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
PAGE = 50


class RemoteError(Exception):
    """The other side did not do it."""


class Local:
    """This Harbor."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self) -> None:
        """It is here."""

    async def repositories(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "artifacts": [
                    {"digest": row["digest"], "tags": sorted(row["tags"]), "labels": row["labels"]}
                    for row in home["artifacts"].values()
                ],
            }
            for name, home in sorted(self._store.repositories.items())
        ]

    async def make_project(self, name: str) -> None:
        if name not in self._store.projects:
            self._store.make_project(name)

    async def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        row = self._store.artifact(repository, reference)
        return self._store.blob(row["digest"]), row["manifest_media_type"]

    async def digest(self, repository: str, reference: str) -> str | None:
        try:
            return self._store.artifact(repository, reference)["digest"]
        except HarborError:
            return None

    async def has_blob(self, _repository: str, digest: str) -> bool:
        return self._store.has_blob(digest)

    async def blob(self, _repository: str, digest: str) -> bytes:
        return self._store.blob(digest)

    async def put_blob(self, _repository: str, _digest: str, content: bytes) -> None:
        self._store.put_blob(content)

    async def put_manifest(self, repository: str, reference: str, body: bytes, media: str) -> None:
        self._store.put_manifest(repository, reference, body, media)


class Remote:
    """Another Harbor; use :func:`remote`."""

    def __init__(self, session: aiohttp.ClientSession, registry: Mapping[str, Any]) -> None:
        self._session = session
        self._url = registry["url"].rstrip("/")
        self._tls = context(registry)

    async def check(self) -> None:
        """:raises RemoteError: it is not healthy, or does not know the account."""
        await self._call("GET", "/api/v2.0/users/current")

    async def repositories(self) -> list[dict[str, Any]]:
        found = []
        for row in await self._list("/api/v2.0/repositories"):
            project, _slash, name = row["name"].partition("/")
            inner = quote(quote(name, safe=""), safe="")
            rows = await self._list(f"/api/v2.0/projects/{project}/repositories/{inner}/artifacts")
            artifacts = [
                {
                    "digest": one["digest"],
                    "tags": sorted(tag["name"] for tag in one["tags"] or ()),
                    "labels": [label["name"] for label in one["labels"] or ()],
                }
                for one in rows
            ]
            found.append({"name": row["name"], "artifacts": artifacts})
        return found

    async def make_project(self, name: str) -> None:
        body = {"project_name": name, "metadata": {"public": "false"}}
        await self._call("POST", "/api/v2.0/projects", json=body, ok=(201, 409))

    async def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        _status, body, headers = await self._call("GET", f"/v2/{repository}/manifests/{reference}")
        return body, headers["Content-Type"]

    async def digest(self, repository: str, reference: str) -> str | None:
        path = f"/v2/{repository}/manifests/{reference}"
        status, _body, headers = await self._call("HEAD", path, ok=(200, 404))
        return headers["Docker-Content-Digest"] if status == 200 else None

    async def has_blob(self, repository: str, digest: str) -> bool:
        return (await self._call("HEAD", f"/v2/{repository}/blobs/{digest}", ok=(200, 404)))[0] == 200

    async def blob(self, repository: str, digest: str) -> bytes:
        return (await self._call("GET", f"/v2/{repository}/blobs/{digest}"))[1]

    async def put_blob(self, repository: str, digest: str, content: bytes) -> None:
        headers = (await self._call("POST", f"/v2/{repository}/blobs/uploads/", ok=(202,)))[2]
        await self._call("PUT", f"{headers['Location']}?digest={digest}", data=content, ok=(201,))

    async def put_manifest(self, repository: str, reference: str, body: bytes, media: str) -> None:
        path = f"/v2/{repository}/manifests/{reference}"
        await self._call("PUT", path, data=body, headers={"Content-Type": media}, ok=(201,))

    async def _list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            url = f"{path}?page={len(found) // PAGE + 1}&page_size={PAGE}"
            async with self._open("GET", url) as answer:
                await self._expect("GET", url, answer, (200,))
                rows = await answer.json()
            found += rows
            if len(rows) < PAGE:
                return found

    async def _call(
        self, method: str, path: str, *, ok: tuple[int, ...] = (200,), **body: Any
    ) -> tuple[int, bytes, Mapping[str, str]]:
        async with self._open(method, path, **body) as answer:
            await self._expect(method, path, answer, ok)
            return answer.status, await answer.read(), answer.headers

    @asynccontextmanager
    async def _open(self, method: str, path: str, **body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, self._url + path, ssl=self._tls, **body) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RemoteError(f"{method} {self._url}{path}: {str(error) or type(error).__name__}") from error

    async def _expect(self, method: str, path: str, answer: aiohttp.ClientResponse, ok: tuple[int, ...]) -> None:
        if answer.status not in ok:
            text = (await answer.text())[:300]
            raise RemoteError(f"{method} {self._url}{path}: http status code: {answer.status}, body: {text}")


def context(registry: Mapping[str, Any]) -> ssl.SSLContext | bool:
    """Whose certificates are taken."""
    if registry["insecure"]:
        return False
    try:
        return ssl.create_default_context(cadata=registry.get("ca_certificate") or None)
    except ssl.SSLError as error:
        raise RemoteError(f"ca_certificate: {error}") from error


@asynccontextmanager
async def remote(registry: Mapping[str, Any]) -> AsyncIterator[Remote]:
    """The Harbor that a registry row names."""
    credential = registry.get("credential") or {}
    key = credential.get("access_key")
    auth = aiohttp.BasicAuth(key, credential.get("access_secret") or "") if key else None
    async with aiohttp.ClientSession(auth=auth, timeout=TIMEOUT) as session:
        yield Remote(session, registry)
