# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A cluster as options, as an object of DSM, and as a row of a result.
"""

from __future__ import annotations

import copy
import typing as t

from .._common._errors import InvalidSpecError
from . import _values
from ._objects import Object

OWNER = "dsm.vmware.com/owner"
LOCK = "dsm.vmware.com/locked-status"
#: An annotation, as a label takes no blanks.
UNLOCK_REASON = "dsm.vmware.com/unlock-reason"
LOCKS = {
    "locked": "locked",
    "unlocked_for_edit": "unlocked-for-edit",
    "unlocked_for_delete": "unlocked-for-delete",
}
#: Option, and where it stands in the spec.
FIELDS: t.Mapping[str, tuple[str, ...]] = {
    "version": ("version",),
    "replicas": ("replicas",),
    "vm_class": ("vmClass", "name"),
    "storage_space": ("storageSpace",),
    "storage_policy": ("storagePolicyName",),
    "infrastructure_policy": ("infrastructurePolicy", "name"),
    "admin_username": ("adminUsername",),
    "admin_password_secret": ("adminPasswordRef", "name"),
    "database": ("databaseName",),
    "shared_memory": ("requestedSharedMemorySize",),
    "block_connections": ("blockDatabaseConnections",),
}
#: What a new cluster needs: option, place in the spec, label that may stand for it (where a Supervisor provides).
NEEDED = (
    ("version", ("version",), ""),
    ("vm_class", ("vmClass", "name"), "dsm.vmware.com/vm-class"),
    ("storage_space", ("storageSpace",), ""),
    ("storage_policy", ("storagePolicyName",), ""),
    ("infrastructure_policy", ("infrastructurePolicy", "name"), "dsm.vmware.com/infra-policy"),
)
_SCHEDULES = ("backupConfig", "schedules")
_SAME: t.Mapping[tuple[str, ...], t.Callable[[t.Any, t.Any], bool]] = {
    ("version",): _values.same_version,
    ("storageSpace",): _values.same_quantity,
    ("requestedSharedMemorySize",): _values.same_quantity,
    ("maintenanceWindow", "duration"): _values.same_duration,
}


def config_name(name: str) -> str:
    """The DatabaseConfig that is made of ``parameters``."""
    return f"{name}-config"


def secret_name(name: str) -> str:
    """The Secret that is made of ``admin_password``."""
    return f"{name}-admin"


def replication_secret_name(name: str) -> str:
    """The Secret that is made of ``replication_password``."""
    return f"{name}-replication"


def render(params: t.Mapping[str, t.Any]) -> Object:
    """The part of a PostgresCluster that the options speak of: metadata.labels, metadata.annotations, spec."""
    spec: Object = {}
    for option, path in FIELDS.items():
        if params.get(option) is not None:
            put(spec, path, params[option])
    for key, value in (params.get("placement") or {}).items():
        if value is not None:
            put(spec, ("placementSelector", key), value)
    window = params.get("maintenance_window") or {}
    for key, field in (("start_day", "startDay"), ("start_time", "startTime"), ("duration", "duration")):
        if window.get(key) is not None:
            put(spec, ("maintenanceWindow", field), window[key])
    backup = params.get("backup") or {}
    if backup.get("location") is not None:
        put(spec, ("backupLocation", "name"), backup["location"])
    if backup.get("retention_days") is not None:
        put(spec, ("backupConfig", "backupRetentionDays"), backup["retention_days"])
    if backup.get("schedules"):
        put(spec, _SCHEDULES, [dict(row) for row in backup["schedules"]])
    if params.get("admin_password"):
        put(spec, ("adminPasswordRef", "name"), secret_name(params["name"]))
    if params.get("parameters"):
        put(spec, ("databaseConfig", "name"), config_name(params["name"]))
    annotations = dict(params.get("annotations") or {})
    if params.get("owner"):
        annotations[OWNER] = params["owner"]
    return {
        "metadata": {"labels": dict(params.get("labels") or {}), "annotations": annotations},
        "spec": _overlay(spec, params.get("spec_extra") or {}),
    }


def merge(live: t.Any, wanted: t.Any, path: tuple[str, ...] = ()) -> t.Any:
    """*live* with what is *wanted*; what only is written differently stays as it is, and None takes a field away."""
    if isinstance(wanted, dict):
        result = dict(live) if isinstance(live, dict) else {}
        for key, value in wanted.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merge(result.get(key), value, (*path, key))
        return result
    if path == _SCHEDULES and isinstance(live, list) and isinstance(wanted, list):
        rows = {row.get("name"): row for row in live}
        rows.update({row.get("name"): merge(rows.get(row.get("name")), row) for row in wanted})
        return list(rows.values())
    same = _SAME.get(path)
    if live is not None and (live == wanted or (same is not None and same(live, wanted))):
        return live
    return copy.deepcopy(wanted)


def missing(body: Object) -> list[str]:
    """Options that a new cluster still needs."""
    labels = body["metadata"].get("labels") or {}
    return [
        option
        for option, path, label in NEEDED
        if lookup(body["spec"], path) in (None, "") and not (label and labels.get(label))
    ]


def lookup(spec: t.Any, path: t.Sequence[str]) -> t.Any:
    """What stands there, or None."""
    for key in path:
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


def put(spec: Object, path: t.Sequence[str], value: t.Any) -> None:
    """Write a value, making the fields above it."""
    for key in path[:-1]:
        spec = spec.setdefault(key, {})
    spec[path[-1]] = value


def parameter_texts(parameters: t.Mapping[str, t.Any]) -> dict[str, str | None]:
    """Parameters as DSM takes them, all strings; YAML's booleans are on and off."""
    texts: dict[str, str | None] = {}
    for key, value in parameters.items():
        if isinstance(value, (dict, list)):
            raise InvalidSpecError(f"parameters.{key}: value is {value!r}; allowed: a string, a number or a boolean")
        plain = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else value
        texts[key] = None if plain is None else str(plain)
    return texts


