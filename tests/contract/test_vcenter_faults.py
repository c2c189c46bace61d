# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule that the lab's vCenter takes does what it says, and no more often than it says."""

from __future__ import annotations

import itertools
import threading
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyVmomi import vim

from lab.vcenter_client import Client, finish
from lab.vcenter_kit import VCenter, wait_for

BOOT = 0.4  # seconds
ADDRESSES = (f"127.0.47.{last}" for last in itertools.count(150))
NAMES = (f"faulty-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    base = "base-3=127.0.47.13,base-4=127.0.47.14"
    with VCenter(tmp_path_factory.mktemp("vcenter"), clone=0.1, boot=BOOT, base=base, capacity=20) as running:
        yield running


@pytest.fixture
def client(vcenter):
    session = Client(vcenter)
    yield session
    vcenter.control("DELETE", "/faults")
    vcenter.control("PUT", "/times", {"clone_s": 0.1, "boot_s": BOOT})
    session.close()


def state(vcenter, name, wanted):
    return wait_for(lambda: (row := vcenter.vm(name))["state"] == wanted and row, what=f"{name} is {wanted}")


# Faults of calls and tasks


def test_call_fails_as_often_as_the_rule_says(vcenter, client):
    rule = vcenter.fault(method="CloneVM_Task", fault="ResourceInUse", count=2, message="disk is locked")
    for _unused in range(2):
        with pytest.raises(vim.fault.ResourceInUse, match="disk is locked"):
            client.clone(next(NAMES), next(ADDRESSES))
    finish(client.clone(next(NAMES), next(ADDRESSES), power_on=False))
    (row,) = vcenter.control("GET", "/faults")
    assert (row["id"], row["hits"]) == (rule, 2)
    assert vcenter.control("DELETE", f"/faults/{rule}") == {"removed": 1}
    assert vcenter.control("GET", "/faults") == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("InvalidState", vim.fault.InvalidState),
        ("HostConnectFault", vim.fault.HostConnectFault),
        ("NotAuthenticated", vim.fault.NotAuthenticated),
        ("InsufficientResourcesFault", vim.fault.InsufficientResourcesFault),
        ("InvalidPowerState", vim.fault.InvalidPowerState),
    ],
)
def test_any_fault_of_vsphere_can_be_injected(vcenter, client, name, kind):
    vcenter.fault(method="PowerOnVM_Task", object_type="VirtualMachine", object_name="web-golden", fault=name, count=1)
    with pytest.raises(kind):
        client.vm("web-golden").PowerOnVM_Task()


def test_rule_strikes_the_named_object_only(vcenter, client):
    """A clone matches by the template's name and by the name of the VM that it makes."""
    unlucky, lucky = next(NAMES), next(NAMES)
    vcenter.fault(method="CloneVM_Task", object_name=unlucky, fault="HostConnectFault")
    with pytest.raises(vim.fault.HostConnectFault):
        client.clone(unlucky, next(ADDRESSES))
    finish(client.clone(lucky, next(ADDRESSES), power_on=False))
    vcenter.fault(method="*", object_name="base-3", fault="InvalidState")
    with pytest.raises(vim.fault.InvalidState):
        client.vm("base-3").RefreshStorageInfo()
    client.vm("base-4").RefreshStorageInfo()


def test_clone_task_fails_after_the_clone_time_and_leaves_nothing(vcenter, client):
    vcenter.control("PUT", "/times", {"clone_s": 0.5})
    vcenter.fault(method="CloneVM_Task", fault="HostConnectFault", at="task", count=1, message="host went away")
    name, begin = next(NAMES), time.monotonic()
    task = client.clone(name, next(ADDRESSES))
    with pytest.raises(vim.fault.HostConnectFault, match="host went away"):
        finish(task)
    assert time.monotonic() - begin >= 0.5
    assert client.vm(name) is None


def test_other_tasks_can_fail_too(vcenter, client):
    vm = finish(client.clone(next(NAMES), next(ADDRESSES), power_on=False))
    vcenter.fault(method="Destroy_Task", fault="ResourceInUse", at="task", count=1)
    with pytest.raises(vim.fault.ResourceInUse):
        finish(vm.Destroy_Task())
    finish(vm.Destroy_Task())


def test_delay_probability_and_skip(vcenter, client):
    vcenter.fault(method="RefreshStorageInfo", delay_s=0.5, count=1)
    begin = time.monotonic()
    client.vm("base-3").RefreshStorageInfo()
    assert time.monotonic() - begin >= 0.5
    vcenter.fault(method="RefreshStorageInfo", fault="InvalidState", probability=0)
    client.vm("base-3").RefreshStorageInfo()
    vcenter.fault(method="RefreshStorageInfo", fault="InvalidState", skip=1, count=1)
    client.vm("base-3").RefreshStorageInfo()
    with pytest.raises(vim.fault.InvalidState):
        client.vm("base-3").RefreshStorageInfo()


# Faults of boots


def test_no_boot_strikes_the_next_clones_only(vcenter, client):
    """A8: a VM that is on and never gets an address."""
    vcenter.fault(mode="no_boot", count=1)
    dead, name, address = next(NAMES), next(NAMES), next(ADDRESSES)
    vm = finish(client.clone(dead, next(ADDRESSES)))
    other = finish(client.clone(name, address))
    wait_for(lambda: other.guest.ipAddress == address, what="address of the second")
    state(vcenter, dead, "no_boot")
    assert vm.runtime.powerState == "poweredOn"
    assert not vm.guest.ipAddress
    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    assert "CustomizationStartedEvent" not in client.events(vm)
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()
    finish(vm.PowerOffVM_Task())


