# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is asked for each VM and what is known about it: the rows that come back from every call, whatever happened.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ._inventory import Machine, iso
from ._tasks import TaskState

PHASES = ("clone", "customization", "address")
DELETE_PHASES = ("shutdown", "destroy")
#: Phases whose time counts as another one's.
BUCKETS = {"power_on": "clone", "other": "clone", "power_off": "shutdown"}


@dataclass(frozen=True)
class Wanted:
    """One VM as asked for; ``marks`` already holds the marks common to all."""

    name: str
    address: str
    marks: dict[str, str]


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each phase may take; 0 for customization, address or shutdown leaves that phase out."""

    clone: float = 600
    customization: float = 600
    address: float = 300
    shutdown: float = 60
    destroy: float = 300


@dataclass
class Row:
    """A VM on its way. ``phase`` is the one it is in, or in which it failed; ``ready`` (or ``absent``) at the end."""

    wanted: Wanted
    phase: str = "queued"
    ref: t.Any = None
    machine: Machine | None = None
    #: As it was before this call touched anything; None where there was none.
    before: Machine | None = None
    task: t.Any = None
    last_task: TaskState | None = None
    phases: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    changed: bool = False
    failed: bool = False
    done: bool = False
    msg: str = ""
    host: str = ""
    started: float = 0.0
    seconds: float = 0.0
    phase_started: float = 0.0
    deadline: float = 0.0
    customizes: bool = True

    @property
    def ended(self) -> bool:
        """Whether nothing more is done for it."""
        return self.done or self.failed

    @property
    def moid(self) -> str:
        """The managed object id, or ``""`` while there is none."""
        return self.ref._GetMoId() if self.ref is not None else ""

    def enter(self, phase: str, now: float, timeout: float) -> None:
        """Begin *phase*, and with it its own deadline."""
        self._add_time(now)
        if not self.started:
            self.started = now
        self.phase, self.phase_started, self.deadline = phase, now, now + timeout

    def finish(self, phase: str, now: float) -> None:
        """Nothing is left to do."""
        self._add_time(now)
        self.phase, self.done, self.task = phase, True, None
        self.seconds = now - self.started if self.started else 0.0

    def fail(self, message: str, remedy: str, now: float) -> None:
        """Give up on this VM; the others go on."""
        self._add_time(now)
        self.failed = True
        self.msg = f"{message.rstrip('.')}. {remedy}".strip() if remedy else message
        self.seconds = now - self.started if self.started else 0.0

    def _add_time(self, now: float) -> None:
        bucket = BUCKETS.get(self.phase, self.phase)
        if bucket in self.phases:
            self.phases[bucket] += now - self.phase_started

    def as_dict(self) -> dict[str, t.Any]:
        """The row of a module's result; the same keys in every state."""
        machine = self.machine
        marks = machine.marks if machine and machine.marks is not None else {}
        return {
            "name": self.wanted.name,
            "moid": self.moid,
            "address": machine_address(machine, self.wanted.address),
            "power_state": machine.power_state if machine and self.phase != "absent" else "",
            "marks": dict(marks),
            "template": marks.get("template", ""),
            "host": self.host,
            "created": machine.created if machine else None,
            "created_at": iso(machine.created) if machine else None,
            "phase": self.phase,
            "phases": {name: round(seconds, 3) for name, seconds in self.phases.items()},
            "seconds": round(self.seconds, 3),
            "last_task": self.last_task.as_dict() if self.last_task else {},
            "changed": self.changed,
            "failed": self.failed,
            "msg": self.msg,
        }


def machine_address(machine: Machine | None, wanted: str = "") -> str:
    """The wanted address where the guest has it, else what the guest reports, else what the VM was made with.

    So a VM that is off or hangs still shows which address it holds: it can be found in pools, and nobody gets it twice.
    """
    if machine is None:
        return ""
    if wanted and wanted in machine.addresses:
        return wanted
    return machine.address or (machine.marks or {}).get("address", "")


def diff_state(machine: Machine | None, wanted: Wanted) -> dict[str, t.Any]:
    """A VM as a diff shows it: only what the module is responsible for."""
    if machine is None:
        return {"state": "absent"}
    marks = machine.marks or {}
    return {
        "state": "present",
        "power_state": machine.power_state,
        "address": machine_address(machine, wanted.address),
        "marks": {key: marks[key] for key in wanted.marks if key in marks},
    }


def result_of(rows: t.Sequence[Row], diff: dict[str, t.Any]) -> dict[str, t.Any]:
    """What a module returns for *rows*, without ``msg`` and ``failed``."""
    return {
        "changed": any(row.changed for row in rows),
        "vms": [row.as_dict() for row in rows],
        "failed_vms": [row.wanted.name for row in rows if row.failed],
        "diff": diff,
    }


def summary(rows: t.Sequence[Row], verb: str) -> str:
    """One sentence for ``msg`` when some rows failed."""
    bad = [row for row in rows if row.failed]
    shown = "; ".join(f"{row.wanted.name}: {row.msg}" for row in bad[:3])
    more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"{len(bad)} of {len(rows)} VMs could not be {verb}. {shown}{more}"
