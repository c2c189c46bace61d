# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/mgmt/tm/ltm`` (and partitions, and BIG-IP DNS): reading, and changing a configuration that nobody uses yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from . import gtm_rest, schema
from .errors import ApiError, unknown_path
from .gtm_model import Gtm
from .model import Config
from .names import from_uri, split_path
from .stats import Stats
from .target import Target
from .view import View, collection, link

PROFILES = {
    "fastl4": ["fastL4"],
    "fasthttp": ["fasthttp"],
    "tcp": ["tcp", "tcp-lan-optimized", "tcp-wan-optimized"],
    "udp": ["udp"],
    "http": ["http"],
    "client-ssl": ["clientssl"],
    "server-ssl": ["serverssl"],
    "diameter": ["diameter"],
    "sip": ["sip"],
    "session": ["sipsession", "sipsession-alg"],
    "dhcpv4": ["dhcpv4", "dhcpv4_fwd"],
    "dhcpv6": ["dhcpv6", "dhcpv6_fwd"],
    "one-connect": ["oneconnect"],
}


def locate(parts: list[str]) -> Target:
    """The target of a path below ``/mgmt/tm``, without ``stats`` at its end.

    :raises ApiError: 404 for a path that names nothing.
    """
    if parts[0] == "auth":
        if parts[1:2] == ["partition"] and len(parts) <= 3:
            return Target("partition", parts[2].lstrip("~") if len(parts) == 3 else "")
        raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")
    if parts[0] == "gtm":
        return gtm_rest.locate(parts)
    kind, rest = (parts[1], parts[2:]) if len(parts) > 1 else ("", [])
    if kind in {"pool", "node", "virtual"} and len(rest) <= 1:
        return Target(kind, from_uri(rest[0]) if rest else "")
    if kind == "pool" and rest[1] == "members" and len(rest) <= 3:
        pool = from_uri(rest[0])
        return Target("member", from_uri(rest[2], split_path(pool)[0]) if len(rest) == 3 else "", pool)
    if kind == "monitor" and 1 <= len(rest) <= 2 and rest[0] in schema.MONITORS:
        return Target("monitor", from_uri(rest[1]) if len(rest) == 2 else "", rest[0])
    raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")


def change(config: Config, method: str, target: Target, body: Mapping[str, Any]) -> Target | None:
    """Carry out POST, PUT, PATCH or DELETE on *config*; the object to show, ``None`` after a deletion.

    :raises ApiError: what the device answers when it refuses; *config* may be half changed then.
    """
    if method == "POST":
        if target.path:
            raise ApiError(400, f"Operation is not supported on component {target.path}.", api_error=1)
        return dataclasses.replace(target, path=_create(config, target, body))
    if not target.path:
        raise ApiError(400, "Operation is not supported on a collection.", api_error=1)
    if method == "DELETE":
        _delete(config, target)
        return None
    if target.type.startswith("gtm "):
        gtm_rest.modify(Gtm(config), target, body)
    elif target.type == "pool":
        config.modify_pool(target.path, body)
    elif target.type == "member":
        config.modify_member(target.parent, target.path, body)
    elif target.type == "node":
        config.modify_node(target.path, body)
    elif target.type == "virtual":
        config.modify_virtual(target.path, body)
    elif target.type == "monitor":
        config.modify_monitor(target.parent, target.path, body)
    else:
        raise ApiError(400, "Operation is not supported on component partition.", api_error=1)
    return target


def _create(config: Config, target: Target, body: Mapping[str, Any]) -> str:
    if target.type.startswith("gtm "):
        return gtm_rest.create(Gtm(config), target, body)
    if target.type == "member":
        return config.create_member(target.parent, body)
    if target.type == "monitor":
        return config.create_monitor(target.parent, body)
    create = {
        "pool": config.create_pool,
        "node": config.create_node,
        "virtual": config.create_virtual,
        "partition": config.create_partition,
    }
    return create[target.type](body)


def _delete(config: Config, target: Target) -> None:
    if target.type.startswith("gtm "):
        gtm_rest.delete(Gtm(config), target)
    elif target.type == "member":
        config.delete_member(target.parent, target.path)
    elif target.type == "monitor":
        config.delete_monitor(target.parent, target.path)
    else:
        delete = {
            "pool": config.delete_pool,
            "node": config.delete_node,
            "virtual": config.delete_virtual,
            "partition": config.delete_partition,
        }
        delete[target.type](target.path)


def show(view: View, target: Target, *, expand: bool = False) -> dict[str, Any]:
    """The body of a target, object or collection."""
    path, parent = target.path, target.parent
    if target.type == "pool":
        return view.pool(path, expand=expand) if path else view.pools(expand=expand)
    if target.type == "member":
        return view.member(parent, path) if path else view.members(parent)
    if target.type == "node":
        return view.node(path) if path else view.nodes()
    if target.type == "virtual":
        return view.virtual(path, expand=expand) if path else view.virtuals(expand=expand)
    if target.type == "monitor":
        return view.monitor(parent, path) if path else view.monitors(parent)
    if not path:
        items = [view.partition(name) for name in view.config.partitions]
        return collection("tm:auth:partition:partitioncollectionstate", ("auth", "partition"), items)
    if path not in view.config.partitions:
        raise ApiError(404, f"01020036:3: The requested folder (/{path}) was not found.")
    return view.partition(path)


def show_stats(stats: Stats, target: Target) -> dict[str, Any]:
    """The stats of a target."""
    path = target.path
    if target.type == "pool":
        return stats.pool(path) if path else stats.pools()
    if target.type == "member":
        return stats.member(target.parent, path) if path else stats.members(target.parent)
    if target.type == "node":
        return stats.node(path) if path else stats.nodes()
    if target.type == "virtual":
        return stats.virtual(path) if path else stats.virtuals()
    raise unknown_path(f"/mgmt/tm/ltm/{target.type}/stats")


def profiles(kind: str) -> dict[str, Any]:
    """The built-in profiles of a type; any other type has none."""
    items = [
        {
            "kind": f"tm:ltm:profile:{kind}:{kind}state",
            "name": name,
            "partition": "Common",
            "fullPath": f"/Common/{name}",
            "selfLink": link("ltm", "profile", kind, f"~Common~{name}"),
        }
        for name in PROFILES.get(kind, [])
    ]
    return collection(f"tm:ltm:profile:{kind}:{kind}collectionstate", ("ltm", "profile", kind), items)
