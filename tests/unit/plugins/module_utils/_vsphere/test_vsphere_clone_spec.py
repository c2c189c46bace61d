# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clone specification: a pure function of what is wanted."""

from __future__ import annotations

import base64
import json
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._clone_spec import (
    Backing,
    Guest,
    GuestNetwork,
    Hardware,
    Target,
    build_clone_spec,
    check_network,
    check_wanted,
    guest_name,
)

NETWORK = GuestNetwork("10.0.0.0/24", "10.0.0.1", ("10.0.0.2",), "example.org")
CARD = vim.vm.device.VirtualEthernetCard
STANDARD = Backing("standard", vim.Network("network-1", None), "VM Network")


def card(kind: t.Any = vim.vm.device.VirtualE1000, key: int = 4000) -> t.Any:
    port = vim.dvs.PortConnection(portgroupKey="pg-1", switchUuid="uuid-1", portKey="17")
    return kind(key=key, macAddress="00:50:56:00:00:01", backing=CARD.DistributedVirtualPortBackingInfo(port=port))


def build(**change: t.Any) -> t.Any:
    arguments: dict[str, t.Any] = {
        "name": "web-1",
        "address": "10.0.0.11",
        "marks": {"group": "web"},
        "inherited_marks": (),
        "target": Target(folder=vim.Folder("group-v1", None), network=STANDARD),
        "devices": [vim.vm.device.VirtualDisk(key=2000), card()],
        "hardware": Hardware(),
        "guest": Guest(network=NETWORK),
    }
    return build_clone_spec(**{**arguments, **change})


def options(spec: t.Any) -> dict[str, str]:
    return {option.key: option.value for option in spec.config.extraConfig}


def added(spec: t.Any) -> list[t.Any]:
    return [change.device for change in spec.config.deviceChange if change.operation == "add"]


def removed(spec: t.Any) -> list[int]:
    return [change.device.key for change in spec.config.deviceChange if change.operation == "remove"]


def test_marks_are_part_of_the_clone() -> None:
    """Design 5: the mark exists from the first moment; marks of the template are not carried on."""
    spec = build(inherited_marks=["kind", "group", "source"])
    assert options(spec) == {
        "onprem.autoscale.group": "web",
        "onprem.autoscale.kind": "",
        "onprem.autoscale.source": "",
    }
    assert spec.powerOn
    assert not spec.template


def test_every_card_is_replaced_by_one_new_card() -> None:
    """Parallel clones that copy a card can share its MAC: no new card carries one."""
    spec = build(devices=[card(), card(key=4001)])
    assert removed(spec) == [4000, 4001]
    (new,) = added(spec)
    assert isinstance(new, vim.vm.device.VirtualVmxnet3)
    assert new.macAddress is None
    assert new.addressType == "generated"
    assert new.key < 0
    assert new.connectable.startConnected
    assert (new.backing.deviceName, new.backing.network._GetMoId()) == ("VM Network", "network-1")
    assert len(spec.customization.nicSettingMap) == 1


def test_distributed_port_group() -> None:
    backing = Backing("distributed", None, "dv", "pg-9", "uuid-9")
    (new,) = added(build(target=Target(folder=None, network=backing)))
    assert (new.backing.port.portgroupKey, new.backing.port.switchUuid) == ("pg-9", "uuid-9")
    assert new.backing.port.portKey is None


def test_nsx_segment() -> None:
    (new,) = added(
        build(target=Target(folder=None, network=Backing("opaque", None, "seg", "id-9", "nsx.LogicalSwitch")))
    )
    assert (new.backing.opaqueNetworkId, new.backing.opaqueNetworkType) == ("id-9", "nsx.LogicalSwitch")


def test_without_a_network_each_card_is_made_new_where_it_was() -> None:
    """The template's own port is not claimed by its clones; the first card gets the address, others use DHCP."""
    devices = [card(), card(vim.vm.device.VirtualVmxnet3, 4001)]
    spec = build(target=Target(folder=None), devices=devices)
    new = added(spec)
    assert [type(device) for device in new] == [vim.vm.device.VirtualE1000, vim.vm.device.VirtualVmxnet3]
    assert {device.backing.port.portgroupKey for device in new} == {"pg-1"}
    assert {device.backing.port.portKey for device in new} == {None}
    assert len({device.key for device in new}) == 2
    first, second = (mapping.adapter.ip for mapping in spec.customization.nicSettingMap)
    assert first.ipAddress == "10.0.0.11"
    assert isinstance(second, vim.vm.customization.DhcpIpGenerator)


