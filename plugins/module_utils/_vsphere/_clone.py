# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Many clones at once: all are submitted (bounded), and one look a tick serves all of them, whatever phase each is in.
A VM that carries our marks already is continued where it is, so the run can be repeated after any crash.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._common._errors import AutoscaleError
from ._client import Client, FaultError, fault_name, vim
from ._clone_spec import Guest, Hardware, build_clone_spec
from ._inventory import Inventory, Machine, is_routable, to_machine
from ._placement import Placement
from ._rows import Row, Timeouts, Wanted, diff_state
from ._tasks import TASK_PROPERTIES, Pace, TaskState, customization_events, to_task_state

#: Customization states in which the guest has still to be customized (GuestInfo.CustomizationStatus).
CUSTOMIZATION_OPEN = ("TOOLSDEPLOYPKG_PENDING", "TOOLSDEPLOYPKG_RUNNING")
LOG_HINT = "Look at /var/log/vmware-imc/toolsDeployPkg.log in the guest"


@dataclass(frozen=True)
class CloneOrder:
    """Everything that is asked for, apart from where it goes."""

    vms: tuple[Wanted, ...]
    hardware: Hardware = field(default_factory=Hardware)
    guest: Guest = field(default_factory=Guest)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_in_flight: int = 8
    wait: bool = True


