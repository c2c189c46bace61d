# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's vCenter as a process of one test module: free ports, its own guests, faults over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lab.build import build_go

USER = "autoscale@vsphere.local"
PASSWORD = "a-password-of-the-tests"


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LabVCenter:
    """Start with :meth:`start`, end with :meth:`stop`; times in seconds."""

    def __init__(self, folder: Path, *, clone: float = 1.0, boot: float = 0.6, shutdown: float = 0.3) -> None:
        self.folder = folder
        self.times = {"clone_s": clone, "boot_s": boot, "shutdown_s": shutdown}
        self.port, self.control_port = free_port(), free_port()
        self.guest_port, self.exporter_port = free_port(), free_port()
        self.cert = folder / "vcenter.pem"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """Connection options of the modules; its certificate is trusted by name, as in production."""
        return {
            "hostname": "127.0.0.1",
            "port": self.port,
            "username": USER,
            "password": PASSWORD,
            "ca_path": str(self.cert),
        }

    def start(self) -> LabVCenter:
        """Start it and wait until it answers."""
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD + "\n", encoding="utf-8")
        command = [
            str(build_go("vcenter")),
            f"-listen=127.0.0.1:{self.port}",
            f"-control=127.0.0.1:{self.control_port}",
            f"-cert={self.cert}",
            f"-key={self.folder / 'vcenter.key'}",
            f"-user={USER}",
            f"-password-file={password_file}",
            f"-clone-time={self.times['clone_s']}",
            f"-boot-time={self.times['boot_s']}",
            f"-shutdown-time={self.times['shutdown_s']}",
            f"-guest-binary={build_go('guest')}",
            f"-guest-port={self.guest_port}",
            f"-guest-exporter-port={self.exporter_port}",
            "-base=",
        ]
        with (self.folder / "vcenter.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.control("GET", "/healthz")
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self.folder / "vcenter.log").read_text(encoding="utf-8")) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it and its guests."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control interface; returns the JSON answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def vms(self) -> dict[str, dict[str, Any]]:
        """What the simulator itself knows, by name: not through the modules under test."""
        return {row["name"]: row for row in self.control("GET", "/vms")}

    def fault(self, **rule: Any) -> dict[str, Any]:
        """Add a fault rule."""
        return self.control("POST", "/faults", rule)[0]

    def hits(self, rule: dict[str, Any]) -> int:
        """How often a rule struck."""
        return next(row["hits"] for row in self.control("GET", "/faults") if row["id"] == rule["id"])

    def clear_faults(self) -> None:
        """Remove all rules."""
        self.control("DELETE", "/faults")

    def get(self, address: str, path: str = "/health") -> int:
        """HTTP status of a guest."""
        try:
            with urllib.request.urlopen(f"http://{address}:{self.guest_port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
