# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a BIG-IP DNS pool (D5) where the device lags, loses answers, or somebody else writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from unit.kit.fake_bigip import FakeTransaction
from unit.kit.http_talk import Clock

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    InvalidSpecError,
    NotFoundError,
    RefusedError,
    UnsettledError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import MissingObjectError
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._gslb import (
    GslbJob,
    GslbOptions,
    Key,
    parse_wanted,
)

POOL = "/mgmt/tm/gtm/pool/a/~Common~shop"
A, B = Key("/Common/site-a", "vip"), Key("/Common/site-b", "vip")


class FakeDns:
    """A device with the pool shop; ``lag`` is how many readings its figures stay behind its configuration."""

    name = "https://fake"

    def __init__(self, **states: bool) -> None:
        self.clock = Clock()
        self.sleep = self.clock.sleep
        self.enabled = {"site-a:vip": states.get("a", True), "site-b:vip": states.get("b", True)}
        self.health: Callable[[str, float], str] = lambda _name, _seconds: "available"
        self.parent_off: set[str] = set()
        self.server_monitor = "/Common/http"
        self.lag = 0
        self.faults: list[Callable[[FakeDns], None]] = []
        self.sent: list[tuple[str, Any]] = []
        self.quiet_stats = False
        self._shown = dict(self.enabled)
        self._age = 0

    def waiter(self, timeout: float, interval: float = 1.0) -> Waiter:
        return Waiter(timeout, interval, clock=self.clock, sleep=self.sleep)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        if path == POOL:
            items = [
                {"name": name, "partition": "Common", "fullPath": f"/Common/{name}", "memberOrder": number}
                | {"enabled" if on else "disabled": True}
                for number, (name, on) in enumerate(self.enabled.items())
            ]
            return {"name": "shop", "monitor": "default", "membersReference": {"items": items}}
        if path.startswith(POOL) and path.endswith("/stats"):
            return self._stats(path)
        if path.startswith("/mgmt/tm/gtm/server/"):
            return {"monitor": self.server_monitor} if self.server_monitor else {}
        if path == "/mgmt/tm/gtm/pool/a":
            return {"items": [{"name": "shop", "partition": "Common"}]}
        raise MissingObjectError("01020036:3: not found")

    def _stats(self, path: str) -> dict[str, Any]:
        if self._age >= self.lag:
            self._shown = dict(self.enabled)
        self._age += 1
        entries = {}
        for name, on in self._shown.items():
            server, virtual = name.split(":")
            own = "enabled" if on else "disabled"
            values = {
                "serverName": f"/Common/{server}",
                "vsName": virtual,
                "status.availabilityState": self.health(name, self.clock() - 1000),
                "status.enabledState": "disabled-by-parent" if on and name in self.parent_off else own,
                "status.statusReason": "said by the monitor",
            }
            entries[name] = {"nestedStats": {"entries": {key: {"description": text} for key, text in values.items()}}}
        if path == f"{POOL}/members/stats":
            return {"entries": {} if self.quiet_stats else entries}
        wanted = path.removesuffix("/stats").rpartition("~")[2]
        return {"entries": {path: entries[wanted]}}

    @contextmanager
    def transaction(self) -> Iterator[FakeTransaction]:
        transaction = FakeTransaction()
        yield transaction
        for _method, path, body in transaction.changes:
            name = path.rpartition("~")[2]
            self.sent.append((name, body))
            self.enabled[name] = "enabled" in body
        self._age = 0
        if self.faults:
            self.faults.pop(0)(self)


def job(device: FakeDns, wanted: dict[Key, str], **options: Any) -> GslbJob:
    return GslbJob(device, "shop", "Common", "a", wanted, GslbOptions(**options))


MOVE = {A: "disabled", B: "enabled"}
ON, OFF = {"enabled": True}, {"disabled": True}


def test_on_comes_before_off_and_off_only_when_the_new_one_is_available() -> None:
    device = FakeDns(b=False)
    device.health = lambda name, seconds: "available" if name == "site-a:vip" or seconds > 10 else "unknown"
    result = job(device, MOVE).run(check_mode=False)
    assert device.sent == [("site-b:vip", ON), ("site-a:vip", OFF)]
    assert device.clock() - 1000 > 10
    assert (result["changed"], result["enabled"]) == (True, ["site-b:vip"])


def test_new_site_that_does_not_become_available_leaves_the_old_one_on() -> None:
    device = FakeDns(b=False)
    device.health = lambda name, _seconds: "available" if name == "site-a:vip" else "offline"
    with pytest.raises(WaitTimeoutError, match="site-b:vip of /Common/shop did not happen within 30 s") as caught:
        job(device, MOVE, wait_timeout=30).run(check_mode=False)
    assert device.sent == [("site-b:vip", ON)]
    assert caught.value.result["unavailable"] == {"site-b:vip": "offline, said by the monitor"}
    assert caught.value.result["enabled"] == ["site-a:vip", "site-b:vip"]


def test_figures_that_lag_behind_the_configuration_are_waited_for() -> None:
    device = FakeDns(b=False)
    device.lag = 2
    assert job(device, MOVE).run(check_mode=False)["enabled"] == ["site-b:vip"]


