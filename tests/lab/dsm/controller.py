# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches PostgresClusters and what they refer to, has the instances brought there, and says in the status how it is.

One task a cluster does everything to it, in turn: specs, failovers, backups. What is known stands in the API server
and in the cluster's folder, so that an emulator that starts again goes on where it was.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
from aiohttp import web

from ..process import LabError
from ..tls import make_tls
from .api import DATABASES, DSM_VERSION, Api, ApiError
from .cluster import Cluster
from .control import Control
from .endpoint import Endpoint
from .monitor import Monitor
from .store import Store, make_store
from .wish import NotReady, Origin, Wish

LOG = logging.getLogger("lab.dsm.controller")
FINALIZER = f"{DATABASES}/lab"
CLUSTERS = (DATABASES, "postgresclusters")
ARCHIVED = (DATABASES, "archivedpostgresclusters")
_RETRY_S = 2.0

Object = Mapping[str, Any]


class Controller:
    """Of all clusters of one emulator.

    :param folder: of the emulator; the store's place is recorded there.
    """

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.store: Store = make_store(folder)
        self.tls = make_tls(folder / "tls")
        self.managed: dict[tuple[str, str], Managed] = {}

    def routes(self) -> list[web.RouteDef]:
        """For the lab's control port."""
        return Control(self).routes()

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(
            self._watch_clusters(),
            self._watch_referred(DATABASES, "databaseconfigs"),
            self._watch_referred("", "secrets"),
        )

    async def stop(self) -> None:
        """Stop every instance; the data stay."""
        for managed in self.managed.values():
            await managed.stop()
        await asyncio.to_thread(self.store.stop_all)

    async def _watch_clusters(self) -> None:
        async for kind, cluster in self.api.watch(*CLUSTERS):
            meta = cluster["metadata"]
            key = (meta["namespace"], meta["name"])
            known = self.managed.get(key)
            if kind == "DELETED":
                continue
            if known is None or known.uid != meta["uid"]:
                if known is not None:
                    await known.stop()
                known = self.managed[key] = Managed(self, cluster)
            known.seen(cluster)

    async def _watch_referred(self, group: str, plural: str) -> None:
        """Something that a spec refers to has changed."""
        async for _kind, item in self.api.watch(group, plural):
            meta = item["metadata"]
            for (namespace, _name), managed in self.managed.items():
                if namespace == meta["namespace"] and meta["name"] in managed.refers_to(plural):
                    managed.wanted.set()


