# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The clone specification as a pure function: no call to vCenter, the same input gives the same specification.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass, field

from .._common._errors import InvalidSpecError
from ._client import vim
from ._inventory import MARK_PREFIX

#: Keys of new devices are negative until vCenter gives them real ones.
FIRST_NEW_KEY = -101
MARK_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
MAX_VM_NAME = 80
CUSTOMIZATIONS = ("linuxprep", "cloudinit", "none")


@dataclass(frozen=True)
class Backing:
    """What a network card is plugged into.

    ``key`` and ``switch``: port group key and switch UUID of a distributed port group, id and type of an opaque (NSX)
    network, empty for a standard port group.
    """

    kind: str  # standard | distributed | opaque
    ref: t.Any
    name: str
    key: str = ""
    switch: str = ""


@dataclass(frozen=True)
class Target:
    """Where a clone goes; None means "as the template"."""

    folder: t.Any
    pool: t.Any = None
    host: t.Any = None
    datastore: t.Any = None
    network: Backing | None = None


@dataclass(frozen=True)
class GuestNetwork:
    """What the guest is told: network in CIDR form, gateway, name servers, search domain."""

    cidr: str = ""
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    domain: str = ""

    @property
    def parsed(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The network."""
        return ipaddress.ip_network(self.cidr, strict=False)


@dataclass(frozen=True)
class Hardware:
    """What differs from the template; None means "as the template"."""

    cpus: int | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Guest:
    """How the guest is customized."""

    customization: str = "linuxprep"
    network: GuestNetwork = field(default_factory=GuestNetwork)
    user_data: str = ""


def check_wanted(name: str, address: str, marks: t.Mapping[str, str], guest: Guest) -> None:
    """Refuse what vCenter would refuse minutes later, or what nobody could own afterwards.

    :raises InvalidSpecError: names the field, the value and what is allowed.
    """
    if not name or len(name) > MAX_VM_NAME or name != name.strip():
        raise InvalidSpecError(
            f"vms.name {name!r} is not allowed: 1 to {MAX_VM_NAME} characters, no space at either end"
        )
    if not marks:
        raise InvalidSpecError(
            f"VM {name!r} has no marks, so nobody could tell later whose it is",
            remedy="Set marks (like group: web) for all VMs, or vms.marks for this one",
        )
    for key in marks:
        if not MARK_NAME.match(key):
            raise InvalidSpecError(f"marks key {key!r} is not allowed: letters, digits, '_', '.', '-', at most 64")
    if not address:
        return
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise InvalidSpecError(f"vms.address {address!r} of {name!r} is no IP address") from error
    if guest.customization == "none":
        return
    if not guest.network.cidr:
        raise InvalidSpecError(
            f"vms.address {address} of {name!r} needs a prefix length", remedy="Set network.cidr, like 10.0.0.0/24"
        )
    if parsed not in guest.network.parsed:
        raise InvalidSpecError(f"vms.address {address} of {name!r} is not in network.cidr {guest.network.cidr}")


def check_network(network: GuestNetwork) -> None:
    """Refuse a CIDR, a gateway or a name server that is none.

    :raises InvalidSpecError: names the field, the value and what is allowed.
    """
    if network.cidr:
        try:
            parsed = network.parsed
        except ValueError as error:
            raise InvalidSpecError(f"network.cidr {network.cidr!r} is no network like 10.0.0.0/24: {error}") from error
        if network.gateway and ipaddress.ip_address(_address("network.gateway", network.gateway)) not in parsed:
            raise InvalidSpecError(f"network.gateway {network.gateway} is not in network.cidr {network.cidr}")
    for server in network.dns_servers:
        _address("network.dns_servers", server)


def _address(option: str, value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError as error:
        raise InvalidSpecError(f"{option} {value!r} is no IP address") from error
    return value


def guest_name(name: str) -> str:
    """A host name (RFC 1123 label) from a VM name."""
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower())[:63].strip("-")
    return label or "vm"


def mark_options(marks: t.Mapping[str, str]) -> list[t.Any]:
    """Marks as ``extraConfig``; an empty value removes the key."""
    return [vim.option.OptionValue(key=MARK_PREFIX + key, value=str(value)) for key, value in sorted(marks.items())]


def build_clone_spec(
    *,
    name: str,
    address: str,
    marks: t.Mapping[str, str],
    inherited_marks: t.Iterable[str],
    target: Target,
    devices: t.Sequence[t.Any],
    hardware: Hardware,
    guest: Guest,
    power_on: bool = True,
) -> t.Any:
    """A ``vim.vm.CloneSpec``.

    The marks are part of it, so that the VM is known as ours from its first moment. Every network card of the template
    (*devices*) is replaced by a new one, because parallel clones that copy a card can end up with one MAC address.

    :param inherited_marks: marks on the template, which its clones must not carry on.
    """
    options = mark_options({**dict.fromkeys(inherited_marks, ""), **marks})
    cards = network_cards(devices)
    changes, card_count = _card_changes(cards, target.network)
    customization = None
    if guest.customization == "linuxprep":
        customization = linux_prep(name, address, guest.network, card_count)
    elif guest.customization == "cloudinit":
        options += cloud_init_options(name, address, guest)
    config = vim.vm.ConfigSpec(extraConfig=options, deviceChange=changes)
    if hardware.cpus:
        config.numCPUs = hardware.cpus
    if hardware.memory_mb:
        config.memoryMB = hardware.memory_mb
    return vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=target.pool, host=target.host, datastore=target.datastore),
        config=config,
        customization=customization,
        powerOn=power_on,
        template=False,
    )


def network_cards(devices: t.Sequence[t.Any]) -> list[t.Any]:
    """The network cards among a VM's devices."""
    return [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]


def _card_changes(cards: t.Sequence[t.Any], network: Backing | None) -> tuple[list[t.Any], int]:
    """(device changes, number of cards afterwards)."""
    operation = vim.vm.device.VirtualDeviceSpec.Operation
    changes = [vim.vm.device.VirtualDeviceSpec(operation=operation.remove, device=card) for card in cards]
    if network is not None:
        backings = [(vim.vm.device.VirtualVmxnet3, _backing_info(network))]
    else:
        backings = [(type(card), _fresh_backing(card.backing)) for card in cards]
    for number, (kind, backing) in enumerate(backings):
        card = kind(
            key=FIRST_NEW_KEY - number,
            backing=backing,
            addressType="generated",
            wakeOnLanEnabled=True,
            connectable=vim.vm.device.VirtualDevice.ConnectInfo(
                startConnected=True, connected=True, allowGuestControl=True
            ),
        )
        changes.append(vim.vm.device.VirtualDeviceSpec(operation=operation.add, device=card))
    return changes, len(backings)


def _backing_info(network: Backing) -> t.Any:
    card = vim.vm.device.VirtualEthernetCard
    if network.kind == "distributed":
        port = vim.dvs.PortConnection(portgroupKey=network.key, switchUuid=network.switch)
        return card.DistributedVirtualPortBackingInfo(port=port)
    if network.kind == "opaque":
        return card.OpaqueNetworkBackingInfo(opaqueNetworkId=network.key, opaqueNetworkType=network.switch)
    return card.NetworkBackingInfo(network=network.ref, deviceName=network.name)


def _fresh_backing(backing: t.Any) -> t.Any:
    """The template's backing without the port that the template itself occupies."""
    port = getattr(backing, "port", None)
    if port is None:
        return backing
    fresh = vim.dvs.PortConnection(portgroupKey=port.portgroupKey, switchUuid=port.switchUuid)
    return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=fresh)


