# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook agents on a member that only the ledger knows (A14): a real host, over SSH."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from lab.hosts import network
from lab.hosts.host import KEY, Host
from lab.settings import Settings

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def member() -> Iterator[str]:
    """The address of a host that has nothing yet."""
    host, address = Host("agents-1"), f"{network.SUBNET}.91"
    host.up(address)
    try:
        host.wait_ssh()
        yield address
    finally:
        host.down()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The playbook with a site of its own, whose group has no base members; ``ssh`` is part of its declaration."""
    (tmp_path / "scaling_groups").mkdir()
    variables = {
        "autoscale_ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no",
        "node_exporter_listen_address": ":9111",
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": variables}}))

    def run(*arguments: str, **changes: Any) -> tuple[int, str]:
        spec = Settings().group_spec({"base_members": [], "size": {"min": 1}, **changes})
        (tmp_path / "scaling_groups" / "web.yml").write_text(yaml.safe_dump(spec))
        command = [sys.executable, "-m", "ansible", "playbook", "onprem.autoscale.agents"]
        command += ["-i", str(tmp_path / "hosts.yml"), *arguments]
        env = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_member_gets_its_exporter(run: Run, member: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    row = {"address": member, "moid": "vm-1", "action": "", "created_at": 1.0}
    rows = [
        {**row, "name": "web-1", "state": "in_service"},
        {**row, "name": "web-2", "state": "quarantined", "address": "10.97.0.250", "moid": "vm-2"},
    ]
    leaked = {"vms": 0, "members": 0, "targets": 0, "leases": 0}
    with Ledger.open(url) as ledger:
        ident = ledger.start_action("web", "reconcile", owner="test", ttl=60)
        ledger.reconciled(ident, owner="test", adopt=rows, findings=[], leaked=leaked)
        ledger.finish_action(ident, state="succeeded")

    code, output = run("-e", "group=web", "-e", "agents=node_exporter", ssh={"user": "ansible", "key_file": str(KEY)})
    assert code == 0, output
    assert "web-2" not in output, "one in quarantine stays as it is"
    with urllib.request.urlopen(f"http://{member}:9111/metrics", timeout=10) as answer:
        assert b"node_cpu_seconds_total" in answer.read()


def test_what_cannot_be_done_is_said(run: Run) -> None:
    """Before any machine is touched."""
    code, output = run()
    assert (code, "Neither group nor machines is given" in output) == (2, True), output
    code, output = run("-e", "group=web", "-e", "machines=all")
    assert (code, "Both group and machines are given" in output) == (2, True), output
    code, output = run("-e", "group=web", "-e", "agents=promtail")
    assert (code, "allowed: node_exporter, log_agent" in output) == (2, True), output
    code, output = run("-e", "group=web")
    assert (code, "does not say how its members are reached" in output) == (2, True), output
