# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as REST shows them: kind, links, computed session and state; queries on collections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .dataplane import DataPlane
from .errors import ApiError
from .model import Config
from .names import to_uri

VERSION = "16.1.4"
BASE = "https://localhost/mgmt/tm/"


def link(*parts: str) -> str:
    """The ``selfLink`` of what lies at these parts of a path below ``/mgmt/tm``."""
    return f"{BASE}{'/'.join(parts)}?ver={VERSION}"


def collection(kind: str, parts: Iterable[str], items: list[dict[str, Any]]) -> dict[str, Any]:
    """A collection; the device leaves ``items`` out when there are none."""
    body: dict[str, Any] = {"kind": kind, "selfLink": link(*parts)}
    if items:
        body["items"] = items
    return body


def query(body: dict[str, Any], options: Mapping[str, str]) -> dict[str, Any]:
    """Apply ``$filter=partition eq NAME``, ``$skip``, ``$top`` and ``$select`` to an object or a collection.

    :raises ApiError: 400 for a filter on anything but the partition: the device knows no other.
    """
    items = body.get("items")
    wanted = re.fullmatch(r"\s*partition\s+eq\s+'?([^\s']+)'?\s*", options.get("$filter", "partition eq *"))
    if wanted is None:
        raise ApiError(400, f"invalid filter: {options['$filter']}", api_error=1)
    if items is not None:
        if "$filter" in options:
            items = [item for item in items if item.get("partition") == wanted.group(1)]
        for name in ("$skip", "$top"):
            if not options.get(name, "0").isdigit():
                raise ApiError(400, f"invalid query parameter {name}: {options[name]}", api_error=1)
        start = int(options.get("$skip", 0))
        items = items[start : start + int(options["$top"])] if "$top" in options else items[start:]
    if "$select" in options:
        chosen = {name.strip() for name in options["$select"].split(",")}
        if items is None:
            return {name: value for name, value in body.items() if name in chosen}
        items = [{name: value for name, value in item.items() if name in chosen} for item in items]
    if items is None:
        return body
    body = {name: value for name, value in body.items() if name != "items"}
    return {**body, "items": items} if items else body


