# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The BIG-IP emulator against F5's own Ansible collection, f5networks.f5_modules (R23).

One playbook runs everything, for an ansible process costs seconds; each task stores its result, each test reads one.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from contract.f5_kit import failing, play, task

from lab.bigip.spawn import spawn
from lab.kit import free_port

CONFIG: dict[str, Any] = {"pools": [{"name": "other", "members": ["127.0.48.99:80"]}]}
MEMBER = {"pool": "web-pool", "partition": "Common", "port": 8080}


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"fine"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def member(label: str, host: str, /, **options: Any) -> dict[str, Any]:
    return task(label, "bigip_pool_member", host=host, **{**MEMBER, **options})


def tasks(server_port: int) -> list[dict[str, Any]]:
    """The story: a pool with its monitor and virtual server, members in every state, everything away again."""
    monitor = {"name": "web-health", "send": "GET /health HTTP/1.0\\r\\n\\r\\n", "receive": "200 OK"}
    pool = {"name": "web-pool", "monitors": ["/Common/web-health"], "lb_method": "least-connections-member"}
    vip = {"name": "web-vip", "destination": "127.0.0.1", "port": free_port(), "pool": "web-pool", "snat": "automap"}
    a, b, live = "127.0.48.11", "127.0.48.12", "127.0.0.1"
    return [
        task("monitor", "bigip_monitor_http", interval=1, timeout=4, **monitor),
        task("monitor_again", "bigip_monitor_http", interval=1, timeout=4, **monitor),
        task("pool", "bigip_pool", **pool),
        task("pool_again", "bigip_pool", **pool),
        failing(task("no_monitor", "bigip_pool", name="broken", monitors=["/Common/missing"])),
        member("a", a, description="first"),
        member("a_again", a, description="first"),
        member("b", b, state="disabled"),
        member("live", live, port=server_port, state="disabled"),
        member("b_forced", b, state="forced_offline"),
        member("b_forced_again", b, state="forced_offline"),
        member("b_enabled", b, state="enabled"),
        failing(member("no_pool", a, pool="missing")),
        task("virtual", "bigip_virtual_server", **vip),
        task("virtual_again", "bigip_virtual_server", **vip),
        failing(task("pool_in_use", "bigip_pool", name="web-pool", state="absent")),
        {"name": "wait for the monitor", "ansible.builtin.pause": {"seconds": 1}},
        task("info", "bigip_device_info", gather_subset=["ltm-pools", "nodes", "devices", "virtual-servers"]),
        member("shared", "127.0.48.99", port=1),
        failing(member("node_removed_while_used", "127.0.48.99", port=1, state="absent")),
        member("a_gone", a, state="absent"),
        member("a_gone_again", a, state="absent"),
        task(
            "replaced",
            "bigip_pool_member",
            pool="web-pool",
            aggregate=[{"host": "127.0.48.21", "port": 8080}, {"host": "127.0.48.22", "port": 8080}],
            replace_all_with=True,
        ),
    ]


class Story:
    """Results of the tasks by name, and the device as it was left."""

    results: ClassVar[dict[str, Any]] = {}
    members: ClassVar[dict[str, Any]] = {}
    state: ClassVar[dict[str, Any]] = {}


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """Run the playbook against a device with one live member."""
    folder: Path = tmp_path_factory.mktemp("f5")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with spawn(folder / "bigip", CONFIG) as device:
        Story.results = play(folder, device, tasks(server.server_port))
        Story.state = device.state()
        Story.members = device.members()
    server.shutdown()
    return Story()


CHANGED = ("monitor", "pool", "a", "b", "live", "b_forced", "b_enabled", "virtual", "a_gone", "replaced")
UNCHANGED = ("monitor_again", "pool_again", "a_again", "b_forced_again", "virtual_again", "a_gone_again")


@pytest.mark.parametrize("name", CHANGED)
def test_first_run_changes(story, name):
    result = story.results[name]
    assert not result["failed"], result
    assert result["changed"] is True


@pytest.mark.parametrize("name", UNCHANGED)
def test_second_run_changes_nothing(story, name):
    """What was written is read back the way the modules compare it."""
    result = story.results[name]
    assert not result["failed"], result
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_monitor", "01070022:3: The monitor template /Common/missing was not found."),
        ("no_pool", "The specified pool does not exist"),
        ("pool_in_use", "01070265:3"),
        ("node_removed_while_used", "is referenced by a member of pool"),
    ],
)
def test_refusals_reach_the_user(story, name, words):
    result = story.results[name]
    assert result["failed"], result
    assert words in str(result["msg"])


def test_device_info_reads_pools_members_and_status(story):
    info = story.results["info"]
    assert not info["failed"], info
    pool = next(pool for pool in info["ltm_pools"] if pool["name"] == "web-pool")
    assert pool["availability_status"] == "available"
    assert (pool["lb_method"], pool["monitors"]) == ("least-connections-member", ["/Common/web-health"])
    states = {member["full_path"]: (member["real_session"], member["real_state"]) for member in pool["members"]}
    assert states["/Common/127.0.48.12:8080"][0] == "monitor-enabled"
    live = next(value for path, value in states.items() if path.startswith("/Common/127.0.0.1:"))
    assert live == ("user-disabled", "up")
    assert {node["name"] for node in info["nodes"]} >= {"127.0.48.11", "127.0.48.12", "127.0.48.99"}
    (own,) = info["devices"]
    assert (own["failover_state"], own["software_version"]) == ("active", "16.1.4")
    assert info["virtual_servers"][0]["name"] == "web-vip"


def test_replace_all_leaves_the_listed_members(story):
    """A transaction of deletions, then additions: the module's own order (it empties the pool in between)."""
    assert set(story.members) == {"127.0.48.21:8080", "127.0.48.22:8080"}


def test_every_session_is_ended_by_its_module(story):
    assert story.state["logins"] >= len(story.results)
    assert story.state["tokens"] <= 1
