# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Reads pools: configuration and members in one call, the live figures of all members in a second one.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t
from urllib.parse import unquote

from .._common._errors import BackendDownError, InvalidSpecError, NotFoundError
from ._client import BigIP, MissingObjectError
from ._names import Key, canonical_address, full_name, object_path, split_full_name, split_member_name

POOLS = "/mgmt/tm/ltm/pool"
NODES = "/mgmt/tm/ltm/node"
VIRTUALS = "/mgmt/tm/ltm/virtual"

ENABLED, DISABLED, FORCED_OFFLINE = "enabled", "disabled", "forced_offline"


@dataclasses.dataclass(frozen=True)
class Member:
    """One member as the device reports it. ``session`` and ``state`` are two fields; ``standing`` reads both."""

    name: str
    partition: str
    address: str
    port: int
    session: str = ""
    state: str = ""
    description: str = ""
    ratio: int = 1
    priority_group: int = 0
    connection_limit: int = 0
    monitored: bool = False
    availability: str = "unknown"
    enabled_state: str = ""
    reason: str = ""
    connections: int = 0
    connections_total: int = 0

    @property
    def key(self) -> Key:
        return Key(self.address, self.port)

    @property
    def full_name(self) -> str:
        return full_name(self.partition, self.name)

    @property
    def standing(self) -> str:
        """What an administrator decided: enabled, disabled or forced_offline (monitors have no say in it)."""
        if self.state == "user-down":
            return FORCED_OFFLINE if self.session == "user-disabled" else "down"
        return DISABLED if self.session == "user-disabled" else ENABLED

    @property
    def node_enabled(self) -> bool:
        """False when the node above it is disabled: then the member takes nothing, whatever it says itself."""
        return not (self.standing == ENABLED and self.enabled_state.startswith("disabled"))

    @property
    def in_service(self) -> bool:
        """Takes new connections on purpose: enabled, and available as its monitor says.

        Without any monitor an enabled member counts unless it is offline. With a monitor that has not answered yet it
        does not count, although the BIG-IP would already send traffic to it.
        """
        if self.standing != ENABLED or not self.node_enabled:
            return False
        return self.availability == "available" or (not self.monitored and self.availability != "offline")


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool and its members by address and port."""

    name: str
    partition: str
    monitor: str
    mode: str
    service_down_action: str
    members: t.Mapping[Key, Member]

    @property
    def full_name(self) -> str:
        return full_name(self.partition, self.name)

    @property
    def path(self) -> str:
        return f"{POOLS}/{object_path(self.partition, self.name)}"

    @property
    def monitored(self) -> bool:
        return self.monitor not in ("", "none")

    @property
    def available_members(self) -> int:
        return sum(1 for member in self.members.values() if member.in_service)


@dataclasses.dataclass(frozen=True)
class Node:
    """What stands behind members of any pool."""

    name: str
    partition: str
    address: str

    @property
    def path(self) -> str:
        return f"{NODES}/{object_path(self.partition, self.name)}"


def read_pool(client: BigIP, name: str, partition: str) -> Pool:
    """The pool with its members and their figures (two requests, however many members).

    :raises NotFoundError: names pools that are spelled similarly.
    """
    path = f"{POOLS}/{object_path(partition, name)}"
    try:
        data = client.get(path, {"expandSubcollections": "true"})
    except MissingObjectError:
        raise missing_pool(client, name, partition) from None
    monitor = str(data.get("monitor") or "").strip()
    items = (data.get("membersReference") or {}).get("items") or []
    members = [_member(item, partition, monitor) for item in items]
    pool = Pool(
        name=name,
        partition=partition,
        monitor=monitor,
        mode=str(data.get("loadBalancingMode", "")),
        service_down_action=str(data.get("serviceDownAction", "none")),
        members={member.key: member for member in members},
    )
    return refresh(client, pool)


def find_pool(client: BigIP, name: str, partition: str) -> Pool | None:
    """Like :func:`read_pool`, but ``None`` where there is no such pool."""
    try:
        return read_pool(client, name, partition)
    except NotFoundError:
        return None


def refresh(client: BigIP, pool: Pool) -> Pool:
    """The pool with the live figures of its members: one request for all of them.

    Some versions answer it with the figures of the pool instead (seen with 13.1.0.6); then each member is asked for.
    A member without figures vanished meanwhile: it is left out, and never taken for one without connections.

    :raises BackendDownError: when the answers have no connection count.
    """
    if not pool.members:
        return pool
    figures: dict[str, dict[str, t.Any]] = {}
    try:
        answer = client.get(f"{pool.path}/members/stats")
        for url, entry in (answer.get("entries") or {}).items():
            figures[_name_in_url(url)] = plain_entry(entry)
    except MissingObjectError:
        raise missing_pool(client, pool.name, pool.partition) from None
    members: dict[Key, Member] = {}
    for key, member in pool.members.items():
        own = figures.get(member.full_name)
        if own is None:
            try:
                answer = client.get(f"{pool.path}/members/{object_path(member.partition, member.name)}/stats")
            except MissingObjectError:
                continue
            own = next((plain_entry(entry) for entry in (answer.get("entries") or {}).values()), {})
        if "serverside.curConns" not in own:
            raise BackendDownError(
                f"{client.name} gives no connection count for member {member.full_name} of {pool.full_name}",
                remedy="Check that the user may read statistics.",
            )
        members[key] = _with_figures(member, own)
    return dataclasses.replace(pool, members=members)


def read_nodes(client: BigIP, partition: str) -> dict[str, Node]:
    """The nodes that a pool of *partition* can use, by address."""
    items = client.get(NODES, {"$select": "name,partition,address"}).get("items") or []
    nodes = [
        Node(str(item["name"]), str(item.get("partition", "Common")), _address(str(item.get("address", ""))))
        for item in items
    ]
    usable = [node for node in nodes if node.partition in (partition, "Common")]
    return {node.address: node for node in sorted(usable, key=lambda node: node.partition == partition)}


def pools_using(client: BigIP, addresses: t.Collection[str]) -> dict[str, list[str]]:
    """For each address the full names of the pools that have it as a member (one large request)."""
    users: dict[str, list[str]] = {address: [] for address in addresses}
    for item in client.get(POOLS, {"expandSubcollections": "true"}).get("items") or []:
        pool = full_name(str(item.get("partition", "Common")), str(item["name"]))
        for member in (item.get("membersReference") or {}).get("items") or []:
            address = _address(str(member.get("address", "")))
            if address in users and pool not in users[address]:
                users[address].append(pool)
    return users


def virtuals_of(client: BigIP, pools: t.Collection[str]) -> dict[str, list[dict[str, str]]]:
    """For each full pool name its virtual servers as ``{"name", "destination"}``."""
    found: dict[str, list[dict[str, str]]] = {pool: [] for pool in pools}
    for item in client.get(VIRTUALS).get("items") or []:
        partition = str(item.get("partition", "Common"))
        pool = full_name(*split_full_name(str(item.get("pool") or ""), partition))
        if pool in found:
            destination = split_full_name(str(item.get("destination", "")))[1]
            found[pool].append({"name": full_name(partition, str(item["name"])), "destination": destination})
    return found


def missing_pool(client: BigIP, name: str, partition: str, where: str = POOLS) -> NotFoundError:
    """The error for a pool that is not at *where*, with the names that come near."""
    items = client.get(where, {"$select": "name,partition"}).get("items") or []
    names = [full_name(str(item.get("partition", "Common")), str(item["name"])) for item in items]
    wanted = full_name(partition, name)
    similar = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    similar += [other for other in names if other.rpartition("/")[2] == name and other not in similar]
    hint = f"Did you mean {', '.join(similar)}?" if similar else "Check the pool, the partition and the user's rights."
    return NotFoundError(f"There is no pool {wanted} on {client.name}", remedy=hint)


def _member(item: t.Mapping[str, t.Any], partition: str, pool_monitor: str) -> Member:
    name = str(item["name"])
    node, port = split_member_name(name)
    own_monitor = str(item.get("monitor") or "default").strip()
    watched = pool_monitor if own_monitor == "default" else own_monitor
    return Member(
        name=name,
        partition=str(item.get("partition") or partition),
        address=_address(str(item.get("address") or node)),
        port=port,
        session=str(item.get("session", "")),
        state=str(item.get("state", "")),
        description=str(item.get("description", "")),
        ratio=int(item.get("ratio", 1)),
        priority_group=int(item.get("priorityGroup", 0)),
        connection_limit=int(item.get("connectionLimit", 0)),
        monitored=watched not in ("", "none", "/Common/none"),
    )


def _with_figures(member: Member, own: t.Mapping[str, t.Any]) -> Member:
    return dataclasses.replace(
        member,
        availability=str(own.get("status.availabilityState", "unknown")),
        enabled_state=str(own.get("status.enabledState", "")),
        reason=str(own.get("status.statusReason", "")),
        connections=int(own["serverside.curConns"]),
        connections_total=int(own.get("serverside.totConns", 0)),
    )


def _name_in_url(url: str) -> str:
    """``https://localhost/mgmt/tm/ltm/pool/~Common~p/members/~Common~10.0.0.1:80/stats`` -> ``/Common/10.0.0.1:80``."""
    element = url.partition("/members/")[2].partition("?")[0].partition("/")[0]
    return unquote(element).replace("~", "/")


def plain_entry(entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """``{"serverside.curConns": {"value": 3}}`` -> ``{"serverside.curConns": 3}``."""
    inner = (entry.get("nestedStats") or {}).get("entries") or {}
    return {name: value.get("value", value.get("description")) for name, value in inner.items()}


def _address(text: str) -> str:
    """Canonical where it is an address; FQDN members have ``any6`` or nothing there."""
    try:
        return canonical_address(text)
    except InvalidSpecError:
        return text