class View:
    """The configuration and what runs, as JSON bodies."""

    def __init__(self, config: Config, plane: DataPlane) -> None:
        self.config = config
        self.plane = plane

    @staticmethod
    def _object(kind: str, parts: tuple[str, ...], properties: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "kind": kind,
            "name": properties["name"],
            "partition": properties["partition"],
            "fullPath": f"/{properties['partition']}/{properties['name']}",
            "generation": properties.get("generation", 1),
            "selfLink": link(*parts),
        }
        return {**body, **{name: value for name, value in properties.items() if name not in body}}

    def pool(self, path: str, *, expand: bool = False) -> dict[str, Any]:
        properties = self.config.pool(path)
        parts = ("ltm", "pool", to_uri(path))
        plain = {name: value for name, value in properties.items() if name != "members"}
        body = self._object("tm:ltm:pool:poolstate", parts, plain)
        if body.get("monitor"):
            body["monitorReference"] = self._monitor_link(body["monitor"])
        reference: dict[str, Any] = {"link": link(*parts, "members"), "isSubcollection": True}
        if expand:
            reference["items"] = [self.member(path, member) for member in properties["members"]]
        return {**body, "membersReference": reference}

    def _monitor_link(self, rule: str) -> dict[str, str]:
        found = self.config.find_monitor(rule)
        return {"link": link("ltm", "monitor", found[0] if found else "min", to_uri(rule))}

    def member(self, pool: str, path: str) -> dict[str, Any]:
        """A member; session and state read back as computed from what was written and what the monitor found."""
        properties = dict(self.config.member(pool, path))
        properties.pop("port")
        body = self._object(
            "tm:ltm:pool:members:membersstate", ("ltm", "pool", to_uri(pool), "members", to_uri(path)), properties
        )
        runtime = self.plane.pools[pool].members.get(path) if pool in self.plane.pools else None
        monitored = bool(runtime and runtime.rule[0])
        if body["session"] == "user-enabled" and monitored:
            body["session"] = "monitor-enabled"
        if body["state"] == "user-up":
            body["state"] = runtime.health if runtime else "unchecked"
        node = to_uri(self.config.node_path(path))
        return {**body, "nameReference": {"link": link("ltm", "node", node)}}

    def members(self, pool: str) -> dict[str, Any]:
        members = self.config.pool(pool)["members"]
        items = [self.member(pool, path) for path in members]
        return collection("tm:ltm:pool:members:memberscollectionstate", ("ltm", "pool", to_uri(pool), "members"), items)

    def node(self, path: str) -> dict[str, Any]:
        body = self._object("tm:ltm:node:nodestate", ("ltm", "node", to_uri(path)), self.config.node(path))
        if body["state"] == "user-up":
            body["state"] = "unchecked"  # nodes have no monitor of their own here
        return body

    def virtual(self, path: str, *, expand: bool = False) -> dict[str, Any]:
        properties = dict(self.config.virtual(path))
        profiles = properties.pop("profiles", None) or [{"name": "tcp"}]
        enabled = properties.pop("enabled", True)
        parts = ("ltm", "virtual", to_uri(path))
        body = self._object("tm:ltm:virtual:virtualstate", parts, properties)
        body["enabled" if enabled else "disabled"] = True
        if body.get("pool"):
            body["poolReference"] = {"link": link("ltm", "pool", to_uri(body["pool"]))}
        reference: dict[str, Any] = {"link": link(*parts, "profiles"), "isSubcollection": True}
        if expand:
            reference["items"] = [self._profile(parts, profile) for profile in profiles]
        body["policiesReference"] = {"link": link(*parts, "policies"), "isSubcollection": True}
        return {**body, "profilesReference": reference}

    def virtual_part(self, path: str, part: str) -> dict[str, Any]:
        """The subcollection ``profiles`` or ``policies`` of a virtual server."""
        body = self.virtual(path, expand=True)
        kind = f"tm:ltm:virtual:{part}:{part}collectionstate"
        return collection(kind, ("ltm", "virtual", to_uri(path), part), body[f"{part}Reference"].get("items", []))

    @staticmethod
    def _profile(parts: tuple[str, ...], profile: str | dict[str, Any]) -> dict[str, Any]:
        given = {"name": profile} if isinstance(profile, str) else profile
        name = given["name"].rpartition("/")[2]
        partition = given.get("partition", "Common")
        path = f"/{partition}/{name}"
        kind = name.lower() if name.lower() in {"tcp", "udp", "http"} else "fastl4" if "l4" in name.lower() else "tcp"
        return {
            "kind": "tm:ltm:virtual:profiles:profilesstate",
            "name": name,
            "partition": partition,
            "fullPath": path,
            "context": given.get("context", "all"),
            "selfLink": link(*parts, "profiles", to_uri(path)),
            "nameReference": {"link": link("ltm", "profile", kind, to_uri(path))},
        }

    def monitor(self, kind: str, path: str) -> dict[str, Any]:
        properties = {name: value for name, value in self.config.monitor(kind, path).items() if name != "password"}
        return self._object(f"tm:ltm:monitor:{kind}:{kind}state", ("ltm", "monitor", kind, to_uri(path)), properties)

    def pools(self, *, expand: bool = False) -> dict[str, Any]:
        items = [self.pool(path, expand=expand) for path in self.config.pools]
        return collection("tm:ltm:pool:poolcollectionstate", ("ltm", "pool"), items)

    def nodes(self) -> dict[str, Any]:
        return collection("tm:ltm:node:nodecollectionstate", ("ltm", "node"), [self.node(p) for p in self.config.nodes])

    def virtuals(self, *, expand: bool = False) -> dict[str, Any]:
        items = [self.virtual(path, expand=expand) for path in self.config.virtuals]
        return collection("tm:ltm:virtual:virtualcollectionstate", ("ltm", "virtual"), items)

    def monitors(self, kind: str) -> dict[str, Any]:
        items = [self.monitor(kind, path) for path in self.config.monitors(kind)]
        return collection(f"tm:ltm:monitor:{kind}:{kind}collectionstate", ("ltm", "monitor", kind), items)

    def partition(self, name: str) -> dict[str, Any]:
        return {
            "kind": "tm:auth:partition:partitionstate",
            "name": name,
            "fullPath": name,
            "selfLink": link("auth", "partition", to_uri(name)),
            "defaultRouteDomain": 0,
            "description": self.config.partitions[name].get("description", ""),
        }

    def folder(self, path: str) -> dict[str, Any]:
        parts = path.strip("/")
        return {
            "kind": "tm:sys:folder:folderstate",
            "name": parts or "/",
            "partition": "" if not parts else "/",
            "fullPath": f"/{parts}",
            "selfLink": link("sys", "folder", to_uri(f"/{parts}")),
            "deviceGroup": "none",
            "trafficGroup": "/Common/traffic-group-1",
            "inheritedTrafficGroup": "true",
        }
