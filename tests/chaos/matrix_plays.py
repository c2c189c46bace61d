# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays for the fault matrix, started through :mod:`lab.forked`, as hundreds of them run."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.forked import Forked
from lab.settings import REPO

INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
CONFIG = Path(__file__).with_name("matrix.cfg")


class Plays(Forked):
    """Two processes that fork plays and modules; use it as a context manager. Threads may share it."""

    def __init__(self) -> None:
        super().__init__(("plays", "modules"), {"ANSIBLE_CONFIG": str(CONFIG)})

    def run(
        self, name: str, log: Path, variables: Mapping[str, Any], environment: Mapping[str, str], limit: float
    ) -> int | None:
        """``ansible-playbook onprem.autoscale.<name>`` with its output in *log*.

        :param limit: seconds; a play that runs longer is killed.
        :returns: its exit status; None when it was killed.
        """
        extra = {**variables, "ansible_python_interpreter": str(self.python)}
        wanted = {
            "arguments": [f"onprem.autoscale.{name}", "-i", str(INVENTORY), "-e", json.dumps(extra)],
            "folder": str(REPO),
            "asked_by": os.getpid(),
            "environment": {**os.environ, "ANSIBLE_CONFIG": str(CONFIG), **environment},
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as connection, log.open("wb") as output, open(os.devnull) as nothing:
            connection.connect(str(self.folder / "plays"))
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
