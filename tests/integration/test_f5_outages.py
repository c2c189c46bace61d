# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_pool_member`` and ``f5_pool_info`` while the device's management port is out for some seconds, at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import f5_kit as kit
from integration.f5_kit import ON, Device, Run, services

from lab.faults.spawn import FaultProxy

folder, shared_device, device = kit.folder, kit.shared_device, kit.device
OUTAGE_S = 2.5


@pytest.fixture(scope="module")
def proxy(shared_device: Device, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """A fault proxy before the device's management port, trusted as the device is."""
    tls = shared_device.spawned.ca.parent
    rows = [{"name": "bigip", "mode": "https", "upstream": f"127.0.0.1:{shared_device.port}", "labels": "icontrol"}]
    certificate = {"ca": shared_device.spawned.ca, "cert": tls / "server.pem", "key": tls / "server.key"}
    with FaultProxy(Path(tmp_path_factory.mktemp("proxy")), rows, certificate) as running:
        yield running


class Outage:
    """From the call after *passing* others until some seconds later; ``hits`` says how many calls met it."""

    def __init__(self, proxy: FaultProxy, kind: str, passing: int) -> None:
        self.hits = 0
        self._proxy = proxy
        self._over = threading.Event()
        proxy.fault("bigip", kind, times=None, skip=passing)
        self._thread = threading.Thread(target=self._end, daemon=True)

    def _seen(self) -> int:
        return sum(rule["hits"] for rule in self._proxy.rules())

    def _end(self) -> None:
        while not self._seen() and not self._over.wait(0.05):
            pass
        self._over.wait(OUTAGE_S)
        self.hits = self._seen()
        self._proxy.clear()

    def __enter__(self) -> Outage:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize("kind", ["refuse", "status", "cut", "apply_then_status", "apply_then_cut"])
@pytest.mark.parametrize("passing", [0, 5])
def test_an_outage_in_mid_work_changes_nothing_but_the_time(
    device: Device, proxy: FaultProxy, run_module: Run, kind: str, passing: int
) -> None:
    """Enabled, drained and removed end as without the outage, and tell what they changed (invariants 5 and 7)."""
    pool = device.new_pool()
    with services(True) as (one,):
        for state in ("enabled", "drained", "absent"):
            args: dict[str, Any] = {**device.args, "port": proxy.ports["bigip"], "pool": pool, "members": [one.row]}
            with Outage(proxy, kind, passing) as outage:
                result = run_module("f5_pool_member", {**args, "state": state, "wait_interval": 0.2})
            assert not result["failed"], result["msg"]
            assert result["changed"], result
            assert outage.hits, "the outage met no call, so that this run showed nothing"
            if state == "enabled":
                assert device.standing(pool, one) == ON
                assert result["members"][0]["in_service"]
            elif state == "drained":
                assert device.standing(pool, one) == ("user-disabled", "user-down")
                assert result["members"][0]["drained"]
            else:
                assert device.members(pool) == {}
        assert not device.state()["unsaved"], "what was changed would be lost by a reboot"


def test_an_outage_that_lasts_is_told_with_its_cause(device: Device, proxy: FaultProxy, run_module: Run) -> None:
    """Ten seconds before the first answer; nothing hangs, nothing is a traceback."""
    pool = device.new_pool()
    args = {**device.args, "port": proxy.ports["bigip"], "pools": [pool]}
    for kind, said in (("refuse", "the connection broke"), ("status", "500")):
        proxy.fault("bigip", kind, times=None)
        began = time.monotonic()
        result = run_module("f5_pool_info", args)
        proxy.clear()
        assert result["failed"]
        assert said in result["msg"]
        assert time.monotonic() - began < 30
    assert not run_module("f5_pool_info", args)["failed"]
