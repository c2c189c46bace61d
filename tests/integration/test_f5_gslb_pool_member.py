# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_gslb_pool_member`` against a lab BIG-IP with DNS and two sites (D5): never zero sites on, as DNS tells."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.f5_kit import OPERATOR, PASSWORD, Device, Run, Service, services

from lab.bigip.spawn import start
from lab.dns import ResolveError, Resolver
from lab.faults.spawn import FaultProxy
from lab.kit import free_port, wait_for

SEND = "GET /health HTTP/1.1\\r\\nHost: lab\\r\\nConnection: close\\r\\n\\r\\n"
A, B = "site-a", "site-b"


class Sites:
    """A service at each site, and a device that balances names over both; each test has its own pool and name."""

    def __init__(self, device: Device, a: Service, b: Service) -> None:
        self.device = device
        self.services = {A: a, B: b}
        self._numbers = itertools.count(1)

    def new_pool(self, **states: bool) -> str:
        """A pool of both sites, site a first; *states* such as ``site_b=False`` disable members."""
        pool = f"shop-{next(self._numbers)}"
        members = [
            {"name": f"{site}:shop-vip", ("enabled" if states.get(site.replace("-", "_"), True) else "disabled"): True}
            for site in (A, B)
        ]
        body = {"name": pool, "loadBalancingMode": "global-availability", "ttl": 1, "members": members}
        self.device.rest("POST", "gtm/pool/a", body)
        self.device.rest("POST", "gtm/wideip/a", {"name": f"{pool}.example", "pools": [{"name": pool}]})
        return pool

    def asked(self, pool: str) -> str:
        """The site that the name of *pool* leads to; empty for none."""
        assert self.device.spawned.dns is not None
        try:
            (address,) = Resolver([self.device.spawned.dns], timeout=5).resolve(f"{pool}.example")
        except ResolveError:
            return ""
        return next(site for site, service in self.services.items() if service.address == address)

    def availability(self) -> dict[str, str]:
        rows = self.device.state()["gtm"]["members"]
        return {name.partition("/Common/site")[2][:2]: row["availability"] for name, row in rows.items()}

    def switches(self, pool: str) -> list[str]:
        """Which members are enabled on the device itself."""
        rows = self.device.rest("GET", f"gtm/pool/a/~Common~{pool}/members")["items"]
        return [row["name"].partition(":")[0] for row in rows if row.get("enabled")]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder: Path = tmp_path_factory.mktemp("dns")
    with services(True, True) as (a, b):
        servers = [
            {
                "name": site,
                "datacenter": site,
                "product": "generic-host",
                "addresses": [{"name": service.address}],
                "monitor": "/Common/shop",
                "virtualServers": [{"name": "shop-vip", "destination": service.name}],
            }
            for site, service in ((A, a), (B, b))
        ]
        gtm = {
            "listen": "127.0.0.1:0",
            "monitors": [{"name": "shop", "send": SEND, "recv": "200 OK", "interval": 2, "timeout": 7}],
            "datacenters": [{"name": A}, {"name": B}],
            "servers": servers,
        }
        spawned = start(folder, {"users": [OPERATOR], "gtm": gtm}, monitor_scale=0.1, password=PASSWORD)
        try:
            device = Device(spawned)
            found = Sites(device, a, b)
            found.new_pool()
            wait_for(lambda: set(found.availability().values()) == {"available"}, what="the monitors' first word")
            yield found
        finally:
            spawned.stop()


