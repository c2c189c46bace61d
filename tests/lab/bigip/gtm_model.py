# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of BIG-IP DNS: data centers, servers, pools, wide IPs; what refers to what. No I/O, no clock."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import gtm_schema as schema
from . import names
from .errors import ApiError, already_exists, configuration_error, invalid_value, missing_property, not_found
from .schema import Schema

if TYPE_CHECKING:
    from .model import Config

Object = dict[str, Any]


def factory() -> dict[str, Any]:
    """An empty configuration: only the monitors that every device has."""
    monitors = {
        kind: {f"/Common/{kind}": {"name": kind, "partition": "Common", "generation": 1, **what.defaults}}
        for kind, what in schema.MONITORS.items()
    }
    return {
        # Which configuration is newer, where several devices have one: seconds and the device that made it.
        "version": [0, ""],
        "monitors": monitors,
        "datacenters": {},
        "servers": {},
        "pools": {kind: {} for kind in schema.TYPES},
        "wideips": {kind: {} for kind in schema.TYPES},
    }


def split_member(path: str) -> tuple[str, str]:
    """``/Common/srv:vs`` -> ``("/Common/srv", "vs")``; the virtual server of a BIG-IP may be ``/Common/vs``.

    :raises ApiError: 400 when there is no colon.
    """
    server, colon, virtual = path.partition(":")
    if not colon or not virtual:
        raise configuration_error(f"{path} is not a pool member: server:virtual-server is needed.")
    return names.full_path(server), virtual


def rule_names(expression: str) -> tuple[list[str], int]:
    """Monitors of a rule and how many must pass; ``require 1 from 2 { /Common/tcp }`` wants all, as one prober asks."""
    require = re.match(r"require\s+\d+\s+from\s+\d+\s+", expression.strip())
    if require:
        found = re.sub(r"[{}]", " ", expression.strip()[require.end() :]).split()
        return [names.full_path(name) for name in found], len(found)
    return names.monitor_names(expression)


