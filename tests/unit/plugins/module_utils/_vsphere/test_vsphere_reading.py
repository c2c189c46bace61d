# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from vCenter, and the pace at which it is looked at."""

from __future__ import annotations

import datetime
import types
import typing as t

import pytest
from pyVmomi import vim, vmodl
from unit.kit.fake_vsphere import FakeClient, FakeInventory, FakeVCenter, Ref, customized, nic, option

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._client import FaultError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import (
    Inventory,
    epoch,
    guest_addresses,
    is_routable,
    iso,
    machine_properties,
    read_marks,
    to_machine,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._tasks import (
    Pace,
    customization_events,
    to_task_state,
    wait_for_task,
)

QUERY = vmodl.query.PropertyCollector


class Collector:
    """A property collector of prepared pages; counts the calls."""

    def __init__(self, *pages: t.Any) -> None:
        self.pages = list(pages)
        self.calls = 0

    def RetrievePropertiesEx(self, filters: t.Any, _options: t.Any) -> t.Any:
        self.filters = filters
        return self._next()

    def ContinueRetrievePropertiesEx(self, token: str) -> t.Any:
        assert token
        return self._next()

    def _next(self) -> t.Any:
        self.calls += 1
        page = self.pages.pop(0)
        if isinstance(page, BaseException):
            raise page
        return page


def page(*objects: t.Any, token: str | None = None) -> t.Any:
    return types.SimpleNamespace(objects=list(objects), token=token)


def found(ref: t.Any, **properties: t.Any) -> t.Any:
    values = [types.SimpleNamespace(name=name, val=value) for name, value in properties.items()]
    return types.SimpleNamespace(obj=ref, propSet=values)


@pytest.fixture
def world() -> FakeVCenter:
    return FakeVCenter()


def inventory(world: FakeVCenter, collector: Collector, destroyed: list[bool] | None = None) -> Inventory:
    client = FakeClient(world)
    view = vim.view.ContainerView("view-1", None)
    seen = destroyed if destroyed is not None else []
    object.__setattr__(view, "DestroyView", lambda: seen.append(True))
    client.content.propertyCollector = collector
    client.content.rootFolder = vim.Folder("group-d1", None)
    client.content.viewManager = types.SimpleNamespace(CreateContainerView=lambda *_args: view)
    return Inventory(client)


def test_marks_are_the_collections_own_keys() -> None:
    extra = [option("onprem.autoscale.group", "web"), option("onprem.autoscale.old", ""), option("other", "x")]
    assert read_marks(extra) == {"group": "web"}
    assert read_marks(None) == {}


@pytest.mark.parametrize(
    ("address", "routable"),
    [
        ("10.0.0.1", True), ("2001:db8::1", True), ("169.254.1.1", False), ("fe80::1%eth0", False),
        ("127.0.0.1", False), ("0.0.0.0", False), ("", False), ("host", False),
    ],
)  # fmt: skip
def test_routable_addresses(address: str, routable: bool) -> None:
    assert is_routable(address) == routable


def test_all_addresses_of_the_guest_once() -> None:
    assert guest_addresses([nic("10.0.0.2", "fe80::1"), nic("10.0.0.1")], "10.0.0.1") == (
        "10.0.0.1",
        "10.0.0.2",
        "fe80::1",
    )
    assert guest_addresses(None, None) == ()


def test_times_are_utc() -> None:
    moment = datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.timezone.utc)
    assert epoch(moment) == epoch(moment.replace(tzinfo=None)) == 1777636800.0
    assert iso(1777636800.0) == "2026-05-01T12:00:00Z"
    assert (epoch(None), iso(None)) == (None, None)


def test_an_old_vcenter_is_not_asked_for_what_it_does_not_know() -> None:
    """One unknown property path fails the whole call."""
    assert "config.createDate" not in machine_properties((6, 5))
    assert "guest.customizationInfo" not in machine_properties((7, 0, 1))
    assert {"config.createDate", "guest.customizationInfo"} <= set(machine_properties((8, 0, 3)))


def test_a_vm_without_config_has_no_marks_yet() -> None:
    assert to_machine(Ref("vm-1"), {"name": "web-1"}).marks is None
    built = to_machine(Ref("vm-1"), {"name": "a%2fb", "config.template": False})
    assert (built.marks, built.name) == ({}, "a/b")
    assert not built.has_marks({"group": "web"})


def test_the_primary_address_is_a_routable_one() -> None:
    machine = to_machine(Ref("vm-1"), {"guest.net": [nic("169.254.1.1", "10.0.0.5")], "guest.ipAddress": "169.254.1.1"})
    assert machine.address == "10.0.0.5"


def test_scan_reads_all_pages_and_puts_paths_together(world: FakeVCenter) -> None:
    dc, folder, vm = vim.Datacenter("dc", None), vim.Folder("f", None), vim.VirtualMachine("v", None)
    collector = Collector(
        page(found(dc, name="DC0", parent=vim.Folder("root", None)), found(folder, name="vm", parent=dc), token="t"),
        page(found(vm, name="web%2f1", parent=folder)),
    )
    destroyed: list[bool] = []
    entries = inventory(world, collector, destroyed).scan({vim.VirtualMachine: ["name"], vim.Datacenter: []})
    assert [(entry.kind, entry.path) for entry in entries] == [
        ("Datacenter", "DC0"), ("Folder", "DC0/vm"), ("VirtualMachine", "DC0/vm/web/1"),
    ]  # fmt: skip
    assert collector.calls == 2
    assert destroyed == [True]
    (query,) = collector.filters
    assert {spec.type.__name__: list(spec.pathSet) for spec in query.propSet} == {
        "vim.VirtualMachine": ["name", "parent"], "vim.Datacenter": ["name", "parent"],
    }  # fmt: skip


