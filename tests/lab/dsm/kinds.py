# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of DSM as CustomResourceDefinitions: the vendor's names; types, patterns and what is required are ours."""

from __future__ import annotations

import dataclasses
from typing import Any

from .api import AUTHORIZATION, DATABASES, DSM_VERSION, INFRASTRUCTURE, INTERNAL

Schema = dict[str, Any]
DAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
CRON = r"^\s*[^\s]+(\s+[^\s]+){4}\s*$"
STRING: Schema = {"type": "string"}
FREE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
QUANTITY: Schema = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$",
}
READY = {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}
AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def record(*required: str, **fields: Schema) -> Schema:
    """An object with these fields; others are dropped by the server."""
    return {"type": "object", "properties": fields, **({"required": list(required)} if required else {})}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


NAMED = record("name", name={"type": "string", "minLength": 1})

POSTGRES_CLUSTER = record(
    "version",
    "vmClass",
    "storageSpace",
    "storagePolicyName",
    "infrastructurePolicy",
    version={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)*(\+[A-Za-z0-9.-]+)?$"},
    replicas={"type": "integer", "enum": [0, 1, 3], "default": 0},
    vmClass=NAMED,
    storageSpace={"type": "string", "pattern": "^[0-9]+(G|Gi|T|Ti)$"},
    storagePolicyName={"type": "string", "minLength": 1},
    infrastructurePolicy=NAMED,
    placementSelector=record(cluster=STRING, datacenter=STRING),
    adminUsername={"type": "string", "default": "pgadmin"},
    adminPasswordRef=NAMED,
    databaseName={"type": "string", "minLength": 1, "maxLength": 63},
    databaseConfig=NAMED,
    requestedSharedMemorySize=QUANTITY,
    blockDatabaseConnections={"type": "boolean"},
    maintenanceWindow=record(
        startDay={"type": "string", "enum": list(DAYS)},
        startTime={"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        duration={"type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2},
    ),
    backupLocation=NAMED,
    backupConfig=record(
        backupRetentionDays={"type": "integer", "minimum": 1},
        schedules=array(
            record(
                "name",
                "type",
                "schedule",
                name=STRING,
                type={"type": "string", "enum": ["full", "incremental"]},
                schedule={"type": "string", "pattern": CRON},
            ),
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ),
    basedOn=record("cluster", cluster=record("name", name=STRING, timestamp={"type": "string", "format": "date-time"})),
    labReplication={
        **FREE,
        "description": "The lab's own: no DSM has this field. Replication between two sites.",
        "properties": {
            "role": {"type": "string", "enum": ["primary", "secondary"]},
            "allowFullCopy": {"type": "boolean"},
            "source": {
                **FREE,
                "properties": {
                    "host": STRING,
                    "port": {"type": "integer"},
                    "username": STRING,
                    "passwordRef": NAMED,
                    "slot": STRING,
                },
            },
        },
    },
)
INFRASTRUCTURE_POLICY = record(
    "storagePolicies",
    "vmClasses",
    enabled={"type": "boolean", "default": True},
    storagePolicies=array(STRING),
    vmClasses=array(NAMED),
    placements=array(record(cluster=STRING, datacenter=STRING, folder=STRING, portGroups=array(STRING))),
    ipRanges=array(record(poolName=STRING, portGroups=array(record(datacenter=STRING, name=STRING)))),
)
VM_CLASS = record("requests", requests=record("cpu", "memory", cpu=QUANTITY, memory=QUANTITY))
IP_POOL = record("addresses", addresses=array(STRING), prefix={"type": "integer"}, gateway=STRING)
RELEASE = record(
    "version",
    version=STRING,
    services=array(record("name", name=STRING, supportedVersions=array(STRING))),
)
ROLE_BINDING = record(
    "role",
    role={"type": "string", "enum": ["DSM_ADMIN", "DSM_USER"]},
    subjects=array(record("kind", "name", kind=STRING, name=STRING)),
)
DATABASE_CONFIG = record(params={"type": "object", "additionalProperties": STRING})


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind: where it is found and what it holds."""

    group: str
    kind: str
    plural: str
    spec: Schema
    namespaced: bool = True
    columns: tuple[dict[str, str], ...] = (AGE,)

    def crd(self) -> dict[str, Any]:
        """Its CustomResourceDefinition."""
        schema = record(apiVersion=STRING, kind=STRING, metadata={"type": "object"}, spec=self.spec, status=FREE)
        if self.spec.get("required"):
            schema["required"] = ["spec"]
        version = {
            "name": DSM_VERSION,
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
            "additionalPrinterColumns": list(self.columns),
        }
        names = {
            "plural": self.plural,
            "singular": self.kind.lower(),
            "kind": self.kind,
            "listKind": f"{self.kind}List",
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced" if self.namespaced else "Cluster",
                "names": {**names, "listKind": f"{self.kind}List"},
                "versions": [version],
            },
        }


def _column(name: str, path: str, kind: str = "string") -> dict[str, str]:
    return {"name": name, "type": kind, "jsonPath": path}


KINDS = (
    Kind(
        DATABASES,
        "PostgresCluster",
        "postgresclusters",
        POSTGRES_CLUSTER,
        columns=(
            READY,
            _column("Version", ".spec.version"),
            _column("Replicas", ".spec.replicas", "integer"),
            _column("VMClass", ".spec.vmClass.name"),
            _column("Storage", ".spec.storageSpace"),
            AGE,
        ),
    ),
    Kind(DATABASES, "ArchivedPostgresCluster", "archivedpostgresclusters", FREE),
    Kind(DATABASES, "DatabaseConfig", "databaseconfigs", DATABASE_CONFIG),
    Kind(DATABASES, "BackupLocation", "backuplocations", FREE, columns=(READY, AGE)),
    Kind(DATABASES, "BackupLocationBinding", "backuplocationbindings", FREE),
    Kind(
        INFRASTRUCTURE,
        "InfrastructurePolicy",
        "infrastructurepolicies",
        INFRASTRUCTURE_POLICY,
        namespaced=False,
        columns=(_column("Enabled", ".spec.enabled", "boolean"), READY, AGE),
    ),
    Kind(
        INFRASTRUCTURE,
        "VMClass",
        "vmclasses",
        VM_CLASS,
        namespaced=False,
        columns=(_column("CPU", ".spec.requests.cpu"), _column("Memory", ".spec.requests.memory"), AGE),
    ),
    Kind(INFRASTRUCTURE, "IPPool", "ippools", IP_POOL, namespaced=False, columns=(READY, AGE)),
    Kind(INFRASTRUCTURE, "DataServicePolicy", "dataservicepolicies", FREE, namespaced=False),
    Kind(INFRASTRUCTURE, "DataServicePolicyBinding", "dataservicepolicybindings", FREE),
    Kind(AUTHORIZATION, "DsmRoleBinding", "dsmrolebindings", ROLE_BINDING, namespaced=False),
    Kind(INTERNAL, "DataServicesRelease", "dataservicesreleases", RELEASE, namespaced=False, columns=(READY, AGE)),
)