class CloneRun:
    """One call's work; :meth:`look_first`, then :meth:`run` unless in check mode."""

    def __init__(self, inventory: Inventory, placement: Placement, order: CloneOrder, pace: Pace) -> None:
        self.inventory = inventory
        self.client: Client = inventory.client
        self.placement = placement
        self.order = order
        self.pace = pace
        self.rows = [Row(wanted) for wanted in order.vms]
        self._since: t.Any = None
        self._inherited = sorted((placement.template.marks or {}).keys())
        self._devices = placement.template.properties.get("config.hardware.device") or ()

    # -- before anything is changed ------------------------------------------------------------------------------

    def look_first(self) -> list[Row]:
        """Read which VMs exist, in one call, and decide what each row needs. Changes nothing."""
        refs = [ref for row in self.rows for ref in self.placement.machines.get(row.wanted.name, ())]
        machines = self.inventory.machines(refs)
        for row in self.rows:
            moids = [ref._GetMoId() for ref in self.placement.machines.get(row.wanted.name, ())]
            found = self._ours_first(row, [machines[moid] for moid in moids if moid in machines])
            if found is not None:
                self._adopt(row, found)
                row.before = found
        return self.rows

    def diff(self) -> dict[str, t.Any]:
        """Before and after by VM name; what failed stays as it was found."""
        before = {row.wanted.name: diff_state(row.before, row.wanted) for row in self.rows}
        after = dict(before)
        for row in self.rows:
            if row.changed or (not row.ended and row.before is None):
                after[row.wanted.name] = {
                    "state": "present",
                    "power_state": "poweredOn",
                    "address": row.wanted.address or (row.machine.address if row.machine else ""),
                    "marks": dict(row.wanted.marks),
                }
        return {"before": before, "after": after}

    def _ours_first(self, row: Row, same_name: list[Machine]) -> Machine | None:
        """The VM that this row is about; a VM of that name in another folder and with other marks is nobody's matter.

        vCenter keeps names apart by folder, so only the target folder can hold a conflict.
        """
        ours = [machine for machine in same_name if machine.has_marks(row.wanted.marks)]
        if ours:
            return ours[0]
        folder = self.placement.target.folder._GetMoId()
        return next((m for m in same_name if (p := m.properties.get("parent")) and p._GetMoId() == folder), None)

    def _adopt(self, row: Row, machine: Machine) -> None:
        """Take up a VM that exists, or say why not."""
        now = self.pace.clock()
        name = row.wanted.name
        if machine.is_template:
            row.ref, row.machine = machine.ref, machine
            row.fail(f"VM {name!r} cannot be made: a template has that name", "Choose another name", now)
            return
        if machine.marks is None:
            row.phase = "other"  # vCenter is still building it: look again until it says whose it is
            return
        row.ref, row.machine = machine.ref, machine
        if not machine.has_marks(row.wanted.marks):
            other = {key: machine.marks.get(key, "(none)") for key in row.wanted.marks}
            row.fail(
                f"VM {name!r} ({machine.moid}) exists and is not ours: its marks are {_pairs(other)}, "
                f"wanted are {_pairs(row.wanted.marks)}",
                "Choose another name, or delete or rename that VM",
                now,
            )
            return
        leased = machine.marks.get("address", "")
        if leased and row.wanted.address and leased != row.wanted.address:
            row.fail(
                f"VM {name!r} ({machine.moid}) exists and was made for address {leased}, not {row.wanted.address}",
                "Ask for the address that it has, or delete it",
                now,
            )
            return
        row.customizes = machine.customization_pending or machine.customization_status in CUSTOMIZATION_OPEN
        if machine.power_state == "poweredOn":
            self._after_power_on(row, now)
            self._check(row, machine, {}, now)
        else:
            row.phase = "power_on"
            row.changed = True

    # -- the run -------------------------------------------------------------------------------------------------

    def run(self) -> list[Row]:
        """Carry it out; failures stay in their rows.

        :raises AutoscaleError: vCenter itself is lost; ``result["vms"]`` holds what is known of each VM.
        """
        try:
            if not all(row.ended for row in self.rows):
                self._since = self.client.now()
                self._loop()
            self._read_back()
        except AutoscaleError as error:
            error.result.setdefault("vms", [row.as_dict() for row in self.rows])
            error.result.setdefault("changed", any(row.changed for row in self.rows))
            raise
        return self.rows

    def _loop(self) -> None:
        while True:
            self._submit()
            busy = [row for row in self.rows if not row.ended]
            on_their_way = all(row.task or row.phase in ("customization", "address") for row in busy)
            if not busy or (not self.order.wait and on_their_way):
                return
            now = self.pace.clock()
            first_deadline = min((row.deadline for row in busy if row.deadline), default=now + 1)
            self.pace.pause(max(0.05, first_deadline - now))
            self._look(busy)

    def _submit(self) -> None:
        """Send off what may go; new clones as far as the bound allows."""
        flying = sum(1 for row in self.rows if row.phase == "clone" and row.task and not row.ended)
        for row in self.rows:
            if row.ended or row.task:
                continue
            if row.phase == "queued" and flying < self.order.max_in_flight:
                self._submit_clone(row)
                flying += 1 if row.task else 0
            elif row.phase == "power_on":
                self._submit_power_on(row)
            elif row.phase == "other" and not row.deadline:
                row.enter("other", self.pace.clock(), self.order.timeouts.clone)

    def _submit_clone(self, row: Row) -> None:
        wanted = row.wanted
        row.enter("clone", self.pace.clock(), self.order.timeouts.clone)
        spec = build_clone_spec(
            name=wanted.name,
            address=wanted.address,
            marks={"template": self.placement.template.name, "address": wanted.address, **wanted.marks},
            inherited_marks=self._inherited,
            target=self.placement.target,
            devices=self._devices,
            hardware=self.order.hardware,
            guest=self.order.guest,
        )
        row.customizes = spec.customization is not None
        try:
            row.task = self.client.call(
                f"clone {wanted.name!r} from {self.placement.template.name!r}",
                self.placement.template.ref.CloneVM_Task,
                self.placement.target.folder,
                wanted.name,
                spec,
            )
            row.changed = True
        except FaultError as error:
            self._clone_failed(row, error.fault, str(error), "")

    def _submit_power_on(self, row: Row) -> None:
        now = self.pace.clock()
        if not row.deadline:
            row.enter("power_on", now, self.order.timeouts.clone)
        try:
            row.task = self.client.call(f"power on {row.wanted.name!r}", row.ref.PowerOnVM_Task)
        except FaultError as error:
            self._power_on_failed(row, error.fault, str(error), "", now)

    # -- one look ------------------------------------------------------------------------------------------------

    def _look(self, busy: list[Row]) -> None:
        """One property call for all tasks and VMs, one event query if any VM is being customized."""
        objects = [row.task if row.task else row.ref for row in busy if row.task or row.ref]
        seen = self.inventory.read(objects, self._wait_properties()) if objects else {}
        events = {}
        if any(row.phase == "customization" for row in busy):
            events = self._events()
        for row in busy:
            now = self.pace.clock()
            before = row.phase
            if row.task:
                moid = row.task._GetMoId()
                self._on_task(row, to_task_state(moid, seen.get(moid)), now)
            elif row.phase == "other":
                self._look_again(row)
            elif row.ref:
                found = seen.get(row.moid)
                if found is None:
                    row.fail(f"VM {row.wanted.name!r} ({row.moid}) was deleted while it was waited for", "", now)
                else:
                    row.machine = to_machine(row.ref, {"name": row.wanted.name, **found})
                    self._check(row, row.machine, events, now)
            if row.phase != before:
                self.pace.restart()
            if not row.ended and row.deadline and now >= row.deadline:
                self._timed_out(row, now)

    def _events(self) -> dict[str, tuple[bool, str]]:
        """How customizations ended; a user who may not read events has to do with what the tools report."""
        try:
            return customization_events(self.client, self._since)
        except FaultError:
            if self.client.api_version < (7, 0, 2):
                raise
            return {}

    def _wait_properties(self) -> dict[t.Any, t.Sequence[str]]:
        paths = ["runtime.powerState", "guest.ipAddress", "guest.net", "guest.toolsRunningStatus"]
        if self.client.api_version >= (7, 0, 2):
            paths.append("guest.customizationInfo")
        return {vim.Task: TASK_PROPERTIES, vim.VirtualMachine: paths}

    def _on_task(self, row: Row, state: TaskState, now: float) -> None:
        row.last_task = state
        if not state.ended:
            return
        row.task = None
        if state.state == "error":
            said, remedy = state.error
            if row.phase == "clone":
                self._clone_failed(row, state.fault, f"Could not clone {row.wanted.name!r}: {said}", remedy)
            else:
                message = f"Could not power on {row.wanted.name!r}: {said}"
                self._power_on_failed(row, state.fault, message, remedy, now)
        elif row.phase == "clone" and state.result is None:
            row.phase = "other"  # vCenter forgot the task: find the VM by its name
        else:
            if row.phase == "clone":
                row.ref = state.result
            self._after_power_on(row, now)

    def _clone_failed(self, row: Row, fault: t.Any, message: str, remedy: str) -> None:
        if fault_name(fault) in ("DuplicateName", "AlreadyExists"):
            row.changed = False
            row.phase = "other"
            self._look_again(row)
            return
        row.fail(message, remedy, self.pace.clock())

    def _power_on_failed(self, row: Row, fault: t.Any, message: str, remedy: str, now: float) -> None:
        kind = fault_name(fault)
        if kind == "InvalidPowerState" and str(getattr(fault, "existingState", "")) == "poweredOn":
            self._after_power_on(row, now)
        elif kind != "TaskInProgress":  # a clone task of a run that was cut off still works on it: try again
            row.fail(message, remedy, now)

    def _look_again(self, row: Row) -> None:
        """A VM of that name exists or comes into being by another hand: read again and compare."""
        found, _hosts = self.inventory.named_machines([row.wanted.name], root=self.placement.datacenter.ref)
        machine = self._ours_first(row, found)
        if machine is not None:
            self._adopt(row, machine)

    # -- phases after the power on -------------------------------------------------------------------------------

    def _after_power_on(self, row: Row, now: float) -> None:
        if row.customizes and self.order.timeouts.customization > 0:
            row.enter("customization", now, self.order.timeouts.customization)
        else:
            self._await_address(row, now)

    def _await_address(self, row: Row, now: float) -> None:
        if self.order.timeouts.address > 0:
            row.enter("address", now, self.order.timeouts.address)
        else:
            row.finish("ready", now)

    def _check(self, row: Row, machine: Machine, events: t.Mapping[str, tuple[bool, str]], now: float) -> None:
        """Move a running VM on as far as what was seen allows."""
        name = row.wanted.name
        if row.phase == "customization":
            succeeded, message = events.get(row.moid, (None, ""))
            if succeeded is None and machine.customization_status.endswith("_SUCCEEDED"):
                succeeded = True
            elif succeeded is None and machine.customization_status.endswith("_FAILED"):
                succeeded, message = False, machine.customization_error
            if succeeded is False:
                row.fail(f"The guest of {name!r} ({row.moid}) could not be customized: {message}", LOG_HINT, now)
            elif succeeded:
                self._await_address(row, now)
        if row.phase == "address" and not row.ended:
            wanted = row.wanted.address
            if wanted in machine.addresses or (not wanted and any(map(is_routable, machine.addresses))):
                row.finish("ready", now)

    def _timed_out(self, row: Row, now: float) -> None:
        name, timeouts = row.wanted.name, self.order.timeouts
        machine = row.machine
        if row.phase == "customization":
            message = (
                f"VM {name!r} ({row.moid}) was cloned and powered on, but its customization did not end within "
                f"timeouts.customization ({timeouts.customization:g} s)"
            )
            remedy = LOG_HINT
        elif row.phase == "address":
            wanted = row.wanted.address or "any routable one"
            reports = ", ".join(machine.addresses) if machine and machine.addresses else "none"
            message = (
                f"VM {name!r} ({row.moid}) runs but did not report the address {wanted} within timeouts.address "
                f"({timeouts.address:g} s): it reports {reports}, VMware Tools: "
                f"{machine.tools_status if machine else 'unknown'}"
            )
            remedy = "Look at the VM's console: does it boot, does VMware Tools run, is the network the right one?"
        else:
            task = row.last_task
            doing = "powered on" if row.phase == "power_on" else "cloned"
            at = f" at {task.progress} %" if task and task.progress is not None else ""
            last = f"task {task.moid} is {task.state}{at}" if task else "another task in vCenter holds that name"
            message = f"VM {name!r} was not {doing} within timeouts.clone ({timeouts.clone:g} s): {last}"
            remedy = "It goes on in vCenter; run again to continue with it"
        row.fail(message, remedy, now)

    # -- the end -------------------------------------------------------------------------------------------------

    def _read_back(self) -> None:
        """Fill the rows with what vCenter says now; a failed clone may have left a VM behind."""
        lost = [row for row in self.rows if row.failed and row.ref is None]
        hosts = self.placement.hosts
        if lost:
            found, hosts = self.inventory.named_machines(
                [row.wanted.name for row in lost], root=self.placement.datacenter.ref
            )
            for row in lost:
                machine = next((m for m in found if m.name == row.wanted.name and m.has_marks(row.wanted.marks)), None)
                if machine is not None:
                    row.ref, row.machine = machine.ref, machine
                else:
                    row.changed = False
        now = self.inventory.machines([row.ref for row in self.rows if row.ref is not None])
        for row in self.rows:
            row.machine = now.get(row.moid, row.machine)
            if row.machine is not None:
                row.host = hosts.get(row.machine.host_moid, "")


def _pairs(marks: t.Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(marks.items()))
