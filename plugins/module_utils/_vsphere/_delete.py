# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Removing VMs, all at once: shut the guest down, power off what did not, destroy. Only VMs that carry the marks asked
for; never a template.
"""

from __future__ import annotations

import typing as t

from .._common._errors import AutoscaleError
from ._client import Client, FaultError, fault_name, vim
from ._inventory import Inventory, Machine
from ._rows import DELETE_PHASES, Row, Timeouts, Wanted, diff_state
from ._tasks import TASK_PROPERTIES, Pace, to_task_state

#: Faults of ShutdownGuest that mean: there is no guest to ask.
NO_GUEST = ("ToolsUnavailable", "InvalidPowerState", "NotSupported", "InvalidState", "RestrictedByAdministrator")
GONE = ("ManagedObjectNotFound",)


class DeleteRun:
    """One call's work; :meth:`look_first`, then :meth:`run` unless in check mode."""

    def __init__(
        self,
        inventory: Inventory,
        vms: t.Sequence[Wanted],
        timeouts: Timeouts,
        pace: Pace,
        *,
        root: t.Any = None,
        wait: bool = True,
    ) -> None:
        self.inventory = inventory
        self.client: Client = inventory.client
        self.timeouts = timeouts
        self.pace = pace
        self.root = root
        self.wait = wait
        self.rows = [Row(wanted, phases=dict.fromkeys(DELETE_PHASES, 0.0)) for wanted in vms]

    def look_first(self) -> list[Row]:
        """Read which VMs exist and whose they are. Changes nothing.

        What one listing does not show is looked for again: once a VM is said to be gone its address is free for others.
        """
        found, hosts = self.inventory.named_machines([row.wanted.name for row in self.rows], root=self.root)
        unseen = {row.wanted.name for row in self.rows} - {machine.name for machine in found}
        if unseen:
            found_again, hosts = self.inventory.named_machines(unseen, root=self.root)
            found = [*found, *found_again]
        now = self.pace.clock()
        for row in self.rows:
            same_name = [machine for machine in found if machine.name == row.wanted.name]
            ours = [machine for machine in same_name if machine.has_marks(row.wanted.marks) and not machine.is_template]
            if not same_name:
                row.finish("absent", now)
                continue
            machine = (ours or same_name)[0]
            row.ref = machine.ref
            row.machine = row.before = machine
            row.host = hosts.get(machine.host_moid, "")
            if len(ours) > 1:
                moids = ", ".join(sorted(m.moid for m in ours))
                row.fail(
                    f"VM {row.wanted.name!r} exists {len(ours)} times ({moids})", "Set datacenter or more marks", now
                )
            elif not ours:
                self._refuse(row, machine, now)
            else:
                row.changed = True
        return self.rows

    def diff(self) -> dict[str, t.Any]:
        """Before and after by VM name."""
        before = {row.wanted.name: diff_state(row.before, row.wanted) for row in self.rows}
        gone = {row.wanted.name: {"state": "absent"} for row in self.rows if not row.failed}
        return {"before": before, "after": {**before, **gone}}

    def _refuse(self, row: Row, machine: Machine, now: float) -> None:
        name = row.wanted.name
        if machine.is_template:
            message, remedy = f"{name!r} ({machine.moid}) is a template and is not deleted", "Use vsphere_template"
        elif machine.marks is None:
            message, remedy = f"VM {name!r} ({machine.moid}) is still being built", "Run again when that has ended"
        else:
            has = {key: machine.marks.get(key, "(none)") for key in row.wanted.marks}
            message = (
                f"VM {name!r} ({machine.moid}) is not ours and is not deleted: its marks are {_pairs(has)}, "
                f"wanted are {_pairs(row.wanted.marks)}"
            )
            remedy = "Check name and marks; delete a foreign VM by hand"
        row.fail(message, remedy, now)

    def run(self) -> list[Row]:
        """Carry it out; failures stay in their rows.

        :raises AutoscaleError: vCenter itself is lost; ``result["vms"]`` holds what is known of each VM.
        """
        try:
            for row in self.rows:
                if not row.ended:
                    self._begin(row)
            while busy := [row for row in self.rows if not row.ended]:
                if not self.wait and all(row.phase == "destroy" for row in busy):
                    break
                now = self.pace.clock()
                self.pace.pause(max(0.05, min(row.deadline for row in busy) - now))
                self._look(busy)
        except AutoscaleError as error:
            error.result.setdefault("vms", [row.as_dict() for row in self.rows])
            error.result.setdefault("changed", any(row.changed for row in self.rows))
            raise
        return self.rows

    def _begin(self, row: Row) -> None:
        now = self.pace.clock()
        if row.machine is None or row.machine.power_state == "poweredOff":
            self._destroy(row)
            return
        if row.machine.power_state != "poweredOn" or self.timeouts.shutdown <= 0:
            self._power_off(row)
            return
        row.enter("shutdown", now, self.timeouts.shutdown)
        try:
            self.client.call(f"shut down the guest of {row.wanted.name!r}", row.ref.ShutdownGuest)
        except FaultError as error:
            if fault_name(error.fault) in GONE:
                self._gone(row)
            elif fault_name(error.fault) in NO_GUEST:
                self._power_off(row)
            else:
                row.fail(str(error), "", now)

    def _power_off(self, row: Row) -> None:
        row.enter("power_off", self.pace.clock(), self.timeouts.destroy)
        self._submit(row, "power off", row.ref.PowerOffVM_Task)

    def _destroy(self, row: Row) -> None:
        row.enter("destroy", self.pace.clock(), self.timeouts.destroy)
        self._submit(row, "delete", row.ref.Destroy_Task)

    def _submit(self, row: Row, verb: str, method: t.Callable[..., t.Any]) -> None:
        try:
            row.task = self.client.call(f"{verb} {row.wanted.name!r}", method)
        except FaultError as error:
            self._failed(row, verb, error.fault, str(error))

    def _look(self, busy: list[Row]) -> None:
        objects = [row.task if row.task else row.ref for row in busy]
        seen = self.inventory.read(objects, {vim.Task: TASK_PROPERTIES, vim.VirtualMachine: ["runtime.powerState"]})
        for row in busy:
            now = self.pace.clock()
            if row.task:
                self._on_task(row, seen.get(row.task._GetMoId()))
            elif row.moid not in seen:
                self._gone(row)
            elif str(seen[row.moid].get("runtime.powerState")) == "poweredOff":
                self._destroy(row)
            elif row.phase != "shutdown":
                self._again(row)
            if not row.ended and now >= row.deadline:
                self._timed_out(row, now)

    def _on_task(self, row: Row, found: t.Mapping[str, t.Any] | None) -> None:
        state = to_task_state(row.task._GetMoId(), found)
        row.last_task = state
        if not state.ended:
            return
        row.task = None
        verb = "delete" if row.phase == "destroy" else "power off"
        if state.state == "error":
            said, remedy = state.error
            self._failed(row, verb, state.fault, f"Could not {verb} {row.wanted.name!r}: {said}. {remedy}".strip())
        elif row.phase == "destroy":
            self._gone(row)
        else:
            self._destroy(row)

    def _failed(self, row: Row, verb: str, fault: t.Any, message: str) -> None:
        """Some faults say that it is done already; a busy VM is tried again until the deadline."""
        kind = fault_name(fault)
        state = str(getattr(fault, "existingState", ""))
        if kind in GONE:
            self._gone(row)
        elif kind == "InvalidPowerState" and verb == "power off" and state == "poweredOff":
            self._destroy(row)
        elif kind == "InvalidPowerState" and verb == "delete" and state != "poweredOff":
            self._power_off(row)
        elif kind != "TaskInProgress":
            row.fail(message, "", self.pace.clock())

    def _again(self, row: Row) -> None:
        if row.phase == "destroy":
            self._submit(row, "delete", row.ref.Destroy_Task)
        else:
            self._submit(row, "power off", row.ref.PowerOffVM_Task)

    def _gone(self, row: Row) -> None:
        row.finish("absent", self.pace.clock())

    def _timed_out(self, row: Row, now: float) -> None:
        if row.phase == "shutdown":
            self._power_off(row)
            return
        task = row.last_task
        last = f"task {task.moid} is {task.state}" if task else "other tasks keep the VM busy"
        verb = "deleted" if row.phase == "destroy" else "powered off"
        row.fail(
            f"VM {row.wanted.name!r} ({row.moid}) was not {verb} within timeouts.destroy "
            f"({self.timeouts.destroy:g} s): {last}",
            "It goes on in vCenter; run again to continue",
            now,
        )


def _pairs(marks: t.Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(marks.items()))
