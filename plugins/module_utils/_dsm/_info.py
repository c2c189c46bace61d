# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What DSM says of clusters and of their backups, and the way to the password that leads through a file only.
"""

from __future__ import annotations

import base64
import traceback
import typing as t
from datetime import datetime, timezone

from .._common._errors import InvalidSpecError, NotFoundError, RefusedError
from . import _cluster, _cron, _passfile, _refuse
from ._objects import ARCHIVED, CLUSTER, SECRET, Object, Objects

try:
    import jmespath
    from jmespath.exceptions import JMESPathError
except ImportError:
    jmespath = None
    JMESPathError = Exception
    HAS_JMESPATH = False
    JMESPATH_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_JMESPATH = True
    JMESPATH_IMPORT_ERROR = None


def clusters(objects: Objects, name: str | None, nodes_query: str | None) -> list[Object]:
    """A row for each cluster, or for the one of that name (none when there is no such)."""
    return [_row(found, nodes_query) for found in _found(objects, name)]


def write_passfile(
    objects: Objects,
    row: Object,
    path: str,
    *,
    database: str,
    check: bool,
    hide: t.Callable[[str], None],
) -> tuple[str, bool]:
    """Write the administrator's password of a cluster, for its address and those of its nodes.

    :param hide: told of the password before anything else happens with it.
    :raises RefusedError: it has no address, no Secret, or the Secret may not be read.
    """
    connection = row["connection"]
    if not connection["host"] or not connection["port"] or not connection["secret"]:
        raise RefusedError(
            f"PostgresCluster {row['name']} has no address or no Secret yet (Ready is {str(row['ready']).lower()})",
            remedy="Wait for it with dsm_postgres_cluster, then run again.",
        )
    readable, secret = objects.peek(SECRET, connection["secret"])
    if not readable:
        raise RefusedError(
            f"Secret {connection['secret']} of PostgresCluster {row['name']} may not be read by this account",
            remedy="Use the account that owns the cluster, or an administrator's.",
        )
    encoded = ((secret or {}).get("data") or {}).get("password")
    if not encoded:
        raise NotFoundError(f"Secret {connection['secret']} does not exist or has no key password")
    password = base64.b64decode(encoded).decode("utf-8")
    hide(password)
    places = [(connection["host"], connection["port"])]
    places += [(node["host"], node["port"]) for node in row["nodes"] if node.get("host") and node.get("port")]
    entries = [
        _passfile.Entry(host, int(port), database, connection["username"], password)
        for host, port in dict.fromkeys(places)
    ]
    return _passfile.write(path, entries, check=check)


def backups(objects: Objects, name: str | None, status_query: str | None, now: datetime | None = None) -> list[Object]:
    """A row for each cluster, and for each deleted one whose backups are kept."""
    now = now or datetime.now(timezone.utc)
    locations = {one["metadata"]["name"]: one for one in _refuse.all_locations(objects)}
    rows = [_backup(locations, found, status_query, now, archived=False) for found in _found(objects, name)]
    archived = [found for found in objects.list(ARCHIVED) if name in (None, found["metadata"]["name"])]
    return rows + [_backup(locations, found, status_query, now, archived=True) for found in archived]


def query(option: str, expression: str | None, status: t.Any) -> t.Any:
    """What a JMESPath finds in a status. :raises InvalidSpecError: it is none."""
    if not expression:
        return None
    try:
        return jmespath.search(expression, status)
    except JMESPathError as error:
        raise InvalidSpecError(f"{option}: {error}", remedy="Give a JMESPath expression.") from None


def _found(objects: Objects, name: str | None) -> list[Object]:
    if name is None:
        return objects.list(CLUSTER)
    found = objects.get(CLUSTER, name)
    return [found] if found else []


def _row(found: Object, nodes_query: str | None) -> Object:
    spec = found.get("spec") or {}
    nodes = query("nodes_query", nodes_query, found.get("status") or {})
    based = _cluster.lookup(spec, ("basedOn", "cluster"))
    return {
        **_cluster.row(found),
        "nodes": [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else [],
        "labels": found["metadata"].get("labels") or {},
        "based_on": {"name": based.get("name", ""), "timestamp": based.get("timestamp", "")} if based else None,
        "backup": _cluster.backup_row(spec),
    }


def _backup(
    locations: t.Mapping[str, Object], found: Object, status_query: str | None, now: datetime, *, archived: bool
) -> Object:
    spec = found.get("spec") or {}
    row = _cluster.backup_row(spec)
    ready = _cluster.condition(locations.get(row["location"], {}), "Ready").get("status")
    location_ready = None if ready is None else ready == "True"
    schedules = [
        {**entry, "next": "" if archived else _cron.following(entry["schedule"], now)} for entry in row["schedules"]
    ]
    full = any(entry["type"] == "full" for entry in schedules)
    return {
        "cluster": found["metadata"]["name"],
        "archived": archived,
        "location": row["location"],
        "location_ready": location_ready,
        "retention_days": row["retention_days"],
        "schedules": schedules,
        "restorable": archived or bool(row["location"] and full and location_ready is not False),
        "status": query("status_query", status_query, found.get("status") or {}),
    }
