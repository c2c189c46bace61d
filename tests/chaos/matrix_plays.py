# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays for the fault matrix, started through :mod:`prefork`, as hundreds of them run."""

from __future__ import annotations

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.settings import REPO

INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
CONFIG = Path(__file__).with_name("matrix.cfg")
PREFORK = Path(__file__).with_name("prefork.py")
START_LIMIT_S = 120


class Plays:
    """Two processes that fork plays and modules; use it as a context manager. Threads may share it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="plays-"))
        self._python = self._folder / "python"
        self._python.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {PREFORK} module {self._folder}/modules "$@"\n'
        )
        self._python.chmod(0o700)
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Plays:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CONFIG)}
        for kind in ("plays", "modules"):
            command = [sys.executable, str(PREFORK), f"serve-{kind}", str(self._folder / kind)]
            self._servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, cwd=REPO))
        deadline = time.monotonic() + START_LIMIT_S
        while not all((self._folder / kind).exists() for kind in ("plays", "modules")):
            if time.monotonic() > deadline or any(server.poll() is not None for server in self._servers):
                self.__exit__()
                raise RuntimeError("the processes that fork plays do not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self._servers:
            server.terminate()
            server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self, name: str, log: Path, variables: Mapping[str, Any], environment: Mapping[str, str], limit: float
    ) -> int | None:
        """``ansible-playbook onprem.autoscale.<name>`` with its output in *log*.

        :param limit: seconds; a play that runs longer is killed.
        :returns: its exit status; None when it was killed.
        """
        extra = {**variables, "ansible_python_interpreter": str(self._python)}
        wanted = {
            "arguments": [f"onprem.autoscale.{name}", "-i", str(INVENTORY), "-e", json.dumps(extra)],
            "folder": str(REPO),
            "environment": {**os.environ, "ANSIBLE_CONFIG": str(CONFIG), **environment},
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as connection, log.open("wb") as output, open(os.devnull) as nothing:
            connection.connect(str(self._folder / "plays"))
            files = array.array("i", [nothing.fileno(), output.fileno(), output.fileno()])
            connection.sendmsg([json.dumps(wanted).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            connection.settimeout(limit)
            answers = connection.makefile("r")
            pid = int(answers.readline())
            try:
                return int(answers.readline())
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                return None
