# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few pyVmomi calls that tests of the lab's vCenter make. It shares no code with the collection."""

from __future__ import annotations

import ssl
import time
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from lab.vcenter_kit import VCenter


class Client:
    """A session of pyVmomi with the lab's vCenter; its certificate is verified."""

    def __init__(self, vcenter: VCenter, password: str | None = None) -> None:
        self.instance = SmartConnect(
            host=vcenter.host,
            port=vcenter.port,
            user=vcenter.user,
            pwd=vcenter.password if password is None else password,
            sslContext=ssl.create_default_context(cafile=str(vcenter.cert)),
        )
        self.content = self.instance.content
        self.datacenter = self.content.rootFolder.childEntity[0]

    def close(self) -> None:
        """Log out."""
        Disconnect(self.instance)

    def vm(self, name: str) -> Any:
        """The VM of the name in the datacenter's VM folder; None when there is none."""
        return self.content.searchIndex.FindByInventoryPath(f"DC0/vm/{name}")

    def clone(self, name: str, address: str = "", **spec: Any) -> Any:
        """Start a clone of the template and return its task; see :meth:`clone_spec`."""
        template = self.vm("web-template")
        return template.CloneVM_Task(
            folder=self.datacenter.vmFolder, name=name, spec=self.clone_spec(template, name, address, **spec)
        )

    def clone_spec(
        self,
        template: Any,
        name: str,
        address: str = "",
        *,
        power_on: bool = True,
        extra: dict[str, str] | None = None,
        network: str = "VM Network",
    ) -> Any:
        """A clone spec with a new NIC in the place of the template's, and LinuxPrep when *address* is given."""
        device = vim.vm.device
        card = next(d for d in template.config.hardware.device if isinstance(d, device.VirtualEthernetCard))
        fresh = device.VirtualVmxnet3(
            key=-1,
            backing=device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network),
            connectable=device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True),
        )
        return vim.vm.CloneSpec(
            location=vim.vm.RelocateSpec(pool=self.datacenter.hostFolder.childEntity[0].resourcePool),
            powerOn=power_on,
            template=False,
            customization=linux_prep(name, address) if address else None,
            config=vim.vm.ConfigSpec(
                deviceChange=[
                    device.VirtualDeviceSpec(operation="remove", device=card),
                    device.VirtualDeviceSpec(operation="add", device=fresh),
                ],
                extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in (extra or {}).items()],
            ),
        )

    def events(self, vm: Any) -> list[str]:
        """Type names of a VM's events, oldest first."""
        spec = vim.event.EventFilterSpec(entity=vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self"))
        rows = sorted(self.content.eventManager.QueryEvents(spec), key=lambda event: event.key)
        return [type(event).__name__.rpartition(".")[2] for event in rows]


def linux_prep(name: str, address: str) -> Any:
    """A Linux customization with a fixed address on the only NIC."""
    custom = vim.vm.customization
    return custom.Specification(
        globalIPSettings=custom.GlobalIPSettings(dnsServerList=["127.0.0.53"], dnsSuffixList=["example.org"]),
        identity=custom.LinuxPrep(domain="example.org", hostName=custom.FixedName(name=name)),
        nicSettingMap=[
            custom.AdapterMapping(
                adapter=custom.IPSettings(
                    ip=custom.FixedIp(ipAddress=address), subnetMask="255.255.255.0", gateway=["127.0.47.1"]
                )
            )
        ],
    )


def finish(task: Any, timeout: float = 20.0) -> Any:
    """Wait for a task; its result, or the fault that it ended with is raised."""
    deadline = time.monotonic() + timeout
    while task.info.state in {"queued", "running"}:
        if time.monotonic() > deadline:
            raise AssertionError(f"{task.info.name} still runs after {timeout:g} s")
        time.sleep(0.02)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result
