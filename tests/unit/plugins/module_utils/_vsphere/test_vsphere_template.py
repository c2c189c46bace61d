# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template from a prepared VM (A13), on a fake vCenter: what a run that was cut off leaves, and what is refused."""

from __future__ import annotations

import typing as t

import pytest
from pyVmomi import vim
from unit.kit.fake_vsphere import FakeInventory, FakeVCenter, Ref

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    ConflictError,
    RefusedError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import Entry
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._template import TemplateJob, TemplateOrder

MADE_BY_US = {"kind": "template", "source": "golden"}


class World(FakeVCenter):
    """A datacenter DC0 whose VMs can be scanned, cloned and renamed."""

    def __init__(self) -> None:
        super().__init__()
        self.dc = vim.Datacenter("datacenter-1", None)
        self.cloned: list[tuple[str, t.Any]] = []

    def scan(self, _wanted: t.Any) -> list[Entry]:
        entries = [Entry(self.dc, "Datacenter", "DC0", "DC0", {"vmFolder": self.folder})]
        entries.append(Entry(self.folder, "Folder", "vm", "DC0/vm"))
        for moid, ref in self.vms.items():
            name = self.objects[moid]["name"]
            entries.append(Entry(ref, "VirtualMachine", name, f"DC0/vm/{name}"))
        return entries

    def machine(self, name: str, *args: t.Any, **kwargs: t.Any) -> Ref:
        ref = self.vm(name, *args, **kwargs)

        def clone(_folder: t.Any, new: str, spec: t.Any) -> Ref:
            self.cloned.append((new, spec))
            task = self.task()
            marks = {o.key.removeprefix("onprem.autoscale."): o.value for o in spec.config.extraConfig if o.value}
            self.at(self.time + 5, lambda: self.end(task, result=self.machine(new, marks, "poweredOff", template=True)))
            return task

        def rename(new: str) -> Ref:
            self.objects[ref.moid]["name"] = new
            return self.task("success")

        ref.CloneVM_Task, ref.Rename_Task = clone, rename
        return ref

    def names(self) -> list[str]:
        return sorted(self.objects[moid]["name"] for moid in self.vms)


@pytest.fixture
def world() -> World:
    here = World()
    here.machine("golden", {"group": "web"}, "poweredOff")
    return here


def job(world: World, name: str = "web-v2", **order: t.Any) -> TemplateJob:
    inventory = FakeInventory(world)
    inventory.scan = world.scan  # type: ignore[method-assign]
    return TemplateJob(inventory, TemplateOrder(name, **{"source": "golden", **order}), world.pace())


def make(world: World, **order: t.Any) -> t.Any:
    work = job(world, **order)
    assert work.needs_work()
    return work.create(work.source())


def test_a_template_carries_its_own_marks_only(world: World) -> None:
    """A template that kept group=web would be counted as a member of that group (A5)."""
    made = make(world, annotation="patched in May")
    assert (made.is_template, made.marks) == (True, MADE_BY_US)
    ((name, spec),) = world.cloned
    assert name == "web-v2"
    assert spec.template
    assert not spec.powerOn
    assert spec.config.annotation == "patched in May"
    assert {o.key: o.value for o in spec.config.extraConfig}["onprem.autoscale.group"] == ""
    assert not job(world).needs_work()


def test_replace_keeps_the_old_one_until_the_new_one_is_complete(world: World) -> None:
    old = world.machine("web-v2", MADE_BY_US, "poweredOff", template=True)
    seen: list[list[str]] = []
    world.at(4, lambda: seen.append(world.names()))
    made = make(world, replace=True)
    assert seen == [["golden", "web-v2"]]
    assert world.names() == ["golden", "web-v2"]
    assert made.moid != old.moid


def test_what_a_run_that_was_cut_off_left_is_removed(world: World) -> None:
    """Killed between the deletion of the old one and the renaming: the next run makes it anew and tidies up."""
    world.machine("web-v2.new", MADE_BY_US, "poweredOff", template=True)
    make(world, replace=True)
    assert world.names() == ["golden", "web-v2"]


def test_a_foreign_template_of_the_successors_name_stays(world: World) -> None:
    world.machine("web-v2.new", {}, "poweredOff", template=True)
    make(world)
    assert world.names() == ["golden", "web-v2", "web-v2.new"]


def test_a_powered_on_source_needs_force(world: World) -> None:
    world.machine("busy", {}, "poweredOn")
    with pytest.raises(RefusedError, match=r"is poweredOn: its disks change.*force=true"):
        job(world, source="busy").source()
    assert job(world, source="busy", force=True).source().name == "busy"


def test_names_that_are_taken(world: World) -> None:
    world.machine("web-v2", {}, "poweredOff")
    with pytest.raises(ConflictError, match="is taken by a virtual machine"):
        job(world).needs_work()
    world.machine("web-v2", {}, "poweredOff")
    with pytest.raises(ConflictError, match=r"is used 2 times: .*Set folder"):
        job(world)


@pytest.mark.parametrize(
    ("marks", "template", "force", "text"),
    [
        ({}, True, False, "was not made by this collection"),
        (MADE_BY_US, False, True, "is a virtual machine and no template"),
    ],
)
def test_what_is_not_deleted(world: World, marks: dict[str, str], template: bool, force: bool, text: str) -> None:
    world.machine("web-v2", marks, "poweredOff", template=template)
    with pytest.raises(RefusedError, match=text):
        job(world, force=force).check_delete()


def test_delete(world: World) -> None:
    world.machine("web-v2", MADE_BY_US, "poweredOff", template=True)
    work = job(world)
    assert work.check_delete()
    assert work.existing
    work.delete(work.existing)
    assert world.names() == ["golden"]
    assert not job(world).check_delete()


def test_a_timeout_says_where_it_stands(world: World) -> None:
    with pytest.raises(
        WaitTimeoutError, match=r"make template 'web-v2' of 'golden' within 2 s: task .* is running"
    ) as late:
        make(world, timeout=2)
    assert late.value.result["last_task"]["state"] == "running"
