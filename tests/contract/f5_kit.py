# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One playbook of f5networks.f5_modules against a device of the lab: each task stores its result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from lab.bigip.spawn import Spawned


def task(label: str, module: str, /, **options: Any) -> dict[str, Any]:
    """A task that registers its result under *label*."""
    return {
        "name": label,
        f"f5networks.f5_modules.{module}": {**options, "provider": "{{ provider }}"},
        "register": label,
    }


def failing(work: dict[str, Any]) -> dict[str, Any]:
    """The task may fail: its refusal is what the test reads."""
    return {**work, "ignore_errors": True}


def play(folder: Path, device: Spawned, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Run *tasks*; their results by name."""
    ansible = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
    provider = {
        "server": device.hostname,
        "server_port": device.port,
        "user": device.username,
        "password": device.password,
        "validate_certs": False,
        "no_f5_teem": True,
    }
    dump = {name: "{{ " + name + " }}" for name in (item.get("register") for item in tasks) if name}
    last = {"ansible.builtin.copy": {"dest": str(folder / "results.json"), "content": "{{ dump | to_json }}"}}
    book = {"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [*tasks, last]}
    book["vars"] = {"provider": provider, "dump": dump, "ansible_python_interpreter": sys.executable}
    (folder / "play.yml").write_text(yaml.safe_dump([book], sort_keys=False))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("F5_", "ANSIBLE_"))}
    environment |= {"ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "ANSIBLE_REMOTE_TEMP": str(folder / "tmp")}
    done = subprocess.run(
        [ansible, "-i", "localhost,", str(folder / "play.yml")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert (folder / "results.json").exists(), done.stdout + done.stderr
    return json.loads((folder / "results.json").read_text())
