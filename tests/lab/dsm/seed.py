# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a new emulator: the kinds, and what an administrator of DSM has set up before a user comes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from .api import DSM_VERSION, Api, ApiError
from .kinds import KINDS, Kind

SYSTEM = "dsm-system"
NAMESPACE = "default"
RELEASE = "v9.1.0"
#: The catalogue, newest first. The real server is 18.4; others are listed and cannot be created.
VERSIONS = ("18.4", "17.6", "16.10", "16.8")
POLICY = "ai"
STORAGE_POLICIES = ("gold", "silver")
VM_CLASSES = {"small": ("2", "4Gi"), "medium": ("4", "8Gi"), "large": ("8", "16Gi")}
BACKUP_LOCATION = "s3-a"
_READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}]}

_BY_NAME = {kind.kind: kind for kind in KINDS}


async def seed(api: Api) -> None:
    """Make kinds and objects, or leave them where they are (a second start keeps what was changed)."""
    crds = ("apiextensions.k8s.io", "customresourcedefinitions", None)
    await asyncio.gather(*(api.apply(*crds, kind.crd()) for kind in KINDS))
    await asyncio.gather(*(_served(api, kind) for kind in KINDS))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    await api.apply("", "namespaces", None, namespace)
    for name, (cpu, memory) in VM_CLASSES.items():
        await _make(api, "VMClass", name, {"requests": {"cpu": cpu, "memory": memory}})
    pool = {"addresses": ["192.0.2.10-192.0.2.99"], "prefix": 24, "gateway": "192.0.2.1"}
    await _make(api, "IPPool", "pool", pool)
    placement = {"datacenter": "dc", "cluster": "cl-1", "portGroups": ["db"]}
    policy = {
        "enabled": True,
        "storagePolicies": list(STORAGE_POLICIES),
        "vmClasses": [{"name": name} for name in VM_CLASSES],
        "placements": [placement],
        "ipRanges": [{"poolName": "pool", "portGroups": [{"datacenter": "dc", "name": "db"}]}],
    }
    await _make(api, "InfrastructurePolicy", POLICY, policy)
    location = {"url": "https://s3.example.com", "bucket": "dsm", "region": "local"}
    await _make(api, "BackupLocation", BACKUP_LOCATION, location, SYSTEM)
    services = [{"name": "vmware-sql-postgres", "supportedVersions": list(VERSIONS)}]
    await _make(api, "DataServicesRelease", f"dsr-{RELEASE}", {"version": RELEASE, "services": services})
    await _make(api, "DataServicePolicy", "databases", {}, status=_allowed())
    await _make(api, "DataServicePolicyBinding", "databases", {}, NAMESPACE, status=_allowed())


def _allowed() -> dict[str, Any]:
    return {
        **_READY,
        "dataServiceVersions": [
            {
                "serviceType": "vmware-sql-postgres",
                "versions": [{"version": f"{version}+vmware.{RELEASE}"} for version in VERSIONS],
            }
        ],
        "infrastructurePolicies": [
            {
                "name": POLICY,
                "status": "Ready",
                "vmClasses": [{"name": name} for name in VM_CLASSES],
                "storagePolicies": list(STORAGE_POLICIES),
            }
        ],
        "aggregatePostgresPolicy": {
            "allowedReplicas": [0, 1, 3],
            "common": {
                "allowedStorageSpace": {"max": "2Ti"},
                "allowedBackupLocations": [{"name": BACKUP_LOCATION}],
            },
        },
    }


async def _make(
    api: Api,
    kind_name: str,
    name: str,
    spec: dict[str, Any],
    namespace: str | None = None,
    status: dict[str, Any] | None = None,
) -> None:
    kind = _BY_NAME[kind_name]
    if await api.get(kind.group, kind.plural, namespace, name) is not None:
        return
    body = {
        "apiVersion": f"{kind.group}/{DSM_VERSION}",
        "kind": kind.kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": spec,
    }
    await api.create(kind.group, kind.plural, namespace, body)
    await api.patch_status(kind.group, kind.plural, namespace, name, status or _READY)


async def _served(api: Api, kind: Kind) -> None:
    """Wait until the server serves a kind that it was just told of.

    A server that may be one of several waits 5 s between accepting the names and serving; this one is alone.
    """
    where = ("apiextensions.k8s.io", "customresourcedefinitions", None, f"{kind.plural}.{kind.group}")
    for _attempt in range(300):
        crd = await api.get(*where) or {}
        conditions = crd.get("status", {}).get("conditions") or []
        state = {row["type"]: row["status"] for row in conditions}
        if state.get("Established") == "True":
            if await _listed(api, kind):
                return
        elif state.get("NamesAccepted") == "True":
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            row = {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "lastTransitionTime": at}
            kept = [other for other in conditions if other["type"] != "Established"]
            await api.patch_status(*where, {"conditions": [*kept, row]})
        await asyncio.sleep(0.02)
    raise RuntimeError(f"{kind.kind} is not served: {conditions}")


async def _listed(api: Api, kind: Kind) -> bool:
    try:
        await api.list(kind.group, kind.plural)
    except ApiError as error:
        if error.code in {404, 429}:  # not yet; "storage is (re)initializing"
            return False
        raise
    return True
