# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run over many marks, on a fake vCenter with its own clock."""

from __future__ import annotations

import re
import typing as t

import pytest
from pyVmomi import vim, vmodl
from unit.kit.fake_vsphere import FakeInventory, FakeVCenter, Ref, option

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError, InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import MARK_PREFIX
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._mark import (
    OWNERSHIP,
    MarkOrder,
    MarkRun,
    mark_order,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._rows import Row

WEB = {"group": "web"}


@pytest.fixture
def world() -> FakeVCenter:
    return FakeVCenter()


def vm(world: FakeVCenter, name: str, marks: dict[str, str], seconds: float = 1, **other: t.Any) -> Ref:
    """A VM whose reconfiguration takes *seconds*."""
    ref = world.vm(name, marks, **other)

    def reconfigure(spec: t.Any) -> Ref:
        world.calls.append(f"mark {name}")
        task = world.task()

        def done() -> None:
            extra = {o.key: o.value for o in world.objects[ref.moid]["config.extraConfig"]}
            extra.update({o.key: o.value for o in spec.extraConfig})
            world.objects[ref.moid]["config.extraConfig"] = [option(k, v) for k, v in extra.items() if v]
            world.end(task)

        world.at(world.time + seconds, done)
        return task

    ref.ReconfigVM_Task = reconfigure
    return ref


def marks_of(world: FakeVCenter, ref: Ref) -> dict[str, str]:
    return {o.key[len(MARK_PREFIX) :]: o.value for o in world.objects[ref.moid]["config.extraConfig"]}


def run_of(world: FakeVCenter, *names: str, **how: t.Any) -> MarkRun:
    order = {"marks": WEB, "set": {"protected": "true"}, "remove": (), "moids": {}, "timeout": 20, **how}
    run = MarkRun(FakeInventory(world), MarkOrder(names=names or ("web-1",), **order), world.pace())
    run.look_first()
    return run


def finish(world: FakeVCenter, *names: str, **how: t.Any) -> dict[str, Row]:
    return {row.wanted.name: row for row in run_of(world, *names, **how).run()}


def test_all_are_written_at_the_same_time(world: FakeVCenter) -> None:
    refs = [vm(world, f"web-{n}", WEB, seconds=5) for n in range(1, 9)]
    rows = finish(world, *(f"web-{n}" for n in range(1, 9)))
    assert all(row.changed and row.phase == "ready" for row in rows.values())
    assert all(marks_of(world, ref) == {"group": "web", "protected": "true"} for ref in refs)
    assert world.time < 7, "one after the other"


def test_only_what_differs_is_written(world: FakeVCenter) -> None:
    """Idempotent: a VM that carries the marks gets no call; a removed key is written as empty."""
    vm(world, "web-1", {**WEB, "protected": "true"})
    other = vm(world, "web-2", {**WEB, "quarantined": "x"})
    rows = finish(world, "web-1", "web-2", remove=("quarantined", "never-there"))
    assert world.calls == ["mark web-2"]
    assert (rows["web-1"].changed, rows["web-2"].changed) == (False, True)
    assert marks_of(world, other) == {"group": "web", "protected": "true"}


def test_a_write_that_did_not_happen_is_a_failure(world: FakeVCenter) -> None:
    """vCenter says success and the mark is not there: read back, and told."""
    ref = vm(world, "web-1", WEB)
    ref.ReconfigVM_Task = lambda _spec: world.task("success")
    row = finish(world)["web-1"]
    assert row.failed
    assert "accepted the marks of 'web-1'" in row.msg
    assert "protected stands there as before" in row.msg


def test_a_task_that_vcenter_forgot_counts_by_what_stands_there(world: FakeVCenter) -> None:
    ref = vm(world, "web-1", WEB)
    reconfigure = ref.ReconfigVM_Task

    def forgetful(spec: t.Any) -> Ref:
        task = reconfigure(spec)
        world.at(world.time + 1.05, lambda: world.objects.pop(task.moid))
        return task

    ref.ReconfigVM_Task = forgetful
    row = finish(world)["web-1"]
    assert (row.failed, row.changed) == (False, True)


@pytest.mark.parametrize("where", ["call", "task"])
def test_a_busy_vm_is_tried_again(world: FakeVCenter, where: str) -> None:
    ref = vm(world, "web-1", WEB)
    reconfigure, tries = ref.ReconfigVM_Task, []

    def busy(spec: t.Any) -> t.Any:
        tries.append(world.time)
        if len(tries) > 2:
            return reconfigure(spec)
        fault = vim.fault.TaskInProgress(msg="busy")
        if where == "call":
            raise fault
        return world.task("error", error=fault)

    ref.ReconfigVM_Task = busy
    assert finish(world)["web-1"].changed
    assert len(tries) == 3


def test_a_vm_that_stays_busy(world: FakeVCenter) -> None:
    ref = vm(world, "web-1", WEB)
    ref.ReconfigVM_Task = lambda _spec: world.task("running", progress=3)
    row = finish(world)["web-1"]
    assert row.failed
    assert "was not marked within wait_timeout (20 s): task" in row.msg
    assert not row.changed
    assert world.time < 25


def test_after_a_timeout_what_was_written_all_the_same_is_told(world: FakeVCenter) -> None:
    ref = vm(world, "web-1", WEB)
    reconfigure = ref.ReconfigVM_Task

    def applied_but_running(spec: t.Any) -> Ref:
        reconfigure(spec)
        return world.task("running")

    ref.ReconfigVM_Task = applied_but_running
    row = finish(world)["web-1"]
    assert (row.failed, row.changed) == (True, True)
    assert row.as_dict()["marks"] == {"group": "web", "protected": "true"}


@pytest.mark.parametrize("when", ["call", "after"])
def test_a_vm_that_is_deleted_meanwhile(world: FakeVCenter, when: str) -> None:
    ref = vm(world, "web-1", WEB)
    if when == "call":

        def gone(_spec: t.Any) -> t.Any:
            world.objects.pop(ref.moid)
            raise vmodl.fault.ManagedObjectNotFound(msg="has already been deleted")

        ref.ReconfigVM_Task = gone
    else:
        world.at(1, lambda: world.objects.pop(ref.moid))
        ref.ReconfigVM_Task = lambda _spec: world.task("success")
        world.sleep(0.95)
    row = finish(world)["web-1"]
    assert row.failed
    assert "was deleted" in row.msg
    assert not row.changed


@pytest.mark.parametrize(
    ("marks", "template", "text"),
    [
        ({"group": "db"}, False, "is not ours and is not marked: its marks are group=db, wanted are group=web"),
        ({}, False, "its marks are group=(none)"),
        (None, False, "is still being built"),
        (WEB, True, "is a template and is not marked"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    world: FakeVCenter, marks: dict[str, str] | None, template: bool, text: str
) -> None:
    world.vm("web-1", marks, template=template)
    vm(world, "web-2", WEB)
    rows = finish(world, "web-1", "web-2")
    assert rows["web-1"].failed
    assert text in rows["web-1"].msg
    assert rows["web-2"].changed
    assert world.calls == ["mark web-2"]


def test_a_name_that_exists_twice_needs_the_moid(world: FakeVCenter) -> None:
    vm(world, "web-1", WEB)
    second = vm(world, "web-1", WEB)
    assert "exists 2 times" in finish(world)["web-1"].msg
    assert world.calls == []
    assert finish(world, moids={"web-1": second.moid})["web-1"].changed
    assert "protected" in marks_of(world, second)


def test_wait_false_sends_and_returns(world: FakeVCenter) -> None:
    vm(world, "web-1", WEB)
    row = finish(world, wait=False)["web-1"]
    assert (row.phase, row.changed, world.time, world.calls) == ("mark", True, 0, ["mark web-1"])


def test_when_vcenter_is_lost_the_rows_are_told(world: FakeVCenter) -> None:
    vm(world, "web-1", WEB, seconds=5)
    world.at(2, lambda: world.read_errors.append(ConnectionResetError("gone")))
    run = run_of(world)
    with pytest.raises(BackendDownError) as raised:
        run.run()
    assert [row["name"] for row in raised.value.result["vms"]] == ["web-1"]


PARAMS = {"vms": [{"name": "a", "moid": ""}], "marks": WEB, "remove": [], "wait_timeout": 60, "wait": True}


def test_values_from_yaml_become_text() -> None:
    order = mark_order({**PARAMS, "set": {"protected": True, "slot_note": 3}})
    assert order.set == {"protected": "true", "slot_note": "3"}


@pytest.mark.parametrize("key", OWNERSHIP)
@pytest.mark.parametrize("option", ["set", "remove"])
def test_nobody_rewrites_whose_a_vm_is(key: str, option: str) -> None:
    """Design 5: the mark of the clone decides who may delete a VM."""
    change = {"set": {key: "x"}} if option == "set" else {"set": {}, "remove": [key]}
    with pytest.raises(InvalidSpecError, match=re.escape(f"{option} key '{key}'")):
        mark_order({**PARAMS, **change})
