# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory with one recovery plan, and its playbooks: run as a person does, or killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.kit import free_port
from lab.settings import REPO

PLAN = "shop"
HOST = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def plan(services: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A plan of two sites, a and b; *changes* replace its fields."""
    members = {"a": "site-a:shop-vip", "b": "site-b:shop-vip"}
    return {
        "name": PLAN,
        "pattern": "warm_standby",
        "sites": {"primary": "a", "secondary": "b"},
        "targets": {"rto": 300, "rpo": 0},
        "services": services,
        "traffic": {
            "type": "f5",
            "name": "www.shop.example",
            "f5": {"pool": "shop", "members": members},
            "resolvers": [{"address": "127.0.0.1", "port": free_port()}],
        },
        "check": {"path": "/health", "port": 8080, "hosts": {"a": "127.0.0.2", "b": "127.0.0.3"}},
        "outage": {"selector": 'probe_success{job="shop"}'},
        **changes,
    }


class Recovery:
    """An inventory in *folder*, what it says of the sites, and the folder of journals and reports."""

    def __init__(self, folder: Path, sites: Mapping[str, Any], **variables: Any) -> None:
        self.folder = folder
        self.reports = folder / "dr"
        variables = {"autoscale_sites": dict(sites), "autoscale_recovery_dir": str(self.reports), **variables}
        self.write("hosts.yml", {"all": {"hosts": {"localhost": HOST}, "vars": variables}})

    def write_plan(self, services: list[dict[str, Any]], **changes: Any) -> None:
        """The plan, as its owner declares it from now on."""
        self.write(f"recovery_plans/{PLAN}.yml", plan(services, **changes))

    def write(self, name: str, content: Any) -> None:
        """A file of the inventory: a text, or what becomes YAML."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))

    def run(self, playbook: str, *arguments: str, **variables: Any) -> tuple[int, str]:
        """A playbook to its end: exit status, and what it printed."""
        done = subprocess.run(
            [*self._command(playbook, variables), *arguments],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        return done.returncode, done.stdout + done.stderr

    def killed(self, playbook: str, when: Callable[[], Any], **variables: Any) -> None:
        """kill -9 of a playbook and all its processes as soon as *when* says something true."""
        log = self.folder / "killed.log"
        with log.open("wb") as file:
            play = subprocess.Popen(
                self._command(playbook, variables), cwd=REPO, stdout=file, stderr=file, start_new_session=True
            )
            try:
                deadline = time.monotonic() + 600
                while not when():
                    assert play.poll() is None, f"it ended by itself:\n{log.read_text()}"
                    assert time.monotonic() < deadline, f"it never came so far:\n{log.read_text()}"
                    time.sleep(0.05)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(play.pid, signal.SIGKILL)
                play.wait()

    def _command(self, playbook: str, variables: Mapping[str, Any]) -> list[str]:
        extra = json.dumps({"plan": PLAN, **variables})
        return ["ansible-playbook", f"onprem.autoscale.{playbook}", "-i", str(self.folder / "hosts.yml"), "-e", extra]

    # ---- what the runs left ------------------------------------------------------------------------------------------
    def journals(self) -> list[dict[str, Any]]:
        """Runs that did not end."""
        return [json.loads(path.read_text()) for path in sorted(self.reports.glob("*.journal.json"))]

    def report(self) -> dict[str, Any]:
        """The newest one."""
        return json.loads(max(self.reports.glob(f"{PLAN}-[0-9]*[0-9].json")).read_text())

    def manifest(self) -> dict[str, Any]:
        """What there is to restore from."""
        return json.loads((self.reports / f"{PLAN}-backup.json").read_text())
