# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D5: avi_gslb_service against two controllers of one federation, and a fault proxy before the leader's."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.avi.spawn import Avi, federation
from lab.dns import ResolveError, Resolver
from lab.faults.spawn import FaultProxy
from lab.kit import free_port, wait_for
from lab.tls import make_tls

A, B = "192.0.2.10", "198.51.100.10"
GROUPS = [{"name": "site-a", "priority": 20}, {"name": "site-b", "priority": 10}]
MEMBERS = [{"ip": A, "group": "site-a"}, {"ip": B, "group": "site-b"}]
_numbers = itertools.count(1)
Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("avi")


@pytest.fixture(scope="module")
def both(folder: Path) -> Iterator[dict[str, Avi]]:
    with federation(folder, scale=0.02, tls=make_tls(folder / "tls")) as sites:
        yield sites


@pytest.fixture
def sites(both: dict[str, Avi]) -> Iterator[dict[str, Avi]]:
    """Both run, a leads, nothing is spoiled; so it is afterwards, too."""
    yield both
    for site in both.values():
        site.up()
        site.call("DELETE", "/faults")
    state = both["a"].state()
    if not state["is_leader"] or state["gslb"]["enable_config_by_members"]:
        leader = {one["name"]: one["cluster_uuid"] for one in state["gslb"]["sites"]}["a"]
        view = max(site.state()["gslb"]["view_id"] for site in both.values()) + 1
        both["a"].call(
            "POST", "/gslb", {"leader_cluster_uuid": leader, "view_id": view, "enable_config_by_members": False}
        )


def connection(site: Avi) -> dict[str, Any]:
    row = site.row
    return {**{key: row[key] for key in ("hostname", "port", "username", "password")}, "ca_path": row["ca"]}


