# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Avi emulator before a client that we did not write, the vendor's SDK; and its federation of two sites (D5)."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from avi.sdk.avi_api import APIError, ApiSession, ObjectNotFound, sessionDict

from lab.avi.spawn import Avi, federation
from lab.dns import ResolveError, Resolver
from lab.kit import wait_for

DOWN = {"type": "GSLB_SERVICE_DOWN_RESPONSE_FALLBACK_IP", "fallback_ip": {"addr": "192.0.2.99", "type": "V4"}}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Avi]]:
    with federation(tmp_path_factory.mktemp("avi"), scale=0.02) as both:
        yield both


@pytest.fixture(autouse=True)
def without_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests prefers these to the CA that a session names."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def log_in(site: Avi, user: str = "admin", password: str = "", version: str = "30.2.1") -> ApiSession:
    row = site.row
    sessionDict.clear()  # the SDK's cache outlives a session
    return ApiSession(
        row["hostname"],
        user,
        password or row["users"][user],
        port=row["port"],
        verify=row["ca"],
        api_version=version,
        max_api_retries=1,
    )


def body(*members: str, **more: Any) -> dict[str, Any]:
    """A service with a group for each member, the first of the highest priority."""
    name = f"shop{next(_numbers)}"
    groups = [
        {
            "name": f"site-{number}",
            "priority": 20 - number,
            "members": [{"ip": {"addr": address, "type": "V4"}}],
        }
        for number, address in enumerate(members)
    ]
    return {"name": name, "domain_names": [f"{name}.shop.example"], "ttl": 0, "groups": groups, **more}


def answer(site: Avi, service: dict[str, Any]) -> list[str]:
    """What the site's DNS says now; nothing where it names no address."""
    dns = site.row["dns"]
    try:
        return Resolver([(dns["address"], dns["port"])]).resolve(service["domain_names"][0])
    except ResolveError:
        return []


@contextlib.contextmanager
def web(address: str, port: int = 0) -> Iterator[http.server.ThreadingHTTPServer]:
    """What runs at a member."""

    class Ok(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, port), Ok)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_objects_are_made_read_changed_and_deleted(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    assert api.remote_api_version["Version"] == "31.2.1"
    wanted = body("192.0.2.10", "198.51.100.10")
    made = api.post("gslbservice", data=wanted)
    assert made.status_code == 201
    found = api.get_object_by_name("gslbservice", wanted["name"])
    path = f"gslbservice/{found['uuid']}"
    assert found["groups"][0]["members"][0]["enabled"] is True
    assert found["pool_algorithm"] == "GSLB_SERVICE_ALGORITHM_PRIORITY"
    found["ttl"] = 7
    assert api.put(path, data=found).json()["ttl"] == 7
    assert api.patch(path, data={"replace": {"description": "x"}, "delete": {"ttl": 7}}).status_code == 200
    again = api.get(path).json()
    assert again["description"] == "x"
    assert "ttl" not in again
    assert api.delete(path).status_code == 204
    with pytest.raises(ObjectNotFound):
        api.get(path).json()


def test_a_stale_put_is_412(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    mine = api.post("gslbservice", data=body("192.0.2.10")).json()
    path = f"gslbservice/{mine['uuid']}"
    assert api.put(path, data={**api.get(path).json(), "ttl": 9}).status_code == 200
    stale = api.put(path, data={**mine, "ttl": 3})
    assert stale.status_code == 412
    assert "Concurrent" in stale.text
    assert api.get(path).json()["ttl"] == 9


def test_many_objects_come_in_pages(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    for _unused in range(5):
        api.post("gslbservice", data=body("192.0.2.10"))
    every = list(api.get_objects_iter("gslbservice", params={"page_size": 2}))
    first = api.get("gslbservice", params={"page_size": 2}).json()
    assert len(first["results"]) == 2
    assert "page=2" in first["next"]
    assert first["count"] == len(every) == len({one["uuid"] for one in every}) >= 5
    assert "next" not in api.get("gslbservice", params={"page_size": 200}).json()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"name": None}, 400, "This field is required"),
        ({"domain_names": ["www.elsewhere.example"]}, 400, "not a sub-domain"),
        ({"colour": "red"}, 400, "Unrecognized field"),
        ({"ttl": 90000}, 400, "out of range"),
        ({"pool_algorithm": "FAST"}, 400, "Invalid value"),
        ({"health_monitor_refs": ["/api/healthmonitor?name=none"]}, 400, "not found"),
    ],
)
def test_bad_objects_are_refused(sites: dict[str, Avi], change: dict[str, Any], status: int, words: str) -> None:
    refused = log_in(sites["a"]).post("gslbservice", data={**body("192.0.2.10"), **change})
    assert refused.status_code == status
    assert words in refused.text


