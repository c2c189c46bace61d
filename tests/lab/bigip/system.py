# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/mgmt/tm/sys``, ``/mgmt/tm/cm`` and the little of ``/mgmt/tm/net`` that clients ask for: reading."""

from __future__ import annotations

from typing import Any

from .auth import Auth
from .device import GROUP, TRAFFIC_GROUP, Device
from .errors import ApiError, not_found, unknown_path
from .names import from_uri, to_uri
from .stats import nested, text
from .view import BASE, VERSION, View, collection, link

MODULES = ("afm", "am", "apm", "asm", "avr", "dos", "fps", "gtm", "ilx", "ltm", "pem", "urldb")


def single(kind: str, parts: tuple[str, ...], words: dict[str, str]) -> dict[str, Any]:
    """A body with one block of texts, the shape of ``version``, ``ready`` and ``clock``."""
    block = {f"{BASE}{'/'.join(parts)}/0": {"nestedStats": {"entries": {k: text(v) for k, v in words.items()}}}}
    return {"kind": kind, "selfLink": link(*parts), "entries": block}


class System:
    """What the device says of itself."""

    def __init__(self, view: View, device: Device, auth: Auth) -> None:
        self.view = view
        self.device = device
        self.auth = auth

    def read(self, parts: list[str]) -> dict[str, Any]:
        """The body of a path below ``/mgmt/tm``.

        :raises ApiError: 404.
        """
        if parts[0] == "sys":
            return self._sys(parts[1:])
        if parts[0] == "cm":
            return self._cm(parts[1:])
        if parts[:2] == ["net", "tunnels"] and len(parts) == 3:
            return collection(f"tm:net:tunnels:{parts[2]}:{parts[2]}collectionstate", tuple(parts), [])
        if parts == ["auth", "user"]:
            items = [
                {"kind": "tm:auth:user:userstate", "name": user.name, "fullPath": user.name, "description": user.name}
                for user in self.auth.users.values()
            ]
            return collection("tm:auth:user:usercollectionstate", ("auth", "user"), items)
        raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")

    def _sys(self, parts: list[str]) -> dict[str, Any]:
        if not parts:
            return collection("tm:sys:syscollectionstate", ("sys",), [{"reference": {"link": link("sys", "version")}}])
        if parts == ["version"]:
            words = {
                "Build": "0.0.6",
                "Date": "Tue May 23 10:00:00 UTC 2023",
                "Edition": "Lab emulator",
                "Product": "BIG-IP",
                "Title": "Main Package",
                "Version": VERSION,
            }
            return single("tm:sys:version:versionstats", ("sys", "version"), words)
        if parts == ["ready"]:
            words = dict.fromkeys(("configReady", "licenseReady", "provisionReady"), "yes")
            return single("tm:sys:ready:readystats", ("sys", "ready"), words)
        if parts == ["global-settings"]:
            return {
                "kind": "tm:sys:global-settings:global-settingsstate",
                "selfLink": link("sys", "global-settings"),
                "hostname": self.device.name,
                "guiSetup": "disabled",
            }
        if parts[0] == "provision":
            return self._provision(parts[1:])
        if parts[0] == "folder":
            return self._folder(parts[1:])
        raise unknown_path(f"/mgmt/tm/sys/{'/'.join(parts)}")

    @staticmethod
    def _provision(parts: list[str]) -> dict[str, Any]:
        items = {
            name: {
                "kind": "tm:sys:provision:provisionstate",
                "name": name,
                "fullPath": name,
                "selfLink": link("sys", "provision", name),
                "cpuRatio": 0,
                "diskRatio": 0,
                "level": "nominal" if name in {"gtm", "ltm"} else "none",
                "memoryRatio": 0,
            }
            for name in MODULES
        }
        if not parts:
            return collection("tm:sys:provision:provisioncollectionstate", ("sys", "provision"), list(items.values()))
        if parts[0] not in items:
            raise not_found("module", parts[0])
        return items[parts[0]]

    def _folder(self, parts: list[str]) -> dict[str, Any]:
        names = ["", *self.view.config.partitions]
        if not parts:
            items = [self.view.folder(name) for name in names]
            return collection("tm:sys:folder:foldercollectionstate", ("sys", "folder"), items)
        name = from_uri(parts[0]).strip("/") if parts[0].startswith("~") else parts[0]
        if name not in names:
            raise not_found("folder", f"/{name}")
        return self.view.folder(name)

    # -- devices -------------------------------------------------------------------------------------------------------

    def _devices(self) -> list[dict[str, Any]]:
        pairs = [(self.device.name, self.device.role, "true")]
        if self.device.peer is not None:
            role = self.device.peer_role if self.device.peer_alive else "unknown"
            pairs.append((self.device.peer_name, role, "false"))
        return [
            {
                "kind": "tm:cm:device:devicestate",
                "name": name,
                "partition": "Common",
                "fullPath": f"/Common/{name}",
                "selfLink": link("cm", "device", to_uri(f"/Common/{name}")),
                "activeModules": ["DNS", "LTM"],
                "baseMac": "02:00:00:00:00:01",
                "chassisId": "lab",
                "chassisType": "individual",
                "configsyncIp": "127.0.0.1",
                "edition": "Lab emulator",
                "failoverState": role,
                "haCapacity": 0,
                "hostname": name,
                "managementIp": "127.0.0.1",
                "marketingName": "BIG-IP Virtual Edition",
                "mirrorIp": "any6",
                "mirrorSecondaryIp": "any6",
                "multicastIp": "any6",
                "platformId": "Z100",
                "product": "BIG-IP",
                "selfDevice": own,
                "timeZone": "UTC",
                "version": VERSION,
            }
            for name, role, own in pairs
        ]

    def _cm(self, parts: list[str]) -> dict[str, Any]:
        if parts[:1] == ["device"]:
            return self._one_of(parts, "tm:cm:device:devicecollectionstate", self._devices(), "device")
        if parts[:1] == ["device-group"]:
            return self._one_of(parts, "tm:cm:device-group:device-groupcollectionstate", self._groups(), "device group")
        if parts == ["sync-status"]:
            return self._sync_status()
        if parts[:1] == ["traffic-group"]:
            return self._traffic_group(parts[1:])
        raise unknown_path(f"/mgmt/tm/cm/{'/'.join(parts)}")

    @staticmethod
    def _one_of(parts: list[str], kind: str, items: list[dict[str, Any]], what: str) -> dict[str, Any]:
        if len(parts) == 1:
            return collection(kind, ("cm", parts[0]), items)
        path = from_uri(parts[1])
        for item in items:
            if item["fullPath"] == path:
                return item
        raise not_found(what, path)

    def _groups(self) -> list[dict[str, Any]]:
        if self.device.peer is None:
            return []
        reference = {"link": link("cm", "device-group", f"~Common~{GROUP}", "devices"), "isSubcollection": True}
        return [
            {
                "kind": "tm:cm:device-group:device-groupstate",
                "name": GROUP,
                "partition": "Common",
                "fullPath": f"/Common/{GROUP}",
                "selfLink": link("cm", "device-group", f"~Common~{GROUP}"),
                "autoSync": "disabled",
                "fullLoadOnSync": "false",
                "networkFailover": "enabled",
                "type": "sync-failover",
                "devicesReference": reference,
            }
        ]

    def _sync_status(self) -> dict[str, Any]:
        status, colour, summary = self.device.sync_status
        mode = "standalone" if self.device.peer is None else "high-availability"
        words = {"color": colour, "mode": mode, "status": status, "summary": summary}
        body = single("tm:cm:sync-status:sync-statusstats", ("cm", "sync-status"), words)
        if self.device.pending:
            newer = self.device.name if self.device.ahead else self.device.peer_name
            details = {"details": text(f"{GROUP} (Changes Pending): Recommended action: synchronize {newer} to group")}
            block = next(iter(body["entries"].values()))["nestedStats"]["entries"]
            block[f"{BASE}cm/syncStatus/0/details"] = {
                "nestedStats": {"entries": {f"{BASE}cm/syncStatus/0/details/0": {"nestedStats": {"entries": details}}}}
            }
        return body

    def _traffic_group(self, parts: list[str]) -> dict[str, Any]:
        item = {
            "kind": "tm:cm:traffic-group:traffic-groupstate",
            "name": "traffic-group-1",
            "partition": "Common",
            "fullPath": TRAFFIC_GROUP,
            "selfLink": link("cm", "traffic-group", to_uri(TRAFFIC_GROUP)),
            "autoFailbackEnabled": "false",
            "failoverMethod": "ha-order",
            "isFloating": "true",
        }
        if not parts:
            return collection("tm:cm:traffic-group:traffic-groupcollectionstate", ("cm", "traffic-group"), [item])
        if parts[-1] != "stats":
            if from_uri(parts[0]) != TRAFFIC_GROUP:
                raise not_found("traffic group", from_uri(parts[0]))
            return item
        entries: dict[str, Any] = {}
        for device in self._devices():
            words = {
                "deviceName": text(device["fullPath"]),
                "failoverState": text(device["failoverState"]),
                "nextActive": text("true" if device["failoverState"] == "standby" else "false"),
                "trafficGroup": text(TRAFFIC_GROUP),
            }
            where = ("cm", "traffic-group", f"{to_uri(TRAFFIC_GROUP)}:{to_uri(device['fullPath'])}")
            entries.update(nested("tm:cm:traffic-group:traffic-groupstats", where, words))
        kind = "tm:cm:traffic-group:traffic-groupcollectionstats"
        return {"kind": kind, "selfLink": link("cm", "traffic-group", "stats"), "entries": entries}


def sync_target(words: str) -> tuple[str, str]:
    """Direction and group of ``config-sync to-group NAME``.

    :raises ApiError: 400 for anything else.
    """
    given = words.replace("force-full-load-push ", "").split()
    if len(given) != 3 or given[0] != "config-sync" or given[1] not in {"to-group", "from-group"}:
        raise ApiError(400, f"Syntax Error: unexpected arguments: {words}", api_error=1)
    return given[1], given[2].rpartition("/")[2]
