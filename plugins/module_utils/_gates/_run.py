# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

All members and all their gates, until each has passed or the time is over (invariant 5).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
import typing as t

from .._common._waiter import Waiter
from ._checks import Failed, Gate, check, label_of

#: Members beyond this number wait for a free thread; their time starts when they get one.
MAX_THREADS = 128
_SHORTEST_ATTEMPT_S = 0.05


@dataclasses.dataclass
class GateResult:
    """One gate of one member: how many passes in a row it had at last, and what the last attempt saw."""

    gate: Gate
    streak: int = 0
    attempts: int = 0
    msg: str = "not tried"

    @property
    def passed(self) -> bool:
        """Whether it passed as often in a row as it must."""
        return self.streak >= (self.gate.get("consecutive") or 1)

    def as_dict(self) -> dict[str, t.Any]:
        """A row for the module's result."""
        return {
            "type": self.gate["type"],
            "port": self.gate["port"],
            "passed": self.passed,
            "attempts": self.attempts,
            "msg": self.msg,
        }


@dataclasses.dataclass
class MemberResult:
    """One member: passed when all its gates had their passes in a row at the same time."""

    name: str
    address: str
    gates: list[GateResult]
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it may take traffic."""
        return all(gate.passed for gate in self.gates)

    @property
    def msg(self) -> str:
        """One sentence."""
        if self.passed:
            return f"passed {len(self.gates)} gates"
        open_gates = [f"{label_of(gate.gate)}: {gate.msg}" for gate in self.gates if not gate.passed]
        return f"{self.name} ({self.address}) did not pass within {self.seconds:.1f} s: {'; '.join(open_gates)}"

    def as_dict(self) -> dict[str, t.Any]:
        """A row for the module's result."""
        return {
            "name": self.name,
            "address": self.address,
            "passed": self.passed,
            "changed": False,
            "failed": not self.passed,
            "seconds": round(self.seconds, 3),
            "gates": [gate.as_dict() for gate in self.gates],
            "msg": self.msg,
        }


def _attempt(result: GateResult, address: str, left: float) -> None:
    result.attempts += 1
    timeout = max(_SHORTEST_ATTEMPT_S, min(float(result.gate.get("timeout") or 5), left))
    try:
        result.msg = check(address, result.gate, timeout)
    except Failed as failure:
        result.streak = 0
        result.msg = str(failure)
    else:
        result.streak += 1


def _watch(member: MemberResult, waiter: Waiter) -> MemberResult:
    """Look at all gates of *member*, round by round.

    Every gate is asked in every round, also one that has passed already: all of them must be good at the same time.
    """
    while True:
        for gate in member.gates:
            _attempt(gate, member.address, waiter.remaining)
        if member.passed or not waiter.pause():
            member.seconds = waiter.elapsed
            return member


def run_gates(
    members: t.Sequence[t.Mapping[str, t.Any]],
    gates: t.Sequence[Gate],
    *,
    timeout: float,
    interval: float = 1.0,
    sleep: t.Callable[[float], None] = time.sleep,
) -> list[MemberResult]:
    """Ask every member in parallel until its gates pass or *timeout* seconds are over; in the order of *members*.

    :param members: rows ``{name, address}``.
    :param interval: seconds between two rounds.
    """
    results = [MemberResult(row["name"], row["address"], [GateResult(gate) for gate in gates]) for row in members]
    if not results:
        return []
    with concurrent.futures.ThreadPoolExecutor(min(len(results), MAX_THREADS)) as pool:
        return list(pool.map(lambda member: _watch(member, Waiter(timeout, interval, sleep=sleep)), results))