def test_linux_prep_with_a_fixed_address() -> None:
    custom = build(name="Web_1.x").customization
    adapter = custom.nicSettingMap[0].adapter
    assert (adapter.ip.ipAddress, adapter.subnetMask, list(adapter.gateway)) == (
        "10.0.0.11",
        "255.255.255.0",
        ["10.0.0.1"],
    )
    assert (custom.identity.hostName.name, custom.identity.domain) == ("web-1-x", "example.org")
    assert list(custom.globalIPSettings.dnsServerList) == ["10.0.0.2"]
    assert list(custom.globalIPSettings.dnsSuffixList) == ["example.org"]


def test_linux_prep_without_an_address_is_dhcp() -> None:
    custom = build(address="", guest=Guest()).customization
    assert isinstance(custom.nicSettingMap[0].adapter.ip, vim.vm.customization.DhcpIpGenerator)
    assert custom.identity.domain, "the API requires one"


def test_cloud_init_metadata() -> None:
    spec = build(guest=Guest("cloudinit", NETWORK, "#cloud-config\n{}"))
    assert spec.customization is None
    found = options(spec)
    assert found["guestinfo.metadata.encoding"] == found["guestinfo.userdata.encoding"] == "base64"
    assert base64.b64decode(found["guestinfo.userdata"]) == b"#cloud-config\n{}"
    metadata = json.loads(base64.b64decode(found["guestinfo.metadata"]))
    assert (metadata["instance-id"], metadata["local-hostname"]) == ("web-1", "web-1")
    nic = metadata["network"]["ethernets"]["nic0"]
    assert (nic["dhcp4"], nic["addresses"]) == (False, ["10.0.0.11/24"])
    assert nic["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
    assert nic["nameservers"] == {"addresses": ["10.0.0.2"], "search": ["example.org"]}


def test_cloud_init_without_an_address_is_dhcp() -> None:
    metadata = options(build(address="", guest=Guest("cloudinit")))["guestinfo.metadata"]
    assert json.loads(base64.b64decode(metadata))["network"]["ethernets"]["nic0"]["dhcp4"] is True


def test_no_customization_and_hardware() -> None:
    spec = build(guest=Guest("none", NETWORK), hardware=Hardware(4, 8192))
    assert spec.customization is None
    assert (spec.config.numCPUs, spec.config.memoryMB) == (4, 8192)
    untouched = build().config
    assert (untouched.numCPUs, untouched.memoryMB) == (None, None)


def test_the_same_input_gives_the_same_specification() -> None:
    assert str(build()) == str(build())


@given(st.text(max_size=90))
def test_guest_names_are_host_names(name: str) -> None:
    """RFC 1123 label, whatever the VM is called."""
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", guest_name(name))


@pytest.mark.parametrize(
    ("name", "address", "marks", "text"),
    [
        ("", "", {"g": "w"}, "vms.name ''"),
        ("x" * 81, "", {"g": "w"}, "1 to 80 characters"),
        ("web-1", "", {}, "no marks"),
        ("web-1", "", {"a b": "w"}, "marks key 'a b'"),
        ("web-1", "10.0.0", {"g": "w"}, "'10.0.0' of 'web-1' is no IP address"),
        ("web-1", "10.0.1.1", {"g": "w"}, "not in network.cidr 10.0.0.0/24"),
    ],
)
def test_bad_vms_are_refused_before_vcenter_is_asked(name: str, address: str, marks: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(text)):
        check_wanted(name, address, marks, Guest(network=NETWORK))


def test_an_address_needs_a_prefix_unless_nobody_sets_it() -> None:
    with pytest.raises(InvalidSpecError, match=r"network\.cidr"):
        check_wanted("web-1", "10.0.0.1", {"g": "w"}, Guest())
    check_wanted("web-1", "10.0.0.1", {"g": "w"}, Guest("none"))


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (GuestNetwork("10.0.0.0/33"), "network.cidr '10.0.0.0/33'"),
        (GuestNetwork("10.0.0.0/24", "10.0.1.1"), "network.gateway 10.0.1.1 is not in"),
        (GuestNetwork("10.0.0.0/24", "gw"), "network.gateway 'gw' is no IP address"),
        (GuestNetwork("10.0.0.0/24", dns_servers=("ns",)), "network.dns_servers 'ns'"),
    ],
)
def test_bad_networks_are_refused(network: GuestNetwork, text: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(text)):
        check_network(network)
