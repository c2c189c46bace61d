# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run over many clones, on a fake vCenter with its own clock: no second is really waited."""

from __future__ import annotations

import typing as t

import pytest
from pyVmomi import vim
from unit.kit.fake_vsphere import FakeInventory, FakeVCenter, customized

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._client import FaultError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._clone import CloneOrder, CloneRun
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._clone_spec import Guest, GuestNetwork, Target
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import Entry
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._placement import Placement
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._rows import Row, Timeouts, Wanted

MARKS = {"group": "web"}
GUEST = Guest(network=GuestNetwork("10.0.0.0/24", "10.0.0.1"))


@pytest.fixture
def world() -> FakeVCenter:
    return FakeVCenter()


def make_run(world: FakeVCenter, count: int = 1, **order: t.Any) -> CloneRun:
    inventory = FakeInventory(world)
    template = world.template()
    wanted = tuple(Wanted(f"web-{n}", f"10.0.0.{10 + n}", MARKS) for n in range(1, count + 1))
    machines: dict[str, list[t.Any]] = {}
    for moid, ref in world.vms.items():
        machines.setdefault(world.objects[moid]["name"], []).append(ref)
    placement = Placement(
        template=template,
        template_path="DC0/vm/web-template",
        target=Target(folder=world.folder),
        datacenter=Entry(vim.Datacenter("datacenter-1", None), "Datacenter", "DC0", "DC0"),
        machines=machines,
        hosts={},
        folder_path="DC0/vm",
    )
    return CloneRun(inventory, placement, CloneOrder(vms=wanted, guest=GUEST, **order), world.pace())


def finish(run: CloneRun) -> dict[str, Row]:
    run.look_first()
    return {row.wanted.name: row for row in run.run()}


def test_all_clones_fly_at_once(world: FakeVCenter) -> None:
    """A17: eight clones of 10 s with a boot of 5 s end after 15 s and little more."""
    rows = finish(make_run(world, 8))
    assert {row.phase for row in rows.values()} == {"ready"}
    assert world.time < 17
    assert [when for _name, _spec, when in world.clones] == [0.0] * 8
    row = rows["web-1"]
    assert row.phases["clone"] == pytest.approx(10, abs=1)
    assert row.phases["customization"] == pytest.approx(5, abs=1)
    assert row.machine
    assert row.machine.marks == {"group": "web", "template": "web-template", "address": "10.0.0.11"}


def test_no_more_than_the_bound_fly(world: FakeVCenter) -> None:
    finish(make_run(world, 6, max_in_flight=2))
    starts = [when for _name, _spec, when in world.clones]
    assert starts[:2] == [0.0, 0.0]
    assert starts[2] >= 10
    assert starts[4] >= 20


def test_one_look_serves_all(world: FakeVCenter) -> None:
    """The number of property calls depends on the time, not on the number of VMs."""
    few, many = FakeVCenter(), world
    finish(make_run(few, 1))
    finish(make_run(many, 8))
    assert many.reads <= few.reads * 1.5 + 5


def test_its_own_deadline_for_each_phase(world: FakeVCenter) -> None:
    """Three timeouts: a clone of 10 s and a boot of 5 s pass with 11 s and 6 s, though both together take longer."""
    rows = finish(make_run(world, timeouts=Timeouts(clone=11, customization=6, address=1)))
    assert rows["web-1"].phase == "ready"


def test_clone_timeout_names_the_task(world: FakeVCenter) -> None:
    world.on_clone = lambda name, address: world.task(progress=42)
    row = finish(make_run(world, timeouts=Timeouts(clone=3)))["web-1"]
    assert (row.failed, row.phase) == (True, "clone")
    assert row.last_task
    assert "timeouts.clone (3 s)" in row.msg
    assert f"task {row.last_task.moid} is running at 42 %" in row.msg
    assert "run again" in row.msg
    assert world.time < 4


def test_address_timeout_says_what_the_guest_reports(world: FakeVCenter) -> None:
    def clone(name: str, _address: str) -> t.Any:
        ref = world.vm(name, world.marks_of(name), addresses=("169.254.1.1",))
        world.events.append(customized(ref))
        return world.task("success", result=ref)

    world.on_clone = clone
    row = finish(make_run(world, timeouts=Timeouts(address=4)))["web-1"]
    assert row.phase == "address"
    assert "10.0.0.11" in row.msg
    assert "169.254.1.1" in row.msg
    assert "guestToolsRunning" in row.msg
    assert row.moid in row.msg


def test_a_failed_customization_is_not_waited_out(world: FakeVCenter) -> None:
    def clone(name: str, _address: str) -> t.Any:
        ref = world.vm(name, world.marks_of(name))
        world.at(2, lambda: world.events.append(customized(ref, ok=False, text="no perl in the guest")))
        return world.task("success", result=ref)

    world.on_clone = clone
    row = finish(make_run(world))["web-1"]
    assert "could not be customized: no perl in the guest" in row.msg
    assert world.time < 4