def test_member_below_something_disabled_is_no_replacement() -> None:
    device = FakeDns(b=False)
    device.parent_off = {"site-b:vip"}
    with pytest.raises(RefusedError, match="enabled but not in use"):
        job(device, MOVE).run(check_mode=False)
    with pytest.raises(RefusedError, match="no other member of /Common/shop is enabled"):
        job(device, {A: "disabled"}).run(check_mode=False)
    assert device.enabled["site-a:vip"]


@pytest.mark.parametrize("wanted", [{A: "disabled"}, {A: "disabled", B: "disabled"}])
def test_last_enabled_member_is_refused_before_anything_is_sent(wanted: dict[Key, str]) -> None:
    device = FakeDns(b=False)
    for check in (True, False):
        with pytest.raises(RefusedError, match="allow_none"):
            job(device, wanted).run(check_mode=check)
    assert device.sent == []
    assert job(device, wanted, allow_none=True).run(check_mode=False)["enabled"] == []


def test_dead_member_may_go_although_the_others_are_dead_too() -> None:
    """Nothing is lost by it: no member of the pool serves."""
    device = FakeDns()
    device.health = lambda _name, _seconds: "offline"
    assert job(device, {A: "disabled"}).run(check_mode=False)["enabled"] == ["site-b:vip"]


def test_lost_answer_is_read_again_and_what_was_not_done_is_sent_again() -> None:
    def lost(_device: FakeDns) -> None:
        raise UnsettledError("apply, then fail")

    def undone(device: FakeDns) -> None:
        device.enabled["site-a:vip"] = False
        raise UnsettledError("failed before it was applied")

    device = FakeDns(a=False)
    device.faults = [lost]
    assert job(device, {A: "enabled"}).run(check_mode=False)["changed"] is True
    assert device.sent == [("site-a:vip", ON)]
    device = FakeDns(a=False)
    device.faults = [undone]
    assert job(device, {A: "enabled"}).run(check_mode=False)["changed"] is True
    assert device.sent == [("site-a:vip", ON)] * 2


def test_change_that_somebody_else_takes_back_is_told() -> None:
    def taken_back(device: FakeDns) -> None:
        device.enabled["site-a:vip"] = False

    device = FakeDns(a=False)
    device.faults = [taken_back] * 5
    with pytest.raises(RefusedError, match="shows site-a:vip not enabled") as caught:
        job(device, {A: "enabled"}).run(check_mode=False)
    assert len(device.sent) == 3
    assert caught.value.result["changed"] is False


def test_member_that_vanishes_meanwhile_is_told() -> None:
    def removed(device: FakeDns) -> None:
        del device.enabled["site-a:vip"]
        raise MissingObjectError("01020036:3: not found")

    device = FakeDns(a=False)
    device.faults = [removed]
    with pytest.raises(NotFoundError, match=r"site-a:vip was removed from /Common/shop") as caught:
        job(device, {A: "enabled"}).run(check_mode=False)
    assert [row["name"] for row in caught.value.result["members"]] == ["site-b:vip"]


def test_what_no_monitor_watches_is_enabled_with_a_warning() -> None:
    device = FakeDns(b=False)
    device.health = lambda _name, _seconds: "unknown"
    watched = job(device, MOVE, wait_timeout=1)
    with pytest.raises(WaitTimeoutError):
        watched.run(check_mode=False)
    device.server_monitor = ""
    unwatched = job(device, MOVE)
    assert unwatched.run(check_mode=False)["enabled"] == ["site-b:vip"]
    assert unwatched.warnings == ["No monitor watches site-b:vip: enabled without knowing whether it answers."]


def test_figures_of_one_member_are_asked_for_where_the_list_has_none() -> None:
    device = FakeDns()
    device.quiet_stats = True
    rows = job(device, {}).run(check_mode=False)["members"]
    assert [row["availability"] for row in rows] == ["available", "available"]


def test_pool_that_is_not_there_is_told_with_similar_ones() -> None:
    with pytest.raises(NotFoundError, match=r"no pool /Common/shops .*Did you mean /Common/shop"):
        GslbJob(FakeDns(), "/Common/shops", "Other", "a", {}, GslbOptions())


def test_member_names_become_keys_and_paths() -> None:
    rows = [{"server": "site-a", "virtual_server": "vip"}, {"server": "/Common/b", "virtual_server": "/Common/v"}]
    assert parse_wanted(rows, "enabled") == {A: "enabled", Key("/Common/b", "/Common/v"): "enabled"}
    device = FakeDns()
    device.enabled = {"b:/Common/v": True}
    device.quiet_stats = True
    device._stats = lambda _path: {"entries": {}}  # type: ignore[method-assign]
    found = job(device, {}).pool.members[Key("/Common/b", "/Common/v")]
    assert found.path == "~Common~b:~Common~v"
    for wrong, words in (([rows[0]], "no state is given"), ([{**rows[0], "state": "enabled"}] * 2, "more than once")):
        with pytest.raises(InvalidSpecError, match=words):
            parse_wanted(wrong, None)
