# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of :mod:`lab.prefork`, started and stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFORK = Path(__file__).with_name("prefork.py")
START_LIMIT_S = 120
PYTHON = "LAB_PYTHON"  # tests/lab/callbacks gives it to localhost, where it is set


class Forked:
    """Processes that fork modules, and plays where *kinds* says so; use it as a context manager. Threads may share it.

    ``python`` is an interpreter for modules.
    """

    def __init__(self, kinds: tuple[str, ...] = ("modules",), environment: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="forked-"))
        self.python = self.folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {PREFORK} module {self.folder}/modules "$@"\n')
        self.python.chmod(0o700)
        self._kinds = kinds
        self._environment = environment or {}
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Forked:
        environment = {**os.environ, **self._environment}
        for kind in self._kinds:
            command = [sys.executable, str(PREFORK), f"serve-{kind}", str(self.folder / kind)]
            self._servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment))
        deadline = time.monotonic() + START_LIMIT_S
        while not all((self.folder / kind).exists() for kind in self._kinds):
            if time.monotonic() > deadline or any(server.poll() is not None for server in self._servers):
                self.__exit__()
                raise RuntimeError("the processes that fork plays do not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self._servers:
            server.terminate()
            server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def forked_modules(environment: dict[str, str] | None = None) -> Iterator[Forked]:
    """Modules of playbooks that are started meanwhile are forks."""
    with Forked(environment=environment) as forked:
        before, os.environ[PYTHON] = os.environ.get(PYTHON), str(forked.python)
        try:
            yield forked
        finally:
            os.environ.pop(PYTHON)
            if before is not None:
                os.environ[PYTHON] = before
