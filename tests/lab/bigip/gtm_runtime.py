# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIG-IP DNS at work: the health of virtual servers by probing them, and what a name is answered with.

Simpler than the device: a device asks everything itself (no iQuery, no prober pools); static modes of balancing only;
no topology, no DNS persistence, no aliases with wildcards, no limits; what the device would leave to its own name
server (``return-to-dns``) is an answer without addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from . import names
from .gtm_model import Gtm, rule_names, split_member
from .gtm_schema import TYPES
from .monitor import Probe

if TYPE_CHECKING:
    from .model import Config

Object = dict[str, Any]
Chosen = TypeVar("Chosen")
DOWN, UNKNOWN, AVAILABLE = "offline", "unknown", "available"


class Watch:
    """The monitors of one rule on one address. ``availability`` is unknown without a monitor or a verdict."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.least = 0
        self.probes: dict[str, Probe] = {}

    def configure(self, gtm: Gtm, rule: str, target: tuple[str, int], scale: float) -> None:
        """Probes start, stop, or start again where their monitor or the address changed."""
        self.wanted, self.least = rule_names(rule)
        found = {name: gtm.find_monitor(name) for name in self.wanted}
        for name, probe in list(self.probes.items()):
            if found.get(name) is None or (probe.kind, probe.monitor, probe.given) != (*found[name], target):
                self.probes.pop(name).stop()
        for name, monitor in found.items():
            if monitor is not None and name not in self.probes:
                self.probes[name] = Probe(*monitor, target, lambda: None, scale=scale)

    @property
    def availability(self) -> str:
        results = [self.probes[name].passed if name in self.probes else None for name in self.wanted]
        if not results:
            return UNKNOWN
        if results.count(True) >= self.least:
            return AVAILABLE
        return DOWN if results.count(False) > len(results) - self.least else UNKNOWN

    def stop(self) -> None:
        for probe in self.probes.values():
            probe.stop()
        self.probes.clear()


class Turns:
    """Whose turn it is, for each pool and wide IP."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._weights: dict[str, dict[str, float]] = {}

    def order(self, key: str, mode: str, rows: Sequence[Chosen], name: Callable[[Chosen], str], ratio: Any) -> Any:
        """*rows* (in their configured order) as *mode* gives them out this time, the chosen one first."""
        if not rows or mode == "global-availability":
            return list(rows)
        if mode == "ratio":
            weights = self._weights.setdefault(key, {})
            total = 0.0
            for row in rows:
                weights[name(row)] = weights.get(name(row), 0.0) + (ratio(row) or 1)
                total += ratio(row) or 1
            first = max(rows, key=lambda row: weights[name(row)])
            weights[name(first)] -= total
            start = list(rows).index(first)
        else:
            last = self._last.get(key)
            places = [index for index, row in enumerate(rows) if name(row) == last]
            start = (places[0] + 1) % len(rows) if places else 0
        self._last[key] = name(rows[start])
        return [*rows[start:], *rows[:start]]


