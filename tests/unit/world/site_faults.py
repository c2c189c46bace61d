# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between a module and its backend, and the clock that all of the fake world shares."""

from __future__ import annotations

import typing as t

Row = dict[str, t.Any]

#: Which backend a call goes to.
BACKENDS: dict[str, str] = {
    "list": "vcenter",
    "list_names": "vcenter",
    "clone": "vcenter",
    "delete": "vcenter",
    "mark": "vcenter",
    "pool_info": "bigip",
    "enable": "bigip",
    "drain": "bigip",
    "leave": "bigip",
    "target_info": "prometheus",
    "target_add": "prometheus",
    "target_remove": "prometheus",
    "gate": "network",
    "notify": "alertmanager",
}
READS = ("list", "list_names", "pool_info", "target_info")
#: refused: nothing happened; cut: some of it did; applied: all of it did, and the answer was an error; slow: it took
#: long; stale: a read that shows what it showed last time.
KINDS = ("refused", "cut", "applied", "slow", "stale")
SLOW_S = 45.0


class BackendError(Exception):
    """What a module fails with as a whole."""

    def __init__(self, message: str, **result: t.Any) -> None:
        super().__init__(message)
        self.result: Row = result


def outcome(rows: list[Row], key: str, options: Row) -> Row:
    """As our modules: a partial success counts where that is allowed, no success at all never does."""
    failed = [row for row in rows if row["failed"]]
    result = {"changed": True, key: rows, f"failed_{key}": [row.get("name") or row["address"] for row in failed]}
    if failed and (len(failed) == len(rows) or not options.get("allow_partial")):
        raise BackendError("; ".join(row["msg"] for row in failed), **result)
    return result


class Clock:
    """Seconds since the epoch; ``before`` is told of each step forward, so that heartbeats go on meanwhile."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.before: t.Callable[[float], None] = lambda _seconds: None

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        if seconds > 0:
            self.before(seconds)
            self.now += seconds


class Faults:
    """At most one fault waits for each call; a backend that is down refuses all of its calls."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.waiting: dict[str, str] = {}
        self.down: set[str] = set()
        self.met: dict[str, int] = {}
        self._shown: dict[str, tuple[t.Any, int]] = {}

    def clear(self) -> None:
        """All is well from now on."""
        self.waiting.clear()
        self.down.clear()

    def before(self, call: str) -> str:
        """Meet what waits for *call*.

        :returns: what is still to go wrong in it: ``cut``, ``applied``, ``stale`` or nothing.
        :raises BackendError: it was refused.
        """
        kind = self.waiting.pop(call, "")
        if BACKENDS[call] in self.down:
            kind = "refused"
        if kind:
            self.met[f"{kind} {call}"] = self.met.get(f"{kind} {call}", 0) + 1
        if kind == "refused":
            raise BackendError(f"{BACKENDS[call]} does not answer ({call})")
        if kind == "slow":
            self.clock.advance(SLOW_S)
            return ""
        return kind

    @staticmethod
    def answer(kind: str, call: str) -> None:
        """The end of a call whose answer is lost. :raises BackendError: for ``cut`` and ``applied``."""
        if kind in ("cut", "applied"):
            raise BackendError(f"{BACKENDS[call]} answered with an error ({call})")

    def shown(self, call: str, kind: str, rows: t.Any, version: int) -> tuple[t.Any, int]:
        """*rows*, or for a stale read those of the last one; with the version of the world that they show."""
        if kind == "stale" and call in self._shown:
            return self._shown[call]
        self._shown[call] = (rows, version)
        return rows, version
