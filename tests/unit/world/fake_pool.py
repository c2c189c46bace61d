# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load balancer's half of the fake site: one pool, as ``f5_pool_info`` and ``f5_pool_member`` see it."""

from __future__ import annotations

import dataclasses
import typing as t

from unit.world.site_faults import Clock, Faults, Row, outcome

if t.TYPE_CHECKING:
    from unit.world.site_checks import Checks

MONITOR_S = 5.0
Steps = t.Generator[str, None, Row]


@dataclasses.dataclass
class PoolMember:
    """A member of the pool; ``up`` false is forced offline, ``late`` is put there by a play without its lock."""

    address: str
    enabled: bool
    since: float
    up: bool = True
    connections: int = 0
    description: str = ""
    late: bool = False


class FakePool:
    """The pool of a site; the site says who serves."""

    spec: Row
    clock: Clock
    faults: Faults
    checks: Checks
    pool: dict[str, PoolMember]
    version: int

    def serves(self, address: str) -> bool:
        raise NotImplementedError

    def availability(self, member: PoolMember) -> str:
        if not member.up:
            return "offline"
        if self.clock() < member.since + MONITOR_S:
            return "unknown"
        return "available" if self.serves(member.address) else "offline"

    def in_service(self, member: PoolMember) -> bool:
        return member.enabled and self.availability(member) == "available"

    def f5_pool_info(self, **_options: t.Any) -> Steps:
        kind = self.faults.before("pool_info")
        yield from ()
        rows = [
            {
                "address": member.address,
                "port": self.spec["load_balancer"]["port"],
                "name": member.address,
                "description": member.description,
                "session": "user-enabled" if member.enabled else "user-disabled",
                "state": "user-up" if member.up else "user-down",
                "availability": self.availability(member),
                "connections": member.connections,
                "in_service": self.in_service(member),
            }
            for member in self.pool.values()
        ]
        rows, version = self.faults.shown("pool_info", kind, rows, self.version)
        self.checks.seen("pool_info", version, rows)
        self.faults.answer(kind, "pool_info")
        return {"changed": False, "pools": [{"name": self.spec["load_balancer"]["pool"], "members": rows}]}

    def f5_pool_member(self, state: str, members: list[Row], **options: t.Any) -> Steps:
        do = {"enabled": self._enable, "drained": self._drain, "absent": self._leave}[state]
        rows = yield from do(members, options)
        return outcome(rows, "members", options)

    def _enable(self, members: list[Row], options: Row) -> t.Generator[str, None, list[Row]]:
        kind = self.faults.before("enable")
        for row in members:
            member = self.pool.get(row["address"])
            if member is None:
                self.checks.joins(row["address"])
                self.pool[row["address"]] = PoolMember(
                    row["address"],
                    enabled=False,
                    since=self.clock(),
                    description=row.get("description", ""),
                    late=self.checks.late,
                )
            elif not member.up:
                self.checks.writes(f"bring up {row['address']}")
                member.up, member.enabled, member.since = True, False, self.clock()
        yield "members are in the pool, disabled"
        if kind == "cut":
            self.faults.answer(kind, "enable")
        rows, waited = [], 0.0
        for row in members:
            while waited < options["wait_timeout"] and not self._available(row["address"]):
                waited += MONITOR_S
                self.clock.advance(MONITOR_S)
        for row in members:
            member, ready = self.pool.get(row["address"]), self._available(row["address"])
            if ready and member is not None and not member.enabled:
                self.checks.enables(member)
                member.enabled = True
                member.connections = 3
                self.checks.enabled(member)
                yield f"{row['address']} enabled"
            ready = ready and row["address"] in self.pool
            rows.append({**row, "failed": not ready, "msg": "" if ready else f"{row['address']} is not available"})
        self.faults.answer(kind, "enable")
        return rows

    def _available(self, address: str) -> bool:
        return address in self.pool and self.availability(self.pool[address]) == "available"

    def _drain(self, members: list[Row], options: Row) -> t.Generator[str, None, list[Row]]:
        kind = self.faults.before("drain")
        there = [self.pool[row["address"]] for row in members if row["address"] in self.pool]
        for member in there:
            self.checks.disables(member)
            member.enabled = False
        if there:
            yield "members are disabled"
        if kind == "cut":
            self.faults.answer(kind, "drain")
        if any(member.connections for member in there):
            self.clock.advance(min(10.0, options["drain_timeout"]))
        for member in there:
            if member.address in self.pool:
                self.checks.disables(member)
                member.connections, member.up, member.enabled = 0, False, False  # whoever enabled it meanwhile
        if there:
            yield "members are forced offline"
        self.faults.answer(kind, "drain")
        return [{**row, "failed": False, "msg": ""} for row in members]

    def _leave(self, members: list[Row], _options: Row) -> t.Generator[str, None, list[Row]]:
        kind = self.faults.before("leave")
        there = [row["address"] for row in members if row["address"] in self.pool]
        for address in there:
            self.checks.leaves(self.pool[address])
            del self.pool[address]
        if there:
            yield "members are out of the pool"
        self.faults.answer(kind, "leave")
        return [{**row, "failed": False, "msg": ""} for row in members]
