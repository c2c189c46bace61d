# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration: objects, how they refer to each other, what the device refuses. No I/O, no clock.

A ``Config`` is one JSON-able dictionary. Whoever changes it works on a copy and puts the copy in place when every step
passed: that is what makes a transaction all or nothing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from . import gtm_model, names, schema
from .errors import ApiError, already_exists, configuration_error, missing_property, not_found

Object = dict[str, Any]


def _need(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise missing_property(name)
    return value


class Config:
    """Pools with members, nodes, virtual servers, monitors and partitions by full path."""

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        self.data: dict[str, Any] = copy.deepcopy(dict(data)) if data else self._factory()
        self.data.setdefault("gtm", gtm_model.factory())

    @staticmethod
    def _factory() -> dict[str, Any]:
        monitors: dict[str, dict[str, Object]] = {}
        for kind, name in schema.BUILT_IN_MONITORS.items():
            base = {"name": name, "partition": "Common", "generation": 1, **schema.MONITORS[kind].defaults}
            monitors[kind] = {f"/Common/{name}": base}
        partitions = {"Common": {"name": "Common", "description": "Repository for system objects and shared objects."}}
        return {
            "generation": 1,
            "partitions": partitions,
            "monitors": monitors,
            "nodes": {},
            "pools": {},
            "virtuals": {},
        }

    def copy(self) -> Config:
        return Config(self.data)

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> dict[str, Object]:
        return self.data["partitions"]

    @property
    def pools(self) -> dict[str, Object]:
        return self.data["pools"]

    @property
    def nodes(self) -> dict[str, Object]:
        return self.data["nodes"]

    @property
    def virtuals(self) -> dict[str, Object]:
        return self.data["virtuals"]

    def monitors(self, kind: str) -> dict[str, Object]:
        return self.data["monitors"][kind]

    def pool(self, path: str) -> Object:
        if path not in self.pools:
            raise not_found("Pool", path)
        return self.pools[path]

    def member(self, pool: str, path: str) -> Object:
        members = self.pool(pool)["members"]
        if path not in members:
            raise not_found("Pool Member", self._member_title(pool, path))
        return members[path]

    def node(self, path: str) -> Object:
        if path not in self.nodes:
            raise not_found("Node", path)
        return self.nodes[path]

    def virtual(self, path: str) -> Object:
        if path not in self.virtuals:
            raise not_found("Virtual Server", path)
        return self.virtuals[path]

    def monitor(self, kind: str, path: str) -> Object:
        if path not in self.monitors(kind):
            raise not_found("Monitor", path)
        return self.monitors(kind)[path]

    def find_monitor(self, path: str) -> tuple[str, Object] | None:
        """Kind and properties of a monitor by its path alone, as a monitor rule names it."""
        for kind, monitors in self.data["monitors"].items():
            if path in monitors:
                return kind, monitors[path]
        return None

    def member_rule(self, pool: str, path: str) -> str:
        """The monitor rule that applies to a member: its own or its pool's; empty for none."""
        own = self.member(pool, path)["monitor"].strip()
        return self.pools[pool].get("monitor") or "" if own in {"default", ""} else own

    def member_node(self, pool: str, path: str) -> Object:
        return self.nodes[self.node_path(path)]

    @staticmethod
    def node_path(member: str) -> str:
        """Path of the node of a member."""
        partition, name = names.split_path(member)
        return f"/{partition}/{names.split_member(name)[0]}"

    def members_of_node(self, node: str) -> Iterator[tuple[str, str]]:
        """Pool and member path of every member on a node."""
        for pool, properties in self.pools.items():
            for member in properties["members"]:
                if self.node_path(member) == node:
                    yield pool, member

    @staticmethod
    def _member_title(pool: str, member: str) -> str:
        partition, name = names.split_path(member)
        try:
            node, port = names.split_member(name)
        except ApiError:  # no member's name at all; it is missing all the same
            return f"{pool} {member}"
        return f"{pool} /{partition}/{node} {port}"

    # -- shared steps --------------------------------------------------------------------------------------------------

    def _stamp(self, item: Object) -> Object:
        self.data["generation"] += 1
        item["generation"] = self.data["generation"]
        return item

    def _partition(self, body: Mapping[str, Any], default: str = "Common") -> str:
        partition = str(body.get("partition") or default).strip("/")
        if partition not in self.partitions:
            raise not_found("folder", f"/{partition}")
        return partition

    def place(self, body: Mapping[str, Any]) -> tuple[str, str, str]:
        """Partition, name and full path of what *body* creates."""
        name = _need(body, "name")
        if name.startswith("/"):
            partition, name = names.split_path(name)
            self._partition({"partition": partition})
        else:
            partition = self._partition(body)
        return partition, name, f"/{partition}/{name}"

    def apply(self, item: Object, kind: schema.Schema, body: Mapping[str, Any]) -> None:
        """Write what *body* sets to *item*."""
        values = kind.clean(body)
        for name, value in values.items():
            if name in kind.fixed:
                known = item.get(name, value)
                if isinstance(value, dict) and isinstance(known, dict):
                    value = {**known, **value}
                if value is not None and value != known:
                    raise configuration_error(f"{name} of {item['name']} may not be changed after its creation.")
                continue
            if value is None:
                item.pop(name, None)
            else:
                item[name] = copy.deepcopy(value)
        self._stamp(item)

    def _check_rule(self, item: Object) -> None:
        rule = item.get("monitor")
        if not rule or rule.strip() in {"default", "/Common/none"}:
            return
        for path in names.monitor_names(rule)[0]:
            if self.find_monitor(path) is None:
                raise ApiError(400, f"01070022:3: The monitor template {path} was not found.")
        item["monitor"] = names.monitor_rule(rule)

    # -- pools and members ---------------------------------------------------------------------------------------------

    def create_pool(self, body: Mapping[str, Any]) -> str:
        partition, name, path = self.place(body)
        if path in self.pools:
            raise already_exists("Pool", path, partition)
        self.pools[path] = {"name": name, "partition": partition, **schema.POOL.defaults, "members": {}}
        self.modify_pool(path, body)
        return path

    def modify_pool(self, path: str, body: Mapping[str, Any]) -> None:
        """Change a pool; a list of ``members`` in the body replaces the members."""
        pool = self.pool(path)
        self.apply(pool, schema.POOL, {key: value for key, value in body.items() if key != "members"})
        self._check_rule(pool)
        if body.get("members") is None:
            return
        wanted = [{"name": item} if isinstance(item, str) else dict(item) for item in body["members"]]
        kept = set()
        for item in wanted:
            partition, _name, member = self.place({"partition": pool["partition"], **item})
            kept.add(member)
            if member in pool["members"]:
                self.modify_member(path, member, item)
            else:
                self.create_member(path, {"partition": partition, **item})
        for member in set(pool["members"]) - kept:
            self.delete_member(path, member)

    def delete_pool(self, path: str) -> None:
        self.pool(path)
        for virtual, properties in self.virtuals.items():
            if properties.get("pool") == path:
                raise ApiError(
                    400,
                    f"01070265:3: The Pool ({path}) cannot be deleted because it is in use by a "
                    f"Virtual Server ({virtual}).",
                )
        del self.pools[path]

    def create_member(self, pool: str, body: Mapping[str, Any]) -> str:
        """Add a member, and its node unless there is one."""
        members = self.pool(pool)["members"]
        partition, name, path = self.place({"partition": self.pools[pool]["partition"], **body})
        node_name, port = names.split_member(name)
        path = f"/{partition}/{name}"
        if path in members:
            raise already_exists("Pool Member", self._member_title(pool, path), partition)
        node_path = f"/{partition}/{node_name}"
        fqdn = body.get("fqdn") or {}
        if fqdn.get("tmName"):
            raise configuration_error("FQDN pool members are not offered here; give an address.")
        address = body.get("address") or (self.nodes.get(node_path) or {}).get("address")
        if not address and names.is_address(node_name):
            address = node_name
        if not address:
            raise configuration_error(f"the address of pool member {name} is missing.")
        self._ensure_node(partition, node_name, address)
        members[path] = {
            "name": name,
            "partition": partition,
            **schema.MEMBER.defaults,
            "address": address,
            "port": port,
            "ephemeral": "false",
            "fqdn": {"autopopulate": "disabled"},
        }
        self.modify_member(pool, path, {key: value for key, value in body.items() if key not in schema.MEMBER.fixed})
        return path

    def _ensure_node(self, partition: str, name: str, address: str) -> None:
        path = f"/{partition}/{name}"
        if not names.is_address(address):
            raise configuration_error(f"{address} is not an IP address.")
        if path in self.nodes:
            known = self.nodes[path]["address"]
            if known != address:
                raise configuration_error(f"node {path} has the address {known}, not {address}.")
            return
        for other, node in self.nodes.items():
            if node["address"] == address and node["partition"] == partition:
                raise ApiError(
                    400,
                    f"0107003a:3: Pool member node ({path}) and existing node ({other}) cannot use the same "
                    f"IP Address ({address}).",
                )
        self.create_node({"name": name, "partition": partition, "address": address})

    def modify_member(self, pool: str, path: str, body: Mapping[str, Any]) -> None:
        member = self.member(pool, path)
        self.apply(member, schema.MEMBER, {key: value for key, value in body.items() if key != "port"})
        self._check_rule(member)

    def delete_member(self, pool: str, path: str) -> None:
        """Take a member out; its node stays, as on the device."""
        self.member(pool, path)
        del self.pools[pool]["members"][path]

    # -- nodes, virtual servers, monitors, partitions ------------------------------------------------------------------

    def create_node(self, body: Mapping[str, Any]) -> str:
        partition, name, path = self.place(body)
        if path in self.nodes:
            raise already_exists("Node", path, partition)
        address = _need(body, "address")
        if not names.is_address(address):
            raise configuration_error(f"{address} is not an IP address.")
        self.nodes[path] = {
            "name": name,
            "partition": partition,
            **schema.NODE.defaults,
            "address": address,
            "ephemeral": "false",
            "fqdn": {"addressFamily": "ipv4", "autopopulate": "disabled", "downInterval": 5, "interval": "3600"},
        }
        self.modify_node(path, {key: value for key, value in body.items() if key not in schema.NODE.fixed})
        return path

    def modify_node(self, path: str, body: Mapping[str, Any]) -> None:
        node = self.node(path)
        # "unchecked" is what an enabled node without monitor reads as; the device takes it back.
        changes = {key: "user-up" if (key, value) == ("state", "unchecked") else value for key, value in body.items()}
        self.apply(node, schema.NODE, changes)
        self._check_rule(node)

    def delete_node(self, path: str) -> None:
        self.node(path)
        for pool, _member in self.members_of_node(path):
            raise ApiError(400, f"01070110:3: Node address '{path}' is referenced by a member of pool '{pool}'.")
        del self.nodes[path]

    def create_virtual(self, body: Mapping[str, Any]) -> str:
        partition, name, path = self.place(body)
        if path in self.virtuals:
            raise already_exists("Virtual Server", path, partition)
        _need(body, "destination")
        self.virtuals[path] = {"name": name, "partition": partition, **copy.deepcopy(dict(schema.VIRTUAL.defaults))}
        self.modify_virtual(path, {"enabled": True, **body})
        return path

    def modify_virtual(self, path: str, body: Mapping[str, Any]) -> None:
        virtual = self.virtual(path)
        body = dict(body)
        if body.pop("disabled", False):
            body["enabled"] = False
        self.apply(virtual, schema.VIRTUAL, body)
        address, port = names.split_destination(virtual["destination"])
        separator = "." if ":" in address else ":"
        virtual["destination"] = f"/{virtual['partition']}/{address}{separator}{port}"
        if virtual.get("pool"):
            virtual["pool"] = names.full_path(virtual["pool"], virtual["partition"])
            self.pool(virtual["pool"])
        for other, properties in self.virtuals.items():
            if other != path and names.split_destination(properties["destination"]) == (address, port):
                raise ApiError(
                    400,
                    f"01070333:3: Virtual Server {path} illegally shares destination address, source address, "
                    f"service port, and ip-protocol with Virtual Server {other}.",
                )

    def delete_virtual(self, path: str) -> None:
        self.virtual(path)
        del self.virtuals[path]

    def create_monitor(self, kind: str, body: Mapping[str, Any]) -> str:
        partition, name, path = self.place(body)
        if self.find_monitor(path):
            raise already_exists("Monitor", path, partition)
        parent = names.full_path(body.get("defaultsFrom") or schema.BUILT_IN_MONITORS[kind])
        inherited = {k: v for k, v in self.monitor(kind, parent).items() if k not in {"name", "partition"}}
        item = {**copy.deepcopy(inherited), "name": name, "partition": partition, "defaultsFrom": parent}
        self.monitors(kind)[path] = item
        self.modify_monitor(kind, path, {k: v for k, v in body.items() if k != "defaultsFrom"})
        return path

    def modify_monitor(self, kind: str, path: str, body: Mapping[str, Any]) -> None:
        monitor = self.monitor(kind, path)
        self.apply(monitor, schema.MONITORS[kind], body)
        if monitor["interval"] < 1 or monitor["timeout"] < 1:
            raise configuration_error(f"interval and timeout of {path} must be at least 1.")
        destination = str(monitor.get("destination", "*:*"))
        if not re.fullmatch(r"(\*|[0-9a-fA-F.:%]+)[:.](\*|\d{1,5})", destination):
            raise configuration_error(f"the destination of {path} is no address and port: {destination}.")
        try:
            re.compile(monitor.get("recv") or "")
        except re.error as exc:
            raise configuration_error(f"the receive string of {path} is no regular expression: {exc}.") from None

    def delete_monitor(self, kind: str, path: str) -> None:
        self.monitor(kind, path)
        for pool in self.pools.values():
            rules = [pool.get("monitor") or "", *(member["monitor"] for member in pool["members"].values())]
            if any(path in rule.replace("}", " ").split() for rule in rules):
                raise ApiError(400, f"01070083:3: Monitor {path} is in use.")
        del self.monitors(kind)[path]

    def create_partition(self, body: Mapping[str, Any]) -> str:
        name = _need(body, "name").strip("/")
        if name in self.partitions:
            raise already_exists("folder", f"/{name}", name)
        self.partitions[name] = {"name": name, "description": body.get("description", "")}
        return name

    def delete_partition(self, name: str) -> None:
        if name not in self.partitions:
            raise not_found("folder", f"/{name}")
        objects = [*self.pools.values(), *self.nodes.values(), *self.virtuals.values()]
        if name == "Common" or any(item["partition"] == name for item in objects):
            raise ApiError(400, f"01070829:5: Input error: Partition {name} cannot be deleted, it is in use.")
        del self.partitions[name]
