# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects, repositories, artifacts, and what Harbor says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .errors import HarborError, bad, missing
from .paging import page
from .store import Store

VERSION = "v2.13.2"


class Projects:
    """Routes below /api/v2.0."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        one = "/projects/{project}"
        home = one + "/repositories/{repository:.+?}"
        return [
            web.get("/ping", self._ping),
            web.get("/health", self._health),
            web.get("/systeminfo", self._systeminfo),
            web.get("/users/current", self._user),
            web.get("/projects", self._list, allow_head=False),
            web.head("/projects", self._exists),
            web.post("/projects", self._make),
            web.get(one, self._get),
            web.delete(one, self._remove),
            web.get("/repositories", self._repositories),
            web.get(one + "/repositories", self._repositories),
            web.get(home + "/artifacts", self._artifacts),
            web.get(home + "/artifacts/{reference}", self._artifact),
            web.delete(home + "/artifacts/{reference}", self._remove_artifact),
            web.get(home + "/artifacts/{reference}/tags", self._tags),
            web.get(home, self._repository),
            web.delete(home, self._remove_repository),
        ]

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Pong")

    async def _health(self, _request: web.Request) -> web.Response:
        parts = ("core", "database", "jobservice", "portal", "redis", "registry", "registryctl")
        rows = [{"name": name, "status": "healthy"} for name in parts]
        return web.json_response({"status": "healthy", "components": rows})

    async def _systeminfo(self, _request: web.Request) -> web.Response:
        return web.json_response({"harbor_version": f"{VERSION}-lab", "auth_mode": "db_auth"})

    async def _user(self, request: web.Request) -> web.Response:
        user = request["user"]
        return web.json_response({"user_id": 1, "username": user["name"], "sysadmin_flag": user["admin"]})

    # -- projects ------------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        part = request.query.get("name", "")
        rows = sorted(self._store.projects.values(), key=lambda row: row["name"])
        return page(request, [self._shown(row) for row in rows if part in row["name"]])

    async def _exists(self, request: web.Request) -> web.Response:
        self._store.project(request.query.get("project_name", ""))
        return web.Response()

    async def _make(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body.get("project_name") or ""
        if not name or name != name.lower() or "/" in name:
            raise bad(f"invalid project name: {name}")
        row = self._store.make_project(name, body.get("metadata"))
        return web.Response(status=201, headers={"Location": f"/api/v2.0/projects/{row['project_id']}"})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._project(request)))

    async def _remove(self, request: web.Request) -> web.Response:
        row = self._project(request)
        if self._shown(row)["repo_count"]:
            raise HarborError("PRECONDITION", f"the project {row['name']} contains repositories, can not be deleted")
        del self._store.projects[row["name"]]
        self._store.save()
        return web.Response()

    def _project(self, request: web.Request) -> dict[str, Any]:
        """By name, or by id where the client does not say that it is a name."""
        word = request.match_info["project"]
        if word.isdigit() and request.headers.get("X-Is-Resource-Name", "").lower() != "true":
            for row in self._store.projects.values():
                if row["project_id"] == int(word):
                    return row
        return self._store.project(word)

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        count = sum(name.startswith(f"{row['name']}/") for name in self._store.repositories)
        return {**row, "repo_count": count}

    # -- repositories and artifacts ------------------------------------------------------------------------------------

    async def _repositories(self, request: web.Request) -> web.Response:
        project = self._project(request)["name"] + "/" if "project" in request.match_info else ""
        rows = sorted(self._store.repositories.values(), key=lambda row: row["name"])
        return page(request, [shown_repository(row) for row in rows if row["name"].startswith(project)])

    def _name(self, request: web.Request) -> str:
        """A slash in it comes escaped twice."""
        project = self._project(request)["name"]
        return f"{project}/{unquote(unquote(request.match_info['repository']))}"

    async def _repository(self, request: web.Request) -> web.Response:
        return web.json_response(shown_repository(self._store.repository(self._name(request))))

    async def _remove_repository(self, request: web.Request) -> web.Response:
        del self._store.repositories[self._store.repository(self._name(request))["name"]]
        self._store.save()
        return web.Response()

    async def _artifacts(self, request: web.Request) -> web.Response:
        name = self._name(request)
        project = self._store.project(name.partition("/")[0])
        home = self._store.repository(name)
        return page(request, [shown_artifact(row, home, project) for row in home["artifacts"].values()])

    async def _artifact(self, request: web.Request) -> web.Response:
        name = self._name(request)
        row = self._store.artifact(name, request.match_info["reference"])
        project = self._store.project(name.partition("/")[0])
        return web.json_response(shown_artifact(row, self._store.repository(name), project))

    async def _tags(self, request: web.Request) -> web.Response:
        row = self._store.artifact(self._name(request), request.match_info["reference"])
        return page(request, list(row["tags"].values()))

    async def _remove_artifact(self, request: web.Request) -> web.Response:
        name = self._name(request)
        row = self._store.artifact(name, request.match_info["reference"])
        artifacts = self._store.repository(name)["artifacts"]
        if row["digest"] not in artifacts:
            raise missing(f"artifact {name} not found")
        del artifacts[row["digest"]]
        self._store.save()
        return web.Response()


def shown_repository(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "artifacts"}
    return {**kept, "artifact_count": len(row["artifacts"]), "pull_count": 0}


def shown_artifact(row: Mapping[str, Any], home: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    more = {"repository_id": home["id"], "repository_name": home["name"], "project_id": project["project_id"]}
    labels = [{"id": number, "name": name} for number, name in enumerate(row["labels"], 1)]
    return {**row, **more, "labels": labels or None, "tags": list(row["tags"].values()) or None}