def test_unhealthy_guest_and_health_on_demand(vcenter, client):
    """A9: a VM that boots and whose service is ill."""
    vcenter.fault(mode="unhealthy", count=1)
    name, address = next(NAMES), next(ADDRESSES)
    vm = finish(client.clone(name, address))
    wait_for(lambda: vm.guest.ipAddress, what="address")
    assert vcenter.app(address, "/health")[0] == 500
    assert vcenter.control("POST", f"/guests/{name}/health", {"status": 200}) == {"status": 200}
    assert vcenter.app(address, "/health")[0] == 200
    vcenter.control("POST", f"/guests/{name}/health", {"status": 500})
    assert vcenter.app(address, "/health")[0] == 500
    assert vcenter.app(address)[0] == 200


def test_failed_customization(vcenter, client):
    vcenter.fault(mode="customization_failed", count=1)
    name = next(NAMES)
    vm = finish(client.clone(name, next(ADDRESSES)))
    wait_for(lambda: "CustomizationFailed" in client.events(vm), what="event")
    assert "CustomizationSucceeded" not in client.events(vm)
    row = state(vcenter, name, "not_customized")
    wait_for(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning", what="tools")
    assert (row["ip"], row["pid"]) == ("", 0)
    assert vm.guest.customizationInfo.customizationStatus == "TOOLSDEPLOYPKG_FAILED"
    assert not vm.guest.ipAddress


def test_link_local_address_shows_before_the_real_one(vcenter, client):
    vcenter.control("PUT", "/times", {"boot_s": 1.5})
    vcenter.fault(mode="link_local", count=1)
    address = next(ADDRESSES)
    vm = finish(client.clone(next(NAMES), address))
    assert wait_for(lambda: vm.guest.ipAddress, what="an address").startswith("169.254.")
    wait_for(lambda: vm.guest.ipAddress == address, what="the address")


def test_guest_without_address(vcenter, client):
    vcenter.fault(mode="no_address", object_name="faulty-*")
    name = next(NAMES)
    vm = finish(client.clone(name, next(ADDRESSES)))
    state(vcenter, name, "no_address")
    wait_for(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning", what="tools")
    assert not vm.guest.ipAddress


def test_killed_guest_leaves_the_vm_on(vcenter, client):
    name, address = next(NAMES), next(ADDRESSES)
    vm = finish(client.clone(name, address))
    wait_for(lambda: vm.guest.ipAddress, what="address")
    vcenter.control("POST", f"/guests/{name}/kill")
    with pytest.raises(OSError):  # noqa: PT011 (refused or reset)
        vcenter.app(address)
    assert vm.runtime.powerState == "poweredOn"
    assert vcenter.vm(name)["pid"] == 0


# Guests


def cpu(vcenter, address):
    """CPU seconds by mode, parsed by Prometheus' own client."""
    families = {f.name: f for f in text_string_to_metric_families(vcenter.metrics(address))}
    return {s.labels["mode"]: s.value for s in families["node_cpu_seconds"].samples}, families


def busy_percent(vcenter, address, seconds):
    before, _unused = cpu(vcenter, address)
    time.sleep(seconds)
    after, _unused = cpu(vcenter, address)
    spent = {mode: after[mode] - before[mode] for mode in after}
    assert all(value >= 0 for value in spent.values()), "a counter never goes back"
    return 100 * (1 - spent["idle"] / sum(spent.values()))


def test_cpu_metric_follows_the_load(vcenter):
    """S10: the alert must see the load. Capacity is 20 requests a second here."""
    address = "127.0.47.13"
    assert busy_percent(vcenter, address, 1.5) < 5
    stop = threading.Event()

    def load():
        while not stop.is_set():
            vcenter.app(address)
            time.sleep(0.02)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        time.sleep(2.2)
        assert busy_percent(vcenter, address, 1.5) > 90
        assert busy_percent(vcenter, "127.0.47.14", 0.5) < 5
    finally:
        stop.set()
        worker.join()
    wait_for(lambda: busy_percent(vcenter, address, 0.5) < 5, timeout=10, what="idle again")


def test_metrics_have_the_names_of_node_exporter(vcenter):
    """Real time passes in the counters, and the memory is read as a real node's is."""
    modes, families = cpu(vcenter, "127.0.47.14")
    assert {"idle", "user", "system", "iowait"} <= modes.keys()
    total = families["node_memory_MemTotal_bytes"].samples[0].value
    assert 0 < families["node_memory_MemAvailable_bytes"].samples[0].value < total
    assert families["node_uname_info"].samples[0].labels["nodename"] == "base-4"
    assert abs(families["node_time_seconds"].samples[0].value - time.time()) < 2
    begin, start = sum(modes.values()), time.monotonic()
    time.sleep(3)
    passed = sum(cpu(vcenter, "127.0.47.14")[0].values()) - begin
    assert passed == pytest.approx(time.monotonic() - start, abs=1)


def test_slow_request_streams(vcenter):
    url = f"http://127.0.47.14:{vcenter.guest_port}/slow?seconds=3"
    begin = time.monotonic()
    with urllib.request.urlopen(url, timeout=15) as response:
        first = response.readline()
        assert time.monotonic() - begin < 2.5
        rest = response.read()
    assert first.startswith(b"base-4")
    assert rest.endswith(b"done\n")
    assert time.monotonic() - begin >= 3
