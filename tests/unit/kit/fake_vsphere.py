# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vCenter of dictionaries on a clock that a test turns: what the runs of _vsphere read and call, and nothing else."""

from __future__ import annotations

import datetime
import itertools
import types
import typing as t

from pyVmomi import vim

from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._client import Client, Settings
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import (
    MARK_PREFIX,
    Inventory,
    Machine,
    to_machine,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._tasks import Pace

SETTINGS = Settings("vc.example.org", "autoscale@vsphere.local", "secret")


def option(key: str, value: str) -> t.Any:
    """An extraConfig entry."""
    return vim.option.OptionValue(key=key, value=value)


def nic(*addresses: str) -> t.Any:
    """A network card as the guest reports it."""
    return vim.vm.GuestInfo.NicInfo(ipAddress=list(addresses))


class Ref:
    """Stands in for a managed object; methods are added by the vCenter."""

    def __init__(self, moid: str) -> None:
        self.moid = moid

    def _GetMoId(self) -> str:
        return self.moid


class FakeClient(Client):
    """The real ``call`` with its error handling, without a server."""

    def __init__(self, world: FakeVCenter) -> None:
        super().__init__(SETTINGS, clock=world.clock, sleep=world.sleep)
        self.world = world
        self.content = types.SimpleNamespace(
            about=types.SimpleNamespace(apiVersion="8.0.3.0"),
            eventManager=types.SimpleNamespace(QueryEvents=lambda _filter: list(world.events)),
            sessionManager=types.SimpleNamespace(Login=lambda *_args: None),
        )

    def now(self) -> t.Any:
        return datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc)


class FakeInventory(Inventory):
    """Reads from the world's dictionaries."""

    def __init__(self, world: FakeVCenter) -> None:
        super().__init__(FakeClient(world))
        self.world = world

    def read(self, refs: t.Sequence[t.Any], paths: t.Any) -> dict[str, dict[str, t.Any]]:
        self.world.reads += 1
        if self.world.read_errors:
            self.client.call("read the inventory", self.world.raise_read_error)
        return {ref._GetMoId(): dict(self.world.objects[ref._GetMoId()]) for ref in refs if self.world.knows(ref)}

    def machines(self, refs: t.Sequence[t.Any], *_extra: str) -> dict[str, Machine]:
        return {
            ref._GetMoId(): to_machine(ref, self.world.objects[ref._GetMoId()]) for ref in refs if self.world.knows(ref)
        }

    def named_machines(self, names: t.Collection[str], *, root: t.Any = None) -> tuple[list[Machine], dict[str, str]]:
        refs = [ref for ref in self.world.vms.values() if self.world.objects[ref.moid].get("name") in names]
        return list(self.machines(refs).values()), {"host-1": "esx1"}