@pytest.fixture
def avi(run_module: Call, sites: dict[str, Avi]) -> Call:
    """``avi(name, site="a", check=, diff=, **options)``."""

    def call(name: str, site: str = "a", *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        args = {**connection(sites[site]), "name": name, **options}
        return run_module("avi_gslb_service", args, check=check, diff=diff)

    return call


@pytest.fixture
def shop(sites: dict[str, Avi]) -> str:
    """A service with a group for each site, both enabled."""
    name = f"shop{next(_numbers)}"
    groups = [
        {**group, "members": [{"ip": {"addr": member["ip"], "type": "V4"}}]}
        for group, member in zip(GROUPS, MEMBERS, strict=True)
    ]
    body = {"name": name, "domain_names": [f"{name}.shop.example"], "ttl": 0, "groups": groups}
    sites["a"].call("POST", "/seed", {"services": [body]})
    return name


def answer(site: Avi, name: str) -> list[str]:
    dns = site.row["dns"]
    try:
        return Resolver([(dns["address"], dns["port"])]).resolve(f"{name}.shop.example")
    except ResolveError:
        return []


def switches(site: Avi, name: str) -> dict[str, bool]:
    return {key: row["enabled"] for key, row in site.state()["services"][name]["members"].items()}


def test_a_service_is_made_and_again_is_unchanged(avi: Call, sites: dict[str, Avi]) -> None:
    name = f"made{next(_numbers)}"
    monitor = {"name": f"health-{name}", "type": "HEALTH_MONITOR_PING", "send_interval": 5}
    sites["a"].call("POST", "/seed", {"healthmonitors": [monitor]})
    wanted = {
        "domain_names": [f"{name}.shop.example"],
        "ttl": 5,
        "pool_algorithm": "priority",
        "health_monitors": [monitor["name"]],
        "controller_health_status": False,
        "down_response": {"type": "fallback_ip", "fallback_ip": "192.0.2.99"},
        "groups": [{**GROUPS[0], "manual_resume": True}, GROUPS[1]],
        "members": [MEMBERS[0], {**MEMBERS[1], "state": "disabled", "ratio": 3}],
        "extra": {"use_edns_client_subnet": False},
    }
    predicted = avi(name, check=True, diff=True, **wanted)
    assert predicted["changed"], predicted
    assert predicted["diff"]["before"] == {}
    assert predicted["service"]["uuid"] is None
    assert name not in sites["a"].state()["services"]
    made = avi(name, **wanted)
    assert made["changed"], made
    assert made["enabled"] == [A]
    assert [(row["name"], row["group"], row["state"]) for row in made["members"]] == [
        (A, "site-a", "enabled"),
        (B, "site-b", "disabled"),
    ]
    assert made["leader"] == {"name": "a", "reached": True, "is_local": True}
    assert made["accepts"] == "all"
    again = avi(name, **wanted)
    assert not again["changed"], again
    wait_for(lambda: avi(name)["members"][0]["availability"] == "available", what="the first probe")
    there = sites["b"].state()["services"][name]
    assert there["use_edns_client_subnet"] is False
    assert there["groups"][1]["members"][0]["ratio"] == 3
    gone = avi(name, state="absent", diff=True)
    assert gone["changed"]
    assert gone["diff"]["after"] == {}
    assert gone["service"] is None
    assert not avi(name, state="absent")["changed"]
    assert name not in sites["b"].state()["services"]


def test_traffic_moves_and_what_is_not_given_stays(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    sites["a"].call("POST", "/touch", {"name": shop, "fields": {"description": "by hand", "min_members": 1}})
    assert answer(sites["b"], shop) == [A]
    move = {"members": [{"ip": A, "state": "disabled"}]}
    predicted = avi(shop, check=True, diff=True, **move)
    assert predicted["changed"]
    assert predicted["enabled"] == [B]
    assert switches(sites["a"], shop) == {A: True, B: True}
    moved = avi(shop, diff=True, **move)
    assert moved["changed"]
    assert [row["changed"] for row in moved["members"]] == [True, False]
    before, after = moved["diff"]["before"], moved["diff"]["after"]
    assert before["groups"][0]["members"][0]["enabled"] is True
    assert after["groups"][0]["members"][0]["enabled"] is False
    assert after["description"] == "by hand"
    assert "_last_modified" not in json.dumps(moved["diff"])
    assert [answer(site, shop) for site in sites.values()] == [[B], [B]]
    assert not avi(shop, **move)["changed"]
    back = avi(shop, members=[{"ip": A, "state": "enabled"}], groups=[{"name": "site-b", "priority": 30}])
    assert back["changed"]
    assert answer(sites["a"], shop) == [B]
    assert avi(shop, groups=[{"name": "site-b", "state": "disabled"}])["enabled"] == [A]
    assert answer(sites["a"], shop) == [A]


def test_the_last_enabled_member_stays(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    for options in (
        {"members": [{"ip": A, "state": "disabled"}, {"ip": B, "state": "disabled"}]},
        {"members": [{"ip": A, "state": "absent"}], "groups": [{"name": "site-b", "state": "disabled"}]},
        {"enabled": False},
    ):
        for check in (True, False):
            refused = avi(shop, check=check, **options)
            assert refused["failed"]
            assert f"No member of the GSLB service {shop} would be enabled" in refused["msg"]
            assert "allow_none" in refused["msg"]
            assert refused["enabled"] == [A, B]
    assert switches(sites["a"], shop) == {A: True, B: True}
    assert avi(shop, enabled=False, allow_none=True)["enabled"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": [{"ip": A}, {"ip": A}]}, "more than once"),
        ({"members": [{"ip": "192.0.2.77", "state": "disabled"}]}, "Its members are 192.0.2.10, 198.51.100.10"),
        ({"extra": {"colour": "red"}}, 'Unrecognized field "colour"'),
        ({"health_monitors": ["none"]}, "healthmonitor object not found"),
    ],
)
def test_bad_wishes_change_nothing(
    avi: Call, sites: dict[str, Avi], shop: str, options: dict[str, Any], words: str
) -> None:
    before = sites["a"].state()["services"][shop]
    refused = avi(shop, **options)
    assert refused["failed"]
    assert words in refused["msg"]
    assert sites["a"].state()["services"][shop] == before


def test_a_service_that_is_not_there_is_named(avi: Call) -> None:
    missing = avi("nothing", members=[{"ip": A, "state": "disabled"}])
    assert missing["failed"]
    assert "There is no GSLB service nothing" in missing["msg"]


def test_a_change_in_between_is_read_and_compared_again(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    """412: both changes are there afterwards."""
    sites["a"].call("POST", "/touch", {"name": shop, "fields": {"ttl": 9}, "before_puts": 2})
    result = avi(shop, members=[{"ip": A, "state": "disabled"}])
    assert result["changed"], result
    assert result["service"]["ttl"] == 9
    assert switches(sites["a"], shop) == {A: False, B: True}
    sites["a"].call("POST", "/touch", {"name": shop, "fields": {"ttl": 8}, "before_puts": 50})
    lost = avi(shop, members=[{"ip": A, "state": "enabled"}])
    assert lost["failed"]
    assert "Concurrent Update" in lost["msg"]
    assert lost["enabled"] == [B]
    sites["a"].call("POST", "/touch", {"name": shop, "fields": {}, "before_puts": 0})


@pytest.fixture(scope="module")
def proxy(both: dict[str, Avi], folder: Path) -> Iterator[FaultProxy]:
    row = {"name": "avi", "mode": "https", "upstream": f"127.0.0.1:{both['a'].row['port']}"}
    with FaultProxy(folder / "faults", [row], make_tls(folder / "tls")) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        *(("PUT", fault) for fault in ("apply_then_status", "apply_then_cut", "cut", "refuse", "status")),
        *((method, fault) for method in ("POST", "DELETE") for fault in ("apply_then_status", "refuse")),
    ],
)
def test_a_lost_answer_is_settled_by_reading(
    run_module: Call, sites: dict[str, Avi], proxy: FaultProxy, shop: str, method: str, fault: str
) -> None:
    """Done and answered with an error, or not done at all: in each case what is wanted is there once."""
    name = shop if method != "POST" else f"new-{shop}"
    wish: dict[str, Any] = {
        "PUT": {"members": [{"ip": A, "state": "disabled"}]},
        "POST": {"domain_names": [f"{name}.shop.example"], "groups": GROUPS, "members": MEMBERS},
        "DELETE": {"state": "absent"},
    }[method]
    proxy.fault("avi", fault, f"{method} /api/gslbservice*")
    try:
        args = {**connection(sites["a"]), "port": proxy.ports["avi"], "name": name, **wish}
        result = run_module("avi_gslb_service", args)
        assert proxy.rules() == []
    finally:
        proxy.clear()
    assert not result["failed"], result["msg"]
    assert result["changed"]
    there = sites["a"].state()["services"]
    if method == "DELETE":
        assert name not in there
    else:
        assert switches(sites["a"], name) == {A: method == "POST", B: True}
    assert sites["a"].state()["sessions"] == 0


def test_who_is_not_let_in_is_told_why(run_module: Call, sites: dict[str, Avi], shop: str) -> None:
    args = {**connection(sites["a"]), "name": shop}
    wrong = run_module("avi_gslb_service", {**args, "password": "wr0ng-one"})
    assert "refused user 'admin'" in wrong["msg"]
    assert "wr0ng-one" not in str(wrong)
    without_ca = {key: value for key, value in args.items() if key != "ca_path"}
    distrusted = run_module("avi_gslb_service", without_ca, env={"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""})
    assert "TLS" in distrusted["msg"]
    assert "ca_path" in distrusted["msg"]
    assert not run_module("avi_gslb_service", {**without_ca, "validate_certs": False})["failed"]
    nobody = run_module("avi_gslb_service", {**args, "port": free_port()})
    assert "refused" in nobody["msg"]
    reader = {"username": "reader", "password": sites["a"].row["users"]["reader"]}
    forbidden = run_module("avi_gslb_service", {**args, **reader, "ttl": 9})
    assert "role" in forbidden["msg"]
    assert "Invalid version" in run_module("avi_gslb_service", {**args, "api_version": "99.1.1"})["msg"]
    assert "Tenant nobody" in run_module("avi_gslb_service", {**args, "tenant": "nobody"})["msg"]


def test_a_session_that_ends_in_the_middle_is_renewed_once(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    logins = sites["a"].state()["logins"]
    sites["a"].call("POST", "/faults", {"method": "PUT", "status": 401, "body": "{}"})
    assert avi(shop, ttl=7)["changed"]
    sites["a"].call("POST", "/faults", {"method": "PUT", "status": 419, "body": "{}"})
    assert avi(shop, ttl=8)["changed"]
    assert sites["a"].state()["logins"] == logins + 4
    assert sites["a"].state()["services"][shop]["ttl"] == 8


def test_a_follower_says_who_leads(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    for check in (True, False):
        refused = avi(shop, "b", check=check, members=[{"ip": A, "state": "disabled"}])
        assert refused["failed"]
        assert "a follower: configuration is accepted by the leader a (127.0.0.1) only" in refused["msg"]
        assert "Send it to the leader a" in refused["msg"]
        assert refused["leader"] == {"name": "a", "reached": True, "is_local": False}
        assert refused["accepts"] == "nothing"
    assert not avi(shop, "b", members=[{"ip": A, "state": "enabled"}])["failed"], "nothing to do is no refusal"
    assert avi(shop, "b", take_over="unreached", ttl=9)["failed"], "the leader lives"
    sites["a"].call("POST", "/gslb", {"maintenance_mode": True})
    assert "maintenance mode" in avi(shop, ttl=9)["msg"]
    sites["a"].call("POST", "/gslb", {"maintenance_mode": False})


def test_a_follower_switches_members_where_the_federation_lets_it(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    sites["a"].call("POST", "/gslb", {"enable_config_by_members": True})
    sites["a"].kill()
    wait_for(lambda: not sites["b"].state()["reached"]["a"], what="the leader to be missed")
    move = {"members": [{"ip": A, "state": "disabled"}]}
    moved = avi(shop, "b", **move)
    assert moved["changed"], moved
    assert moved["leader"] == {"name": "a", "reached": False, "is_local": False}
    assert moved["accepts"] == "switches"
    assert answer(sites["b"], shop) == [B]
    assert not avi(shop, "b", **move)["changed"]
    refused = avi(shop, "b", ttl=9, **move)
    assert refused["failed"]
    assert "It is not reached from here" in refused["msg"]
    assert "Members and groups can be enabled and disabled here" in refused["msg"]


def test_the_lead_is_taken_from_a_leader_that_is_gone(avi: Call, sites: dict[str, Avi], shop: str) -> None:
    """The site that leads is killed; the other one takes the lead and the traffic, and keeps both when it is back."""
    sites["a"].kill()
    wait_for(lambda: not sites["b"].state()["reached"]["a"], what="the leader to be missed")
    move = {"members": [{"ip": A, "state": "disabled"}]}
    refused = avi(shop, "b", **move)
    assert refused["failed"]
    assert "take_over" in refused["msg"]
    assert not sites["b"].state()["is_leader"]
    predicted = avi(shop, "b", check=True, take_over="unreached", **move)
    assert predicted["changed"]
    assert "Site b would take the lead from a" in str(predicted["warnings"])
    assert not sites["b"].state()["is_leader"]
    moved = avi(shop, "b", take_over="unreached", **move)
    assert moved["changed"], moved
    assert moved["leader"] == {"name": "b", "reached": True, "is_local": True}
    assert "Site b took the lead from a" in str(moved["warnings"])
    assert answer(sites["b"], shop) == [B]
    sites["a"].up()
    assert answer(sites["a"], shop) == [B]
    assert avi(shop, "a", ttl=9)["leader"]["name"] == "b"
