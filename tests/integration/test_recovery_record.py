# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3: recovery_record below a real ansible-playbook that is killed, and run again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.kit.recovery import declared

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = Path(sysconfig.get_path("scripts")) / "ansible-playbook"
PLAN = "{{ lookup('ansible.builtin.file', folder ~ '/shop.yml') | onprem.autoscale.recovery_plan(origin='shop.yml') }}"
WAIT = "echo {{ step.name }} > {{ folder }}/here && read line < {{ folder }}/go"
PLAY: list[dict[str, Any]] = [{
    "hosts": "localhost",
    "connection": "local",
    "gather_facts": False,
    "module_defaults": {"group/onprem.autoscale.recovery": {"directory": "{{ folder }}/dr", "plan": "{{ recovery }}"}},
    "vars": {"recovery": PLAN},
    "tasks": [
        {"onprem.autoscale.recovery_record": {"state": "started", "kind": "backup"}, "register": "begun"},
        {"include_tasks": "step.yml", "loop": "{{ begun.run.steps | rejectattr('state', 'eq', 'done') }}",
         "loop_control": {"loop_var": "step"}},
        {"onprem.autoscale.recovery_record": {"state": "ended", "run": "{{ begun.run.name }}"}},
        {"onprem.autoscale.recovery_record": {"state": "observed", "outside": {"requests_failed": 0}}},
        {"onprem.autoscale.recovery_record": {"state": "read"}, "register": "read"},
        {"copy": {"content": "{{ {'begun': begun, 'read': read} }}", "dest": "{{ folder }}/seen.json", "mode": "0600"}},
    ],
}]  # fmt: skip
RECORD = {"state": "step", "run": "{{ begun.run.name }}", "step": "{{ step.name }}"}
STEP: list[dict[str, Any]] = [
    {"onprem.autoscale.recovery_record": {**RECORD, "step_state": "running"}},
    # Says that it is here, and waits until it is let go on.
    {"shell": WAIT, "when": "waits | default(false)"},
    {"onprem.autoscale.recovery_record": {**RECORD, "step_state": "done"}},
]


def playbook(folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start it in a process group of its own."""
    collections = next(path for path in sys.path if (Path(path) / "ansible_collections/onprem/autoscale").exists())
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    command = [str(ANSIBLE_PLAYBOOK), str(folder / "play.yml"), "-e", json.dumps({"folder": str(folder), **options})]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    (tmp_path / "step.yml").write_text(yaml.safe_dump(STEP), encoding="utf-8")
    services = [{"name": "one", "kind": "settings", "folder": "one"}]
    (tmp_path / "shop.yml").write_text(yaml.safe_dump(declared(services=services)), encoding="utf-8")
    for pipe in ("here", "go"):
        os.mkfifo(tmp_path / pipe)
    return tmp_path


def test_a_second_one_is_refused_while_the_first_lives_and_takes_up_when_it_was_killed(folder: Path) -> None:
    first = playbook(folder, waits=True)
    try:
        assert (folder / "here").read_text(encoding="utf-8") == "backup_settings:one\n"
        second = playbook(folder)
        output = second.communicate(timeout=120)[0]
        assert second.returncode != 0
        assert f"is at work: ansible-playbook, process {first.pid} on" in " ".join(output.split())
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        with contextlib.suppress(OSError):  # what waits at the pipe may be in a group of its own
            os.close(os.open(folder / "go", os.O_WRONLY | os.O_NONBLOCK))
        first.communicate()

    third = playbook(folder)
    assert third.wait(timeout=120) == 0, third.stdout and third.stdout.read()
    third.communicate()
    seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert seen["begun"]["run"]["resumed"] is True
    assert [row["state"] for row in seen["begun"]["run"]["steps"]] == ["running"]
    (report,) = seen["read"]["reports"]
    assert seen["read"]["unfinished"] == []
    assert (report["result"], report["requests_failed"]) == ("done", 0)
    assert [(row["state"], row["attempts"]) for row in report["steps"]] == [("done", 2)]
    names = sorted(entry.name for entry in (folder / "dr").iterdir())
    assert names == [f"shop-{report['run']}.html", f"shop-{report['run']}.json"]


def test_without_a_playbook_above_it_is_refused_and_nothing_is_made(
    tmp_path: Path, run_module: Callable[..., dict[str, Any]]
) -> None:
    options = {"directory": str(tmp_path / "dr"), "plan": declared(), "state": "started", "kind": "failover"}
    result = run_module("recovery_record", options)
    assert result["failed"]
    assert "no ansible-playbook above this process" in result["msg"]
    assert not (tmp_path / "dr").exists()