class Managed:
    """One PostgresCluster: its task, its addresses, its status."""

    def __init__(self, controller: Controller, cluster: Object) -> None:
        meta = cluster["metadata"]
        self.controller = controller
        self.api = controller.api
        self.uid, self.namespace, self.name = meta["uid"], meta["namespace"], meta["name"]
        self.object = cluster
        self.cluster = Cluster(controller.store, self.uid, self.namespace, self.name)
        self.monitor = Monitor(self)
        self.wanted = asyncio.Event()
        self.lock = asyncio.Lock()
        self.addresses: dict[str, Endpoint] = {}  # "" is the cluster's
        self.wish: Wish | None = None
        self.problem: NotReady | None = None
        self.settled = 0  # the generation that was brought about, or was found impossible
        self._told: dict[str, Any] = {}
        self.task = asyncio.create_task(self._run(), name=f"cluster {self.namespace}/{self.name}")

    @property
    def spec(self) -> Object:
        return self.object["spec"]

    def seen(self, cluster: Object) -> None:
        """What the API server has of it now."""
        self.object = cluster
        if cluster["metadata"]["generation"] != self.settled or cluster["metadata"].get("deletionTimestamp"):
            self.wanted.set()

    async def stop(self) -> None:
        """End the task and the addresses; the instances go on."""
        self.task.cancel()
        await asyncio.wait([self.task])
        for address in self.addresses.values():
            await address.stop()
        self.addresses.clear()

    # ---- the task ----------------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            problem, held = self.problem, self.cluster.record.held
            retry = problem is not None and not problem.final and problem.reason != "PrimaryDown" and not held
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.wanted.wait(), _RETRY_S if retry else self.monitor.period)
            try:
                async with self.lock:
                    if self.object["metadata"].get("deletionTimestamp"):
                        if await self._delete():
                            return
                    elif self.wanted.is_set() or retry:
                        self.wanted.clear()
                        await self.reconcile()
                    else:
                        await self.monitor.check()
            except (ApiError, LabError, OSError, psycopg.Error):
                LOG.exception("%s/%s", self.namespace, self.name)
                await asyncio.sleep(0.5)
                self.wanted.set()
            except Exception:  # one cluster must not end silently, nor take others along
                LOG.exception("%s/%s: not foreseen", self.namespace, self.name)
                await asyncio.sleep(2)

    async def reconcile(self) -> None:
        current = await self.api.get(*CLUSTERS, self.namespace, self.name)
        if current is None or current["metadata"]["uid"] != self.uid:
            return
        self.object = current
        generation = current["metadata"]["generation"]
        if FINALIZER not in current["metadata"].get("finalizers", []):
            finalizers = [*current["metadata"].get("finalizers", []), FINALIZER]
            await self._patch({"metadata": {"finalizers": finalizers}})
        if not self.cluster.record.made and self.problem is None:
            await self.tell(NotReady("Creating", "instances are being made"), generation)
        elif self.wish is None and self.cluster.record.made and not self.cluster.leader.running():
            await self.tell(NotReady("Starting", "instances are being started"), generation)
        if self.problem is not None and self.problem.final and generation == self.settled:
            return
        self.problem = None
        try:
            self.wish = wish = await self._wish()
            if wish.blocked:
                await self.block(True)
            await asyncio.to_thread(self.cluster.apply, wish)
        except NotReady as problem:
            self.problem = problem
        except (LabError, psycopg.Error, OSError) as error:
            self.problem = NotReady("Failed", str(error))
        self.settled = generation
        await self.serve()
        if self.wish and not self.wish.blocked:
            await self.block(False)
        await self.tell(self.problem, generation)

    async def _wish(self) -> Wish:
        spec = self.spec
        replication = spec.get("labReplication") or {}
        source = dict(replication.get("source") or {})
        if source.get("passwordRef"):
            source["password"] = await self._password(source.pop("passwordRef")["name"])
        config = {}
        if "databaseConfig" in spec:
            found = await self.api.get(DATABASES, "databaseconfigs", self.namespace, spec["databaseConfig"]["name"])
            if found is None:
                raise NotReady("ConfigMissing", f"DatabaseConfig {spec['databaseConfig']['name']!r} is not there")
            config = (found.get("spec") or {}).get("params") or {}
        backup = spec.get("backupConfig") or {}
        return Wish(
            replicas=spec.get("replicas", 0),
            database=spec["databaseName"],
            admin=spec["adminUsername"],
            password=await self._admin_password(),
            settings={key: str(value) for key, value in config.items()},
            blocked=bool(spec.get("blockDatabaseConnections")),
            backups="backupLocation" in spec or "backupConfig" in spec,
            retention_days=backup.get("backupRetentionDays", 30),
            role=replication.get("role"),
            source=source,
            full_copy=bool(replication.get("allowFullCopy")),
            origin=await self._origin() if not self.cluster.record.made else None,
        )

    def refers_to(self, plural: str) -> set[str]:
        """Names of that kind that its spec depends on."""
        if plural == "databaseconfigs":
            return {self.spec["databaseConfig"]["name"]} if "databaseConfig" in self.spec else set()
        source = (self.spec.get("labReplication") or {}).get("source") or {}
        return {self.secret, (source.get("passwordRef") or {}).get("name", "")}

    @property
    def secret(self) -> str:
        """The name of the Secret with the admin's password."""
        return (self.spec.get("adminPasswordRef") or {}).get("name") or f"pg-{self.name}"

    async def _admin_password(self) -> str:
        if (
            "adminPasswordRef" not in self.spec
            and await self.api.get("", "secrets", self.namespace, self.secret) is None
        ):
            owner = {"apiVersion": f"{DATABASES}/{DSM_VERSION}", "kind": "PostgresCluster"}
            owner.update(name=self.name, uid=self.uid)
            body = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": self.secret, "namespace": self.namespace, "ownerReferences": [owner]},
                "stringData": {"password": secrets.token_urlsafe(18)},
            }
            await self.api.create("", "secrets", self.namespace, body)
        return await self._password(self.secret)

    async def _password(self, name: str) -> str:
        found = await self.api.get("", "secrets", self.namespace, name)
        if found is None or "password" not in (found.get("data") or {}):
            raise NotReady("SecretMissing", f"Secret {name!r} with the key 'password' is not there")
        return base64.b64decode(found["data"]["password"]).decode()

    async def _origin(self) -> Origin | None:
        given = (self.spec.get("basedOn") or {}).get("cluster")
        if not given:
            return None
        timestamp = None
        if given.get("timestamp"):
            timestamp = datetime.fromisoformat(given["timestamp"].replace("Z", "+00:00"))
        living = self.controller.managed.get((self.namespace, given["name"]))
        if living is not None and living is not self and living.cluster.record.made:
            return Origin(given["name"], living.cluster.folder, timestamp, living.cluster.leader)
        archived = await self.api.get(*ARCHIVED, self.namespace, given["name"])
        if archived is None:
            raise NotReady("RestoreFailed", f"there is no cluster {given['name']!r}, nor an archived one", final=True)
        return Origin(given["name"], self.controller.store.root / archived["status"]["labStore"], timestamp)

    # ---- addresses ---------------------------------------------------------------------------------------------------
    async def serve(self) -> None:
        """An address for the cluster and for each of its instances, each before what runs."""
        record = self.cluster.record
        if not record.made:
            return
        wanted = {row["name"]: (row["address"], self.cluster.nodes[row["name"]]) for row in record.nodes}
        wanted[""] = (record.port, self.cluster.leader)
        for name, (port, node) in wanted.items():
            upstream = node.port if node.running() else None
            if name not in self.addresses:
                address = Endpoint(upstream, port=port, tls=self.controller.tls)
                address.blocked = bool(self.wish and self.wish.blocked)
                self.addresses[name] = await address.start()
            await self.addresses[name].switch(upstream)

    async def block(self, blocked: bool) -> None:
        """The replicas' addresses too: a follower may be promoted at any time."""
        for address in self.addresses.values():
            if address.blocked != blocked:
                await address.block(blocked)

    # ---- status ------------------------------------------------------------------------------------------------------
    async def tell(self, problem: NotReady | None, generation: int | None = None) -> None:
        """Write the status, when it differs from what was written last."""
        generation = self.settled if generation is None else generation
        cluster, record = self.cluster, self.cluster.record
        conditions = [
            _condition("Ready", not problem, problem.reason if problem else "Ready", str(problem or ""), generation)
        ]
        if "databaseConfig" in self.spec:
            error = cluster.config_error
            conditions.append(
                _condition("CustomConfigStatus", not error, "ConfigInvalid" if error else "Applied", error, generation)
            )
        status = {
            "conditions": conditions,
            "connection": {
                "host": "127.0.0.1" if record.made else "",
                "port": record.port if record.made else 0,
                "dbname": self.spec["databaseName"],
                "username": self.spec["adminUsername"],
                "passwordRef": {"name": self.secret},
            },
            "labNodes": [
                {
                    "name": row["name"],
                    "host": "127.0.0.1",
                    "port": row["address"],
                    "role": cluster.role_of(cluster.nodes[row["name"]]),
                }
                for row in (record.nodes if record.made else [])
            ],
            "labBackups": await asyncio.to_thread(cluster.backups),
        }
        if status == self._told:
            return
        before = {row["type"]: row for row in (self.object.get("status") or {}).get("conditions") or []}
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = []
        for row in conditions:
            old = before.get(row["type"], {})
            same = old.get("status") == row["status"] and "lastTransitionTime" in old
            rows.append({**row, "lastTransitionTime": old["lastTransitionTime"] if same else now})
        body = {**status, "conditions": rows}
        answer = await self.api.patch_status(*CLUSTERS, self.namespace, self.name, body)
        self._told, self.object = status, {**self.object, "status": answer.get("status")}

    async def _patch(self, body: Object) -> None:
        self.object = await self.api.patch(*CLUSTERS, self.namespace, self.name, body)

    async def _delete(self) -> bool:
        """Whether it is gone; with backups an archived one stays."""
        current = await self.api.get(*CLUSTERS, self.namespace, self.name)
        if current is not None and current["metadata"]["uid"] == self.uid:
            kept = await asyncio.to_thread(self.cluster.remove)
            if kept and await self.api.get(*ARCHIVED, self.namespace, self.name) is None:
                body = {
                    "apiVersion": f"{DATABASES}/{DSM_VERSION}",
                    "kind": "ArchivedPostgresCluster",
                    "metadata": {"name": self.name, "namespace": self.namespace},
                    "spec": current["spec"],
                }
                await self.api.create(*ARCHIVED, self.namespace, body)
            if kept:
                backups = await asyncio.to_thread(self.cluster.backups)
                status = {"labStore": self.uid, "labBackups": backups}
                await self.api.patch_status(*ARCHIVED, self.namespace, self.name, status)
            left = [one for one in current["metadata"].get("finalizers", []) if one != FINALIZER]
            if "adminPasswordRef" not in self.spec:
                await self.api.delete("", "secrets", self.namespace, self.secret)
            await self._patch({"metadata": {"finalizers": left or None}})
        for address in self.addresses.values():
            await address.stop()
        self.addresses.clear()
        if self.controller.managed.get((self.namespace, self.name)) is self:
            del self.controller.managed[self.namespace, self.name]
        return True


def _condition(kind: str, good: bool, reason: str, message: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True" if good else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }
