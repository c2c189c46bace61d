# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What DSM would refuse late, or with half of a change taken, is refused here before anything is sent.
"""

from __future__ import annotations

import typing as t

from .._common._errors import ConflictError, InvalidSpecError, RefusedError
from . import _cluster, _values
from ._objects import LOCATION, POLICY, VM_CLASS, Object, Objects


def options(params: t.Mapping[str, t.Any]) -> None:
    """What the argument spec cannot say.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    for option in ("storage_space", "shared_memory"):
        value = params.get(option)
        if value is not None and _values.quantity(value) is None:
            raise InvalidSpecError(f"{option}: value is {value!r}; allowed: a quantity such as 100Gi")
    window = params.get("maintenance_window") or {}
    if window.get("duration") is not None and _values.duration(window["duration"]) is None:
        raise InvalidSpecError(f"maintenance_window.duration: value is {window['duration']!r}; allowed: such as 4h0m0s")
    names = [entry["name"] for entry in (params.get("backup") or {}).get("schedules") or []]
    if len(names) != len(set(names)):
        raise InvalidSpecError(f"backup.schedules: value is {names}; allowed: each name once")


def incomplete(name: str, body: Object) -> None:
    """:raises InvalidSpecError: a new cluster needs options that are not given."""
    lacking = _cluster.missing(body)
    if lacking:
        raise InvalidSpecError(
            f"There is no PostgresCluster {name}, and a new one needs {', '.join(lacking)}",
            remedy="Give these options, or correct the name.",
        )


def locked(name: str, found: Object, wanted_lock: str | None) -> None:
    """:raises ConflictError: the cluster is locked, and this call does not unlock it."""
    if _cluster.lock_of(found) == "locked" and wanted_lock in (None, "locked"):
        reason = (found["metadata"].get("annotations") or {}).get(_cluster.UNLOCK_REASON)
        raise ConflictError(
            f"PostgresCluster {name} is locked" + (f" (last unlocked for: {reason})" if reason else ""),
            remedy="Unlock it in the same call with lock=unlocked_for_edit and an unlock_reason; nothing was sent.",
        )


def locked_for_delete(name: str, found: Object, wanted_lock: str | None) -> None:
    """:raises ConflictError: the cluster has a lock that does not let it be deleted, and this call does not open it."""
    lock = _cluster.lock_of(found)
    if lock not in ("", "unlocked_for_delete") and wanted_lock != "unlocked_for_delete":
        raise ConflictError(
            f"PostgresCluster {name} is {lock.replace('_', ' ')} and may not be deleted",
            remedy="Unlock it in the same call with lock=unlocked_for_delete and an unlock_reason; nothing was sent.",
        )


def shrink(objects: Objects, name: str, live: Object, new: Object) -> None:
    """:raises RefusedError: replicas, storage or VM class would become smaller."""
    smaller = []
    for field, kind in (("replicas", int), ("storageSpace", _values.quantity)):
        old, wanted = live.get(field), new.get(field)
        if old is not None and wanted is not None and (kind(wanted) or 0) < (kind(old) or 0):
            smaller.append(f"{field} {old} to {wanted}")
    old, wanted = (_cluster.lookup(spec, ("vmClass", "name")) for spec in (live, new))
    if old and wanted and old != wanted:
        smaller.extend(_smaller_class(objects, old, wanted))
    if smaller:
        raise RefusedError(
            f"PostgresCluster {name} cannot shrink: {'; '.join(smaller)}. DSM would refuse it, perhaps with other "
            "parts of the change taken; nothing was sent",
            remedy="Leave the size as it is, or move the data into a new, smaller cluster.",
        )


def _smaller_class(objects: Objects, old: str, new: str) -> list[str]:
    """Resources of which the new VM class has less; nothing where they cannot be read."""
    sizes = []
    for name in (old, new):
        _allowed, found = objects.peek(VM_CLASS, name)
        sizes.append(_cluster.lookup((found or {}).get("spec"), ("requests",)) or {})
    return [
        f"vmClass {old} to {new} ({key} {sizes[0][key]} to {sizes[1][key]})"
        for key in ("cpu", "memory")
        if key in sizes[0] and key in sizes[1]
        if (_values.quantity(sizes[1][key]) or 0) < (_values.quantity(sizes[0][key]) or 0)
    ]


def precheck(objects: Objects, name: str, live: Object, new: Object) -> None:
    """Whether what a spec names is there, and is in its policy.

    Where none can be seen (this account may not, or the objects live in another cluster) nothing is checked.

    :raises RefusedError: with all that is wrong, and what there is instead.
    """
    changed = {
        path: value
        for path in (
            ("vmClass", "name"),
            ("storagePolicyName",),
            ("infrastructurePolicy", "name"),
            ("backupLocation", "name"),
        )
        for value in [_cluster.lookup(new, path)]
        if value is not None and value != _cluster.lookup(live, path)
    }
    if not changed:
        return
    wrong = []
    policy_name = _cluster.lookup(new, ("infrastructurePolicy", "name"))
    policies = {one["metadata"]["name"]: one for one in objects.peek_all(POLICY)} if policy_name else {}
    if policies and policy_name not in policies:
        wrong.append(f"there is no InfrastructurePolicy {policy_name} ({', '.join(sorted(policies))})")
    offered = policies.get(policy_name, {}).get("spec") or {}
    for path, field, words in (
        (("vmClass", "name"), "vmClasses", "VM class"),
        (("storagePolicyName",), "storagePolicies", "storage policy"),
    ):
        names = [entry.get("name") if isinstance(entry, dict) else entry for entry in offered.get(field) or []]
        value = _cluster.lookup(new, path)
        if names and value is not None and value not in names:
            wrong.append(f"{words} {value} is not in InfrastructurePolicy {policy_name} ({', '.join(map(str, names))})")
    location = changed.get(("backupLocation", "name"))
    locations = {one["metadata"]["name"] for one in all_locations(objects)} if location else set()
    if locations and location not in locations:
        wrong.append(f"there is no BackupLocation {location} ({', '.join(sorted(locations))})")
    if wrong:
        raise RefusedError(
            f"PostgresCluster {name}: {'; '.join(wrong)}; nothing was sent",
            remedy="Name what exists, or have an administrator of DSM add it.",
        )


def all_locations(objects: Objects) -> list[Object]:
    """The backup locations that may be read: of this namespace (2.x), and of dsm-system (9.x)."""
    return [one for namespace in (objects.namespace, "dsm-system") for one in objects.peek_all(LOCATION, namespace)]
