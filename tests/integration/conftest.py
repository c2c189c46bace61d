# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module as ansible-core does (a process of its own, JSON in, JSON out), without a whole playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.forked import Forked, forked_modules

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.onprem.autoscale"
pytest.register_assert_rewrite("integration")  # the kits assert too, and should say what they saw


def import_root() -> Path:
    """The folder that holds ``ansible_collections``; a checkout elsewhere gets a view of links under build/."""
    if ROOT.parts[-3:] == ("ansible_collections", "onprem", "autoscale"):
        return ROOT.parents[2]
    view = ROOT / "build" / "view"
    link = view / "ansible_collections" / "onprem" / "autoscale"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    return view


def module_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a module's process: the collection importable, no connection options from outside."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("VMWARE_", "F5_", "ANSIBLE_", "PG"))
    }
    path = os.environ.get("PYTHONPATH")
    env["PYTHONPATH"] = os.pathsep.join([str(import_root()), *([path] if path else [])])
    env.update(extra or {})
    return env


def module_input(args: Mapping[str, Any], *, check: bool = False, diff: bool = False) -> str:
    """What ansible-core writes to a module's stdin."""
    internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": False}
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **internal}})


def start_module(
    name: str,
    args: Mapping[str, Any],
    *,
    check: bool = False,
    diff: bool = False,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> subprocess.Popen[str]:
    """Start the module *name* (short name) and leave it running; the caller collects or kills it."""
    process = subprocess.Popen(
        [python, "-m", f"{COLLECTION}.plugins.modules.{name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=module_env(env),
    )
    assert process.stdin
    process.stdin.write(module_input(args, check=check, diff=diff))
    process.stdin.close()
    process.stdin = None
    return process


def read_result(name: str, stdout: str, stderr: str) -> dict[str, Any]:
    """The module's result; a traceback instead of JSON fails the test, as it would be a defect for a user.

    ``changed`` and ``failed`` are always there.
    """
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if not lines:
        pytest.fail(f"{name} returned no JSON\nstdout:\n{stdout}\nstderr:\n{stderr}", pytrace=False)
    result = json.loads(lines[-1])
    return {"changed": False, "failed": False, **result}


@pytest.fixture(name="start_module", scope="session")
def start_module_fixture() -> Callable[..., subprocess.Popen[str]]:
    """``start_module(name, args, check=False, diff=False, env=None) -> Popen``, for tests that kill it."""
    return start_module


@pytest.fixture(scope="session", autouse=True)
def forked() -> Iterator[Forked]:
    """Modules are forks of a process that has their libraries; those of playbooks, too."""
    with forked_modules(module_env()) as started:
        yield started


@pytest.fixture(scope="session")
def run_module(forked: Forked) -> Callable[..., dict[str, Any]]:
    """``run_module(name, args, check=False, diff=False, env=None, timeout=120) -> result``, failed or not."""

    def run(
        name: str,
        args: Mapping[str, Any],
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> dict[str, Any]:
        # What the dynamic loader reads counts when a program starts only.
        python = sys.executable if any(key.startswith("LD_") for key in env or ()) else str(forked.python)
        process = start_module(name, args, check=check, diff=diff, env=env, python=python)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            pytest.fail(f"{name} did not end within {timeout} s\nstdout:\n{stdout}\nstderr:\n{stderr}", pytrace=False)
        return read_result(name, stdout, stderr)

    return run