def test_names_are_unique(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    wanted = body("192.0.2.10")
    assert api.post("gslbservice", data=wanted).status_code == 201
    assert api.post("gslbservice", data=wanted).status_code == 409


def test_who_may_not_is_told_so(sites: dict[str, Avi]) -> None:
    with pytest.raises(APIError, match="Invalid credentials"):
        log_in(sites["a"], password="wrong")
    assert log_in(sites["a"], user="reader").post("gslbservice", data=body("192.0.2.10")).status_code == 403
    assert log_in(sites["a"], version="99.1.1").get("gslb").status_code == 400
    assert log_in(sites["a"]).get("gslb", tenant="nobody").status_code == 404


def test_writes_need_their_proofs(sites: dict[str, Avi]) -> None:
    row = sites["a"].row
    api = log_in(sites["a"])
    cookies = {"sessionid": api.avi_credentials.session_id, "csrftoken": api.avi_credentials.csrftoken}
    plain = {"X-Avi-Version": "30.2.1"}
    proofs = {**plain, "X-CSRFToken": cookies["csrftoken"], "Referer": row["url"]}

    def post(headers: dict[str, str]) -> int:
        url = f"{row['url']}/api/gslbservice"
        return requests.post(
            url, json=body("192.0.2.10"), headers=headers, cookies=cookies, verify=row["ca"], timeout=10
        ).status_code

    assert post({**proofs, "Referer": ""}) == 403
    assert post({**proofs, "X-CSRFToken": "x"}) == 403
    assert post({name: value for name, value in proofs.items() if name != "X-Avi-Version"}) == 400
    assert post(proofs) == 201


def test_a_session_that_ended_is_renewed_by_the_sdk(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    assert sites["a"].call("POST", "/expire_sessions")["expired"] >= 1
    assert api.get("gslb").status_code == 200


def test_dns_follows_priority_switches_and_probes(sites: dict[str, Avi]) -> None:
    """D5: the group of the highest priority that has a member in service answers, at each site."""
    api = log_in(sites["a"])
    with contextlib.ExitStack() as running:
        one = running.enter_context(web("127.0.61.1"))
        port = one.server_port
        monitor = {
            "name": f"health{next(_numbers)}",
            "type": "HEALTH_MONITOR_HTTP",
            "monitor_port": port,
            "send_interval": 5,
            "receive_timeout": 4,
            "http_monitor": {"http_request": "GET /health HTTP/1.0", "http_response_code": ["HTTP_2XX"]},
        }
        assert api.post("healthmonitor", data=monitor).status_code == 201
        with web("127.0.61.2", port):
            refs = [f"/api/healthmonitor?name={monitor['name']}"]
            shop = body("127.0.61.1", "127.0.61.2", health_monitor_refs=refs, down_response=DOWN)
            path = f"gslbservice/{api.post('gslbservice', data=shop).json()['uuid']}"
            for site in sites.values():
                wait_for(lambda: answer(site, shop) == ["127.0.61.1"], what="the first group's answer")  # noqa: B023
            runtime = api.get(f"{path}/runtime").json()
            assert runtime["oper_status"]["state"] == "OPER_UP"
            assert [one["members"][0]["oper_status"]["state"] for one in runtime["groups"]] == ["OPER_UP"] * 2
            now = api.get(path).json()
            now["groups"][0]["members"][0]["enabled"] = False
            assert api.put(path, data=now).status_code == 200
            assert [answer(site, shop) for site in sites.values()] == [["127.0.61.2"]] * 2
            now = api.get(path).json()
            now["groups"][0]["members"][0]["enabled"] = True
            now["groups"][1]["priority"] = 30
            assert api.put(path, data=now).status_code == 200
            assert answer(sites["b"], shop) == ["127.0.61.2"]
        wait_for(lambda: answer(sites["b"], shop) == ["127.0.61.1"], what="the answer without the dead member")
        running.close()
        wait_for(lambda: answer(sites["a"], shop) == ["192.0.2.99"], what="the answer of a service that is down")


def test_equal_members_take_turns(sites: dict[str, Avi]) -> None:
    api = log_in(sites["a"])
    members = [
        {"ip": {"addr": "192.0.2.10", "type": "V4"}, "ratio": 2},
        {"ip": {"addr": "192.0.2.11", "type": "V4"}},
    ]
    shop = {**body(), "groups": [{"name": "both", "members": members}]}
    assert api.post("gslbservice", data=shop).status_code == 201
    given = [answer(sites["a"], shop)[0] for _unused in range(6)]
    assert sorted(given) == ["192.0.2.10"] * 4 + ["192.0.2.11"] * 2


def test_a_group_that_recovered_waits_where_it_is_told_to(sites: dict[str, Avi]) -> None:
    """manual_resume: a site that was down does not come back by itself."""
    api = log_in(sites["a"])
    with web("127.0.61.3") as one:
        port = one.server_port
        monitor = {"name": f"h{next(_numbers)}", "type": "HEALTH_MONITOR_TCP", "monitor_port": port, "send_interval": 5}
        assert api.post("healthmonitor", data=monitor).status_code == 201
        shop = body("127.0.61.3", health_monitor_refs=[f"/api/healthmonitor?name={monitor['name']}"])
        shop["groups"][0]["manual_resume"] = True
        path = f"gslbservice/{api.post('gslbservice', data=shop).json()['uuid']}"
        wait_for(lambda: answer(sites["a"], shop) == ["127.0.61.3"], what="the first answer")
    wait_for(lambda: answer(sites["a"], shop) == [], what="the member to be down")
    with web("127.0.61.3", port):
        wait_for(lambda: sites["a"].state()["services"][shop["name"]]["held"], what="the group to be held")
        assert answer(sites["a"], shop) == []
        for enabled in (False, True):
            now = api.get(path).json()
            now["groups"][0]["enabled"] = enabled
            assert api.put(path, data=now).status_code == 200
        wait_for(lambda: answer(sites["a"], shop) == ["127.0.61.3"], what="the answer after it was resumed")


def test_a_follower_refuses_but_for_switches_and_takes_the_lead(tmp_path_factory: pytest.TempPathFactory) -> None:
    """D5: the leader dies; what a follower may do, what it may not, and who leads afterwards."""
    with federation(tmp_path_factory.mktemp("avi"), scale=0.02) as sites:
        leader = log_in(sites["a"])
        shop = body("192.0.2.10", "198.51.100.10")
        path = f"gslbservice/{leader.post('gslbservice', data=shop).json()['uuid']}"
        follower = log_in(sites["b"])
        assert follower.get(path).json()["groups"] == leader.get(path).json()["groups"]
        refused = follower.post("gslbservice", data=body("192.0.2.10"))
        assert refused.status_code == 400
        assert "leader site a" in refused.text

        def switch(enabled: bool, **more: Any) -> requests.Response:
            now = follower.get(path).json()
            now["groups"][0]["members"][0]["enabled"] = enabled
            return follower.put(path, data={**now, **more})

        assert switch(False).status_code == 400
        gslb = leader.get("gslb").json()["results"][0]
        assert (
            leader.patch(f"gslb/{gslb['uuid']}", data={"replace": {"enable_config_by_members": True}}).status_code
            == 200
        )
        sites["a"].kill()
        wait_for(lambda: not sites["b"].state()["reached"]["a"], what="the follower to miss the leader")
        rows = follower.get(f"gslb/{gslb['uuid']}/runtime").json()["site"]
        states = {row["site_info"]["name"]: row["site_info"]["oper_status"]["state"] for row in rows}
        assert states == {"a": "OPER_DOWN", "b": "OPER_UP"}
        assert switch(False, ttl=99).status_code == 400
        assert switch(False).status_code == 200
        assert answer(sites["b"], shop) == ["198.51.100.10"]
        sites["a"].up()
        assert answer(sites["a"], shop) == ["198.51.100.10"]

        sites["a"].kill()
        cluster = follower.get("cluster").json()["uuid"]
        assert follower.post("gslbsiteops/changeleader", data={"new_leader": "cluster-x"}).status_code == 400
        assert follower.post("gslbsiteops/changeleader", data={"new_leader": cluster}).status_code == 200
        assert switch(True, ttl=5).status_code == 200
        sites["a"].up()
        assert not sites["a"].state()["is_leader"]
        assert sites["a"].state()["leader"] == "b"
        assert sites["a"].state()["services"][shop["name"]]["ttl"] == 5
        assert log_in(sites["a"]).post("gslbservice", data=body("192.0.2.10")).status_code == 400

        lc = {"enabled": True, "leader_change_mode": "GSLB_LC_MODE_AUTO", "max_unsuccessful_probes": 2}
        candidates = [{"cluster_id": log_in(sites["a"]).get("cluster").json()["uuid"], "site_name": "a"}]
        new = {"leader_change_info": {**lc, "leader_candidates": candidates}}
        assert log_in(sites["b"]).patch(f"gslb/{gslb['uuid']}", data={"replace": new}).status_code == 200
        sites["b"].kill()
        wait_for(lambda: sites["a"].state()["is_leader"], what="the candidate to take the lead by itself")

        # A cut cable: both lead, and when it is mended the later view wins with all that belongs to it.
        sites["b"].up()
        for here, there in (("a", "b"), ("b", "a")):
            sites[here].call("POST", "/link", {"site": there, "up": False})
        assert log_in(sites["b"]).post("gslbsiteops/changeleader", data={"new_leader": cluster}).status_code == 200
        assert all(site.state()["is_leader"] for site in sites.values())
        lost = body("192.0.2.10")
        assert log_in(sites["a"]).post("gslbservice", data=lost).status_code == 201
        for here, there in (("a", "b"), ("b", "a")):
            sites[here].call("POST", "/link", {"site": there, "up": True})
        wait_for(lambda: not sites["a"].state()["is_leader"], what="the old leader to follow")
        assert lost["name"] not in sites["a"].state()["services"]