def test_duplicate_name_of_ours_is_adopted(world: FakeVCenter) -> None:
    """The clone of a run that was cut off ends while ours is refused: read again, and go on with it."""

    def clone(name: str, _address: str) -> t.Any:
        world.vm(name, MARKS, addresses=("10.0.0.11",))
        return world.task("error", error=vim.fault.DuplicateName(name=name, msg="taken"))

    world.on_clone = clone
    row = finish(make_run(world))["web-1"]
    assert (row.phase, row.failed, row.changed) == ("ready", False, False)


def test_duplicate_name_of_others_is_a_conflict(world: FakeVCenter) -> None:
    def clone(name: str, _address: str) -> t.Any:
        world.vm(name, {"group": "db"})
        raise vim.fault.DuplicateName(name=name)

    world.on_clone = clone
    row = finish(make_run(world))["web-1"]
    assert row.failed
    assert "is not ours" in row.msg
    assert "group=db" in row.msg
    assert "group=web" in row.msg
    assert not row.changed


def test_a_vm_that_is_still_being_built_is_waited_for(world: FakeVCenter) -> None:
    """While vCenter builds a VM its marks cannot be read: neither ours nor foreign."""
    ref = world.vm("web-1", None)
    run = make_run(world)

    def built() -> None:
        marked = world.vm("x", MARKS)
        world.objects[ref.moid] = {**world.objects.pop(marked.moid), "name": "web-1"}
        world.booted(ref, "10.0.0.11")
        world.vms.pop(marked.moid)

    world.at(7, built)
    row = finish(run)["web-1"]
    assert (row.phase, row.changed) == ("ready", False)
    assert 7 <= world.time < 9


def test_ours_in_another_folder_is_ours_and_theirs_is_nobodys_matter(world: FakeVCenter) -> None:
    """vCenter keeps names apart by folder."""
    other = vim.Folder("group-v2", None)
    ours = world.vm("web-1", MARKS, addresses=("10.0.0.11",))
    theirs = world.vm("web-2", {"group": "db"})
    for ref in (ours, theirs):
        world.objects[ref.moid]["parent"] = other
    rows = finish(make_run(world, 2))
    assert rows["web-1"].moid == ours.moid
    assert not rows["web-1"].changed
    assert rows["web-2"].phase == "ready"
    assert rows["web-2"].moid != theirs.moid


def test_power_on_is_tried_again_while_another_task_works(world: FakeVCenter) -> None:
    ref = world.vm("web-1", MARKS, power="poweredOff", addresses=("10.0.0.11",))
    power_on, tries = ref.PowerOnVM_Task, []

    def busy() -> t.Any:
        tries.append(world.time)
        if len(tries) < 3:
            raise vim.fault.TaskInProgress(msg="busy")
        return power_on()

    ref.PowerOnVM_Task = busy
    row = finish(make_run(world))["web-1"]
    assert (row.phase, row.changed) == ("ready", True)
    assert len(tries) == 3


def test_power_on_of_what_is_on_already_is_no_failure(world: FakeVCenter) -> None:
    ref = world.vm("web-1", MARKS, power="poweredOff", addresses=("10.0.0.11",))

    def refused() -> t.Any:
        raise vim.fault.InvalidPowerState(existingState="poweredOn", requestedState="poweredOn")

    ref.PowerOnVM_Task = refused
    assert finish(make_run(world))["web-1"].phase == "ready"


def test_pending_customization_of_an_adopted_vm_is_waited_for(world: FakeVCenter) -> None:
    """Powered on for the first time by us: the guest has still to be customized."""
    pending = {"config.tools.pendingCustomization": "imc-1"}
    ref = world.vm("web-1", MARKS, power="poweredOff", **pending)
    world.at(6, lambda: world.booted(ref, "10.0.0.11"))
    row = finish(make_run(world))["web-1"]
    assert row.phase == "ready"
    assert row.phases["customization"] > 3


def test_a_vm_that_vanishes_fails_alone(world: FakeVCenter) -> None:
    run = make_run(world, 2)
    world.at(12, lambda: world.objects.pop(next(r.moid for r in world.vms.values() if is_named(world, r, "web-1"))))
    rows = finish(run)
    assert "was deleted while it was waited for" in rows["web-1"].msg
    assert rows["web-2"].phase == "ready"


def is_named(world: FakeVCenter, ref: t.Any, name: str) -> bool:
    return world.objects.get(ref.moid, {}).get("name") == name


