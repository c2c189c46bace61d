# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forked module is to its caller what a program of its own is: input, output, status, parent, and its end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.forked import Forked
from lab.process import start_time


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    with Forked() as started:
        yield started


def test_a_program_has_the_files_folder_environment_and_parent_of_who_asked(forked: Forked, tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd(), os.environ['LEFT'], os.getppid()); sys.exit('no')"
    asked = subprocess.Popen(
        [forked.python], stdin=-1, stdout=-1, stderr=-1, text=True, cwd=tmp_path, env={**os.environ, "LEFT": "right"}
    )
    printed, said = asked.communicate(program, timeout=60)
    assert printed.split() == [str(tmp_path), "right", str(asked.pid)]
    assert (said, asked.returncode) == ("no\n", 1)


def test_a_module_is_run_by_its_name(forked: Forked) -> None:
    done = subprocess.run([forked.python, "-m", "this"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("The Zen of Python")


def test_a_program_dies_with_who_asked_for_it(forked: Forked) -> None:
    asked = subprocess.Popen([forked.python], stdin=-1, stdout=-1, text=True)
    assert asked.stdin
    assert asked.stdout
    asked.stdin.write("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    asked.stdin.close()
    program = int(asked.stdout.readline())
    assert start_time(program) is not None
    asked.kill()
    asked.wait()
    deadline = time.monotonic() + 30
    while start_time(program) is not None:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)
    asked.stdout.close()
