# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device: never write to the standby, sync, save."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    BackendDownError,
    RefusedError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5 import _device as device
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_bigip import FakeBigIP


def pair(own: str, other: str) -> dict[str, Any]:
    return {
        "items": [
            {
                "name": "a",
                "hostname": "a.example.org",
                "managementIp": "10.0.0.8",
                "selfDevice": "true",
                "failoverState": own,
            },
            {
                "name": "b",
                "hostname": "b.example.org",
                "managementIp": "10.0.0.9",
                "selfDevice": "false",
                "failoverState": other,
            },
        ]
    }


class Cluster(FakeBigIP):
    def __init__(self, devices: dict[str, Any] | Exception, statuses: list[str] | None = None) -> None:
        super().__init__()
        self.devices = devices
        self.statuses = statuses or ["In Sync"]

    def get(self, path: str, params: Any = None) -> dict[str, Any]:
        if path == device.DEVICES:
            if isinstance(self.devices, Exception):
                raise self.devices
            return self.devices
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        details = {
            "https://localhost/details/0": {"nestedStats": {"entries": {"details": {"description": "b is behind"}}}}
        }
        entries = {
            "status": {"description": status},
            "color": {"description": "x"},
            "https://localhost/details": {"nestedStats": {"entries": details}},
        }
        return {"entries": {"https://localhost/0": {"nestedStats": {"entries": entries}}}}


def test_the_active_device_is_written_to() -> None:
    device.require_active(Cluster(pair("active", "standby")))
    device.require_active(Cluster({"items": [{"name": "only", "failoverState": "active"}]}))
    device.require_active(Cluster({}))


def test_the_standby_device_is_not_and_the_active_one_is_named() -> None:
    with pytest.raises(
        RefusedError, match=r"standby device.*Set hostname to the active device: b.example.org \(10.0.0.9\)"
    ):
        device.require_active(Cluster(pair("standby", "active")))


def test_a_user_who_may_not_read_devices_is_believed() -> None:
    device.require_active(Cluster(RefusedError("403")))


def test_a_sync_is_waited_for() -> None:
    cluster = Cluster({}, ["Syncing", "Syncing", "In Sync"])
    device.sync(cluster, "/Common/failover")
    assert len(cluster.clock.slept) == 2


def test_a_sync_that_does_not_come_says_what_the_device_says() -> None:
    with pytest.raises(WaitTimeoutError) as late:
        device.sync(Cluster({}, ["Changes Pending"]), "failover", timeout=10)
    assert late.value.result == {"sync_status": "Changes Pending", "sync_details": ["b is behind"]}


def test_a_failed_sync_does_not_keep_it_from_being_saved() -> None:
    cluster = Cluster({}, ["Changes Pending"])
    with pytest.raises(WaitTimeoutError, match="members are changed, but the device is not synced"):
        device.finish(cluster, keep=True, group="failover")
    assert ("POST", "/mgmt/tm/sys/config") in cluster.calls


def test_a_failed_save_is_said() -> None:
    class Broken(Cluster):
        def call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
            raise BackendDownError("no disk")

    with pytest.raises(BackendDownError, match="members are changed, but the device is not saved: no disk"):
        device.finish(Broken({}), keep=True, group=None)
