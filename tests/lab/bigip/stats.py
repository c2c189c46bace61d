# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``/stats`` of pools, members, nodes and virtual servers."""

from __future__ import annotations

from typing import Any

from .dataplane import DataPlane
from .model import Config
from .names import split_destination, split_member, split_path, to_uri
from .runtime import Counters, MemberRuntime, VirtualRuntime
from .view import BASE, link

Entries = dict[str, dict[str, Any]]


def value(number: float) -> dict[str, Any]:
    return {"value": number}


def text(words: str) -> dict[str, Any]:
    return {"description": words}


def nested(kind: str, parts: tuple[str, ...], entries: Entries) -> dict[str, Any]:
    """One block of entries below its address, as the device nests them."""
    body = {"kind": kind, "selfLink": link(*parts, "stats"), "entries": entries}
    return {f"{BASE}{'/'.join(parts)}/stats": {"nestedStats": body}}


def traffic(side: str, counters: list[Counters]) -> Entries:
    """Connections and bits of *counters* together. A packet is taken as 1,448 bytes: nobody counts them here."""
    bytes_in = sum(item.bytes_in for item in counters)
    bytes_out = sum(item.bytes_out for item in counters)
    return {
        f"{side}.bitsIn": value(bytes_in * 8),
        f"{side}.bitsOut": value(bytes_out * 8),
        f"{side}.curConns": value(sum(len(item.flows) for item in counters)),
        **{f"{side}.{name}": value(0) for name in ("evictedConns", "slowKilled") if side != "serverside"},
        f"{side}.maxConns": value(sum(item.maximum for item in counters)),
        f"{side}.pktsIn": value(-(-bytes_in // 1448)),
        f"{side}.pktsOut": value(-(-bytes_out // 1448)),
        f"{side}.totConns": value(sum(item.total for item in counters)),
    }


def status(availability: str, enabled: str, reason: str) -> Entries:
    return {
        "status.availabilityState": text(availability),
        "status.enabledState": text(enabled),
        "status.statusReason": text(reason),
    }


def member_status(member: MemberRuntime) -> tuple[str, str, str]:
    """Availability, enabled state and the reason, in the device's words."""
    if member.forced_down:
        return "offline", "disabled", "Forced down"
    enabled = "disabled" if member.disabled else "enabled"
    suffix = ", user disabled" if member.disabled else ""
    if member.health == "up":
        return "available", enabled, "Pool member is available" + suffix
    if member.health == "down":
        return "offline", enabled, "Pool member has been marked down by a monitor" + suffix
    if member.health == "checking":
        return "unknown", enabled, "Pool member has no service check result yet" + suffix
    return "unknown", enabled, "Pool member does not have service checking enabled" + suffix


SYN_COOKIES = (
    "accepts",
    "hwAccepts",
    "hwSyncookies",
    "hwsyncookieInstance",
    "rejects",
    "swsyncookieInstance",
    "syncacheCurr",
    "syncacheOver",
    "syncookies",
)
QUEUES = ("ageEdm", "ageEma", "ageHead", "ageMax", "depth", "serviced")


class Stats:
    """The stats bodies of one moment."""

    def __init__(self, config: Config, plane: DataPlane) -> None:
        self.config = config
        self.plane = plane

    def _runtime(self, pool: str, member: str) -> MemberRuntime:
        self.config.member(pool, member)
        return self.plane.pools[pool].members[member]

    def _member(self, pool: str, path: str) -> dict[str, Any]:
        member = self._runtime(pool, path)
        partition, name = split_path(path)
        node, port = split_member(name)
        if member.forced_down:
            monitor = "forced-down" if member.conf["state"] == "user-down" else "address-down"
        else:
            monitor = member.health
        session = "enabled"
        if member.disabled:
            session = "user-disabled" if member.conf["session"] == "user-disabled" else "addr-disabled"
        entries = {
            "addr": text(member.conf["address"]),
            **{f"connq.{name}": value(0) for name in QUEUES},
            "curSessions": value(0),
            "monitorRule": text(self.config.member_rule(pool, path) or "none"),
            "monitorStatus": text(monitor),
            "nodeName": text(f"/{partition}/{node}"),
            "poolName": text(pool),
            "port": value(port),
            **traffic("serverside", [member]),
            "sessionStatus": text(session),
            **status(*member_status(member)),
            "totRequests": value(0),
        }
        parts = ("ltm", "pool", to_uri(pool), "members", to_uri(path))
        return nested("tm:ltm:pool:members:membersstats", parts, entries)

    @staticmethod
    def _body(kind: str, parts: tuple[str, ...], blocks: list[dict[str, Any]]) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for block in blocks:
            entries.update(block)
        return {"kind": kind, "generation": 1, "selfLink": link(*parts, "stats"), "entries": entries}

    def member(self, pool: str, path: str) -> dict[str, Any]:
        parts = ("ltm", "pool", to_uri(pool), "members", to_uri(path))
        return self._body("tm:ltm:pool:members:membersstats", parts, [self._member(pool, path)])

    def members(self, pool: str) -> dict[str, Any]:
        blocks = [self._member(pool, path) for path in self.config.pool(pool)["members"]]
        parts = ("ltm", "pool", to_uri(pool), "members")
        return self._body("tm:ltm:pool:members:memberscollectionstats", parts, blocks)

    def _pool(self, path: str) -> dict[str, Any]:
        self.config.pool(path)
        pool = self.plane.pools[path]
        members = list(pool.members.values())
        entries = {
            "activeMemberCnt": value(sum(member.accepts for member in members)),
            "availableMemberCnt": value(sum(member_status(member)[0] == "available" for member in members)),
            **{f"connqAll.{name}": value(0) for name in QUEUES},
            **{f"connq.{name}": value(0) for name in QUEUES},
            "curSessions": value(0),
            "memberCnt": value(len(members)),
            "minActiveMembers": value(pool.conf["minActiveMembers"]),
            "monitorRule": text(pool.conf.get("monitor") or "none"),
            **traffic("serverside", list(members)),
            **status(*self.pool_status(path)),
            "tmName": text(path),
            "totRequests": value(0),
        }
        return nested("tm:ltm:pool:poolstats", ("ltm", "pool", to_uri(path)), entries)

    def pool_status(self, path: str) -> tuple[str, str, str]:
        members = list(self.plane.pools[path].members.values())
        states = {member_status(member)[0] for member in members}
        enabled = "disabled" if members and all(m.disabled or m.forced_down for m in members) else "enabled"
        if "available" in states:
            return "available", enabled, "The pool is available"
        if "unknown" in states or not members:
            return (
                "unknown",
                enabled,
                "The children pool member(s) either don't have service checking enabled, or service check results "
                "are not available yet",
            )
        return "offline", enabled, "The children pool member(s) are down"

    def pool(self, path: str) -> dict[str, Any]:
        return self._body("tm:ltm:pool:poolstats", ("ltm", "pool", to_uri(path)), [self._pool(path)])

    def pools(self) -> dict[str, Any]:
        return self._body(
            "tm:ltm:pool:poolcollectionstats", ("ltm", "pool"), [self._pool(p) for p in self.config.pools]
        )

    def _node(self, path: str) -> dict[str, Any]:
        node = self.config.node(path)
        members = [self._runtime(pool, member) for pool, member in self.config.members_of_node(path)]
        if node["state"] == "user-down":
            words = ("offline", "disabled", "Forced down")
        elif node["session"] == "user-disabled":
            words = ("unknown", "disabled", "Node address does not have service checking enabled, user disabled")
        else:
            words = ("unknown", "enabled", "Node address does not have service checking enabled")
        entries = {
            "addr": text(node["address"]),
            "curSessions": value(0),
            "monitorRule": text("none"),
            "monitorStatus": text("forced-down" if node["state"] == "user-down" else "unchecked"),
            **traffic("serverside", list(members)),
            "sessionStatus": text("enabled" if node["session"] == "user-enabled" else "user-disabled"),
            **status(*words),
            "tmName": text(path),
            "totRequests": value(0),
        }
        return nested("tm:ltm:node:nodestats", ("ltm", "node", to_uri(path)), entries)

    def node(self, path: str) -> dict[str, Any]:
        return self._body("tm:ltm:node:nodestats", ("ltm", "node", to_uri(path)), [self._node(path)])

    def nodes(self) -> dict[str, Any]:
        return self._body(
            "tm:ltm:node:nodecollectionstats", ("ltm", "node"), [self._node(p) for p in self.config.nodes]
        )

    def _virtual(self, path: str) -> dict[str, Any]:
        conf = self.config.virtual(path)
        runtime: VirtualRuntime = self.plane.virtuals[path]
        address, port = split_destination(conf["destination"])
        availability, _enabled, reason = ("unknown", "", "The virtual server has no pool")
        if conf.get("pool"):
            availability, _enabled, reason = self.pool_status(conf["pool"])
            if availability == "available":
                reason = "The virtual server is available"
        entries = {
            **traffic("clientside", [runtime]),
            **traffic("ephemeral", []),
            **{f"{span}AvgUsageRatio": value(0) for span in ("fiveMin", "fiveSec", "oneMin")},
            **{f"cs{which}ConnDur": value(0) for which in ("Max", "Mean", "Min")},
            **{f"syncookie.{name}": value(0) for name in SYN_COOKIES},
            "cmpEnableMode": text("all-cpus"),
            "cmpEnabled": text("enabled"),
            "destination": text(f"{address}:{port}"),
            **status(availability, "enabled" if conf.get("enabled", True) else "disabled", reason),
            "syncookieStatus": text("not-activated"),
            "tmName": text(path),
            "totRequests": value(0),
        }
        return nested("tm:ltm:virtual:virtualstats", ("ltm", "virtual", to_uri(path)), entries)

    def virtual(self, path: str) -> dict[str, Any]:
        return self._body("tm:ltm:virtual:virtualstats", ("ltm", "virtual", to_uri(path)), [self._virtual(path)])

    def virtuals(self) -> dict[str, Any]:
        blocks = [self._virtual(path) for path in self.config.virtuals]
        return self._body("tm:ltm:virtual:virtualcollectionstats", ("ltm", "virtual"), blocks)
