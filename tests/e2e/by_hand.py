# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does behind the collection's back: in the vSphere client, in the BIG-IP's GUI, in an editor."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from pyVim.connect import Disconnect, SmartConnect

from lab.vcenter_client import finish


@contextlib.contextmanager
def vcenter(lab: dict[str, Any]) -> Iterator[Any]:
    """A vSphere client's session: pyVmomi, none of our code."""
    part = lab["vcenter"]
    session = SmartConnect(
        host=part["hostname"],
        port=part["port"],
        user=part["username"],
        pwd=Path(part["password_file"]).read_text().strip(),
        sslContext=ssl.create_default_context(cafile=part["ca_path"]),
    )
    try:
        yield session.content.searchIndex
    finally:
        Disconnect(session)


def power_off(lab: dict[str, Any], name: str) -> None:
    with vcenter(lab) as search:
        finish(search.FindByInventoryPath(f"DC0/vm/{name}").PowerOffVM_Task())


def delete_vm(lab: dict[str, Any], name: str) -> None:
    with vcenter(lab) as search:
        vm = search.FindByInventoryPath(f"DC0/vm/{name}")
        if vm.runtime.powerState == "poweredOn":
            finish(vm.PowerOffVM_Task())
        finish(vm.Destroy_Task())


def remove_member(lab: dict[str, Any], address: str, port: int = 8080) -> None:
    part = lab["bigip"]
    answer = requests.delete(
        f"https://{part['hostname']}:{part['port']}/mgmt/tm/ltm/pool/~Common~web-pool/members/~Common~{address}:{port}",
        auth=(part["username"], Path(part["password_file"]).read_text().strip()),
        verify=part["ca_path"],
        timeout=5,
    )
    answer.raise_for_status()


def add_target(file: Path, address: str, **labels: str) -> None:
    entries = json.loads(file.read_text())
    entries.append({"targets": [address], "labels": labels})
    file.write_text(json.dumps(entries))