class GtmPlane:
    """Probes and counters behind the configuration in force.

    :param scale: factor on the times of the monitors.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        self.gtm: Gtm | None = None
        self.counts: dict[str, int] = {}
        self._scale = scale
        self._watches: dict[tuple[str, ...], Watch] = {}
        self._turns = Turns()

    def apply(self, config: Config) -> None:
        """Put a configuration in force."""
        self.gtm = gtm = Gtm(config)
        kept: set[tuple[str, ...]] = set()
        for path, server in gtm.servers.items():
            for name, virtual in server["virtuals"].items():
                rule = virtual.get("monitor") or server.get("monitor") or ""
                kept.add(self._watch((path, name), rule, virtual))
        for kind in TYPES:
            for path, pool in gtm.pools(kind).items():
                for member, item in pool["members"].items():
                    own = str(item["monitor"]).strip()
                    rule = str(pool["monitor"]).strip() if own == "default" else own
                    virtual = gtm.virtual(*split_member(member))
                    kept.add(self._watch((kind, path, member), "" if rule == "default" else rule, virtual))
        for key in set(self._watches) - kept:
            self._watches.pop(key).stop()

    def _watch(self, key: tuple[str, ...], rule: str, virtual: Object) -> tuple[str, ...]:
        assert self.gtm is not None
        address, port = names.split_destination(virtual["destination"])
        self._watches.setdefault(key, Watch()).configure(self.gtm, rule, (names.host(address), port), self._scale)
        return key

    def stop(self) -> None:
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()

    # -- status: availability, enabled state ---------------------------------------------------------------------------

    def virtual(self, server: str, name: str) -> tuple[str, str]:
        """Availability and enabled state of a virtual server."""
        assert self.gtm is not None
        item = self.gtm.virtual(server, name)
        parents = (self.gtm.server(server), self.gtm.datacenters[self.gtm.server(server)["datacenter"]])
        return self._watches[server, name].availability, enabled_state(item, *parents)

    def member(self, kind: str, pool: str, path: str) -> tuple[str, str]:
        """Of a pool member: the virtual server's health and, where its pool has a monitor, that one's, too."""
        assert self.gtm is not None
        server, name = split_member(path)
        health, parent = self.virtual(server, name)
        own = self._watches[kind, pool, path]
        if own.wanted:
            both = {health, own.availability}
            has_other = bool(self._watches[server, name].wanted)
            health = own.availability if not has_other else next(w for w in (DOWN, UNKNOWN, AVAILABLE) if w in both)
        item = self.gtm.member(kind, pool, path)
        if item["enabled"]:
            parents = (self.gtm.pool(kind, pool), {"enabled": parent == "enabled"})
            return health, enabled_state(item, *parents)
        return health, "disabled"

    def pool(self, kind: str, path: str) -> tuple[str, str]:
        assert self.gtm is not None
        pool = self.gtm.pool(kind, path)
        states = [self.member(kind, path, member) for member in pool["members"]]
        return best(state for state, enabled in states if enabled == "enabled"), enabled_state(pool)

    def wideip(self, kind: str, path: str) -> tuple[str, str]:
        assert self.gtm is not None
        wideip = self.gtm.wideips(kind)[path]
        states = [self.pool(kind, f"/{row['partition']}/{row['name']}") for row in wideip.get("pools", [])]
        return best(state for state, enabled in states if enabled == "enabled"), enabled_state(wideip)

    # -- answers -------------------------------------------------------------------------------------------------------

    def lookup(self, name: str) -> tuple[list[str], int] | None:
        """What a query for *name* is answered with (see ``lab.dns``); every query moves the turns on."""
        answers: list[str] = []
        ttls: list[int] = []
        known = False
        for kind in TYPES:
            wideip = self._wideip(kind, name)
            if wideip is None:
                continue
            known = True
            self._count(f"wideip {kind} {name} requests")
            found = self._resolve(kind, wideip) if wideip["enabled"] else None
            if found is not None:
                answers += found[0]
                ttls.append(found[1])
        return (answers, min(ttls, default=0)) if known else None

    def _wideip(self, kind: str, name: str) -> Object | None:
        assert self.gtm is not None
        for wideip in self.gtm.wideips(kind).values():
            if name in (wideip["name"].lower(), *(alias.lower() for alias in wideip.get("aliases") or [])):
                return wideip
        return None

    def _resolve(self, kind: str, wideip: Object) -> tuple[list[str], int] | None:
        assert self.gtm is not None
        rows = [row for row in wideip.get("pools", []) if self.gtm.pools(kind)[_path(row)]["enabled"]]
        serving = [row for row in rows if self.pool(kind, _path(row))[0] != DOWN]
        key = f"{kind} {wideip['name']}"
        # Where no pool has anything to offer, each may still have a fallback.
        for row in self._turns.order(key, wideip["poolLbMode"], serving or rows, _path, lambda row: row["ratio"]):
            found = self._from_pool(kind, _path(row))
            if found:
                return found, self.gtm.pools(kind)[_path(row)]["ttl"]
        return None

    def _from_pool(self, kind: str, path: str) -> list[str]:
        """Addresses by the preferred, then the alternate, then the fallback mode (which asks for no health)."""
        assert self.gtm is not None
        pool = self.gtm.pool(kind, path)
        paths = {id(item): member for member, item in pool["members"].items()}
        enabled = [
            (paths[id(item)], item)
            for item in self.gtm.ordered(pool["members"])
            if self.member(kind, path, paths[id(item)])[1] == "enabled"
        ]
        healthy = [row for row in enabled if self.member(kind, path, row[0])[0] != DOWN]
        if pool["verifyMemberAvailability"] == "disabled":
            healthy = enabled
        for which, rows in (("loadBalancing", healthy), ("alternate", healthy), ("fallback", enabled)):
            mode = pool[f"{which}Mode"]
            if mode in {"none", "return-to-dns"}:
                if mode == "return-to-dns":
                    break
                continue
            if mode == "fallback-ip":
                if pool["fallbackIp"] not in {"any", "any6"}:
                    return [pool["fallbackIp"]]
                continue
            ordered = self._turns.order(f"{kind} {path}", mode, rows, _first, lambda row: row[1]["ratio"])
            if ordered:
                chosen = ordered[: max(pool["maxAnswersReturned"], 1)]
                for member, _item in chosen:
                    self._count(f"member {kind} {path} {member} {which}")
                return [self._address(member) for member, _item in chosen]
        return []

    def _address(self, member: str) -> str:
        assert self.gtm is not None
        return names.host(names.split_destination(self.gtm.virtual(*split_member(member))["destination"])[0])

    def _count(self, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1


def enabled_state(item: Mapping[str, Any], *parents: Mapping[str, Any]) -> str:
    """The state in the device's words: an object can be off by itself or by what it belongs to."""
    if not item["enabled"]:
        return "disabled"
    return "enabled" if all(parent["enabled"] for parent in parents) else "disabled-by-parent"


def best(states: Any) -> str:
    """The availability of what consists of *states*: one that is available is enough."""
    found = set(states)
    return next((state for state in (AVAILABLE, UNKNOWN) if state in found), DOWN if found else UNKNOWN)


def _path(row: Mapping[str, Any]) -> str:
    return f"/{row['partition']}/{row['name']}"


def _first(row: tuple[str, Object]) -> str:
    return row[0]
