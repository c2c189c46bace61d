# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fault matrix consists of: plays, calls, faults, and the cells that follow from what a proxy saw."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PLAYS = {"out": "scale_out", "in": "scale_in"}
SIZE_BEFORE = {"out": 0, "in": 1}  # members made
SIZE_AFTER = {"out": 1, "in": 0}
MOST_TIMES = 4  # what is made more often is a poll
BACKENDS = ("vcenter", "bigip", "prometheus", "alertmanager")


@dataclasses.dataclass(frozen=True)
class Fault:
    """A column of the matrix. ``rule`` is what the proxy is told; ``lasting`` stands as long as the play runs."""

    name: str
    title: str
    rule: Mapping[str, Any]
    reads_only: bool = False
    writes_only: bool = False

    def fits(self, read: bool) -> bool:
        """Whether the fault means something of its own for a read, or for a write.

        A write is never answered with an older answer. A read changes nothing, so that one that is done and then
        answered with 500 is one that is answered with 500.
        """
        return not (self.writes_only if read else self.reads_only)


FAULTS = (
    Fault("refuse", "refused", {"fault": "refuse"}),
    Fault("refuse-lasting", "refused, lasting", {"fault": "refuse", "times": None}),
    Fault("delay", "5 s late", {"fault": "delay", "seconds": 5}),
    Fault("status", "500", {"fault": "status"}),
    Fault("status-lasting", "500, lasting", {"fault": "status", "times": None}),
    Fault("cut", "cut", {"fault": "cut"}),
    Fault("apply-status", "applied, then 500", {"fault": "apply_then_status"}, writes_only=True),
    Fault("stale", "stale read", {"fault": "stale"}, reads_only=True),
)


LEDGER_FAULTS = (
    Fault("refuse", "refused", {"fault": "refuse"}),
    Fault("delay", "5 s late", {"fault": "delay", "seconds": 5}),
    Fault("apply-cut", "applied, then cut", {"fault": "apply_then_cut"}),
)


@dataclasses.dataclass(frozen=True)
class Call:
    """A row of the matrix: a call that an undisturbed play makes."""

    play: str  # out | in
    backend: str
    call: str
    read: bool
    number: int = 0  # which of several such calls, from 1; 0 for the first one of any number

    @property
    def name(self) -> str:
        """The call as tables have it."""
        return f"{self.call} #{self.number}" if self.number else self.call

    @property
    def title(self) -> str:
        return f"scale_{self.play}  {self.backend}  {self.name}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a play with one fault on one call."""

    call: Call
    fault: Fault

    @property
    def title(self) -> str:
        return f"{self.call.title}  [{self.fault.title}]"

    @property
    def label(self) -> str:
        """For the names of files."""
        name = re.sub(r"\W+", "-", f"{self.call.backend}-{self.call.name}").strip("-")[-90:]
        return f"{self.call.play}-{name}-{self.fault.name}"


@dataclasses.dataclass
class Result:
    """How a cell ended. ``why`` is empty when all is well."""

    cell: Cell
    applied: int = 0  # how often the fault struck
    play_rc: int | None = None
    result: str = ""  # what the event says: succeeded, refused, failed
    code: str = ""
    message: str = ""
    reconciled: bool = False
    not_applicable: str = ""
    why: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    worker: int = 0

    @property
    def ok(self) -> bool:
        return not self.why

    def row(self) -> dict[str, Any]:
        """As matrix.json has it."""
        own = {key: value for key, value in dataclasses.asdict(self).items() if key != "cell"}
        call = self.cell.call
        return {
            "play": PLAYS[call.play], "backend": call.backend, "call": call.name, "read": call.read,
            "fault": self.cell.fault.name, "title": self.cell.fault.title, "ok": self.ok, **own,
        }  # fmt: skip


def rows_seen(play: str, calls: Iterable[Mapping[str, Any]], each: bool = False) -> list[Call]:
    """The rows that the calls of an undisturbed play make, in the order of their first call.

    :param each: a row for each time a call was made, up to MOST_TIMES of it, where it was made more than once.
    """
    rows = []
    for call in calls:
        times = min(call["count"], MOST_TIMES) if each else 1
        numbers = range(1, times + 1) if times > 1 else (0,)
        rows += [Call(play, call["listener"], call["call"], call["read"], number) for number in numbers]
    order = {backend: number for number, backend in enumerate(BACKENDS)}
    return sorted(dict.fromkeys(rows), key=lambda row: order.get(row.backend, 9))


def cells(rows: Sequence[Call], faults: Sequence[Fault] = FAULTS) -> list[Cell]:
    """All cells that mean something. Stale ones come last, as a worker has to have seen older answers."""
    found = [Cell(row, fault) for fault in faults for row in rows if fault.fits(row.read)]
    return sorted(found, key=lambda cell: cell.fault.reads_only)


def sample(todo: Sequence[Cell]) -> list[Cell]:
    """One cell of each call, the faults in turn."""
    by_call: dict[Call, list[Cell]] = {}
    for cell in todo:
        by_call.setdefault(cell.call, []).append(cell)
    found = [some[number % len(some)] for number, some in enumerate(by_call.values())]
    return [cell for cell in todo if cell in found]


def chosen(rows: Sequence[Call], pattern: str) -> list[Call]:
    """Rows that match ``backend:call``, ``play/backend:call`` or parts of it with ``*``."""
    return [
        row
        for row in rows
        if any(
            fnmatch.fnmatchcase(text, pattern) or text == pattern
            for text in (f"{row.backend}:{row.name}", f"{row.play}/{row.backend}:{row.name}")
        )
    ]


class Pool:
    """The cells still to do, shared by the workers; a worker takes one that fits the size of its group."""

    def __init__(self, todo: Sequence[Cell]) -> None:
        self._todo = list(todo)
        self._lock = threading.Lock()

    def take(self, size: int) -> Cell | None:
        with self._lock:
            fitting = (cell for cell in self._todo if SIZE_BEFORE[cell.call.play] == size)
            cell = next(fitting, None) or next(iter(self._todo), None)
            if cell is not None:
                self._todo.remove(cell)
            return cell