def linux_prep(name: str, address: str, network: GuestNetwork, cards: int) -> t.Any:
    """A ``CustomizationSpec`` for Linux: the first card gets *address* (DHCP without one), further cards use DHCP."""
    custom = vim.vm.customization
    settings = custom.IPSettings(ip=custom.DhcpIpGenerator())
    if address:
        settings = custom.IPSettings(ip=custom.FixedIp(ipAddress=address), subnetMask=str(network.parsed.netmask))
        if network.gateway:
            settings.gateway = [network.gateway]
    if network.dns_servers:
        settings.dnsServerList = list(network.dns_servers)
    if network.domain:
        settings.dnsDomain = network.domain
    adapters = [custom.AdapterMapping(adapter=settings)]
    by_dhcp = custom.IPSettings(ip=custom.DhcpIpGenerator())
    adapters += [custom.AdapterMapping(adapter=by_dhcp)] * (cards - 1)
    return custom.Specification(
        identity=custom.LinuxPrep(
            hostName=custom.FixedName(name=guest_name(name)),
            domain=network.domain or "localdomain",
            hwClockUTC=True,
        ),
        globalIPSettings=custom.GlobalIPSettings(
            dnsServerList=list(network.dns_servers),
            dnsSuffixList=[network.domain] if network.domain else [],
        ),
        nicSettingMap=adapters[:cards],
    )


def cloud_init_options(name: str, address: str, guest: Guest) -> list[t.Any]:
    """``guestinfo`` keys that cloud-init's VMware data source reads; JSON is YAML, so no library is needed."""
    network = guest.network
    card: dict[str, t.Any] = {"match": {"name": "e*"}}
    if address:
        card |= {"dhcp4": False, "addresses": [f"{address}/{network.parsed.prefixlen}"]}
        if network.gateway:
            everywhere = "::/0" if ":" in network.gateway else "0.0.0.0/0"
            card["routes"] = [{"to": everywhere, "via": network.gateway}]
    else:
        card["dhcp4"] = True
    servers = {"addresses": list(network.dns_servers)} if network.dns_servers else {}
    if network.domain:
        servers["search"] = [network.domain]
    if servers:
        card["nameservers"] = servers
    metadata = {
        "instance-id": name,
        "local-hostname": guest_name(name),
        "network": {"version": 2, "ethernets": {"nic0": card}},
    }
    options = {"guestinfo.metadata": _base64(json.dumps(metadata, sort_keys=True))}
    options["guestinfo.metadata.encoding"] = "base64"
    if guest.user_data:
        options["guestinfo.userdata"] = _base64(guest.user_data)
        options["guestinfo.userdata.encoding"] = "base64"
    return [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
