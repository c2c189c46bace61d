# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ansible-playbook with the three plugins of the ledger, without any backend.

Needs nothing but Ansible itself: the rows of the *_info modules are written into the play, and the address probe meets
loopback addresses.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ANSIBLE_PLAYBOOK = Path(sysconfig.get_path("scripts")) / "ansible-playbook"

SPEC = """
name: web
size: {min: 1, max: 4}
cooldown: {out: 300, in: 120}
policies:
  - type: threshold
    out: {cpu: 80, for: 60}
    in: {cpu: 30, for: 300}
vm: {template: web-template, prefix: web}
network:
  name: VM Network
  start: 127.77.0.10
  end: 127.77.0.12
  cidr: 127.77.0.0/24
  gateway: 127.77.0.1
  probe: {methods: [tcp_open], ports: [PORT], timeout: 1}
load_balancer: {pool: web-pool, port: 8080}
base_members: [{name: web-base-1, address: 127.77.0.5}]
"""

HEAD = """
- hosts: localhost
  gather_facts: false
  connection: local
  module_defaults:
    onprem.autoscale.scaling_action: {ledger: "LEDGER"}
    onprem.autoscale.scaling_plan: {ledger: "LEDGER"}
    onprem.autoscale.scaling_group_info: {ledger: "LEDGER"}
  vars:
    spec: "{{ lookup('file', 'spec.yml') | from_yaml }}"
    base: {name: web-base-1, address: 127.77.0.5}
  tasks:
"""

OUT = """
    - onprem.autoscale.scaling_action: {group: web, state: started, direction: out, source: alert, reason: cpu}
      register: started
    - onprem.autoscale.scaling_plan:
        spec: "{{ spec }}"
        signal: {direction: out, source: alert, reason: cpu, count: COUNT}
        name: "{{ started.name }}"
        vms: []
        pool_members: ["{{ base | combine({'port': 8080, 'in_service': true}) }}"]
        targets: [{address: "127.77.0.5:9100", labels: {}}]
      register: decided
    - onprem.autoscale.scaling_action:
        group: web
        name: "{{ started.name }}"
        state: planned
        spec: "{{ spec }}"
        plan: "{{ decided.plan }}"
        step: clone
      register: planned
"""

SUCCEED = """
    - onprem.autoscale.scaling_action:
        group: web
        name: "{{ started.name }}"
        state: running
        step: pool
        members: [{name: "{{ planned.vms[0].name }}", moid: vm-1, state: launching}]
    - onprem.autoscale.scaling_action:
        group: web
        name: "{{ started.name }}"
        state: succeeded
        spec: "{{ spec }}"
        members: [{name: "{{ planned.vms[0].name }}", state: in_service}]
      register: finished
    - onprem.autoscale.scaling_group_info: {specs: ["{{ spec }}"]}
      register: known
"""

DUMP = """
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/result.json"
        content: "{{ {'started': started, 'decided': decided | default({}), 'planned': planned | default({}),
                      'finished': finished | default({}), 'known': known | default({})} | to_json }}"
      check_mode: false
"""


@pytest.fixture
def busy_port():
    """A listener on the first address of the pool: that address answers (A8)."""
    with socket.create_server(("127.77.0.10", 0)) as server:
        yield server.getsockname()[1]


