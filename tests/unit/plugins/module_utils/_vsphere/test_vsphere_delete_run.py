# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run over many deletions, on a fake vCenter with its own clock."""

from __future__ import annotations

import typing as t

import pytest
from pyVmomi import vim, vmodl
from unit.kit.fake_vsphere import FakeInventory, FakeVCenter, Ref

from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._delete import DeleteRun
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._rows import Row, Timeouts, Wanted

MARKS = {"group": "web"}


@pytest.fixture
def world() -> FakeVCenter:
    return FakeVCenter()


def finish(world: FakeVCenter, *names: str, **how: t.Any) -> dict[str, Row]:
    wanted = [Wanted(name, "", MARKS) for name in names or ("web-1",)]
    timeouts = how.pop("timeouts", Timeouts(shutdown=10, destroy=20))
    run = DeleteRun(FakeInventory(world), wanted, timeouts, world.pace(), **how)
    run.look_first()
    return {row.wanted.name: row for row in run.run()}


def raising(fault: BaseException) -> t.Callable[[], t.Any]:
    def call() -> t.Any:
        raise fault

    return call


def shuts_down(world: FakeVCenter, ref: Ref, after: float) -> None:
    def shutdown() -> None:
        world.calls.append("shutdown")
        world.at(world.time + after, lambda: world.objects[ref.moid].update({"runtime.powerState": "poweredOff"}))

    ref.ShutdownGuest = shutdown


def test_the_guest_is_shut_down_before_the_vm_is_deleted(world: FakeVCenter) -> None:
    """A7: shut the guest down, power off, delete, in this order; not powered off when the guest obeyed."""
    for name in ("web-1", "web-2"):
        shuts_down(world, world.vm(name, MARKS), 4)
    rows = finish(world, "web-1", "web-2")
    assert {row.phase for row in rows.values()} == {"absent"}
    assert world.calls == ["shutdown", "shutdown", "destroy web-1", "destroy web-2"]
    assert world.time < 8
    assert rows["web-1"].phases["shutdown"] >= 4


def test_a_guest_that_does_not_obey_is_powered_off(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS)
    row = finish(world)["web-1"]
    assert world.calls == ["shutdown web-1", "off web-1", "destroy web-1"]
    assert (row.phase, row.changed) == ("absent", True)
    assert 10 <= world.time < 15


def test_without_tools_it_is_powered_off_at_once(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS).ShutdownGuest = raising(vim.fault.ToolsUnavailable(msg="tools do not run"))
    finish(world)
    assert world.calls == ["off web-1", "destroy web-1"]
    assert world.time < 5


def test_shutdown_zero_powers_off_at_once(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS)
    finish(world, timeouts=Timeouts(shutdown=0))
    assert world.calls == ["off web-1", "destroy web-1"]


def test_gone_is_what_was_asked_for(world: FakeVCenter) -> None:
    row = finish(world)["web-1"]
    assert (row.phase, row.changed, row.failed) == ("absent", False, False)


