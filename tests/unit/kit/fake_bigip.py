# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BIG-IP in memory for tests of the logic above the session: no sockets, no time but the clock's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, UnsettledError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import MissingObjectError

from .http_talk import Clock

POOLS = "/mgmt/tm/ltm/pool"
NODES = "/mgmt/tm/ltm/node"


class FakeBigIP:
    """Takes the place of ``BigIP``. Pools and nodes by name, all in Common.

    ``monitor(address, seconds)`` says what the monitor finds, ``connections(address, seconds)`` how many there are;
    both may be replaced. ``commits`` has the changes of each transaction as ``(method, last path element, body)``.
    ``faults`` are called in turn before (``"before"``) or after (``"after"``) a commit took effect.
    """

    name = "https://fake"

    def __init__(self, monitor: str = "/Common/http") -> None:
        self.clock = Clock()
        self.sleep = self.clock.sleep
        self.started = self.clock()
        self.pools: dict[str, dict[str, dict[str, Any]]] = {"web-pool": {}}
        self.nodes: dict[str, str] = {}
        self.pool_monitor = monitor
        self.monitor: Callable[[str, float], str] = lambda _address, _seconds: "available"
        self.connections: Callable[[str, float], int] = lambda _address, _seconds: 0
        self.commits: list[list[tuple[str, str, Mapping[str, Any] | None]]] = []
        self.faults: list[tuple[str, Callable[[FakeBigIP], None]]] = []
        self.calls: list[tuple[str, str]] = []
        self.old_stats = False
        self.traffic: list[tuple[str, float]] = []

    def add(
        self, address: str, session: str = "user-enabled", state: str = "user-up", pool: str = "web-pool", **fields: Any
    ) -> None:
        """A member as somebody else made it."""
        if address not in self.nodes.values():
            self.nodes[address] = address
        name = f"{self.node_name(address)}:80"
        self.pools.setdefault(pool, {})[name] = {
            "name": name,
            "address": address,
            "session": session,
            "state": state,
            **fields,
        }

    def node_name(self, address: str) -> str:
        return next(name for name, value in self.nodes.items() if value == address)

    def waiter(self, timeout: float, interval: float = 1.0) -> Waiter:
        return Waiter(timeout, interval, clock=self.clock, sleep=self.sleep)

    @property
    def seconds(self) -> float:
        return self.clock() - self.started

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.calls.append(("GET", path))
        if path == NODES:
            return {
                "items": [
                    {"name": name, "partition": "Common", "address": address} for name, address in self.nodes.items()
                ]
            }
        if path == POOLS:
            return {"items": [self._pool(name) for name in self.pools]}
        if path == "/mgmt/tm/cm/sync-status":
            return {"entries": {"x": {"nestedStats": {"entries": {"status": {"description": "In Sync"}}}}}}
        name, _slash, rest = path.removeprefix(f"{POOLS}/~Common~").partition("/")
        if name not in self.pools:
            raise MissingObjectError(f"01020036:3: The requested Pool (/Common/{name}) was not found.")
        if rest == "members/stats":
            return {"entries": self._pool_figures(name) if self.old_stats else self._figures(name)}
        if rest.endswith("/stats"):
            member = unquote(rest.removesuffix("/stats").rpartition("~")[2])
            found = [entry for url, entry in self._figures(name).items() if unquote(url).endswith(f"~{member}/stats")]
            if not found:
                raise MissingObjectError("01020036:3: The requested Pool Member was not found.")
            return {"entries": {f"https://localhost{path}": found[0]}}
        return self._pool(name)

    def _pool(self, name: str) -> dict[str, Any]:
        items = []
        for member in self.pools[name].values():
            state, session = member["state"], member["session"]
            if state != "user-down":
                state = {"available": "up", "offline": "down"}.get(self._health(member), "checking")
            if session == "user-enabled" and self.pool_monitor:
                session = "monitor-enabled"
            items.append({"partition": "Common", **member, "state": state, "session": session})
        return {"name": name, "partition": "Common", "monitor": self.pool_monitor, "membersReference": {"items": items}}

    def _health(self, member: Mapping[str, Any]) -> str:
        if not self.pool_monitor:
            return "unknown"
        return "offline" if member["state"] == "user-down" else self.monitor(member["address"], self.seconds)

    def _pool_figures(self, name: str) -> dict[str, Any]:
        """What version 13.1.0.6 answers where the figures of all members are asked for."""
        values = {"activeMemberCnt": {"value": 0}, "serverside.curConns": {"value": 0}, "tmName": {"description": name}}
        return {f"https://localhost{POOLS}/{name}/members/~Common~{name}/stats": {"nestedStats": {"entries": values}}}

    def _figures(self, name: str) -> dict[str, Any]:
        entries = {}
        for key, member in self.pools[name].items():
            values = {
                "status.availabilityState": {"description": self._health(member)},
                "status.enabledState": {
                    "description": "disabled" if member["session"] == "user-disabled" else "enabled"
                },
                "status.statusReason": {"description": "said by the monitor"},
                "serverside.curConns": {"value": self.connections(member["address"], self.seconds)},
                "serverside.totConns": {"value": 7},
            }
            entries[f"https://localhost{POOLS}/~Common~{name}/members/~Common~{key}/stats"] = {
                "nestedStats": {"entries": values}
            }
        return entries

    # -- writing ----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, **_kwargs: Any) -> dict[str, Any]:
        self.calls.append((method, path))
        if path.startswith(NODES):
            name = unquote(path.rpartition("~")[2])
            if name not in self.nodes:
                raise MissingObjectError("01020036:3: The requested Node was not found.")
            for pool in self.pools.values():
                if any(member["address"] == self.nodes[name] for member in pool.values()):
                    raise ConflictError("01070110:3: Node address is referenced by a member of pool")
            del self.nodes[name]
        return {}

    @contextmanager
    def transaction(self) -> Iterator[FakeTransaction]:
        transaction = FakeTransaction()
        yield transaction
        fault = self.faults.pop(0) if self.faults else None
        if fault and fault[0] == "before":
            fault[1](self)
        pools, nodes = copy.deepcopy(self.pools), dict(self.nodes)
        try:
            for method, path, body in transaction.changes:
                self._apply(method, path, body)
        except Exception:
            self.pools, self.nodes = pools, nodes
            raise
        self.commits.append([(m, unquote(p.rpartition("~")[2]), b) for m, p, b in transaction.changes])
        for pool in self.pools.values():
            self.traffic += [
                (one["address"], self.seconds) for one in pool.values() if one["session"] == "user-enabled"
            ]
        if fault and fault[0] == "after":
            fault[1](self)

    def _apply(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        pool_name, _slash, rest = path.removeprefix(f"{POOLS}/~Common~").partition("/")
        pool = self.pools[pool_name]
        if method == "POST":
            if body["name"] in pool:
                raise ConflictError("01020066:3: The requested Pool Member already exists in partition Common.")
            self.nodes.setdefault(body["name"].rpartition(":")[0], body["address"])
            pool[body["name"]] = dict(body)
            return
        name = unquote(rest.rpartition("~")[2])
        if name not in pool:
            raise MissingObjectError("01020036:3: The requested Pool Member was not found.")
        if method == "DELETE":
            del pool[name]
        else:
            pool[name].update(body)


class FakeTransaction:
    def __init__(self) -> None:
        self.changes: list[tuple[str, str, Mapping[str, Any] | None]] = []

    def send(self, method: str, path: str, json: Any = None) -> None:
        self.changes.append((method, path, json))


def lose_the_answer(_device: FakeBigIP) -> None:
    """A fault: 500, or a cut connection, on the commit."""
    raise UnsettledError("apply, then fail")
