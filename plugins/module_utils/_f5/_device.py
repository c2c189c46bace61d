# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The device itself: is it the one to act on, hand the configuration to its group, keep it across a reboot.
"""

from __future__ import annotations

import typing as t

from .._common._errors import AutoscaleError, NotFoundError, RefusedError
from ._client import BigIP
from ._names import split_full_name

DEVICES = "/mgmt/tm/cm/device"
SYNC_STATUS = "/mgmt/tm/cm/sync-status"
IN_SYNC = ("In Sync", "Standalone")


def require_active(client: BigIP) -> None:
    """Refuse to change a standby device: the next sync from the active one would undo it.

    A user who may not read devices is believed.

    :raises RefusedError: names the active device.
    """
    try:
        devices = client.get(DEVICES).get("items") or []
    except (NotFoundError, RefusedError):
        return
    own = [device for device in devices if str(device.get("selfDevice", "")).lower() == "true"]
    own = own or (devices if len(devices) == 1 else [])
    if not own or own[0].get("failoverState", "active") != "standby":
        return
    active = [device for device in devices if device.get("failoverState") == "active"]
    names = ", ".join(
        f"{d.get('hostname') or d.get('name')} ({d.get('managementIp', 'address unknown')})" for d in active
    )
    raise RefusedError(
        f"{client.name} is the standby device of its pair; changes belong on the active one",
        remedy=f"Set hostname to the active device: {names}." if names else "No device of the pair is active.",
    )


def save(client: BigIP) -> None:
    """Write the running configuration to disk; without it a reboot forgets the change."""
    client.call("POST", "/mgmt/tm/sys/config", json={"command": "save"}, repeat=True, timeout=120)


def sync_state(client: BigIP) -> tuple[str, list[str]]:
    """The device's word for the sync status (``In Sync``, ``Changes Pending`` ...) and its details."""
    entries = client.get(SYNC_STATUS).get("entries") or {}
    status, details = "", []
    for name, value in _walk(entries):
        if name == "status" and not status:
            status = value
        elif name == "details":
            details.append(value)
    return status, details


def sync(client: BigIP, group: str, timeout: float = 60.0) -> None:
    """Send this device's configuration to *group* and wait until it says ``In Sync``.

    :raises WaitTimeoutError: the other devices did not take it.
    """
    name = split_full_name(group)[1]
    client.call(
        "POST",
        "/mgmt/tm/cm",
        json={"command": "run", "utilCmdArgs": f"config-sync to-group {name}"},
        repeat=True,
        timeout=120,
    )
    client.waiter(timeout, 1.0).until(
        lambda: sync_state(client),
        lambda seen: seen[0] in IN_SYNC,
        f"The sync of {client.name} to device group {name}",
        remedy="Look at the sync status of the group; the change is made on this device and saved.",
        result=lambda seen: {"sync_status": seen[0], "sync_details": seen[1]},
    )


def finish(client: BigIP, *, keep: bool, group: str | None) -> list[str]:
    """After a change: sync to the group, then save. Both are tried; the first failure is raised.

    :returns: what was done, for the result (``synced``, ``saved``).
    """
    done: list[str] = []
    failure: AutoscaleError | None = None
    if group:
        try:
            sync(client, group)
            done.append("synced")
        except AutoscaleError as error:
            failure = error
    if keep:
        try:
            save(client)
            done.append("saved")
        except AutoscaleError as error:
            failure = failure or error
    if failure is not None:
        missed = "synced" if group and "synced" not in done else "saved"
        failure.message = f"The members are changed, but the device is not {missed}: {failure.message}"
        raise failure
    return done


def _walk(entries: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    """Names and descriptions of nested stats, outer ones first."""
    for name, value in entries.items():
        if "description" in value:
            yield name, str(value["description"])
    for value in entries.values():
        inner = (value.get("nestedStats") or {}).get("entries")
        if inner:
            yield from _walk(inner)
