# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vLLM for tests: the stub, or the real one that ``tools/vllm.sh`` has built, named by ``VLLM_REAL`` (its folder)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

REAL = os.environ.get("VLLM_REAL")
KEY = "only-for-tests"
#: Seconds that a start, an end, or anything else may take before a test gives up.
PATIENCE = 500.0 if REAL else 30.0
_REAL_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",  # else each start compiles all of torch again
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_TARGET_DEVICE": "cpu",
}
_STUB_ENVIRONMENT = {"VLLM_STUB_LOAD_SECONDS": "0.5", "VLLM_STUB_TOKENS_PER_SECOND": "300", "VLLM_STUB_PACE": "0.1"}


def wait_for(look: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What *look* returns as soon as it is true."""
    until = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"{what} did not happen within {patience:g} s"
        time.sleep(0.05)


class Endpoint:
    """One endpoint on loopback; ends with the ``with`` block, whatever state it is in."""

    model = "tiny"

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, **options: Any) -> None:
        """:param options: of ``vllm serve``, with underscores; those of the test's model are added."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "vllm.log"
        model = str(Path(REAL) / "model") if REAL else "tiny"
        config: dict[str, Any] = {
            "model": model,
            "served-model-name": [self.model],
            "host": "127.0.0.1",
            "port": self.port,
            "dtype": "bfloat16",
            "enforce-eager": True,
            "max-model-len": 1024,
            "max-num-seqs": 4,
            "enable-server-load-tracking": True,
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self.config = folder / "vllm.yml"
        self.config.write_text(yaml.safe_dump(config))
        own = _REAL_ENVIRONMENT if REAL else _STUB_ENVIRONMENT
        self._environment = {**os.environ, **own, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Endpoint:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and do not wait."""
        command = [str(Path(REAL) / "venv/bin/vllm")] if REAL else [sys.executable, "-m", "lab.vllm"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Until /health is 200."""
        wait_for(lambda: self._ended() or self.status("/health") == 200, f"the start of {self.config}")
        assert self.process
        assert self.process.poll() is None, self.tail()

    def _ended(self) -> bool:
        assert self.process
        return self.process.poll() is not None

    def status(self, path: str, timeout: float = 5) -> int:
        """The status of a page; 0 when the connection is refused or breaks."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def page(self, path: str) -> str:
        """The text of a page."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def load(self) -> int:
        return json.loads(self.page("/load"))["server_load"]

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series; the first that has these labels."""
        for line in self.page("/metrics").splitlines():
            if line.startswith(f"vllm:{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no vllm:{name} with {labels}")

    def idle(self) -> bool:
        """Whether nothing is asked any more, as its own pages say."""
        return not self.load() and not self.metric("num_requests_running") and not self.metric("num_requests_waiting")

    def freeze(self) -> None:
        """The engine stands still; the HTTP server goes on."""
        if not REAL:
            return self._signal(signal.SIGUSR1)
        for pid in self._processes("VLLM::"):
            os.kill(pid, signal.SIGSTOP)
        return None

    def kill_worker(self) -> None:
        """The engine's worker dies."""
        if not REAL:
            return self._signal(signal.SIGUSR2)
        for pid in self._processes("VLLM::Worker") or self._processes("VLLM::"):
            os.kill(pid, signal.SIGKILL)
        return None

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def _processes(self, prefix: str) -> list[int]:
        """Processes of its session with this title, but for the one that was started."""
        assert self.process
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                session = int((proc / "stat").read_text().rpartition(")")[2].split()[3])
                title = (proc / "cmdline").read_bytes()
            except OSError:
                continue
            if session == self.process.pid != int(proc.name) and title.startswith(prefix.encode()):
                found.append(int(proc.name))
        return found

    def wait_exit(self) -> int:
        """Its exit status."""
        assert self.process
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Nothing of it is left."""
        if self.process is None:
            return
        if REAL:
            for pid in self._processes(""):
                os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def tail(self) -> str:
        """The end of its journal."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