def test_a_task_that_vcenter_forgot(world: FakeVCenter) -> None:
    """Tasks are kept for minutes only; the VM is then found by its name."""
    clone = world.clone_in(3)

    def forgetful(name: str, address: str) -> t.Any:
        task = clone(name, address)
        world.at(9, lambda: world.objects.pop(task.moid))
        world.objects[task.moid]["info.state"] = "running"
        return task

    world.on_clone = forgetful
    world.end = lambda *_args, **_info: None  # type: ignore[method-assign]
    row = finish(make_run(world))["web-1"]
    assert row.phase == "ready"


def test_a_lost_vcenter_leaves_what_is_known(world: FakeVCenter) -> None:
    run = make_run(world, 2)
    run.look_first()

    def lost() -> None:
        world.read_errors = [ConnectionResetError("reset by peer")]

    world.at(4, lost)
    with pytest.raises(BackendDownError, match="reset by peer") as caught:
        run.run()
    assert [row["name"] for row in caught.value.result["vms"]] == ["web-1", "web-2"]
    assert caught.value.result["vms"][0]["last_task"]["state"] == "running"
    assert caught.value.result["changed"]


def test_a_short_loss_of_the_connection_is_survived(world: FakeVCenter) -> None:
    run = make_run(world)

    def lost() -> None:
        world.read_errors = [ConnectionResetError("reset by peer")]

    def back() -> None:
        world.read_errors = []

    world.at(4, lost)
    world.at(8, back)
    assert finish(run)["web-1"].phase == "ready"


def test_zero_timeouts_leave_phases_out(world: FakeVCenter) -> None:
    world.on_clone = world.clone_in(10, boot=1000)
    row = finish(make_run(world, timeouts=Timeouts(customization=0, address=0)))["web-1"]
    assert row.phase == "ready"
    assert world.time < 12


def test_wait_false_returns_when_all_are_sent_off(world: FakeVCenter) -> None:
    rows = finish(make_run(world, 3, wait=False))
    assert world.time == 0
    assert all(row.changed and row.task for row in rows.values())


def test_check_mode_changes_nothing(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS, power="poweredOff")
    run = make_run(world, 2)
    rows = run.look_first()
    assert [row.changed for row in rows] == [True, False]
    assert world.clones == []
    assert world.calls == []
    diff = run.diff()
    assert diff["before"]["web-1"]["power_state"] == "poweredOff"
    assert diff["after"]["web-2"]["power_state"] == "poweredOn"


def test_a_template_of_that_name_is_not_touched(world: FakeVCenter) -> None:
    world.vm("web-1", MARKS, power="poweredOff", template=True)
    row = finish(make_run(world))["web-1"]
    assert "a template has that name" in row.msg
    assert world.calls == []


@pytest.mark.parametrize("status", ["TOOLSDEPLOYPKG_SUCCEEDED", "TOOLSDEPLOYPKG_FAILED"])
def test_the_tools_report_counts_where_no_event_is_seen(world: FakeVCenter, status: str) -> None:
    """Events may be hidden from the user or gone; GuestInfo.customizationInfo says the same."""

    def clone(name: str, address: str) -> t.Any:
        info = vim.vm.GuestInfo.CustomizationInfo(customizationStatus=status, errorMsg="broken package")
        ref = world.vm(name, world.marks_of(name), addresses=(address,), **{"guest.customizationInfo": info})
        return world.task("success", result=ref)

    world.on_clone = clone
    row = finish(make_run(world))["web-1"]
    assert row.failed == status.endswith("FAILED")
    assert ("broken package" in row.msg) == row.failed


@pytest.mark.parametrize("version", ["8.0.3.0", "6.7.3"])
def test_a_user_who_may_not_read_events(world: FakeVCenter, version: str) -> None:
    """The tools' own report will do from 7.0.2 on; an older vCenter has none, and then the fault is said."""

    def clone(name: str, address: str) -> t.Any:
        info = vim.vm.GuestInfo.CustomizationInfo(customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
        ref = world.vm(name, world.marks_of(name), addresses=(address,), **{"guest.customizationInfo": info})
        return world.task("success", result=ref)

    def refused(_filter: t.Any) -> t.Any:
        raise vim.fault.NoPermission(privilegeId="System.View")

    world.on_clone = clone
    run = make_run(world)
    run.client.content.about.apiVersion = version
    run.client.content.eventManager.QueryEvents = refused
    if version.startswith("8"):
        assert finish(run)["web-1"].phase == "ready"
    else:
        with pytest.raises(FaultError, match=r"read the customization events: .*System\.View"):
            finish(run)


def test_ours_with_another_address_is_a_conflict_at_once(world: FakeVCenter) -> None:
    """It would never get the address; nobody waits for it (invariant 3: one lease, one VM)."""
    world.vm("web-1", {**MARKS, "address": "10.0.0.99"}, power="poweredOff")
    row = finish(make_run(world))["web-1"]
    assert "was made for address 10.0.0.99, not 10.0.0.11" in row.msg
    assert (world.calls, world.time) == ([], 0)
    assert row.as_dict()["address"] == "10.0.0.99"