class FakeVCenter:
    """VMs and tasks by managed object id; ``at`` plans what happens at a time (seconds)."""

    def __init__(self) -> None:
        self.time = 0.0
        self.objects: dict[str, dict[str, t.Any]] = {}
        self.vms: dict[str, Ref] = {}
        self.events: list[t.Any] = []
        self.plans: list[tuple[float, t.Callable[[], None]]] = []
        self.clones: list[tuple[str, t.Any, float]] = []
        self.on_clone: t.Callable[[str, str], t.Any] = self.clone_in(10)
        self.read_errors: list[BaseException] = []
        self.reads = 0
        self.folder = vim.Folder("group-v1", None)
        self.calls: list[str] = []
        self._ids = itertools.count(1)

    # time

    def clock(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        due = [plan for plan in self.plans if plan[0] <= self.time]
        self.plans = [plan for plan in self.plans if plan[0] > self.time]
        for _when, action in sorted(due, key=lambda plan: plan[0]):
            action()

    def at(self, when: float, action: t.Callable[[], None]) -> None:
        self.plans.append((when, action))

    def pace(self) -> Pace:
        return Pace(1.0, clock=self.clock, sleep=self.sleep)

    # objects

    def knows(self, ref: t.Any) -> bool:
        return ref._GetMoId() in self.objects

    def raise_read_error(self) -> None:
        for error in self.read_errors:
            raise error

    def task(self, state: str = "running", **info: t.Any) -> Ref:
        ref = Ref(f"task-{next(self._ids)}")
        self.objects[ref.moid] = {"info.state": state, **{f"info.{key}": value for key, value in info.items()}}
        return ref

    def end(self, task: Ref, state: str = "success", **info: t.Any) -> None:
        self.objects[task.moid] |= {"info.state": state, **{f"info.{key}": value for key, value in info.items()}}

    def vm(
        self,
        name: str,
        marks: dict[str, str] | None,
        power: str = "poweredOn",
        addresses: tuple[str, ...] = (),
        template: bool = False,
        **other: t.Any,
    ) -> Ref:
        """A VM; ``marks=None`` is one that vCenter is still building."""
        ref = Ref(f"vm-{next(self._ids)}")
        properties: dict[str, t.Any] = {"name": name, "parent": self.folder, "runtime.powerState": power}
        if marks is not None:
            extra = [option(MARK_PREFIX + key, value) for key, value in marks.items()]
            properties |= {"config.template": template, "config.extraConfig": extra}
        properties |= {"guest.net": [nic(*addresses)], "guest.toolsRunningStatus": "guestToolsRunning", **other}
        self.objects[ref.moid] = properties
        self.vms[ref.moid] = ref
        ref.PowerOnVM_Task = lambda: self.calls.append(f"on {name}") or self.power(ref, "poweredOn")
        ref.PowerOffVM_Task = lambda: self.calls.append(f"off {name}") or self.power(ref, "poweredOff")
        ref.ShutdownGuest = lambda: self.calls.append(f"shutdown {name}")
        ref.Destroy_Task = lambda: self.calls.append(f"destroy {name}") or self.destroy(ref)
        return ref

    def power(self, ref: Ref, state: str) -> Ref:
        task = self.task()

        def done() -> None:
            self.objects[ref.moid]["runtime.powerState"] = state
            self.end(task)

        self.at(self.time + 1, done)
        return task

    def destroy(self, ref: Ref) -> Ref:
        task = self.task()

        def done() -> None:
            self.objects.pop(ref.moid, None)
            self.vms.pop(ref.moid, None)
            self.end(task)

        self.at(self.time + 1, done)
        return task

    def clone_in(self, seconds: float, boot: float = 5) -> t.Callable[[str, str], Ref]:
        """Clones that take *seconds*, are customized and have their address *boot* later."""

        def clone(name: str, address: str) -> Ref:
            task = self.task(descriptionId="VirtualMachine.clone")

            def made() -> None:
                ref = self.vm(name, self.marks_of(name))
                self.end(task, result=ref)
                self.at(self.time + boot, lambda: self.booted(ref, address))

            self.at(self.time + seconds, made)
            return task

        return clone

    def booted(self, ref: Ref, address: str) -> None:
        if ref.moid not in self.objects:
            return
        self.objects[ref.moid]["guest.net"] = [nic(address)]
        self.events.append(customized(ref))

    def marks_of(self, name: str) -> dict[str, str]:
        """The marks in the last clone specification for *name*."""
        spec = next(spec for clone, spec, _time in reversed(self.clones) if clone == name)
        pairs = {o.key: o.value for o in spec.config.extraConfig if o.value}
        return {key[len(MARK_PREFIX) :]: value for key, value in pairs.items() if key.startswith(MARK_PREFIX)}

    def template(self) -> Machine:
        """The template, whose CloneVM_Task asks ``on_clone``."""
        ref = self.vm("web-template", {}, "poweredOff", template=True)

        def clone_task(_folder: t.Any, name: str, spec: t.Any) -> t.Any:
            self.clones.append((name, spec, self.time))
            settings = spec.customization.nicSettingMap[0].adapter.ip if spec.customization else None
            return self.on_clone(name, getattr(settings, "ipAddress", ""))

        ref.CloneVM_Task = clone_task
        card = vim.vm.device.VirtualE1000(key=4000, backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo())
        return to_machine(ref, {**self.objects[ref.moid], "config.hardware.device": [card]})


def customized(ref: Ref, ok: bool = True, text: str = "") -> t.Any:
    """A customization event of the VM."""
    kind = vim.event.CustomizationSucceeded if ok else vim.event.CustomizationFailed
    event = kind(fullFormattedMessage=text)
    event.vm = vim.event.VmEventArgument(name="x", vm=vim.VirtualMachine(ref.moid, None))
    return event