class Gtm:
    """The part of a configuration that is BIG-IP DNS; changes go to *config* at once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.data: dict[str, Any] = config.data["gtm"]

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def datacenters(self) -> dict[str, Object]:
        return self.data["datacenters"]

    @property
    def servers(self) -> dict[str, Object]:
        return self.data["servers"]

    def pools(self, kind: str) -> dict[str, Object]:
        return self.data["pools"][kind]

    def wideips(self, kind: str) -> dict[str, Object]:
        return self.data["wideips"][kind]

    def monitors(self, kind: str) -> dict[str, Object]:
        return self.data["monitors"][kind]

    def find(self, where: Mapping[str, Object], what: str, path: str) -> Object:
        """An object of *where*.

        :raises ApiError: 404.
        """
        if path not in where:
            raise not_found(what, path)
        return where[path]

    def server(self, path: str) -> Object:
        return self.find(self.servers, "GTM Server", path)

    def virtual(self, server: str, name: str) -> Object:
        return self.find(self.server(server)["virtuals"], f"GTM Virtual Server ({server})", name)

    def pool(self, kind: str, path: str) -> Object:
        return self.find(self.pools(kind), "GTM Pool", path)

    def member(self, kind: str, pool: str, path: str) -> Object:
        return self.find(self.pool(kind, pool)["members"], f"GTM Pool Member ({pool})", path)

    def find_monitor(self, path: str) -> tuple[str, Object] | None:
        """Kind (as it is probed) and properties of a monitor by its path."""
        for kind, monitors in self.data["monitors"].items():
            if path in monitors:
                return "tcp" if kind == "bigip" else kind, monitors[path]
        return None

    def _forget(self, server: str, virtual: str | None = None) -> None:
        """Delete the members of any pool that stand for a server, or for one virtual server of it."""
        for kind in schema.TYPES:
            for pool, item in self.pools(kind).items():
                for path in list(item["members"]):
                    found, name = split_member(path)
                    if found == server and virtual in {None, name}:
                        self.delete_member(kind, pool, path)

    # -- shared steps --------------------------------------------------------------------------------------------------

    def _create(
        self, where: dict[str, Object], what: str, kind: Schema, body: Mapping[str, Any], **more: Any
    ) -> tuple[str, Object]:
        partition, name, path = self.config.place(body)
        if path in where:
            raise already_exists(what, path, partition)
        where[path] = {
            "name": name,
            "partition": partition,
            **copy.deepcopy(dict(kind.defaults)),
            "enabled": True,
            **more,
        }
        return path, where[path]

    def _change(self, item: Object, kind: Schema, body: Mapping[str, Any]) -> None:
        plain, enabled = schema.switched(body)
        if enabled is not None:
            item["enabled"] = enabled
        self.config.apply(item, kind, plain)
        self._check_rule(item)

    def _check_rule(self, item: Object) -> None:
        rule = str(item.get("monitor") or "").strip()
        if rule in {"", "default"}:
            return
        wanted, _least = rule_names(rule)
        for path in wanted:
            if self.find_monitor(path) is None:
                raise ApiError(400, f"01070022:3: The monitor template {path} was not found.")
        if not rule.startswith("require"):
            item["monitor"] = names.monitor_rule(rule)

    # -- data centers, servers, virtual servers ------------------------------------------------------------------------

    def create_datacenter(self, body: Mapping[str, Any]) -> str:
        path, _item = self._create(self.datacenters, "GTM Datacenter", schema.DATACENTER, body)
        self.modify_datacenter(path, body)
        return path

    def modify_datacenter(self, path: str, body: Mapping[str, Any]) -> None:
        self._change(self.find(self.datacenters, "GTM Datacenter", path), schema.DATACENTER, body)

    def delete_datacenter(self, path: str) -> None:
        self.find(self.datacenters, "GTM Datacenter", path)
        for name, server in self.servers.items():
            if server["datacenter"] == path:
                raise configuration_error(f"data center {path} is referenced by server {name}.")
        del self.datacenters[path]

    def create_server(self, body: Mapping[str, Any]) -> str:
        if not body.get("datacenter"):
            raise missing_property("datacenter")
        if not body.get("addresses") and not body.get("devices"):
            raise configuration_error("a server needs at least one device with an address.")
        path, item = self._create(self.servers, "GTM Server", schema.SERVER, body, virtuals={})
        if body.get("product", "bigip") == "bigip" and "monitor" not in body:
            item["monitor"] = "/Common/bigip"
        self.modify_server(path, body)
        return path

    def modify_server(self, path: str, body: Mapping[str, Any]) -> None:
        server = self.server(path)
        body = dict(body)
        virtuals = body.pop("virtualServers", None)
        for device in body.pop("devices", None) or []:
            rows = [{"name": row["name"], "translation": row.get("translation")} for row in device["addresses"]]
            body.setdefault("addresses", []).extend({**row, "deviceName": device["name"]} for row in rows)
        self._change(server, schema.SERVER, body)
        for row in server["addresses"]:
            row.setdefault("deviceName", server["name"])
            row["translation"] = row.get("translation") or "none"
        server["datacenter"] = names.full_path(server["datacenter"])
        self.find(self.datacenters, "GTM Datacenter", server["datacenter"])
        for item in virtuals or []:
            self.create_virtual(path, item)

    def delete_server(self, path: str) -> None:
        """A server goes with its virtual servers and their places in pools."""
        self.server(path)
        self._forget(path)
        del self.servers[path]

    def create_virtual(self, server: str, body: Mapping[str, Any]) -> str:
        """A virtual server's name is its own alone: no partition stands before it unless it is part of the name."""
        virtuals = self.server(server)["virtuals"]
        for need in ("name", "destination"):
            if not body.get(need):
                raise missing_property(need)
        name = str(body["name"])
        if name in virtuals:
            raise already_exists("GTM Virtual Server", f"{server} {name}", "Common")
        virtuals[name] = {"name": name, **copy.deepcopy(dict(schema.VIRTUAL.defaults)), "enabled": True}
        self.modify_virtual(server, name, body)
        return name

    def modify_virtual(self, server: str, name: str, body: Mapping[str, Any]) -> None:
        virtual = self.virtual(server, name)
        self._change(virtual, schema.VIRTUAL, body)
        address, port = names.split_destination(virtual["destination"])
        virtual["destination"] = f"{address}{'.' if ':' in address else ':'}{port}"

    def delete_virtual(self, server: str, name: str) -> None:
        self.virtual(server, name)
        self._forget(server, name)
        del self.servers[server]["virtuals"][name]

    # -- pools ---------------------------------------------------------------------------------------------------------

    def create_pool(self, kind: str, body: Mapping[str, Any]) -> str:
        more = {"fallbackIp": "any6"} if kind == "aaaa" else {}
        path, _item = self._create(self.pools(kind), "GTM Pool", schema.POOL, body, members={}, **more)
        self.modify_pool(kind, path, body)
        return path

    def modify_pool(self, kind: str, path: str, body: Mapping[str, Any]) -> None:
        """Change a pool; a list of ``members`` in the body replaces the members."""
        pool = self.pool(kind, path)
        self._change(pool, schema.POOL, {key: value for key, value in body.items() if key != "members"})
        if body.get("members") is None:
            return
        before, pool["members"] = pool["members"], {}
        for item in body["members"]:
            given = {"name": item} if isinstance(item, str) else dict(item)
            member = self._member_path(given)
            if member in before:
                pool["members"][member] = before[member]
                self.modify_member(kind, path, member, given)
            else:
                self.create_member(kind, path, given)

    def delete_pool(self, kind: str, path: str) -> None:
        self.pool(kind, path)
        for name, wideip in self.wideips(kind).items():
            if any(self._pool_path(row) == path for row in wideip.get("pools", [])):
                raise configuration_error(f"pool {path} is referenced by wide IP {name}.")
        del self.pools(kind)[path]

    @staticmethod
    def _member_path(body: Mapping[str, Any]) -> str:
        if not body.get("name"):
            raise missing_property("name")
        return names.full_path(str(body["name"]), str(body.get("partition") or "Common"))

    def create_member(self, kind: str, pool: str, body: Mapping[str, Any]) -> str:
        members = self.pool(kind, pool)["members"]
        path = self._member_path(body)
        server, name = split_member(path)
        destination = self.virtual(server, name)["destination"]
        if path in members:
            raise already_exists("GTM Pool Member", f"{pool} {path}", names.split_path(server)[0])
        version = ipaddress.ip_address(names.host(names.split_destination(destination)[0])).version
        if (version == 4) != (kind == "a"):
            raise configuration_error(f"{destination} of {path} does not fit a pool of type {kind}.")
        members[path] = {
            "name": path.partition("/")[2].partition("/")[2],
            "partition": names.split_path(server)[0],
            **copy.deepcopy(dict(schema.MEMBER.defaults)),
            "enabled": True,
            "memberOrder": len(members),
        }
        self.modify_member(kind, pool, path, body)
        return path

    def modify_member(self, kind: str, pool: str, path: str, body: Mapping[str, Any]) -> None:
        """Change a member; one that is given an order goes to that place and the others close up."""
        item = self.member(kind, pool, path)
        self._change(item, schema.MEMBER, body)
        members = self.pool(kind, pool)["members"]
        if body.get("memberOrder") is not None:
            others = [member for member in self.ordered(members) if member is not item]
            others.insert(item["memberOrder"], item)
            for number, member in enumerate(others):
                member["memberOrder"] = number

    def delete_member(self, kind: str, pool: str, path: str) -> None:
        self.member(kind, pool, path)
        members = self.pool(kind, pool)["members"]
        del members[path]
        for number, member in enumerate(self.ordered(members)):
            member["memberOrder"] = number

    @staticmethod
    def ordered(members: Mapping[str, Object]) -> list[Object]:
        """Members by their order."""
        return sorted(members.values(), key=lambda member: member["memberOrder"])

    # -- wide IPs and monitors -----------------------------------------------------------------------------------------

    def create_wideip(self, kind: str, body: Mapping[str, Any]) -> str:
        path, _item = self._create(self.wideips(kind), "GTM Wide IP", schema.WIDEIP, body)
        self.modify_wideip(kind, path, body)
        return path

    def modify_wideip(self, kind: str, path: str, body: Mapping[str, Any]) -> None:
        wideip = self.find(self.wideips(kind), "GTM Wide IP", path)
        self._change(wideip, schema.WIDEIP, body)
        if "pools" not in wideip:
            return
        rows = []
        for number, item in enumerate(wideip["pools"]):
            given = {"name": item} if isinstance(item, str) else dict(item)
            pool = self._pool_path(given)
            self.pool(kind, pool)
            partition, name = names.split_path(pool)
            try:
                order, ratio = int(given.get("order", number)), int(given.get("ratio", 1))
            except (TypeError, ValueError):
                raise invalid_value("pools", item) from None
            rows.append({"name": name, "partition": partition, "order": order, "ratio": ratio})
        wideip["pools"] = sorted(rows, key=lambda row: row["order"])

    @staticmethod
    def _pool_path(row: Mapping[str, Any]) -> str:
        return names.full_path(str(row["name"]), str(row.get("partition") or "Common"))

    def delete_wideip(self, kind: str, path: str) -> None:
        self.find(self.wideips(kind), "GTM Wide IP", path)
        del self.wideips(kind)[path]

    def create_monitor(self, kind: str, body: Mapping[str, Any]) -> str:
        path, item = self._create(self.monitors(kind), "Monitor", schema.MONITORS[kind], body)
        del item["enabled"]  # a monitor has no switch
        self.modify_monitor(kind, path, {"defaultsFrom": f"/Common/{kind}", **body})
        return path

    def modify_monitor(self, kind: str, path: str, body: Mapping[str, Any]) -> None:
        monitor = self.find(self.monitors(kind), "Monitor", path)
        self.config.apply(monitor, schema.MONITORS[kind], body)
        if monitor["interval"] < 1 or monitor["timeout"] < 1:
            raise configuration_error(f"interval and timeout of {path} must be at least 1.")

    def delete_monitor(self, kind: str, path: str) -> None:
        self.find(self.monitors(kind), "Monitor", path)
        for item in self._watched():
            if path in str(item.get("monitor", "")).replace("}", " ").split():
                raise ApiError(400, f"01070083:3: Monitor {path} is in use.")
        del self.monitors(kind)[path]

    def _watched(self) -> Iterator[Object]:
        for server in self.servers.values():
            yield from (server, *server["virtuals"].values())
        for kind in schema.TYPES:
            for pool in self.pools(kind).values():
                yield from (pool, *pool["members"].values())

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take over the lab's JSON: ``monitors, datacenters, servers (with virtualServers), pools, wideips``.

        Each is a list of REST bodies; a monitor, a pool and a wide IP have their type in ``type`` (http, a, a).
        """
        steps: list[tuple[str, Callable[..., Any], str | None]] = [
            ("monitors", self.create_monitor, "http"),
            ("datacenters", self.create_datacenter, None),
            ("servers", self.create_server, None),
            ("pools", self.create_pool, "a"),
            ("wideips", self.create_wideip, "a"),
        ]
        for name, create, kind in steps:
            for item in data.get(name, []):
                body = dict(item)
                if kind is None:
                    create(body)
                else:
                    create(body.pop("type", kind), body)
