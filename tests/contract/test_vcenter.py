# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's vCenter keeps what a real one promises, seen by pyVmomi, a client that we did not write."""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import signal
import time
import urllib.error

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter_client import Client, finish, linux_prep
from lab.vcenter_kit import VCenter, wait_for

CLONE, BOOT = 0.6, 0.6  # seconds
ADDRESSES = (f"127.0.47.{last}" for last in itertools.count(20))
NAMES = (f"vm-under-test-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    with VCenter(tmp_path_factory.mktemp("vcenter"), clone=CLONE, boot=BOOT, capacity=20) as running:
        yield running


@pytest.fixture
def client(vcenter):
    session = Client(vcenter)
    yield session
    vcenter.control("DELETE", "/faults")
    vcenter.control("PUT", "/times", {"clone_s": CLONE, "boot_s": BOOT, "shutdown_s": 0.3})
    session.close()


@pytest.fixture
def machine(client):
    """A clone that serves, and its address."""
    name, address = next(NAMES), next(ADDRESSES)
    vm = finish(client.clone(name, address))
    wait_for(lambda: vm.guest.ipAddress, what="address")
    return vm, address


def refused(vcenter, address):
    try:
        vcenter.app(address, timeout=1)
    except OSError:
        return True
    return False


# Sessions


def test_wrong_password_is_refused(vcenter):
    with pytest.raises(vim.fault.InvalidLogin):
        Client(vcenter, password="not it")
    with pytest.raises(vim.fault.InvalidLogin):
        Client(vcenter, password="")


def test_version_is_one_that_current_clients_speak(client):
    assert client.content.about.apiVersion == "8.0.3.0"


def test_expired_session_is_not_authenticated(vcenter, client):
    """A session can end at any time (S4: retries); calls and property reads both say so, a new login works."""
    vm = client.vm("base-1")
    assert vcenter.control("POST", "/sessions/expire")["expired"] >= 1
    with pytest.raises(vim.fault.NotAuthenticated):
        _unused = vm.name
    with pytest.raises(vim.fault.NotAuthenticated):
        client.vm("base-1")
    again = Client(vcenter)
    assert again.vm("base-1").name == "base-1"
    again.close()


# Inventory


def test_inventory_from_the_start(client):
    template, golden, base = client.vm("web-template"), client.vm("web-golden"), client.vm("base-1")
    assert template.config.template
    assert template.resourcePool is None
    assert not golden.config.template
    assert golden.runtime.powerState == "poweredOff"
    assert base.runtime.powerState == "poweredOn"
    assert base.guest.ipAddress == "127.0.47.11"
    kinds = {type(d).__name__.rpartition(".")[2] for d in template.config.hardware.device}
    assert {"VirtualVmxnet3", "VirtualDisk"} <= kinds
    assert {n.name for n in client.datacenter.network} >= {"VM Network", "DC0_DVPG0"}
    assert [d.name for d in client.datacenter.datastore] == ["LocalDS_0"]
    assert client.content.searchIndex.FindByInventoryPath("DC0/host/DC0_C0") is not None


def test_every_property_of_every_vm_can_be_read(client):
    """Strict clients refuse empty enum elements, and then cannot read the object at all."""
    for name in ("web-template", "web-golden", "base-1"):
        vm = client.vm(name)
        values = {p.name: getattr(vm, p.name) for p in vim.VirtualMachine._GetPropertyList()}
        assert values["snapshot"] is None
        assert vm.runtime.faultToleranceState == "notConfigured"
        assert vm.summary.runtime.recordReplayState == "inactive"
        assert vm.guest.guestState in {"running", "notRunning"}
        assert vm.config.createDate is not None


def test_template_cannot_be_switched_on_and_golden_can_become_a_template(client):
    with pytest.raises(vim.fault.InvalidState):
        finish(client.vm("web-template").PowerOnVM_Task())
    golden = client.vm("web-golden")
    golden.MarkAsTemplate()
    assert golden.config.template
    golden.MarkAsVirtualMachine(pool=client.datacenter.hostFolder.childEntity[0].resourcePool)
    assert not golden.config.template


# Clone and boot


def test_clone_shows_its_address_only_after_the_boot(vcenter, client):
    """R2, L2: power on, fixed address and marks in one call; the address comes with the customization."""
    name, address = next(NAMES), next(ADDRESSES)
    begin = time.monotonic()
    vm = finish(client.clone(name, address, extra={"onprem.autoscale.group": "web"}))
    cloned = time.monotonic() - begin
    assert cloned >= CLONE
    assert vm.runtime.powerState == "poweredOn"
    assert {o.key: o.value for o in vm.config.extraConfig}["onprem.autoscale.group"] == "web"
    guest = vm.guest
    assert not guest.ipAddress
    assert not guest.net
    assert guest.toolsRunningStatus == "guestToolsNotRunning"
    assert refused(vcenter, address)
    wait_for(lambda: vm.guest.ipAddress, what="address")
    assert time.monotonic() - begin >= CLONE + BOOT
    guest = vm.guest
    assert (guest.ipAddress, guest.hostName, guest.toolsRunningStatus) == (address, name, "guestToolsRunning")
    assert guest.net[0].ipAddress == [address]
    assert guest.net[0].ipConfig.ipAddress[0].prefixLength == 24
    assert guest.net[0].macAddress
    assert guest.customizationInfo.customizationStatus == "TOOLSDEPLOYPKG_SUCCEEDED"
    assert vcenter.app(address, "/health")[0] == 200
    assert name in vcenter.app(address)[1]
    row = vcenter.vm(name)
    assert (row["marks"], row["ip"], row["state"]) == ({"group": "web"}, address, "up")
    assert row["pid"] > 0
    events = client.events(vm)
    wanted = ["VmClonedEvent", "VmPoweredOnEvent", "CustomizationStartedEvent", "CustomizationSucceeded"]
    assert [e for e in events if e in wanted] == wanted


def test_clone_left_off_has_no_guest_and_customizes_at_power_on(vcenter, client):
    name, address = next(NAMES), next(ADDRESSES)
    vm = finish(client.clone(name, address, power_on=False, extra={"onprem.autoscale.group": "web"}))
    assert vm.runtime.powerState == "poweredOff"
    assert vm.guest.customizationInfo.customizationStatus == "TOOLSDEPLOYPKG_PENDING"
    time.sleep(BOOT * 1.5)
    assert (vcenter.vm(name)["pid"], vcenter.vm(name)["state"]) == (0, "off")
    finish(vm.PowerOnVM_Task())
    wait_for(lambda: vm.guest.ipAddress == address, what="address")
    assert vcenter.app(address)[0] == 200


def test_twenty_clones_take_as_long_as_one(vcenter, client):
    """Clones of one template run side by side, on all hosts, with MAC addresses of their own."""
    vcenter.control("PUT", "/times", {"clone_s": 3})
    wanted = {next(NAMES): next(ADDRESSES) for _unused in range(20)}
    begin = time.monotonic()
    tasks = [client.clone(name, address) for name, address in wanted.items()]
    vms = [finish(task) for task in tasks]
    seconds = time.monotonic() - begin
    assert 3 <= seconds < 12, "one after the other would take a minute"
    for vm, address in zip(vms, wanted.values(), strict=True):
        wait_for(lambda vm=vm, address=address: vm.guest.ipAddress == address, what=f"{vm.name} has {address}")
    rows = [vcenter.vm(name) for name in wanted]
    assert len({mac for row in rows for mac in row["macs"]}) == 20
    assert {row["host"] for row in rows} == {"DC0_C0_H0", "DC0_C0_H1"}
    assert all(vcenter.app(address, "/health")[0] == 200 for address in wanted.values())
    for task in [vm.PowerOffVM_Task() for vm in vms]:
        finish(task)
    for task in [vm.Destroy_Task() for vm in vms]:
        finish(task)
    assert all(refused(vcenter, address) for address in wanted.values())


def test_name_that_exists_is_refused(client):
    """DuplicateName means: read again and compare (T2: a repeated run)."""
    with pytest.raises(vim.fault.DuplicateName) as caught:
        finish(client.clone("base-1", next(ADDRESSES)))
    assert caught.value.object == client.vm("base-1")
    assert "already exists" in caught.value.msg


def test_same_name_twice_at_once_makes_one_vm(client):
    name = next(NAMES)
    tasks = [client.clone(name, next(ADDRESSES), power_on=False) for _unused in range(2)]
    ends = []
    for task in tasks:
        try:
            ends.append(finish(task))
        except vim.fault.DuplicateName as error:
            ends.append(error.object)
    assert ends == [client.vm(name), client.vm(name)]


def test_what_cannot_be_cloned_is_refused_at_once(client):
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        client.clone(next(NAMES), next(ADDRESSES), network="no such network")
    template = client.vm("web-template")
    spec = client.clone_spec(template, "x", "127.0.47.19")
    spec.config.deviceChange = spec.config.deviceChange[:1]
    with pytest.raises(vim.fault.NicSettingMismatch):
        template.CloneVM_Task(folder=client.datacenter.vmFolder, name=next(NAMES), spec=spec)


def test_customization_of_an_existing_vm(client):
    vm = finish(client.clone(next(NAMES), power_on=False))
    address = next(ADDRESSES)
    finish(vm.CustomizeVM_Task(spec=linux_prep("renamed", address)))
    with pytest.raises(vim.fault.CustomizationPending):
        finish(vm.CustomizeVM_Task(spec=linux_prep("renamed", address)))
    finish(vm.PowerOnVM_Task())
    wait_for(lambda: vm.guest.ipAddress == address, what="address")
    assert vm.guest.hostName == "renamed"


@pytest.mark.parametrize("encoding", ["", "base64", "gzip+base64"])
def test_cloud_init_metadata_gives_the_address(vcenter, client, encoding):
    """The second way to a fixed address: guestinfo.metadata, in the encodings that cloud-init reads."""
    name, address = next(NAMES), next(ADDRESSES)
    text = (
        f"local-hostname: {name}-ci\nnetwork:\n  version: 2\n  ethernets:\n    primary:\n"
        f"      match: {{name: 'e*'}}\n      addresses: [{address}/25]\n"
    ).encode()
    packed = gzip.compress(text) if encoding.startswith("gzip") else text
    value = base64.b64encode(packed).decode() if encoding else text.decode()
    extra = {"guestinfo.metadata": value, "guestinfo.metadata.encoding": encoding}
    vm = finish(client.clone(name, extra={k: v for k, v in extra.items() if v}))
    wait_for(lambda: vm.guest.ipAddress == address, what="address")
    assert vm.guest.hostName == f"{name}-ci"
    assert vm.guest.net[0].ipConfig.ipAddress[0].prefixLength == 25
    assert "CustomizationStartedEvent" not in client.events(vm)
    assert vcenter.app(address)[0] == 200


def test_second_vm_on_an_address_gets_none(vcenter, client, machine):
    """Invariant 3 seen from below: an address that is taken does not work for the second VM."""
    first, address = machine
    name = next(NAMES)
    vm = finish(client.clone(name, address))
    row = wait_for(lambda: (r := vcenter.vm(name))["state"] == "conflict" and r, what="conflict")
    assert (row["ip"], row["pid"]) == ("", 0)
    assert first.name in row["note"]
    assert not vm.guest.ipAddress
    assert first.name in vcenter.app(address)[1]


# Power


def test_shutdown_of_the_guest_stops_the_service_first(vcenter, client, machine):
    """R6: an orderly shutdown; the service ends at once, the power goes off a little later."""
    vm, address = machine
    vm.ShutdownGuest()
    assert refused(vcenter, address)
    assert vm.runtime.powerState == "poweredOn"
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()
    wait_for(lambda: vm.runtime.powerState == "poweredOff", what="power off")
    assert not vm.guest.ipAddress
    assert client.events(vm)[-2:] == ["VmGuestShutdownEvent", "VmPoweredOffEvent"]
    finish(vm.Destroy_Task())
    assert client.vm(vcenter.vm("base-1")["name"]) is not None


def test_shutdown_needs_running_tools(client):
    vm = finish(client.clone(next(NAMES), next(ADDRESSES)))
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()  # still boots
    finish(vm.PowerOffVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.ShutdownGuest()


def test_power_off_and_destroy_end_the_guest(vcenter, client, machine):
    vm, address = machine
    name, pid = vm.name, vcenter.vm(vm.name)["pid"]
    with pytest.raises(vim.fault.InvalidPowerState):
        finish(vm.Destroy_Task())
    finish(vm.PowerOffVM_Task())
    assert refused(vcenter, address)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    finish(vm.Destroy_Task())
    assert client.vm(name) is None
    assert vcenter.vm(name) is None
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _unused = vm.name


@pytest.mark.parametrize("how", ["ResetVM_Task", "RebootGuest"])
def test_restart_boots_the_guest_again(vcenter, machine, how):
    vm, address = machine
    pid = vcenter.vm(vm.name)["pid"]
    getattr(vm, how)()
    wait_for(lambda: not vm.guest.ipAddress, what="address is gone")
    wait_for(lambda: vm.guest.ipAddress == address, what="address is back")
    assert vcenter.vm(vm.name)["pid"] not in {0, pid}
    assert vcenter.app(address)[0] == 200


def test_no_guest_outlives_its_vcenter(tmp_path):
    """kill -9 of the vCenter takes the guests with it: no orphan holds an address."""
    with VCenter(tmp_path, base="only=127.0.47.15") as own:
        pid = wait_for(lambda: own.vm("only")["pid"], what="guest")
        own.process.send_signal(signal.SIGKILL)
        own.process.wait()
        wait_for(lambda: refused(own, "127.0.47.15"), what="guest is gone")
        with pytest.raises(ProcessLookupError):
            wait_for(lambda: os.kill(pid, 0), timeout=3)


def test_control_refuses_nonsense(vcenter, client):
    for body in ({"mode": "fualt"}, {"method": "x", "fault": "NoSuchFault"}, {"typo": 1}, {"probability": 2}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            vcenter.control("POST", "/faults", body)
    assert vcenter.control("GET", "/faults") == []
