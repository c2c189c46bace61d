# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real receiver process on a free port, its configuration, and a small playbook that keeps the journal."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import requests
import yaml

TOKEN = "a-token-of-the-tests-0123456789"
MODULE = "ansible_collections.onprem.autoscale.plugins.plugin_utils._intake"

# The play journals like a real one: opens the action by its ident, works, closes it. Each run leaves one line.
PLAY = """
- name: Stand in for a scaling action
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    journal: "{{ ansible_playbook_python }} {{ folder }}/journal.py {{ folder }}"
    who: "{{ action_id }} {{ group }} {{ signal_direction }} {{ action_attempt }}"
  tasks:
    - name: Open
      ansible.builtin.command: "{{ journal }} open {{ who }}"
    - name: Work
      ansible.builtin.command: "{{ journal }} work {{ who }}"
    - name: Close
      ansible.builtin.command: "{{ journal }} close {{ who }}"
"""

JOURNAL = """
import json, pathlib, sys, time
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger

folder, what, ident, group, direction = pathlib.Path(sys.argv[1]), *sys.argv[2:6]
control = json.loads((folder / "control.json").read_text()).get(group, {})
with Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
    if what == "open":
        ttl, attempt = control.get("ttl", 120), int(sys.argv[6])
        who = {"ident": ident, "owner": f"{ident}/{attempt}", "attempt": attempt}
        ledger.start_action(group, direction, **who, ttl=ttl, source="alert", reason="test")
    elif what == "work":
        with open(folder / "runs.txt", "a") as runs:
            runs.write(f"begin {group} {ident} {time.time()}\\n")
        deadline = time.time() + control.get("seconds", 0.2)
        while time.time() < deadline and not (folder / f"go-{group}").exists():
            time.sleep(0.05)
        if control.get("fail"):
            ledger.finish_action(ident, state="failed", message="told to fail")
            sys.exit(3)
    else:
        ledger.finish_action(ident, state="succeeded", cooldown=control.get("cooldown"))
        with open(folder / "runs.txt", "a") as runs:
            runs.write(f"end {group} {ident} {time.time()}\\n")
"""


def alert(
    group: str = "web",
    action: str = "scale_out",
    *,
    status: str = "firing",
    fingerprint: str = "f00d",
    starts: float = 0.0,
    **labels: str,
) -> dict[str, t.Any]:
    """One entry of a notification; *starts* shifts ``startsAt`` by so many seconds."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=starts)
    return {
        "status": status,
        "labels": {"alertname": "CpuHigh", "group": group, "action": action, **labels},
        "annotations": {"summary": "{{ lookup('pipe', 'id') }}"},
        "startsAt": start.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": fingerprint,
    }


def notification(*alerts: dict[str, t.Any], truncated: int = 0) -> dict[str, t.Any]:
    """A webhook body, version 4."""
    return {
        "version": "4",
        "groupKey": '{}:{group="web"}',
        "truncatedAlerts": truncated,
        "status": "firing",
        "receiver": "autoscale",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    }


def until(look: t.Callable[[], t.Any], what: str, timeout: float = 90.0) -> t.Any:
    """Wait until *look* answers something true; the answer."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout:g} s"
        time.sleep(0.1)
    return found