def test_the_view_is_closed_when_reading_fails(world: FakeVCenter) -> None:
    destroyed: list[bool] = []
    with pytest.raises(FaultError):
        inventory(world, Collector(vmodl.fault.InvalidArgument()), destroyed).scan({vim.VirtualMachine: []})
    assert destroyed == [True]


def test_a_session_that_ends_in_mid_reading_begins_it_anew(world: FakeVCenter) -> None:
    """The new session has neither the view nor the next page of the old one."""
    vm = vim.VirtualMachine("v", None)
    first = page(found(vm, name="web-1"), token="t")
    collector = Collector(
        vim.fault.NotAuthenticated(), vmodl.fault.ManagedObjectNotFound(obj=vim.view.ContainerView("view-1", None)),
        first, vim.fault.NotAuthenticated(), vmodl.fault.InvalidArgument(),
        page(found(vm, name="web-1")),
    )  # fmt: skip
    destroyed: list[bool] = []
    entries = inventory(world, collector, destroyed).scan({vim.VirtualMachine: ["name"]})
    assert [entry.name for entry in entries] == ["web-1"]
    assert destroyed == [True] * 3


def test_sessions_that_always_end_are_an_error(world: FakeVCenter) -> None:
    """Somebody ends our sessions: bounded, and what vCenter said comes through."""
    collector = Collector(*[vim.fault.NotAuthenticated(), vmodl.fault.ManagedObjectNotFound()] * 10)
    with pytest.raises(FaultError, match="ManagedObjectNotFound"):
        inventory(world, collector).scan({vim.VirtualMachine: ["name"]})
    assert collector.calls == 8


def test_objects_that_are_gone_are_left_out(world: FakeVCenter) -> None:
    """One VM deleted in between must not fail the look at all the others."""
    here, gone = vim.VirtualMachine("vm-1", None), vim.VirtualMachine("vm-2", None)
    collector = Collector(vmodl.fault.ManagedObjectNotFound(obj=gone), page(found(here, name="web-1")))
    assert inventory(world, collector).read([here, gone], {vim.VirtualMachine: ["name"]}) == {"vm-1": {"name": "web-1"}}
    assert collector.calls == 2


def test_nothing_to_read_is_no_call(world: FakeVCenter) -> None:
    collector = Collector()
    assert inventory(world, collector).read([], {}) == {}
    assert inventory(world, collector).machines([]) == {}
    assert collector.calls == 0


def test_the_pace_follows_the_time_waited(world: FakeVCenter) -> None:
    """Short waits are seen at once, long ones cost few calls: at most a twentieth of the time, or the interval."""
    pace = Pace(1.0, clock=world.clock, sleep=world.sleep)
    pace.pause()
    assert 0.08 <= world.time <= 0.12
    world.time = 10.0
    pace.pause()
    assert 0.4 <= world.time - 10 <= 0.6
    world.time = 1000.0
    pace.pause()
    assert 0.8 <= world.time - 1000 <= 1.2
    pace.restart()
    before = world.time
    pace.pause()
    assert world.time - before <= 0.12
    pace.pause(0.01)
    assert world.time - before <= 0.13 + 0.01


def test_a_forgotten_task_has_ended() -> None:
    assert to_task_state("task-1", None).ended
    assert not to_task_state("task-1", {"info.state": "queued"}).ended


def test_wait_for_task(world: FakeVCenter) -> None:
    task = world.task("running", progress=10)
    world.at(7, lambda: world.end(task, result="made"))
    reader = FakeInventory(world)
    state = wait_for_task(reader, t.cast(t.Any, task), what="make it", timeout=20, pace=world.pace())
    assert state.result == "made"
    assert state.as_dict()["progress"] == 100
    failed = world.task("error", error=vim.fault.NoDiskSpace(datastore="ds1", msg="full"))
    with pytest.raises(FaultError, match=r"Could not make it: NoDiskSpace: full .*Free space") as fault:
        wait_for_task(reader, t.cast(t.Any, failed), what="make it", timeout=20, pace=world.pace())
    assert fault.value.result["last_task"]["state"] == "error"
    slow = world.task("running", progress=30)
    with pytest.raises(WaitTimeoutError, match=r"within 5 s: task .* is running at 30 %") as late:
        wait_for_task(reader, t.cast(t.Any, slow), what="make it", timeout=5, pace=world.pace())
    assert late.value.result["last_task"]["moid"] == slow.moid


def test_a_failed_customization_wins_over_a_success(world: FakeVCenter) -> None:
    """vCenter's pages are not in order of time."""
    first, second = Ref("vm-1"), Ref("vm-2")
    world.events = [customized(first), customized(first, ok=False, text="no network"), customized(second)]
    since = datetime.datetime.now(datetime.timezone.utc)
    assert customization_events(FakeClient(world), since) == {"vm-1": (False, "no network"), "vm-2": (True, "")}