def test_a_listing_that_is_out_of_date_deletes_all_the_same(
    world: FakeVCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 3: a VM that one read does not show is not gone; its address must not be given to another."""
    for name in ("web-1", "web-2"):
        shuts_down(world, world.vm(name, MARKS), 1)
    now = FakeInventory.named_machines
    asked: list[list[str]] = []

    def late(self: FakeInventory, names: t.Collection[str], *, root: t.Any = None) -> t.Any:
        asked.append(sorted(names))
        found, hosts = now(self, names, root=root)
        return ([m for m in found if m.name != "web-2"] if len(asked) == 1 else found), hosts

    monkeypatch.setattr(FakeInventory, "named_machines", late)
    rows = finish(world, "web-1", "web-2")
    assert asked == [["web-1", "web-2"], ["web-2"]]
    assert world.calls[-2:] == ["destroy web-1", "destroy web-2"]
    assert all(row.changed for row in rows.values())


def test_gone_in_between_is_no_failure(world: FakeVCenter) -> None:
    """Two runs delete the same VM."""
    gone = vmodl.fault.ManagedObjectNotFound(msg="has already been deleted")
    world.vm("web-1", MARKS, power="poweredOff").Destroy_Task = raising(gone)
    world.vm("web-2", MARKS).ShutdownGuest = raising(gone)
    waited = world.vm("web-3", MARKS)
    world.at(3, lambda: world.objects.pop(waited.moid))
    rows = finish(world, "web-1", "web-2", "web-3")
    assert {(row.phase, row.failed) for row in rows.values()} == {("absent", False)}


def test_a_busy_vm_is_tried_again(world: FakeVCenter) -> None:
    ref = world.vm("web-1", MARKS, power="poweredOff")
    destroy, tries = ref.Destroy_Task, []

    def busy() -> t.Any:
        tries.append(world.time)
        if len(tries) < 3:
            raise vim.fault.TaskInProgress(msg="busy")
        return destroy()

    ref.Destroy_Task = busy
    assert finish(world)["web-1"].phase == "absent"
    assert len(tries) == 3


def test_powered_on_again_behind_our_back(world: FakeVCenter) -> None:
    """Someone (or HA) powers it on between our look and the deletion."""
    ref = world.vm("web-1", MARKS, power="poweredOff")
    destroy, first = ref.Destroy_Task, [True]

    def once() -> t.Any:
        if first:
            first.clear()
            raise vim.fault.InvalidPowerState(existingState="poweredOn", requestedState="poweredOff")
        return destroy()

    ref.Destroy_Task = once
    assert finish(world)["web-1"].phase == "absent"
    assert world.calls == ["off web-1", "destroy web-1"]


def test_a_deletion_that_does_not_end(world: FakeVCenter) -> None:
    ref = world.vm("web-1", MARKS, power="poweredOff")
    ref.Destroy_Task = lambda: world.task("running")
    row = finish(world)["web-1"]
    assert row.failed
    assert "was not deleted within timeouts.destroy (20 s)" in row.msg
    assert row.last_task
    assert row.last_task.moid in row.msg


@pytest.mark.parametrize(
    ("marks", "template", "text"),
    [
        ({"group": "db"}, False, "is not ours and is not deleted: its marks are group=db, wanted are group=web"),
        ({}, False, "its marks are group=(none)"),
        (None, False, "is still being built"),
        (MARKS, True, "is a template and is not deleted"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    world: FakeVCenter, marks: dict[str, str] | None, template: bool, text: str
) -> None:
    """Design 5: only what carries the marks is deleted, and never a template; the others of the call are."""
    world.vm("web-1", marks, template=template)
    world.vm("web-2", MARKS, power="poweredOff")
    rows = finish(world, "web-1", "web-2")
    assert rows["web-1"].failed
    assert text in rows["web-1"].msg
    assert rows["web-2"].phase == "absent"
    assert world.calls == ["destroy web-2"]


def test_two_of_ours_with_one_name_are_ambiguous(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS)
    world.vm("web-1", MARKS)
    row = finish(world)["web-1"]
    assert "exists 2 times" in row.msg
    assert world.calls == []


def test_a_fault_of_the_task_is_in_the_row(world: FakeVCenter) -> None:
    ref = world.vm("web-1", MARKS, power="poweredOff")
    ref.Destroy_Task = lambda: world.task(
        "error", error=vim.fault.NoPermission(privilegeId="VirtualMachine.Inventory.Delete")
    )
    row = finish(world)["web-1"]
    assert "VirtualMachine.Inventory.Delete" in row.msg
    assert row.phase == "destroy"


def test_wait_false_does_not_wait_for_the_deletion(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS, power="poweredOff")
    row = finish(world, wait=False)["web-1"]
    assert (row.phase, world.time) == ("destroy", 0)
