# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest of a VM that serves a model: the stub of vLLM and the role's own canary, beside a plain guest.

vcenter starts it (``-guest-command model-template=python -m lab.model_guest``) with a guest's arguments. Its stub
serves on port 8000, the canary on 8001, the plain guest has the exporter. ``SIGUSR1`` and ``SIGUSR2`` reach the stub,
which freezes or loses its worker; a guest that is to be unhealthy from its boot has a frozen engine. The environment
sets ``MODEL_GUEST_BINARY`` (the plain guest), ``VLLM_API_KEY``, ``MODEL_GUEST_SEQS``, and what the stub reads.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from .settings import MODEL_NAME, REPO
from .vllm import VERSION

ROLE = REPO / "roles" / "vllm_host" / "files"
PORT, CANARY_PORT = 8000, 8001
_PR_SET_PDEATHSIG = 1
#: The last text of a start, in the journal of the stub and of the real one.
STARTED = "Application startup complete"


def main() -> int:
    # Go's flags: one dash, and a value of their own; argparse would take -hostname for -h.
    given = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
    ready = int(given.get("-ready-fd", 0))
    with tempfile.TemporaryDirectory(prefix="model-guest.") as folder:
        return Guest(given["-ip"], Path(folder), frozen=given.get("-health", "200") != "200").run(sys.argv[1:], ready)


def die_with_parent() -> None:
    """Nothing outlives the VM, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Guest:
    """The processes of one guest; they share its process group, so that a power off takes all of them."""

    def __init__(self, address: str, folder: Path, *, frozen: bool) -> None:
        self.address = address
        self.folder = folder
        self.frozen = frozen
        self.environment = {**os.environ, "PYTHONPATH": str(REPO / "tests")}
        self.children: list[subprocess.Popen[Any]] = []

    def run(self, arguments: list[str], ready: int) -> int:
        """Start all and wait for the plain guest, whose end is the guest's."""
        stub = self.start(
            [
                *(sys.executable, "-m", "lab.vllm", "serve", "--model", MODEL_NAME, "--host", self.address),
                *("--port", str(PORT), "--max-num-seqs", os.environ.get("MODEL_GUEST_SEQS", "4")),
                "--enable-server-load-tracking",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, functools.partial(self.pass_on, stub))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.leave)
        threading.Thread(target=self.read, args=(stub,), daemon=True).start()
        self.start([sys.executable, str(ROLE / "vllm_canary.py"), str(self.canary())])
        plain = self.start(
            [os.environ["MODEL_GUEST_BINARY"], *arguments], stdin=None, pass_fds=(ready,) if ready else ()
        )
        if ready:
            os.close(ready)
        status = plain.wait()
        self.leave()
        return status

    def start(self, command: list[str], **how: Any) -> subprocess.Popen[Any]:
        how = {"stdin": subprocess.DEVNULL, "env": self.environment, "preexec_fn": die_with_parent, **how}
        child = subprocess.Popen(command, **how)
        self.children.append(child)
        return child

    @staticmethod
    def pass_on(stub: subprocess.Popen[str], number: int, _frame: FrameType | None) -> None:
        stub.send_signal(number)

    def leave(self, *_unused: Any) -> None:
        """As a machine that shuts down: SIGTERM to each service, and the end when they have ended."""
        for child in self.children:
            if child.poll() is None:
                child.terminate()

    def canary(self) -> Path:
        """What the role's canary reads."""
        path = self.folder / "canary.json"
        config = {
            "url": f"http://{self.address}:{PORT}",
            "model": MODEL_NAME,
            "tokens": 4,
            "deadline": 2,
            "interval": 2,
            "failures": 2,
            "restart_file": str(self.folder / "restart"),  # nobody restarts it here: the member is replaced
            "restart_rest": 600,
            "coldstart_file": str(self.folder / "coldstart.json"),
            "address": self.address,
            "port": CANARY_PORT,
        }
        path.write_text(json.dumps(config))
        return path

    def read(self, stub: subprocess.Popen[str]) -> None:
        """Pass the stub's journal on, and note the stages of its start as the role does."""
        began, lines = time.time(), []
        for line in stub.stdout or ():
            print(line, end="", flush=True)
            if lines is not None:
                lines.append((time.time(), line))
                if STARTED in line:
                    self.record(began, lines)
                    lines = None
                    if self.frozen:
                        stub.send_signal(signal.SIGUSR1)

    def record(self, began: float, lines: list[tuple[float, str]]) -> None:
        spec = importlib.util.spec_from_file_location("vllm_coldstart", ROLE / "vllm_coldstart.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found = module.stages(began, lines, VERSION, time.time())
        (self.folder / "coldstart.json").write_text(json.dumps({"stages": found}))


if __name__ == "__main__":
    sys.exit(main())