@pytest.fixture(scope="module")
def proxy(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """A fault proxy before the device's management port, trusted as the device is."""
    ca = sites.device.spawned.ca
    rows = [
        {"name": "bigip", "mode": "https", "upstream": f"127.0.0.1:{sites.device.port}", "labels": "icontrol"},
    ]
    certificate = {"ca": ca, "cert": ca.parent / "server.pem", "key": ca.parent / "server.key"}
    with FaultProxy(Path(tmp_path_factory.mktemp("proxy")), rows, certificate) as running:
        yield running


@pytest.fixture
def gslb(run_module: Run, sites: Sites) -> Callable[..., dict[str, Any]]:
    """``gslb(pool, {site: state}, check=, diff=, **options)``."""

    def call(
        pool: str, states: dict[str, str], *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        members = [{"server": site, "virtual_server": "shop-vip", "state": state} for site, state in states.items()]
        args = {**sites.device.args, "pool": pool, "members": members, "wait_interval": 0.2, "wait_timeout": 20}
        return run_module("f5_gslb_pool_member", {**args, **options}, check=check, diff=diff)

    return call


def test_traffic_moves_and_the_second_run_changes_nothing(sites: Sites, gslb: Callable[..., dict[str, Any]]) -> None:
    """D5: check mode tells, the run does, the same run again finds it done; DNS answers with the other site."""
    pool = sites.new_pool(site_b=False)
    move = {A: "disabled", B: "enabled"}
    assert sites.asked(pool) == A
    told = gslb(pool, move, check=True, diff=True)
    assert (told["changed"], told["enabled"], sites.switches(pool)) == (True, ["site-a:shop-vip"], [A])
    assert [row["msg"] for row in told["members"]] == ["enabled -> disabled", "disabled -> enabled"]
    done = gslb(pool, move, diff=True)
    assert not done["failed"], done
    assert (done["changed"], done["enabled"], sites.switches(pool)) == (True, ["site-b:shop-vip"], [B])
    assert done["diff"] == told["diff"]
    assert done["diff"]["before"]["members"] == {"site-a:shop-vip": "enabled", "site-b:shop-vip": "disabled"}
    assert done["diff"]["after"]["members"] == {"site-a:shop-vip": "disabled", "site-b:shop-vip": "enabled"}
    assert sites.asked(pool) == B
    for check in (True, False):
        again = gslb(pool, move, check=check, diff=True)
        assert (again["failed"], again["changed"]) == (False, False)
        assert again["diff"]["before"] == again["diff"]["after"]
    assert [row["availability"] for row in again["members"]] == ["available", "available"]


def test_without_members_the_pool_is_only_read(sites: Sites, gslb: Callable[..., dict[str, Any]]) -> None:
    pool = sites.new_pool(site_a=False)
    read = gslb(pool, {}, diff=True)
    assert (read["changed"], read["pool"], read["enabled"]) == (False, f"/Common/{pool}", ["site-b:shop-vip"])
    assert [(row["server"], row["order"], row["enabled_state"]) for row in read["members"]] == [
        ("/Common/site-a", 0, "disabled"),
        ("/Common/site-b", 1, "enabled"),
    ]


def test_the_last_enabled_member_stays_unless_it_is_said(sites: Sites, gslb: Callable[..., dict[str, Any]]) -> None:
    """D5: never zero sites on; told in check mode, too."""
    pool = sites.new_pool(site_b=False)
    for states in ({A: "disabled"}, {A: "disabled", B: "disabled"}):
        for check in (True, False):
            refused = gslb(pool, states, check=check)
            assert refused["failed"]
            assert f"no other member of /Common/{pool} is enabled" in refused["msg"]
            assert "allow_none" in refused["msg"]
            assert sites.switches(pool) == [A]
    off = gslb(pool, {A: "disabled"}, allow_none=True)
    assert (off["failed"], off["changed"], off["enabled"], sites.asked(pool)) == (False, True, [], "")


def test_dead_site_is_enabled_but_the_living_one_is_not_disabled(
    sites: Sites, gslb: Callable[..., dict[str, Any]]
) -> None:
    """The target is not ready: nothing is taken away, with waiting and without."""
    pool = sites.new_pool(site_b=False)
    move = {A: "disabled", B: "enabled"}
    sites.services[B].healthy = False
    try:
        wait_for(lambda: sites.availability()["-b"] == "offline", what="site b to be found down")
        late = gslb(pool, move, wait_timeout=1)
        assert late["failed"]
        assert "A monitor's success for site-b:shop-vip" in late["msg"]
        assert "offline" in late["unavailable"]["site-b:shop-vip"]
        assert (late["changed"], sites.switches(pool), sites.asked(pool)) == (True, [A, B], A)
        unready = gslb(pool, move, wait=False)
        assert "cannot serve (site-b:shop-vip is offline)" in unready["msg"]
        assert sites.switches(pool) == [A, B]
    finally:
        sites.services[B].healthy = True
    assert not gslb(pool, move)["failed"]
    assert sites.asked(pool) == B


def test_enabled_below_a_disabled_data_center_is_told(sites: Sites, gslb: Callable[..., dict[str, Any]]) -> None:
    pool = sites.new_pool(site_b=False)
    sites.device.rest("PATCH", "gtm/datacenter/~Common~site-b", {"disabled": True})
    try:
        held = gslb(pool, {B: "enabled", A: "disabled"})
    finally:
        sites.device.rest("PATCH", "gtm/datacenter/~Common~site-b", {"enabled": True})
    assert held["failed"]
    assert "site-b:shop-vip of /Common/" in held["msg"]
    assert "enabled but not in use" in held["msg"]
    assert "data center" in held["msg"]
    assert sites.switches(pool) == [A, B]


def test_operator_is_enough_and_an_unwatched_member_is_warned_of(
    sites: Sites, gslb: Callable[..., dict[str, Any]]
) -> None:
    server = {"name": "plain", "datacenter": A, "product": "generic-host", "addresses": [{"name": "127.0.48.77"}]}
    virtuals = [{"name": "shop-vip", "destination": "127.0.48.77:80"}]
    sites.device.rest("POST", "gtm/server", {**server, "virtualServers": virtuals})
    pool = sites.new_pool()
    body = {"name": "plain:shop-vip", "partition": "Common", "disabled": True}
    sites.device.rest("POST", f"gtm/pool/a/~Common~{pool}/members", body)
    result = gslb(pool, {"plain": "enabled"}, username="op", password=PASSWORD)
    assert not result["failed"], result
    assert any("No monitor watches plain:shop-vip" in str(words) for words in result["warnings"])


def test_bad_input_is_told_with_what_there_is(
    sites: Sites, gslb: Callable[..., dict[str, Any]], run_module: Run
) -> None:
    pool = sites.new_pool()
    unknown = gslb(pool, {"site-c": "enabled"})
    assert "has no member site-c:shop-vip; its members: site-a:shop-vip, site-b:shop-vip" in unknown["msg"]
    missing = gslb(f"{pool}x", {A: "enabled"})
    assert f"There is no pool /Common/{pool}x" in missing["msg"]
    assert f"/Common/{pool}" in missing["msg"].partition("Did you mean ")[2]
    row = {"server": A, "virtual_server": "shop-vip"}
    logins = sites.device.state()["logins"]
    for members, words in (([row], "no state is given"), ([{**row, "state": "enabled"}] * 2, "more than once")):
        args = {**sites.device.args, "pool": pool, "members": members}
        assert words in run_module("f5_gslb_pool_member", args)["msg"]
    assert sites.device.state()["logins"] == logins


def test_wrong_password_and_dead_device_are_named(sites: Sites, gslb: Callable[..., dict[str, Any]]) -> None:
    wrong = gslb("any", {A: "enabled"}, password="wr0ng-one")
    assert "refused user 'admin'" in wrong["msg"]
    assert "wr0ng-one" not in str(wrong)
    port = free_port()
    began = time.monotonic()
    down = gslb("any", {A: "enabled"}, port=port, busy_timeout=1)
    assert f"https://127.0.0.1:{port}" in down["msg"]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", ["apply_then_status", "apply_then_cut", "cut", "status", "refuse"])
def test_lost_answer_is_settled_by_reading(
    sites: Sites, proxy: FaultProxy, gslb: Callable[..., dict[str, Any]], kind: str
) -> None:
    """Invariant 7: applied, then failed; the commit of the first switch and of the second one."""
    for skip in (0, 1):
        pool = sites.new_pool(site_b=False)
        proxy.fault("bigip", kind, "PATCH /mgmt/tm/transaction/*", skip=skip)
        result = gslb(pool, {A: "disabled", B: "enabled"}, port=proxy.ports["bigip"])
        left = proxy.rules()
        proxy.clear()
        assert not left, "the fault met no call, so that this run showed nothing"
        assert not result["failed"], result["msg"]
        assert (result["changed"], sites.switches(pool), sites.asked(pool)) == (True, [B], B)
    assert sites.device.state()["tokens"] <= 1
