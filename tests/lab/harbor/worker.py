# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions of policies: what matches is copied, a task a repository."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping
from typing import Any

from .errors import HarborError
from .filters import choose, destination
from .remote import Local, Remote, RemoteError, remote
from .store import NEVER, Store, now

ENDED = ("Succeed", "Failed", "Stopped")


class Worker:
    """Runs executions in the background.

    :ivar pause: seconds that each task waits before it begins.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pause = 0.0
        self._running: dict[int, asyncio.Task[None]] = {}

    def start(self, policy: Mapping[str, Any], trigger: str, only: str = "") -> dict[str, Any]:
        """A new execution of *policy*; of the repository *only*, where that is given."""
        execution = self.store.add(
            "executions",
            {
                "policy_id": policy["id"], "status": "InProgress", "trigger": trigger, "status_text": "",
                "start_time": now(), "end_time": NEVER,
            },
        )  # fmt: skip
        task = asyncio.create_task(self._run(execution, dict(policy), only))
        self._running[execution["id"]] = task
        task.add_done_callback(lambda _task: self._running.pop(execution["id"], None))
        return execution

    def pushed(self, repository: str) -> None:
        """An artifact came: policies that are triggered by that run."""
        for policy in list(self.store.policies.values()):
            event = policy["trigger"]["type"] == "event_based" and policy["enabled"]
            if event and policy["dest_registry"]:
                self.start(policy, "event_based", only=repository)

    def stop(self, number: int) -> None:
        """End an execution; its tasks too."""
        task = self._running.get(number)
        if task:
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def shown(self, execution: Mapping[str, Any]) -> dict[str, Any]:
        """With the counters of its tasks."""
        states = [row["status"] for row in self.tasks(execution["id"])]
        counts = {
            "total": len(states),
            "succeed": states.count("Succeed"),
            "failed": states.count("Failed"),
            "stopped": states.count("Stopped"),
            "in_progress": states.count("InProgress") + states.count("Pending"),
        }
        return {**execution, **counts}

    def tasks(self, number: int) -> list[dict[str, Any]]:
        return [row for row in self.store.tasks.values() if row["execution_id"] == number]

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _run(self, execution: dict[str, Any], policy: Mapping[str, Any], only: str) -> None:
        try:
            push = bool(policy["dest_registry"])
            number = policy["dest_registry" if push else "src_registry"]
            async with remote(self.store.registries[str(number)]) as other:
                ends = (Local(self.store), other) if push else (other, Local(self.store))
                await self._copy_all(execution, policy, only, *ends)
            states = {row["status"] for row in self.tasks(execution["id"])}
            self._end(execution, "Failed" if "Failed" in states else "Succeed")
        except RemoteError as error:
            self._end(execution, "Failed", f"failed to prepare the replication: {error}")
        except (HarborError, ValueError) as error:
            self._end(execution, "Failed", str(error))
        except asyncio.CancelledError:
            for row in self.tasks(execution["id"]):
                if row["status"] not in ENDED:
                    self._end(row, "Stopped")
            self._end(execution, "Stopped", "stopped")

    def _end(self, row: dict[str, Any], status: str, text: str = "") -> None:
        row.update(status=status, end_time=now(), **({"status_text": text} if text else {}))
        self.store.save()

    async def _copy_all(
        self, execution: dict[str, Any], policy: Mapping[str, Any], only: str,
        source: Local | Remote, target: Local | Remote,
    ) -> None:  # fmt: skip
        await source.check()
        await target.check()
        rows = [row for row in await source.repositories() if not only or row["name"] == only]
        work = []
        for row in choose(rows, policy["filters"]):
            name = destination(row["name"], policy["dest_namespace"], policy["dest_namespace_replace_count"])
            work.append((row, name, self._task(execution, row, name)))
        for project in sorted({name.partition("/")[0] for _row, name, _task in work}):
            await target.make_project(project)
        for row, name, task in work:
            await asyncio.sleep(self.pause)
            task.update(status="InProgress", start_time=now())
            try:
                for artifact in row["artifacts"]:
                    await self._copy(task, policy, row["name"], artifact, name, source, target)
            except (RemoteError, HarborError, OSError) as error:
                self._log(task, "ERROR", str(error))
                self._end(task, "Failed", str(error))
            else:
                self._log(task, "INFO", "copy completed")
                self._end(task, "Succeed")

    def _task(self, execution: Mapping[str, Any], row: Mapping[str, Any], name: str) -> dict[str, Any]:
        tags = list(itertools.chain.from_iterable(one["tags"] or [one["digest"]] for one in row["artifacts"]))
        number = self.store.state["last_id"] + 1
        return self.store.add(
            "tasks",
            {
                "execution_id": execution["id"], "status": "Pending", "job_id": f"job-{number}", "operation": "copy",
                "resource_type": "image", "src_resource": f"{row['name']}:[{','.join(tags)}]", "log": "",
                "dst_resource": f"{name}:[{','.join(tags)}]", "start_time": now(), "end_time": NEVER,
            },
        )  # fmt: skip

    def _log(self, task: dict[str, Any], level: str, text: str) -> None:
        task["log"] += f"{now()} [{level}] [/replication/transfer.go]: {text}\n"

    async def _copy(
        self, task: dict[str, Any], policy: Mapping[str, Any], repository: str, artifact: Mapping[str, Any],
        name: str, source: Local | Remote, target: Local | Remote,
    ) -> None:  # fmt: skip
        body, media = await source.manifest(repository, artifact["digest"])
        manifest = json.loads(body)
        for inner in manifest.get("manifests", ()):
            await self._copy(task, policy, repository, {"digest": inner["digest"], "tags": []}, name, source, target)
        for part in filter(None, [manifest.get("config"), *manifest.get("layers", ())]):
            digest = part["digest"]
            if await target.has_blob(name, digest):
                continue
            await target.put_blob(name, digest, await source.blob(repository, digest))
            self._log(task, "INFO", f"copy blob {digest} completed")
        for reference in artifact["tags"] or [artifact["digest"]]:
            there = await target.digest(name, reference)
            if there == artifact["digest"]:
                self._log(task, "INFO", f"{name}:{reference} exists on the destination registry, skip")
            elif there and not policy["override"]:
                self._log(task, "WARNING", f"{name}:{reference} exists, but the override is disabled, skip")
            else:
                await target.put_manifest(name, reference, body, media)
                self._log(task, "INFO", f"copy {name}:{reference} completed")


@contextlib.asynccontextmanager
async def worker(store: Store) -> Any:
    """A worker that ends with its block."""
    made = Worker(store)
    try:
        yield made
    finally:
        await made.close()