def lock_of(found: Object) -> str:
    """The lock as the option names it; empty where there is none."""
    label = (found["metadata"].get("labels") or {}).get(LOCK, "")
    return label.replace("-", "_")


def is_ready(found: Object) -> bool:
    """Condition Ready is True, and speaks of the spec as it is now."""
    ready = condition(found, "Ready")
    generation = found["metadata"].get("generation")
    return ready.get("status") == "True" and ready.get("observedGeneration", generation) == generation


def condition(found: Object, kind: str) -> Object:
    """One condition, empty where there is none."""
    rows = (found.get("status") or {}).get("conditions") or []
    return next((row for row in rows if row.get("type") == kind), {})


def row(found: Object) -> Object:
    """What the modules return of a cluster; the password only by the name of its Secret."""
    meta, spec = found["metadata"], found.get("spec") or {}
    status = found.get("status") or {}
    ready, connection = condition(found, "Ready"), status.get("connection") or {}
    return {
        "name": meta["name"],
        "namespace": meta.get("namespace", ""),
        "generation": meta.get("generation", 0),
        "ready": is_ready(found),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", ""),
        "version": str(spec.get("version", "")),
        "replicas": spec.get("replicas", 0),
        "vm_class": lookup(spec, ("vmClass", "name")) or "",
        "storage_space": spec.get("storageSpace", ""),
        "locked": lock_of(found) == "locked",
        "lock": lock_of(found),
        "connection": {
            "host": connection.get("host") or "",
            "port": int(connection.get("port") or 0),
            "database": connection.get("dbname") or "",
            "username": connection.get("username") or "",
            "secret": lookup(connection, ("passwordRef", "name")) or "",
        },
        "conditions": [
            {
                "type": entry.get("type", ""),
                "status": entry.get("status", ""),
                "reason": entry.get("reason", ""),
                "message": entry.get("message", ""),
                "observed_generation": entry.get("observedGeneration", 0),
            }
            for entry in status.get("conditions") or []
        ],
    }


def backup_row(spec: Object) -> Object:
    """What a spec says of backups."""
    return {
        "location": lookup(spec, ("backupLocation", "name")) or "",
        "retention_days": lookup(spec, ("backupConfig", "backupRetentionDays")) or 0,
        "schedules": [
            {key: entry.get(key, "") for key in ("name", "type", "schedule")}
            for entry in lookup(spec, _SCHEDULES) or []
        ],
    }


def view(found: Object | None) -> Object:
    """What a diff shows: what people write, without what the server adds."""
    if not found:
        return {}
    kept = {
        key: value
        for key, value in (found["metadata"].get("annotations") or {}).items()
        if key in (OWNER, UNLOCK_REASON) or not key.startswith(("dsm.vmware.com/", "kubectl.kubernetes.io/"))
    }
    return {"labels": found["metadata"].get("labels") or {}, "annotations": kept, "spec": found.get("spec") or {}}


def _overlay(under: t.Any, over: t.Any) -> t.Any:
    """*over* laid upon *under*; None stays, as it takes a field away later."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {**under, **{key: _overlay(under.get(key), value) for key, value in over.items()}}
