# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D6: site_epoch in a real ansible-playbook, with two SQLite ledgers and a witness in a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, _postgresql
from lab.postgres import Postgres

ANSIBLE_PLAYBOOK = Path(sysconfig.get_path("scripts")) / "ansible-playbook"

PLAY = """
- hosts: localhost
  gather_facts: false
  connection: local
  module_defaults:
    group/onprem.autoscale.epoch:
      stores: "{{ stores | combine({'witness': dead} if item.dead | default(false) else {}) }}"
  tasks:
    - name: Each of them
      onprem.autoscale.site_epoch:
        site: "{{ item.site }}"
        state: "{{ item.state }}"
        scope: "{{ item.scope | default('shop') }}"
        reason: "{{ item.reason | default(omit) }}"
        wait_timeout: "{{ item.wait_timeout | default(omit) }}"
      loop: "{{ asked }}"
      register: answers
      ignore_errors: true
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/answers.json"
        content: "{{ answers.results | to_json }}"
"""


@pytest.fixture(scope="module")
def server():
    with Postgres.temporary() as started:
        yield started


class Sites:
    """A play over three stores, in a folder of its own."""

    def __init__(self, folder: Path, witness: str) -> None:
        self.folder = folder
        self.witness = witness.partition("?")[0].rpartition("/")[2]  # its database
        self.stores = {name: f"sqlite:///{folder}/{name}.db" for name in "ab"} | {"witness": witness}
        (folder / "play.yml").write_text(PLAY)

    def start(self, *asked: dict) -> subprocess.Popen[str]:
        """``ansible-playbook`` with one task for each of *asked*."""
        extra = {"stores": self.stores, "asked": list(asked), "ansible_python_interpreter": sys.executable}
        extra["dead"] = "postgresql+psycopg://u:hush-hush@127.0.0.1:1/x"
        (self.folder / "extra.json").write_text(json.dumps(extra))
        collections = next(p for p in sys.path if (Path(p) / "ansible_collections/onprem/autoscale").exists())
        return subprocess.Popen(
            [ANSIBLE_PLAYBOOK, "-vvv", "-i", "localhost,", "play.yml", "-e", "@extra.json"],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_INJECT_INVOCATION": "true",
                "ANSIBLE_COLLECTIONS_PATH": collections,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, *asked: dict) -> list[dict]:
        """The result of each of *asked*."""
        self.output, _nothing = self.start(*asked).communicate(timeout=120)
        answers = self.folder / "answers.json"
        found = json.loads(answers.read_text())
        answers.unlink()
        return found

    def held(self) -> list[str]:
        """``epoch holder`` in the order of the stores."""
        found = []
        for url in self.stores.values():
            with Ledger.open(url, look_only=True) as ledger:
                row = ledger.epoch("shop")
            found.append(f"{row['epoch']} {row['holder']}" if row else "")
        return found


def kill(pid: int) -> None:
    """The process and its children. Ansible's workers have a session of their own, which a killed group leaves."""
    children = [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill(int(child))


@pytest.fixture
def sites(server, tmp_path):
    name = f"witness_{time.monotonic_ns()}"
    yield Sites(tmp_path, server.create_database(name))
    server.drop_database(name)


def test_an_epoch_goes_from_site_to_site(sites):
    """Granted, held by the other one, refused where stores are missing; and no secret in what is printed."""
    granted, again, taken, lost, without, unread = sites.ask(
        {"site": "a", "state": "granted"},
        {"site": "a", "state": "held"},
        {"site": "b", "state": "held", "reason": "a burns"},
        {"site": "a", "state": "checked"},
        {"site": "a", "state": "granted", "dead": True, "scope": "other"},
        {"site": "b", "state": "checked", "dead": True},
    )
    assert [(row["changed"], row["may_act"], row["epoch"]) for row in (granted, again, taken, lost)] == [
        (True, True, 1),
        (False, True, 1),
        (True, True, 2),
        (False, False, 2),
    ]
    assert sites.held() == ["2 b"] * 3
    assert [row["reason"] for row in taken["stores"]] == ["a burns"] * 3
    assert "cannot grant other to a: witness: cannot read the ledger" in without["msg"]
    assert (unread["may_act"], [row["reached"] for row in unread["stores"]]) == (True, [True, True, False])
    assert "refused" in unread["stores"][2]["msg"]
    assert "hush-hush" not in sites.output
    assert "Traceback" not in sites.output


def test_a_run_that_is_killed_between_two_stores_is_finished_by_the_next_one(sites, server):
    """D6: kill -9 while the witness makes the writer wait; the epoch that began is the one that ends."""
    for url in sites.stores.values():
        with Ledger.open(url) as ledger:
            ledger.write_epoch("shop", 1, "a")
    with server.connect(sites.witness) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_postgresql._WRITER_LOCK])
        run = sites.start({"site": "b", "state": "held", "wait_timeout": 60})
        try:
            while sites.held()[:2] != ["2 b", "2 b"]:
                assert run.poll() is None, run.communicate()
                time.sleep(0.05)
        finally:
            kill(run.pid)
            run.communicate()
        assert sites.held() == ["2 b", "2 b", "1 a"]
    by_a, by_b, finished, again = sites.ask(
        {"site": "a", "state": "checked"},
        {"site": "b", "state": "checked"},
        {"site": "b", "state": "held"},
        {"site": "b", "state": "held"},
    )
    assert (by_a["may_act"], by_b["may_act"]) == (False, True), "two of three stores have it"
    assert (finished["changed"], finished["epoch"], again["changed"]) == (True, 2, False)
    assert sites.held() == ["2 b"] * 3
