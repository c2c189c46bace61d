# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's BIG-IP DNS, and what a drill makes and throws away, against f5networks.f5_modules and f5-sdk (D2, D5).

One playbook runs everything; each task stores its result, each test reads one. Answers are asked by dnspython.
"""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import dns.resolver
import pytest
from contract.f5_kit import failing, play, task
from f5.bigip import ManagementRoot

from lab.bigip.spawn import Spawned, spawn
from lab.kit import free_port, wait_for

NAME = "www.shop.example"
SITES = {"site-a": "127.0.48.31", "site-b": "127.0.48.32"}
ORDERED = "global-availability"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"drill"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def twice(label: str, module: str, /, **options: Any) -> list[dict[str, Any]]:
    return [task(label, module, **options), task(f"{label}_again", module, **options)]


def once(label: str, module: str, /, **options: Any) -> list[dict[str, Any]]:
    return [task(label, module, **options)]


def member(label: str, site: str, state: str) -> list[dict[str, Any]]:
    where = {"pool": "shop", "type": "a", "server_name": site, "virtual_server": "shop-vip"}
    return twice(label, "bigip_gtm_pool_member", state=state, **where)


def dns_tasks() -> list[dict[str, Any]]:
    """Two sites behind one name; the first one leaves."""
    work: list[dict[str, Any]] = []
    for site, address in SITES.items():
        key, make = site.replace("-", "_"), twice if site == "site-a" else once
        device = {"name": site, "address": address}
        work += [
            *make(f"datacenter_{key}", "bigip_gtm_datacenter", name=site, location="lab"),
            *make(
                f"server_{key}",
                "bigip_gtm_server",
                name=site,
                datacenter=site,
                server_type="generic-host",
                devices=[device],
            ),
            *make(
                f"virtual_{key}",
                "bigip_gtm_virtual_server",
                server_name=site,
                name="shop-vip",
                address=address,
                port=80,
            ),
        ]
    members = [{"server": site, "virtual_server": "shop-vip"} for site in SITES]
    pools = [{"name": "shop", "order": 0, "ratio": 1}]
    return [
        *work,
        *twice("pool", "bigip_gtm_pool", name="shop", type="a", preferred_lb_method=ORDERED, ttl=5, members=members),
        *twice("wideip", "bigip_gtm_wide_ip", name=NAME, type="a", pool_lb_method=ORDERED, pools=pools),
        *member("a_off", "site-a", "disabled"),
        *member("a_on", "site-a", "enabled"),
        *member("b_off", "site-b", "disabled"),
        *twice("datacenter_off", "bigip_gtm_datacenter", name="site-b", state="disabled"),
        *twice("virtual_off", "bigip_gtm_virtual_server", server_name="site-b", name="shop-vip", state="disabled"),
        failing(task("pool_in_use", "bigip_gtm_pool", name="shop", type="a", state="absent")),
        failing(
            task(
                "no_virtual",
                "bigip_gtm_pool_member",
                pool="shop",
                type="a",
                server_name="site-a",
                virtual_server="missing",
            )
        ),
    ]


def drill_tasks(backend: int, vip: int) -> list[dict[str, Any]]:
    """A pool and a virtual server that live for one check."""
    host = {"pool": "drill-pool", "host": "127.0.0.1", "port": backend}
    virtual = {"name": "drill-vip", "destination": "127.0.0.1", "port": vip, "pool": "drill-pool"}
    check = {"ansible.builtin.uri": {"url": f"http://127.0.0.1:{vip}/", "return_content": True}}
    return [
        *twice("drill_pool", "bigip_pool", name="drill-pool", monitors=["/Common/tcp"]),
        *twice("drill_member", "bigip_pool_member", **host),
        *twice("drill_vip", "bigip_virtual_server", **virtual),
        {"name": "ask", **check, "register": "drill_answer"},
        *twice("drill_vip_gone", "bigip_virtual_server", name="drill-vip", state="absent"),
        *twice("drill_member_gone", "bigip_pool_member", state="absent", **host),
        *twice("drill_pool_gone", "bigip_pool", name="drill-pool", state="absent"),
    ]


class Story:
    """Results of the tasks by name, and the device as they left it."""

    results: ClassVar[dict[str, Any]] = {}
    state: ClassVar[dict[str, Any]] = {}
    answers: ClassVar[list[str]] = []
    vip: ClassVar[int] = 0


def asked(device: Spawned) -> list[str]:
    assert device.dns is not None
    stub = dns.resolver.Resolver(configure=False)
    stub.nameservers, stub.port = [device.dns[0]], device.dns[1]
    return [record.address for record in stub.resolve(NAME, "A")]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    config = {"pools": [{"name": "production", "members": ["127.0.48.99:80"]}], "gtm": {"listen": "127.0.0.1:0"}}
    with spawn(tmp_path_factory.mktemp("bigip"), config) as device:
        yield device


@pytest.fixture(scope="module")
def story(tmp_path_factory, device) -> Story:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Story.vip = free_port()
    tasks = [*dns_tasks(), *drill_tasks(server.server_port, Story.vip)]
    Story.results = play(tmp_path_factory.mktemp("play"), device, tasks)
    Story.state = device.state()
    Story.answers = asked(device)
    server.shutdown()
    return Story()


TASKS = [item["register"] for item in (*dns_tasks(), *drill_tasks(1, 2)) if not item.get("ignore_errors")]


@pytest.mark.parametrize("name", [name for name in TASKS if f"{name}_again" in TASKS])
def test_first_run_changes_and_second_run_does_not(story, name):
    """What was written is read back the way the modules compare it."""
    for label, changed in ((name, True), (f"{name}_again", False)):
        result = story.results[label]
        assert not result["failed"], result
        assert result["changed"] is changed, result


@pytest.mark.parametrize(
    ("name", "words"),
    [("pool_in_use", "is referenced by wide IP"), ("no_virtual", "(missing) was not found")],
)
def test_refusals_reach_the_user(story, name, words):
    assert story.results[name]["failed"]
    assert words in str(story.results[name]["msg"])


def test_disabled_site_is_not_answered(story):
    assert story.answers == [SITES["site-a"]]


def test_throw_away_virtual_server_serves_and_leaves_nothing(story):
    """D2: the data plane listened while it was there; production's pool is the only one left."""
    assert story.results["drill_answer"]["content"] == "drill"
    assert [pool["name"] for pool in story.state["pools"]] == ["/Common/production"]
    assert story.state["virtuals"] == []
    assert story.state["nodes"] == ["/Common/127.0.48.99"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", story.vip), 5)


def test_f5_sdk_reads_and_switches_what_the_modules_made(story, device):
    root = ManagementRoot(
        device.hostname, device.username, device.password, port=device.port, token=True, verify=str(device.ca)
    )
    gtm = root.tm.gtm
    assert sorted(item.name for item in gtm.datacenters.get_collection()) == list(SITES)
    server = gtm.servers.server.load(name="site-a", partition="Common")
    (virtual,) = server.virtual_servers_s.get_collection()
    assert (virtual.name, virtual.destination) == ("shop-vip", f"{SITES['site-a']}:80")
    assert gtm.wideips.a_s.a.load(name=NAME, partition="Common").pools[0]["name"] == "shop"
    pool = gtm.pools.a_s.a.load(name="shop", partition="Common")
    first = pool.members_s.member.load(name="site-a:shop-vip", partition="Common")
    assert (first.memberOrder, first.enabled, hasattr(first, "disabled")) == (0, True, False)
    first.modify(disabled=True)
    first.refresh()
    assert (first.disabled, hasattr(first, "enabled")) == (True, False)
    with pytest.raises(dns.resolver.NoAnswer):
        asked(device)
    first.modify(enabled=True)
    wait_for(lambda: asked(device) == [SITES["site-a"]], what="the answer")
