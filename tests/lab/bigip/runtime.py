# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs for each configured object: health, connections, counters, the choice of a member."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import names
from .monitor import Probe

if TYPE_CHECKING:
    from .dataplane import Flow
    from .model import Config

PERSISTENCE_S = 180  # the device's source_addr profile


class Counters:
    """Connections and bytes since the start."""

    def __init__(self) -> None:
        self.flows: set[Flow] = set()
        self.total = 0
        self.maximum = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def opened(self, flow: Flow) -> None:
        self.flows.add(flow)
        self.total += 1
        self.maximum = max(self.maximum, len(self.flows))

    def closed(self, flow: Flow) -> None:
        self.flows.discard(flow)


class MemberRuntime(Counters):
    """One member: the answer of its monitors and the connections it holds."""

    def __init__(self, pool: str, path: str) -> None:
        super().__init__()
        self.pool = pool
        self.path = path
        self.conf: dict[str, Any] = {}
        self.node: dict[str, Any] = {}
        self.rule: tuple[tuple[str, ...], int] = ((), 0)
        self.probes: dict[str, Probe] = {}
        self.health = "unchecked"
        self.refused = 0
        self.weight = 0.0  # of the smooth weighted round robin
        self.on_down: Callable[[MemberRuntime], None] = lambda member: None

    @property
    def target(self) -> tuple[str, int]:
        return names.host(self.conf["address"]), self.conf["port"]

    @property
    def forced_down(self) -> bool:
        return "user-down" in {self.conf["state"], self.node["state"]}

    @property
    def disabled(self) -> bool:
        return "user-disabled" in {self.conf["session"], self.node["session"]}

    @property
    def running(self) -> bool:
        """Whether it may serve at all: not forced down and not found dead. No verdict yet counts as alive."""
        return not self.forced_down and self.health != "down"

    @property
    def accepts(self) -> bool:
        """Whether it takes a new connection of a client that nothing ties to it."""
        limit = self.conf["connectionLimit"]
        return self.running and not self.disabled and not (limit and len(self.flows) >= limit)

    def assess(self) -> None:
        """Health from the verdicts of the probes; tells ``on_down`` about the change to down."""
        wanted, least = self.rule
        if not wanted:
            health = "unchecked"
        else:
            results = [self.probes[name].passed if name in self.probes else None for name in wanted]
            passed, failed = results.count(True), results.count(False)
            health = "up" if passed >= least else "down" if failed > len(wanted) - least else "checking"
        before, self.health = self.health, health
        if health == "down" and before != "down":
            self.on_down(self)

    def configure(self, config: Config, scale: float) -> None:
        """Take over the configuration: probes start, stop or start again where their monitor changed."""
        before = self.forced_down if self.conf else False
        self.conf = config.pools[self.pool]["members"][self.path]
        self.node = config.member_node(self.pool, self.path)
        wanted, least = names.monitor_names(config.member_rule(self.pool, self.path))
        self.rule = (tuple(wanted), least)
        found = {} if self.forced_down else {name: config.find_monitor(name) for name in wanted}
        for name, probe in list(self.probes.items()):
            if found.get(name) is None or (probe.kind, probe.monitor) != found[name]:
                self.probes.pop(name).stop()
        for name, monitor in found.items():
            if monitor is not None and name not in self.probes:
                self.probes[name] = Probe(*monitor, self.target, self.assess, scale=scale)
        self.assess()
        if self.forced_down and not before:
            self.on_down(self)

    def stop(self) -> None:
        for probe in self.probes.values():
            probe.stop()
        self.probes.clear()


class PoolRuntime:
    """The members of a pool and whose turn it is."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.conf: dict[str, Any] = {}
        self.members: dict[str, MemberRuntime] = {}
        self._last = -1

    def candidates(self, excluded: Iterable[MemberRuntime] = ()) -> list[MemberRuntime]:
        """Members that take a new connection, highest priority groups first until ``minActiveMembers`` are reached."""
        ready = [member for member in self.members.values() if member.accepts and member not in excluded]
        least = self.conf["minActiveMembers"]
        if not least:
            return ready
        chosen: list[MemberRuntime] = []
        for priority in sorted({member.conf["priorityGroup"] for member in ready}, reverse=True):
            chosen += [member for member in ready if member.conf["priorityGroup"] == priority]
            if len(chosen) >= least:
                break
        return chosen

    def pick(self, excluded: Iterable[MemberRuntime] = ()) -> MemberRuntime | None:
        """The member for the next connection, by the pool's load balancing mode."""
        ready = self.candidates(excluded)
        if not ready:
            return None
        mode = self.conf["loadBalancingMode"]
        if mode.startswith("ratio"):
            return self._by_ratio(ready, node=mode == "ratio-node")
        if mode.startswith("least-connections"):
            fewest = min(len(member.flows) for member in ready)
            ready = [member for member in ready if len(member.flows) == fewest]
        return self._next(ready)

    def _next(self, ready: list[MemberRuntime]) -> MemberRuntime:
        everyone = list(self.members.values())
        for step in range(1, len(everyone) + 1):
            index = (self._last + step) % len(everyone)
            if everyone[index] in ready:
                self._last = index
                return everyone[index]
        raise AssertionError("a candidate is a member of its pool")

    @staticmethod
    def _by_ratio(ready: list[MemberRuntime], *, node: bool) -> MemberRuntime:
        weights = {member: (member.node if node else member.conf)["ratio"] or 1 for member in ready}
        for member, weight in weights.items():
            member.weight += weight
        chosen = max(ready, key=lambda member: member.weight)
        chosen.weight -= sum(weights.values())
        return chosen


class VirtualRuntime(Counters):
    """One virtual server: who is tied to whom, and the listener that the data plane keeps for it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.conf: dict[str, Any] = {}
        self.pool: PoolRuntime | None = None
        self.refused = 0
        self.bind_error = ""
        self._ties: dict[str, tuple[MemberRuntime, float]] = {}

    @property
    def persistent(self) -> bool:
        """Whether clients stay with their member by source address."""
        return any(names.split_path(name)[1] == "source_addr" for name in self._profiles("persist"))

    def _profiles(self, key: str) -> list[str]:
        value = self.conf.get(key) or []
        items = [value] if isinstance(value, str) else value
        return [names.full_path(item if isinstance(item, str) else item["name"]) for item in items]

    def pick(self, client: str, excluded: Iterable[MemberRuntime] = ()) -> MemberRuntime | None:
        """The member for a connection of *client*. A disabled member still takes the clients tied to it."""
        if self.pool is None:
            return None
        if not self.persistent:
            return self.pool.pick(excluded)
        tied, until = self._ties.get(client, (None, 0.0))
        member = tied
        usable = tied is not None and tied.running and tied.pool == self.pool.path and until > time.monotonic()
        if not usable or self.pool.members.get(tied.path) is not tied or tied in excluded:
            member = self.pool.pick(excluded)
        if member is not None:
            self._ties[client] = (member, time.monotonic() + PERSISTENCE_S)
        return member
