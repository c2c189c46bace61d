# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of BIG-IP DNS and their stats as REST shows them: only that of ``enabled`` and ``disabled`` that is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .gtm_model import Gtm, split_member
from .gtm_runtime import GtmPlane
from .model import Config
from .names import to_uri
from .stats import nested, status, text, value
from .view import collection, link

REASONS = {
    "available": "Available",
    "offline": "Monitor /Common/: no successful response before the timeout",
    "unknown": "No enabled monitor has given a result yet",
}


class GtmView:
    """The configuration and what runs, as JSON bodies."""

    def __init__(self, config: Config, plane: GtmPlane) -> None:
        self.gtm = Gtm(config)
        self.plane = plane

    @staticmethod
    def _object(kind: str, parts: tuple[str, ...], item: Mapping[str, Any], full: str) -> dict[str, Any]:
        body = {"kind": kind, "name": item["name"]}
        if "partition" in item:
            body["partition"] = item["partition"]
        body |= {"fullPath": full, "generation": item.get("generation", 1), "selfLink": link(*parts)}
        hidden = {*body, "enabled", "members", "virtuals"}
        body |= {name: given for name, given in item.items() if name not in hidden}
        if "enabled" in item:
            body["enabled" if item["enabled"] else "disabled"] = True
        return body

    def datacenter(self, path: str) -> dict[str, Any]:
        item = self.gtm.find(self.gtm.datacenters, "GTM Datacenter", path)
        return self._object("tm:gtm:datacenter:datacenterstate", ("gtm", "datacenter", to_uri(path)), item, path)

    def server(self, path: str, *, expand: bool = False) -> dict[str, Any]:
        item = self.gtm.server(path)
        parts = ("gtm", "server", to_uri(path))
        body = self._object("tm:gtm:server:serverstate", parts, item, path)
        body["datacenterReference"] = {"link": link("gtm", "datacenter", to_uri(item["datacenter"]))}
        body["devicesReference"] = {"link": link(*parts, "devices"), "isSubcollection": True}
        virtuals: dict[str, Any] = {"link": link(*parts, "virtual-servers"), "isSubcollection": True}
        if expand:
            virtuals["items"] = [self.virtual(path, name) for name in item["virtuals"]]
        return {**body, "virtualServersReference": virtuals}

    def virtual(self, server: str, name: str) -> dict[str, Any]:
        item = self.gtm.virtual(server, name)
        parts = ("gtm", "server", to_uri(server), "virtual-servers", to_uri(name))
        return self._object("tm:gtm:server:virtual-servers:virtual-serversstate", parts, item, name)

    def pool(self, kind: str, path: str, *, expand: bool = False) -> dict[str, Any]:
        item = self.gtm.pool(kind, path)
        parts = ("gtm", "pool", kind, to_uri(path))
        body = self._object(f"tm:gtm:pool:{kind}:{kind}state", parts, item, path)
        members: dict[str, Any] = {"link": link(*parts, "members"), "isSubcollection": True}
        if expand:
            members["items"] = self._members(kind, path)
        return {**body, "membersReference": members}

    def _members(self, kind: str, pool: str) -> list[dict[str, Any]]:
        members = self.gtm.pool(kind, pool)["members"]
        ordered = sorted(members, key=lambda path: members[path]["memberOrder"])
        return [self.member(kind, pool, path) for path in ordered]

    def member(self, kind: str, pool: str, path: str) -> dict[str, Any]:
        """A member; where its virtual server's name has slashes, what stands before the last one is ``subPath``."""
        item = dict(self.gtm.member(kind, pool, path))
        parts = ("gtm", "pool", kind, to_uri(pool), "members", to_uri(path))
        before, slash, last = item["name"].rpartition("/")
        if slash:
            item |= {"name": last, "subPath": before}
        return self._object(f"tm:gtm:pool:{kind}:members:membersstate", parts, item, path)

    def wideip(self, kind: str, path: str) -> dict[str, Any]:
        item = dict(self.gtm.find(self.gtm.wideips(kind), "GTM Wide IP", path))
        rows = []
        for row in item.pop("pools", None) or []:
            where = link("gtm", "pool", kind, to_uri(f"/{row['partition']}/{row['name']}"))
            rows.append({**row, "nameReference": {"link": where}})
        if rows:
            item["pools"] = rows
        return self._object(f"tm:gtm:wideip:{kind}:{kind}state", ("gtm", "wideip", kind, to_uri(path)), item, path)

    def monitor(self, kind: str, path: str) -> dict[str, Any]:
        item = self.gtm.find(self.gtm.monitors(kind), "Monitor", path)
        return self._object(f"tm:gtm:monitor:{kind}:{kind}state", ("gtm", "monitor", kind, to_uri(path)), item, path)

    def datacenters(self) -> dict[str, Any]:
        items = [self.datacenter(path) for path in self.gtm.datacenters]
        return collection("tm:gtm:datacenter:datacentercollectionstate", ("gtm", "datacenter"), items)

    def servers(self, *, expand: bool = False) -> dict[str, Any]:
        items = [self.server(path, expand=expand) for path in self.gtm.servers]
        return collection("tm:gtm:server:servercollectionstate", ("gtm", "server"), items)

    def virtuals(self, server: str) -> dict[str, Any]:
        items = [self.virtual(server, name) for name in self.gtm.server(server)["virtuals"]]
        parts = ("gtm", "server", to_uri(server), "virtual-servers")
        return collection("tm:gtm:server:virtual-servers:virtual-serverscollectionstate", parts, items)

    def pools(self, kind: str, *, expand: bool = False) -> dict[str, Any]:
        items = [self.pool(kind, path, expand=expand) for path in self.gtm.pools(kind)]
        return collection(f"tm:gtm:pool:{kind}:{kind}collectionstate", ("gtm", "pool", kind), items)

    def members(self, kind: str, pool: str) -> dict[str, Any]:
        parts = ("gtm", "pool", kind, to_uri(pool), "members")
        items = self._members(kind, pool)
        return collection(f"tm:gtm:pool:{kind}:members:memberscollectionstate", parts, items)

    def wideips(self, kind: str) -> dict[str, Any]:
        items = [self.wideip(kind, path) for path in self.gtm.wideips(kind)]
        return collection(f"tm:gtm:wideip:{kind}:{kind}collectionstate", ("gtm", "wideip", kind), items)

    def monitors(self, kind: str) -> dict[str, Any]:
        items = [self.monitor(kind, path) for path in self.gtm.monitors(kind)]
        return collection(f"tm:gtm:monitor:{kind}:{kind}collectionstate", ("gtm", "monitor", kind), items)

    # -- stats ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def _status(found: tuple[str, str]) -> dict[str, dict[str, Any]]:
        availability, enabled = found
        reason = REASONS[availability] + ("" if enabled == "enabled" else f", {enabled.replace('-', ' ')}")
        return status(availability, enabled, reason)

    def member_stats(self, kind: str, pool: str, paths: list[str] | None = None) -> dict[str, Any]:
        """Of one member or of all. In the address of each block the virtual server stands before its server."""
        entries: dict[str, Any] = {}
        parts = ("gtm", "pool", kind, to_uri(pool), "members")
        for path in self.gtm.pool(kind, pool)["members"] if paths is None else paths:
            self.gtm.member(kind, pool, path)
            server, name = split_member(path)
            counts = {
                which: value(self.plane.counts.get(f"member {kind} {pool} {path} {key}", 0))
                for which, key in (("alternate", "alternate"), ("fallback", "fallback"), ("preferred", "loadBalancing"))
            }
            block = {
                **counts,
                "poolName": text(pool),
                "poolType": text(kind.upper()),
                "serverName": text(server),
                **self._status(self.plane.member(kind, pool, path)),
                "vsName": text(name),
            }
            where = (*parts, f"{to_uri(name)}:{to_uri(server)}")
            entries.update(nested(f"tm:gtm:pool:{kind}:members:membersstats", where, block))
        tail = (*parts, to_uri(paths[0])) if paths else parts
        what = "membersstats" if paths else "memberscollectionstats"
        return {"kind": f"tm:gtm:pool:{kind}:members:{what}", "selfLink": link(*tail, "stats"), "entries": entries}

    def stats(self, parts: tuple[str, ...], kind: str, found: tuple[str, str], name: str) -> dict[str, Any]:
        """Of a single object: its name and its status."""
        entries = nested(kind, parts, {**self._status(found), "tmName": text(name)})
        return {"kind": kind, "selfLink": link(*parts, "stats"), "entries": entries}

    def pool_stats(self, kind: str, path: str) -> dict[str, Any]:
        self.gtm.pool(kind, path)
        parts = ("gtm", "pool", kind, to_uri(path))
        return self.stats(parts, f"tm:gtm:pool:{kind}:{kind}stats", self.plane.pool(kind, path), path)

    def wideip_stats(self, kind: str, path: str) -> dict[str, Any]:
        self.gtm.find(self.gtm.wideips(kind), "GTM Wide IP", path)
        parts = ("gtm", "wideip", kind, to_uri(path))
        return self.stats(parts, f"tm:gtm:wideip:{kind}:{kind}stats", self.plane.wideip(kind, path), path)

    def virtual_stats(self, server: str, name: str) -> dict[str, Any]:
        self.gtm.virtual(server, name)
        parts = ("gtm", "server", to_uri(server), "virtual-servers", to_uri(name))
        kind = "tm:gtm:server:virtual-servers:virtual-serversstats"
        return self.stats(parts, kind, self.plane.virtual(server, name), name)