class Play:
    """Writes and runs plays in one folder over one ledger."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.ledger = f"sqlite:///{folder}/state/ledger.db"
        (folder / "spec.yml").write_text(SPEC.replace("PORT", str(port)))

    def run(self, tasks: str, *args: str, count: int = 1, ok: bool = True):
        play = (HEAD + tasks + DUMP).replace("LEDGER", self.ledger).replace("COUNT", str(count))
        (self.folder / "play.yml").write_text(play)
        (self.folder / "result.json").unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_COLLECTIONS_PATH": next(
                path for path in sys.path if (Path(path) / "ansible_collections/onprem/autoscale").exists()
            ),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        done = subprocess.run(
            [ANSIBLE_PLAYBOOK, "-i", "localhost,", "play.yml", *args],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.output = done.stdout + done.stderr
        assert (done.returncode == 0) is ok, self.output
        result = self.folder / "result.json"
        return json.loads(result.read_text()) if result.exists() else None


@pytest.fixture
def play(tmp_path, busy_port):
    return Play(tmp_path, busy_port)


def test_scale_out_is_journalled_from_lock_to_event(play):
    """A6, A8, A9: the whole journal of one scale-out; the answering address is skipped."""
    got = play.run(OUT + SUCCEED)
    assert got["started"]["name"] == "web-1"
    assert got["decided"]["plan"]["verdict"] == "act"
    vm = got["planned"]["vms"][0]
    assert vm["address"] == "127.77.0.11", "127.77.0.10 answers"
    assert vm["marks"]["action"] == "web-1"
    event = got["finished"]["event"]
    assert (event["result"], event["code"], event["count_before"], event["count_after"]) == (
        "succeeded",
        "scale_out",
        1,
        2,
    )
    assert [step["step"] for step in event["steps"]] == ["observe", "decide", "lease", "clone", "pool"]
    group = got["known"]["groups"][0]
    assert group["lock"] is None
    assert 290 < group["cooldowns"]["out"]["remaining"] <= 300
    assert group["counts"]["in_service"] == 1
    assert group["spec"]["size"]["max"] == 4
    assert got["known"]["events"] == [event]


def test_check_mode_shows_the_lease_and_makes_no_ledger(play):
    """Nothing is written in check mode, not even an empty ledger."""
    got = play.run(OUT + SUCCEED, "--check", "--diff")
    assert got["started"]["name"] == "check-mode"
    assert got["planned"]["vms"][0]["address"] == "127.77.0.11"
    assert not (play.folder / "state").exists()
    assert '+    "lock": "check-mode"' in play.output


def test_locked_group_fails_with_owner_and_time(play):
    """T3: a second action is refused."""
    play.run(OUT)
    play.run(OUT, ok=False)
    assert "group web is locked by action web-1 (owner " in play.output
    assert "Traceback" not in play.output


def test_exhausted_pool_leaves_the_action_to_the_play(play):
    """A8: no address refuses the scale-out; the play ends the action, and no planned member is left to be counted."""
    got = play.run(
        OUT.replace("register: planned", "register: planned\n      failed_when: false")
        + """
    - onprem.autoscale.scaling_action:
        group: web
        name: "{{ started.name }}"
        state: failed
        code: "{{ planned.code }}"
        message: "{{ planned.msg }}"
      register: finished
    - onprem.autoscale.scaling_group_info: {groups: [web]}
      register: known
""",
        count=3,
    )
    assert got["planned"]["code"] == "no_address"
    assert "address pool of group web (127.77.0.10-127.77.0.12) has 2 free, 3 needed" in got["planned"]["msg"]
    group = got["known"]["groups"][0]
    assert (group["members"], group["leases"], group["lock"]) == ([], [], None)
    assert group["events"][0]["code"] == "no_address"


def test_a_killed_play_goes_on_with_the_same_names_and_addresses(play):
    """T4, invariants 6 and 7: who takes the action over plans and leases what the first play did."""
    first = play.run(OUT, count=2)
    by_name = OUT.replace("state: started", "state: started, name: web-1")
    play.run(by_name, count=2, ok=False)
    assert "to go on with that action at once, start it by its name with takeover" in play.output
    again = play.run(by_name.replace("name: web-1", "name: web-1, takeover: true") + SUCCEED, count=2)
    assert again["started"]["resumed"] is True
    assert again["decided"]["resumed"] is True
    assert again["planned"]["vms"] == first["planned"]["vms"]
    assert [row["address"] for row in again["known"]["groups"][0]["leases"]] == ["127.77.0.11", "127.77.0.12"]


def test_launches_of_a_dead_action_are_given_up(play):
    """A5: a failed action left two members; the next one frees place and address of the one without a VM."""
    got = play.run(
        OUT
        + """
    - onprem.autoscale.scaling_action: {group: web, name: "{{ started.name }}", state: failed}
    - ansible.builtin.pause: {seconds: 2}
    - onprem.autoscale.scaling_action: {group: web, state: started, direction: in}
      register: started
    - onprem.autoscale.scaling_action:
        group: web
        name: "{{ started.name }}"
        state: observed
        spec: "{{ spec | combine({'timeouts': {'clone': 1}}) }}"
        vms: [{name: "{{ planned.vms[1].name }}", address: "", marks: {group: web}}]
      register: finished
    - onprem.autoscale.scaling_group_info: {groups: [web]}
      register: known
""",
        count=2,
    )
    gone, kept = (row["name"] for row in got["planned"]["vms"])
    assert (got["finished"]["released"], got["finished"]["changed"]) == ([gone], True)
    group = got["known"]["groups"][0]
    assert [row["name"] for row in group["members"]] == [row["member"] for row in group["leases"]] == [kept]
    assert group["action"]["steps"][0]["detail"] == {"released": [gone]}


def test_bad_options_are_named(play):
    play.run("    - onprem.autoscale.scaling_action: {group: web, state: running, name: x}\n", ok=False)
    assert "state is running but all of the following are missing: step" in play.output
