# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Marks of VMs that exist, all at once. Whose a VM is was written by its clone and is never rewritten here.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._common._errors import AutoscaleError, InvalidSpecError
from ._client import Client, FaultError, fault_name, vim
from ._clone_spec import MARK_NAME, mark_options
from ._inventory import Inventory, Machine
from ._rows import Row, Wanted
from ._tasks import TASK_PROPERTIES, Pace, to_task_state

#: Written by vsphere_clone or vsphere_template and true for the whole life of what they made.
OWNERSHIP = ("action", "address", "created", "group", "kind", "slot", "source", "template")
#: Long enough for any reason in one line; vCenter's own limit for a value lies far above.
MAX_VALUE = 256
#: Faults that mean "not at this moment": tried again until the deadline.
BUSY = ("TaskInProgress", "ConcurrentAccess", "ResourceInUse")
GONE = ("ManagedObjectNotFound",)


@dataclass(frozen=True)
class MarkOrder:
    """What is asked for. ``moids`` by VM name, for names that exist more than once."""

    names: tuple[str, ...]
    moids: dict[str, str]
    marks: dict[str, str]
    set: dict[str, str]
    remove: tuple[str, ...]
    timeout: float = 60
    wait: bool = True

    def missing(self, machine: Machine) -> dict[str, str]:
        """What has to be written: keys with their values, those to remove with ``""``."""
        marks = machine.marks or {}
        changes = {key: value for key, value in self.set.items() if marks.get(key) != value}
        return {**changes, **{key: "" for key in self.remove if key in marks}}


