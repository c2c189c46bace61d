# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication: policies, executions, tasks and their logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from .cron import valid
from .errors import HarborError, bad, missing
from .filters import check
from .paging import page
from .registries import shown as shown_registry
from .store import Store, now
from .worker import ENDED, Worker

TRIGGERS = ("manual", "event_based", "scheduled")
NAMESPACE = re.compile(r"^[a-z0-9]+([._/-][a-z0-9]+)*$")


class Replication:
    """Routes below /api/v2.0; only administrators pass."""

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker

    def routes(self) -> list[web.RouteDef]:
        policy, execution = "/replication/policies/{id:[0-9]+}", "/replication/executions/{id:[0-9]+}"
        return [
            web.get("/replication/policies", self._policies),
            web.post("/replication/policies", self._make),
            web.get(policy, self._policy),
            web.put(policy, self._update),
            web.delete(policy, self._remove),
            web.get("/replication/executions", self._executions),
            web.post("/replication/executions", self._start),
            web.get(execution, self._execution),
            web.put(execution, self._stop),
            web.get(execution + "/tasks", self._tasks),
            web.get(execution + "/tasks/{task:[0-9]+}/log", self._log),
        ]

    # -- policies ------------------------------------------------------------------------------------------------------

    async def _policies(self, request: web.Request) -> web.Response:
        part = request.query.get("name", "")
        rows = [self._shown(row) for row in self._store.policies.values() if part in row["name"]]
        return page(request, rows)

    async def _policy(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._row(request.match_info["id"])))

    async def _make(self, request: web.Request) -> web.Response:
        row = self._checked(await request.json())
        if any(other["name"] == row["name"] for other in self._store.policies.values()):
            raise HarborError("CONFLICT", f"policy {row['name']} already exists")
        made = self._store.add("policies", {**row, "creation_time": now(), "update_time": now()})
        return web.Response(status=201, headers={"Location": f"/api/v2.0/replication/policies/{made['id']}"})

    async def _update(self, request: web.Request) -> web.Response:
        """What the body leaves out is lost: it is the whole policy."""
        row = self._row(request.match_info["id"])
        row.update(self._checked(await request.json()), update_time=now())
        self._store.save()
        return web.Response()

    async def _remove(self, request: web.Request) -> web.Response:
        row = self._row(request.match_info["id"])
        runs = [one for one in self._store.executions.values() if one["policy_id"] == row["id"]]
        if any(one["status"] not in ENDED for one in runs):
            raise HarborError("PRECONDITION", f"the policy {row['id']} has running executions, can not be deleted")
        for one in runs:
            for task in self._worker.tasks(one["id"]):
                del self._store.tasks[str(task["id"])]
            del self._store.executions[str(one["id"])]
        del self._store.policies[str(row["id"])]
        self._store.save()
        return web.Response()

    def _row(self, number: str) -> dict[str, Any]:
        if number not in self._store.policies:
            raise missing(f"replication policy {number} not found")
        return self._store.policies[number]

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        ends = {
            key: shown_registry(self._store.registries[str(row[key])]) if row[key] else {"id": 0, "name": "Local"}
            for key in ("src_registry", "dest_registry")
        }
        return {**row, **ends, "deletion": row["replicate_deletion"]}

    def _checked(self, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body.get("name") or ""
        if not name:
            raise bad("empty name")
        source, target = ((body.get(key) or {}).get("id") or 0 for key in ("src_registry", "dest_registry"))
        if bool(source) == bool(target):
            raise bad("either src_registry or dest_registry should be empty and the other one shouldn't be empty")
        if str(source or target) not in self._store.registries:
            raise missing(f"registry {source or target} not found")
        namespace = body.get("dest_namespace") or ""
        if namespace and not NAMESPACE.match(namespace):
            raise bad(f"invalid destination namespace: {namespace}")
        count = body.get("dest_namespace_replace_count")
        return {
            "name": name,
            "description": body.get("description") or "",
            "src_registry": source,
            "dest_registry": target,
            "dest_namespace": namespace,
            "dest_namespace_replace_count": -1 if count is None else count,
            "trigger": checked_trigger(body.get("trigger")),
            "filters": check(body.get("filters")),
            "replicate_deletion": bool(body.get("replicate_deletion", body.get("deletion"))),
            "override": bool(body.get("override")),
            "enabled": bool(body.get("enabled")),
            "speed": max(0, body.get("speed") or 0),
            "copy_by_chunk": bool(body.get("copy_by_chunk")),
            "single_active_replication": bool(body.get("single_active_replication")),
        }

    # -- executions ----------------------------------------------------------------------------------------------------

    async def _start(self, request: web.Request) -> web.Response:
        policy = self._row(str((await request.json()).get("policy_id")))
        if not policy["enabled"]:
            raise HarborError("PRECONDITION", f"the policy {policy['id']} is disabled")
        made = self._worker.start(policy, request.query.get("trigger", "manual"))
        return web.Response(status=201, headers={"Location": f"/api/v2.0/replication/executions/{made['id']}"})

    async def _executions(self, request: web.Request) -> web.Response:
        rows = [self._worker.shown(row) for row in reversed(list(self._store.executions.values()))]
        for key in ("policy_id", "status", "trigger"):
            if key in request.query:
                rows = [row for row in rows if str(row[key]) == request.query[key]]
        return page(request, rows)

    async def _execution(self, request: web.Request) -> web.Response:
        return web.json_response(self._worker.shown(self._run(request)))

    async def _stop(self, request: web.Request) -> web.Response:
        self._worker.stop(self._run(request)["id"])
        return web.Response()

    async def _tasks(self, request: web.Request) -> web.Response:
        rows = self._worker.tasks(self._run(request)["id"])
        for key in ("status", "resource_type"):
            if key in request.query:
                rows = [row for row in rows if row[key] == request.query[key]]
        return page(request, [{key: value for key, value in row.items() if key != "log"} for row in rows])

    async def _log(self, request: web.Request) -> web.Response:
        run, number = self._run(request), request.match_info["task"]
        task = self._store.tasks.get(number)
        if task is None or task["execution_id"] != run["id"]:
            raise missing(f"execution {run['id']} contains no task with ID {number}")
        return web.Response(text=task["log"])

    def _run(self, request: web.Request) -> dict[str, Any]:
        number = request.match_info["id"]
        if number not in self._store.executions:
            raise missing(f"replication execution {number} not found")
        return self._store.executions[number]


def checked_trigger(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """:raises HarborError: Harbor would refuse it."""
    kind = (row or {}).get("type") or "manual"
    cron = ((row or {}).get("trigger_settings") or {}).get("cron") or ""
    if kind not in TRIGGERS:
        raise bad("invalid trigger type")
    if kind != "scheduled":
        return {"type": kind}
    if not cron:
        raise bad("the cron string cannot be empty when the trigger type is scheduled")
    if not valid(cron):
        raise bad(f"invalid cron string for scheduled trigger: {cron}")
    return {"type": kind, "trigger_settings": {"cron": cron}}
