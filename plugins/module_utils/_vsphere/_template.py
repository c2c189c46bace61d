# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A template from a prepared VM (A13): a full clone of it, so that the VM itself stays as it is.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._common._errors import AutoscaleError, ConflictError, NotFoundError, RefusedError
from ._client import vim
from ._clone_spec import mark_options
from ._inventory import Entry, Inventory, Machine
from ._placement import Lookup, find_folder, matching, wanted_properties
from ._tasks import Pace, wait_for_task

#: Value of the mark ``kind`` on what this module made; only that is deleted without force.
KIND = "template"
#: While a template is replaced, its successor has this behind its name.
SUCCESSOR = ".new"


@dataclass(frozen=True)
class TemplateOrder:
    """What is asked for; names may be inventory paths."""

    name: str
    source: str | None = None
    datacenter: str | None = None
    folder: str | None = None
    datastore: str | None = None
    annotation: str | None = None
    replace: bool = False
    force: bool = False
    timeout: float = 600


class TemplateJob:
    """Looks first, then changes; each call's ``look`` tells what ``apply`` would do."""

    def __init__(self, inventory: Inventory, order: TemplateOrder, pace: Pace) -> None:
        self.inventory = inventory
        self.client = inventory.client
        self.order = order
        self.pace = pace
        self.where = inventory.client.settings.where
        self.lookup = Lookup(inventory.scan(wanted_properties()), self.where)
        self.datacenter = self._datacenter()
        self.existing = self._existing()

    # -- looking -------------------------------------------------------------------------------------------------

    def _datacenter(self) -> Entry:
        candidates = self.lookup.of_kind("Datacenter")
        if self.order.datacenter:
            return self.lookup.find("datacenter", self.order.datacenter, candidates, "datacenter")
        if len(candidates) == 1:
            return candidates[0]
        wanted = self.order.source or self.order.name
        machines = matching(wanted, self.lookup.of_kind("VirtualMachine"))
        owners = {dc.moid: dc for vm in machines for dc in candidates if vm.path.startswith(f"{dc.path}/")}
        if len(owners) == 1:
            return next(iter(owners.values()))
        raise ConflictError(f"{wanted!r} does not say which datacenter is meant", remedy="Set datacenter")

    def _existing(self) -> Machine | None:
        """What holds the name now in the target folder (or anywhere, without one)."""
        candidates = self.lookup.of_kind("VirtualMachine", under=self.datacenter)
        folder = find_folder(self.lookup, self.order.folder, self.datacenter)
        if folder:
            candidates = [entry for entry in candidates if entry.path.rpartition("/")[0] == folder.path]
        found = [entry for entry in candidates if entry.name == self.order.name]
        if len(found) > 1:
            paths = ", ".join(sorted(entry.path for entry in found))
            raise ConflictError(f"name {self.order.name!r} is used {len(found)} times: {paths}", remedy="Set folder")
        return self.inventory.machines([found[0].ref]).get(found[0].moid) if found else None

    def source(self) -> Machine:
        """The prepared VM.

        :raises NotFoundError: there is none of that name.
        :raises RefusedError: it is powered on, and ``force`` is not set.
        """
        wanted = self.order.source or ""
        entry = self.lookup.find(
            "source", wanted, self.lookup.of_kind("VirtualMachine", under=self.datacenter), "virtual machine"
        )
        machine = self.inventory.machines([entry.ref], "config.changeVersion").get(entry.moid)
        if machine is None:
            raise NotFoundError(f"source {wanted!r} has just been deleted from vCenter {self.where}")
        if machine.power_state != "poweredOff" and not self.order.force:
            raise RefusedError(
                f"source {wanted!r} ({machine.moid}) is {machine.power_state}: its disks change while they are copied",
                remedy="Shut the VM down first; force=true copies the disks as after a power cut",
            )
        return machine

    def needs_work(self) -> bool:
        """Whether ``state=present`` has to do anything.

        :raises ConflictError: a VM that is no template has the name.
        """
        if self.existing is None:
            return True
        if not self.existing.is_template:
            raise ConflictError(
                f"name {self.order.name!r} is taken by a virtual machine ({self.existing.moid}) that is no template",
                remedy="Choose another name; a VM is never converted in place, because it may be in use",
            )
        return self.order.replace

    def check_delete(self) -> bool:
        """Whether ``state=absent`` has to do anything.

        :raises RefusedError: what has the name is no template, or was not made by this collection.
        """
        existing = self.existing
        if existing is None:
            return False
        if not existing.is_template:
            raise RefusedError(
                f"{self.order.name!r} ({existing.moid}) is a virtual machine and no template; it is not deleted",
                remedy="Check the name",
            )
        if (existing.marks or {}).get("kind") != KIND and not self.order.force:
            raise RefusedError(
                f"template {self.order.name!r} ({existing.moid}) was not made by this collection; it is not deleted",
                remedy="Set force=true if it shall be deleted all the same",
            )
        return True

    # -- changing ------------------------------------------------------------------------------------------------

    def create(self, source: Machine) -> Machine:
        """Clone *source* to a template; with ``replace`` the old one is deleted when the new one is complete."""
        order = self.order
        name = order.name if self.existing is None else order.name + SUCCESSOR
        self._remove_leftover()
        folder = find_folder(self.lookup, order.folder, self.datacenter)
        marks = dict.fromkeys(source.marks or {}, "") | {"kind": KIND, "source": source.name}
        config = vim.vm.ConfigSpec(extraConfig=mark_options(marks))
        if order.annotation is not None:
            config.annotation = order.annotation
        location = vim.vm.RelocateSpec()
        if order.datastore:
            stores = self.lookup.of_kind("Datastore", under=self.datacenter)
            location.datastore = self.lookup.find("datastore", order.datastore, stores, "datastore").ref
        spec = vim.vm.CloneSpec(location=location, config=config, powerOn=False, template=True)
        what = f"make template {name!r} of {source.name!r}"
        beside = self.existing.properties.get("parent") if self.existing else None
        target = folder.ref if folder else (beside or self.datacenter.properties["vmFolder"])
        task = self.client.call(what, source.ref.CloneVM_Task, target, name, spec)
        ref = wait_for_task(self.inventory, task, what=what, timeout=order.timeout, pace=self.pace).result
        if self.existing is not None:
            self._swap(self.existing, ref)
        made = self.inventory.machines([ref]).get(ref._GetMoId())
        if made is None:
            raise AutoscaleError(f"Template {name!r} was made and is gone again", remedy="Look at vCenter's tasks")
        return made

    def delete(self, machine: Machine) -> None:
        """Destroy the template."""
        what = f"delete template {machine.name!r}"
        task = self.client.call(what, machine.ref.Destroy_Task)
        wait_for_task(self.inventory, task, what=what, timeout=self.order.timeout, pace=self.pace)

    def _swap(self, old: Machine, successor: t.Any) -> None:
        self.delete(old)
        what = f"rename template {self.order.name + SUCCESSOR!r} to {self.order.name!r}"
        task = self.client.call(what, successor.Rename_Task, self.order.name)
        wait_for_task(self.inventory, task, what=what, timeout=self.order.timeout, pace=self.pace)

    def _remove_leftover(self) -> None:
        """A successor that an earlier run left half-way is ours by its mark, and in the way."""
        name = self.order.name + SUCCESSOR
        machines = self.lookup.of_kind("VirtualMachine", under=self.datacenter)
        refs = [entry.ref for entry in machines if entry.name == name]
        for machine in self.inventory.machines(refs).values():
            if machine.is_template and (machine.marks or {}).get("kind") == KIND:
                self.delete(machine)
