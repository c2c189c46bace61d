# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A new cluster from the backups of another one, at a time. DSM never restores in place.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError, InvalidSpecError, NotFoundError, RefusedError
from . import _apply, _cluster, _refuse, _values
from ._objects import CLUSTER, Object, Objects

#: What a new cluster takes over. Not: a fence, a role in a replication, an owner, a lock.
TAKEN_OVER = (
    "version",
    "replicas",
    "vmClass",
    "storageSpace",
    "storagePolicyName",
    "infrastructurePolicy",
    "placementSelector",
    "adminUsername",
    "adminPasswordRef",
    "databaseConfig",
    "requestedSharedMemorySize",
    "maintenanceWindow",
    "backupLocation",
    "backupConfig",
)


def restore(
    objects: Objects, params: t.Mapping[str, t.Any], *, check: bool, waiter: _apply.MakeWaiter | None
) -> _apply.Outcome:
    """Make the cluster, or find that it is there. :raises ConflictError: one of that name is something else."""
    name, source = params["name"], params["source"]
    if name == source:
        raise InvalidSpecError(f"name: value is {name!r}; allowed: another name than that of source")
    _refuse.options(params)
    if params["timestamp"]:
        _values.instant(params["timestamp"])
    live = objects.get(CLUSTER, name)
    if live:
        _same_origin(live, params)
        view = _cluster.view(live)
        outcome = _apply.Outcome(False, view, view, live)
    else:
        wish = _wish(params, objects.get(CLUSTER, source))
        _apply.check_before(objects, wish, None)
        body = wish.new()
        body["metadata"]["namespace"] = objects.namespace
        outcome = _apply.Outcome(True, {}, _cluster.view(body), body)
    if check:
        return outcome
    if not live:
        live, _wrote = _apply.converge(objects, wish, None)
    if waiter:
        live = _apply.wait_ready(objects, live, waiter(), changed=outcome.changed)
    return outcome._replace(cluster=live)


def _wish(params: t.Mapping[str, t.Any], source: Object | None) -> _apply.Wish:
    """The new cluster. A source that is gone may have left its backups: then every option has to be given."""
    name, field = params["name"], params["based_on_field"]
    taken: Object = {}
    if source:
        live = source.get("spec") or {}
        taken = {key: live[key] for key in TAKEN_OVER if key in live}
        database = live.get("databaseName") or _cluster.lookup(source, ("status", "connection", "dbname"))
        taken["databaseName"] = database or params["source"]
    wanted = _cluster.render({**params, "spec_extra": None})
    based: Object = {"cluster": {"name": params["source"]}}
    if params["timestamp"]:
        based["cluster"]["timestamp"] = params["timestamp"]
    spec = _cluster.merge(_cluster.merge(taken, wanted["spec"]), {field: based})
    wanted["spec"] = _cluster.merge(spec, params["spec_extra"] or {})
    lacking = _cluster.missing(wanted)
    if not source and lacking:
        raise NotFoundError(
            f"There is no PostgresCluster {params['source']} to restore {name} from",
            remedy=f"Correct source; where it was deleted and its backups are kept, give {', '.join(lacking)} too.",
        )
    if source:
        _room(name, source, wanted["spec"])
    return _apply.Wish(name, wanted)


def _room(name: str, source: Object, spec: Object) -> None:
    """:raises RefusedError: the data of the source would not fit."""
    old = _values.quantity((source.get("spec") or {}).get("storageSpace")) or 0
    if (_values.quantity(spec.get("storageSpace")) or 0) < old:
        raise RefusedError(
            f"PostgresCluster {name} would have {spec['storageSpace']} of storage, and "
            f"{source['metadata']['name']} has {source['spec']['storageSpace']}; nothing was sent",
            remedy="Give it at least as much.",
        )


def _same_origin(live: Object, params: t.Mapping[str, t.Any]) -> None:
    """:raises ConflictError: it is not what this call would make."""
    name, source, wanted = params["name"], params["source"], params["timestamp"]
    based = _cluster.lookup(live.get("spec"), (params["based_on_field"], "cluster")) or {}
    if live["metadata"].get("deletionTimestamp"):
        raise ConflictError(f"PostgresCluster {name} is being deleted", remedy="Wait until it is gone.")
    if based.get("name") != source:
        origin = f"was restored from {based['name']}" if based.get("name") else "was not restored from any"
        raise ConflictError(
            f"PostgresCluster {name} exists and {origin}, not from {source}",
            remedy="Give the restored cluster another name; a cluster is never restored in place.",
        )
    had = based.get("timestamp")
    if wanted and (not had or _values.instant(had) != _values.instant(wanted)):
        raise ConflictError(
            f"PostgresCluster {name} exists and was restored from {source} at {had or 'the latest time'}, not {wanted}",
            remedy="Give the restored cluster another name; a cluster is never restored in place.",
        )