class ReceiverKit:
    """A folder with everything a receiver needs, and the process itself."""

    def __init__(self, folder: Path, groups: t.Sequence[str] = ("web", "api"), **config: t.Any) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.log = folder / "receiver.log"
        (folder / "groups").mkdir()
        for group in groups:
            (folder / "groups" / f"{group}.yml").write_text(f"name: {group}\n")
        (folder / "play.yml").write_text(PLAY)
        (folder / "journal.py").write_text(JOURNAL)
        self.token_file = folder / "token"
        self.token_file.write_text(TOKEN + "\n")
        self.token_file.chmod(0o600)
        self.control()
        executor = {
            "type": "runner",
            "private_data_root": "runs",
            "environment": {"ANSIBLE_LOCALHOST_WARNING": "false", "SECRET_OF_THE_TEST": "swordfish-42"},
            "extra_vars": {"folder": str(folder)},
            "failure_pause": 1,
            "failure_pause_max": 2,
            **config.pop("executor", {}),
        }
        self.config = {
            "listen": "127.0.0.1:0",
            "tokens": [{"name": "alertmanager", "token_file": "token"}],
            "ledger": f"sqlite:///{folder}/ledger.db",
            "scaling_groups_dir": "groups",
            "executor": executor,
            "playbooks": dict.fromkeys(("out", "in", "reconcile"), str(folder / "play.yml")),
            "reconcile_period": 0,
            **config,
        }

    def control(self, **groups: dict[str, t.Any]) -> None:
        """What the plays shall do: ``seconds``, ``cooldown``, ``fail``, ``ttl`` (of the lock) by group."""
        (self.folder / "control.json").write_text(json.dumps(groups))

    def start(self) -> ReceiverKit:
        """Start the program and wait until it listens."""
        (self.folder / "receiver.yml").write_text(yaml.safe_dump(self.config))
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", MODULE, "--config", str(self.folder / "receiver.yml")],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

        def listening() -> re.Match[str] | None:
            assert self.process is not None
            text = self.log.read_text()[before:]
            assert self.process.poll() is None, text
            return re.search(r"listening on [\d.]+:(\d+)", text)

        self.port = int(until(listening, "listening", 20)[1])
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop the receiver itself; its plays run on."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def close(self) -> None:
        """Stop everything that this kit started."""
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)
        for pid in self.play_processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    # -- talk --------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if 'tls' in self.config else 'http'}://127.0.0.1:{self.port}"

    def post(
        self, body: t.Any, *, token: str | None = TOKEN, path: str = "/alerts", **kwargs: t.Any
    ) -> requests.Response:
        """Deliver *body* (JSON unless bytes)."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(self.url + path, data=data, headers=headers, timeout=20, **kwargs)

    def get(self, path: str, *, token: str | None = TOKEN, **kwargs: t.Any) -> requests.Response:
        """Ask."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, headers=headers, timeout=20, **kwargs)

    def metric(self, sample: str) -> float:
        """The value of a sample line, 0 where there is none."""
        for line in self.get("/metrics").text.splitlines():
            name, _sep, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    # -- look --------------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: t.Any) -> list[dict[str, t.Any]]:
        """Rows of the ledger, read past the collection's own code."""
        with sqlite3.connect(f"file:{self.folder}/ledger.db?mode=ro", uri=True, timeout=10) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def work(self, group: str = "web") -> dict[str, t.Any]:
        """The group's ``work`` row."""
        found = self.rows("select * from work where group_name = ?", group)
        return found[0] if found else {}

    def idle(self, group: str = "web") -> bool:
        """Nothing runs and nothing waits."""
        work = self.work(group)
        return bool(work) and work["running"] is None and work["dirty_out"] is None and work["dirty_in"] is None

    def runs(self, what: str = "begin", group: str | None = None) -> list[str]:
        """Idents of the plays that began (or ended), in order."""
        path = self.folder / "runs.txt"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [line[2] for line in lines if line[0] == what and group in (None, line[1])]

    def go(self, group: str = "web") -> None:
        """Let a slow play of *group* end."""
        (self.folder / f"go-{group}").touch()

    def play_processes(self, name: str = "") -> list[int]:
        """Processes of the plays, from the kernel."""
        mark = f"ONPREM_AUTOSCALE_ATTEMPT={self.folder}/runs/{name}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def command_lines(self) -> dict[int, str]:
        """Command line of each of the plays' processes."""
        found = {}
        for pid in self.play_processes():
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found


__all__ = ["TOKEN", "ReceiverKit", "alert", "notification", "until"]