def mark_order(params: t.Mapping[str, t.Any]) -> MarkOrder:
    """The options of ``vsphere_mark``, checked before anybody is asked.

    :raises InvalidSpecError: names the option, the value and what is allowed.
    """
    marks = {str(key): mark_text(value) for key, value in (params["marks"] or {}).items()}
    marks = {key: value for key, value in marks.items() if value}
    if not marks:
        raise InvalidSpecError(
            "marks is empty, so nobody could tell whether these VMs are ours", remedy="Set marks, like group: web"
        )
    new = {str(key): mark_text(value) for key, value in (params["set"] or {}).items()}
    remove = tuple(dict.fromkeys(params["remove"] or ()))
    if not new and not remove:
        raise InvalidSpecError("set and remove are both empty", remedy="Say which marks shall change")
    for option, keys in (("set", new), ("remove", remove)):
        for key in keys:
            _check_key(option, key)
    for key, value in new.items():
        if not value:
            raise InvalidSpecError(
                f"set.{key} has no value, and an empty mark is none", remedy=f"Use remove: [{key}] to take it away"
            )
        if len(value) > MAX_VALUE or re.search(r"[\x00-\x1f]", value):
            raise InvalidSpecError(f"set.{key} is not allowed: one line of at most {MAX_VALUE} characters")
    both = sorted(set(new) & set(remove))
    if both:
        raise InvalidSpecError(f"{', '.join(both)} stands in set and in remove", remedy="Leave it out of one of them")
    names = [row["name"] for row in params["vms"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidSpecError(f"vms.name {', '.join(twice)} is given more than once")
    moids = {row["name"]: row["moid"] for row in params["vms"] if row["moid"]}
    return MarkOrder(tuple(names), moids, marks, new, remove, params["wait_timeout"], params["wait"])


def mark_text(value: t.Any) -> str:
    """A value from YAML as it stands in ``extraConfig``: ``true``, not ``True``."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _check_key(option: str, key: str) -> None:
    if not MARK_NAME.match(key):
        raise InvalidSpecError(f"{option} key {key!r} is not allowed: letters, digits, '_', '.', '-', at most 64")
    if key in OWNERSHIP:
        raise InvalidSpecError(
            f"{option} key {key!r} is not allowed: the clone wrote it, and it says whose the VM is or what it was made "
            f"with ({', '.join(OWNERSHIP)})",
            remedy="Make a new VM with other marks; a VM does not change its owner",
        )


class MarkRun:
    """One call's work; :meth:`look_first`, then :meth:`run` unless in check mode."""

    def __init__(self, inventory: Inventory, order: MarkOrder, pace: Pace, *, root: t.Any = None) -> None:
        self.inventory = inventory
        self.client: Client = inventory.client
        self.order = order
        self.pace = pace
        self.root = root
        self.rows = [Row(Wanted(name, "", order.marks), phases={}) for name in order.names]

    def look_first(self) -> list[Row]:
        """Read which VMs exist, whose they are and what they carry. Changes nothing."""
        found, hosts = self.inventory.named_machines(self.order.names, root=self.root)
        now = self.pace.clock()
        for row in self.rows:
            moid = self.order.moids.get(row.wanted.name, "")
            same_name = [m for m in found if m.name == row.wanted.name and moid in ("", m.moid)]
            ours = [m for m in same_name if m.has_marks(self.order.marks) and not m.is_template]
            if not same_name:
                which = f" with moid {moid}" if moid else ""
                row.fail(
                    f"There is no VM {row.wanted.name!r}{which} in vCenter {self.client.settings.where}",
                    "Check name, moid and datacenter; reconcile says what became of a VM of a group",
                    now,
                )
                continue
            machine = (ours or same_name)[0]
            row.ref, row.machine, row.before = machine.ref, machine, machine
            row.host = hosts.get(machine.host_moid, "")
            if len(ours) > 1:
                moids = ", ".join(sorted(m.moid for m in ours))
                row.fail(f"VM {row.wanted.name!r} exists {len(ours)} times ({moids})", "Give its moid too", now)
            elif not ours:
                self._refuse(row, machine, now)
            elif not self.order.missing(machine):
                row.finish("ready", now)
        return self.rows

    def diff(self) -> dict[str, t.Any]:
        """Before and after by VM name; only the marks that were asked for."""
        before = {row.wanted.name: self._shown(row.before) for row in self.rows}
        after = dict(before)
        for row in self.rows:
            if row.before is not None and not row.failed:
                marks = {**(row.before.marks or {}), **self.order.missing(row.before)}
                after[row.wanted.name] = self._shown_marks(marks)
            elif row.failed and row.machine is not None:
                after[row.wanted.name] = self._shown(row.machine)
        return {"before": before, "after": after}

    def _shown(self, machine: Machine | None) -> dict[str, t.Any]:
        return {"state": "absent"} if machine is None else self._shown_marks(machine.marks or {})

    def _shown_marks(self, marks: t.Mapping[str, str]) -> dict[str, t.Any]:
        keys = sorted({*self.order.set, *self.order.remove})
        return {"marks": {key: marks[key] for key in keys if marks.get(key)}}

    def _refuse(self, row: Row, machine: Machine, now: float) -> None:
        what = f"VM {row.wanted.name!r} ({machine.moid})"
        if machine.is_template:
            row.fail(f"{what} is a template and is not marked", "Use vsphere_template", now)
        elif machine.marks is None:
            row.fail(f"{what} is still being built", "Run again when that has ended", now)
        else:
            has = ", ".join(f"{key}={machine.marks.get(key, '(none)')}" for key in sorted(self.order.marks))
            wanted = ", ".join(f"{key}={value}" for key, value in sorted(self.order.marks.items()))
            row.fail(
                f"{what} is not ours and is not marked: its marks are {has}, wanted are {wanted}",
                "Check the name and marks",
                now,
            )

    def run(self) -> list[Row]:
        """Carry it out; failures stay in their rows.

        :raises AutoscaleError: vCenter itself is lost; ``result["vms"]`` holds what is known of each VM.
        """
        try:
            for row in self.rows:
                if not row.ended:
                    row.enter("mark", self.pace.clock(), self.order.timeout)
                    self._submit(row)
            while busy := [row for row in self.rows if not row.ended]:
                if not self.order.wait and all(row.task for row in busy):
                    break
                self.pace.pause(max(0.05, min(row.deadline for row in busy) - self.pace.clock()))
                self._look(busy)
            for row in busy:
                row.changed = True  # sent off; nobody waits for it
            self._read_back()
        except AutoscaleError as error:
            error.result.setdefault("vms", [row.as_dict() for row in self.rows])
            error.result.setdefault("changed", any(row.changed for row in self.rows))
            raise
        return self.rows

    def _submit(self, row: Row) -> None:
        machine = t.cast("Machine", row.machine)
        spec = vim.vm.ConfigSpec(extraConfig=mark_options(self.order.missing(machine)))
        try:
            row.task = self.client.call(f"mark {row.wanted.name!r}", row.ref.ReconfigVM_Task, spec)
        except FaultError as error:
            self._failed(row, error.fault, str(error))

    def _look(self, busy: list[Row]) -> None:
        tasks = [row.task for row in busy if row.task]
        seen = self.inventory.read(tasks, {vim.Task: TASK_PROPERTIES}) if tasks else {}
        for row in busy:
            if row.task:
                self._on_task(row, seen.get(row.task._GetMoId()))
            elif self.pace.clock() < row.deadline:
                self._submit(row)
            if not row.ended and self.pace.clock() >= row.deadline:
                self._timed_out(row)

    def _on_task(self, row: Row, found: t.Mapping[str, t.Any] | None) -> None:
        state = to_task_state(row.task._GetMoId(), found)
        row.last_task = state
        if not state.ended:
            return
        row.task = None
        if state.state == "error":
            said, remedy = state.error
            self._failed(row, state.fault, f"Could not mark {row.wanted.name!r}: {said}. {remedy}".strip())
        else:  # also of a task that vCenter forgot: what stands on the VM is read back
            row.finish("ready", self.pace.clock())
            row.changed = True

    def _failed(self, row: Row, fault: t.Any, message: str) -> None:
        if fault_name(fault) in BUSY:
            return
        if fault_name(fault) in GONE:
            message = f"VM {row.wanted.name!r} ({row.moid}) was deleted before it could be marked"
            row.machine = None
        row.fail(message, "", self.pace.clock())

    def _read_back(self) -> None:
        """What stands on the VMs now; a write that vCenter accepted and did not do is a failure."""
        written = [row for row in self.rows if (row.phase == "mark" and row.failed) or (row.changed and row.done)]
        found = self.inventory.machines([row.ref for row in written])
        for row in written:
            row.machine = found.get(row.moid)
            if row.failed:
                row.changed = bool(row.machine and row.before and row.machine.marks != row.before.marks)
            elif row.machine is None:
                row.changed = False
                row.fail(f"VM {row.wanted.name!r} ({row.moid}) was deleted while it was marked", "", self.pace.clock())
            elif left := self.order.missing(row.machine):
                row.fail(
                    f"vCenter accepted the marks of {row.wanted.name!r} ({row.moid}), and {', '.join(sorted(left))} "
                    "stands there as before",
                    "Look who else writes its advanced settings, then run again",
                    self.pace.clock(),
                )

    def _timed_out(self, row: Row) -> None:
        task = row.last_task
        last = f"task {task.moid} is {task.state}" if task and row.task else "other tasks keep the VM busy"
        row.fail(
            f"VM {row.wanted.name!r} ({row.moid}) was not marked within wait_timeout "
            f"({self.order.timeout:g} s): {last}",
            "Run again to continue",
            self.pace.clock(),
        )
