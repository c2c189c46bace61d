# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vCenter of the lab on free ports, for one test module: start, control, stop.

The lab proper (``python -m lab up``) has fixed ports; tests that need a vCenter of their own, with
their own times and faults, take this one.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lab.build import build_go
from lab.kit import free_port, wait_for

USER = "autoscale@vsphere.local"
PASSWORD = "a-password-of-the-tests"


class VCenter:
    """One running vCenter. All its guests live on ``127.0.47.0/24`` unless *base* says otherwise.

    *clone*, *boot* and *shutdown* are seconds, kept in ``times`` as the control interface takes them. Files (log,
    certificate, guests' logs) go to *folder*.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clone: float = 0.5,
        boot: float = 0.5,
        shutdown: float = 0.3,
        base: str = "base-1=127.0.47.11,base-2=127.0.47.12",
        capacity: float = 50,
        hosts: int = 2,
        guests: bool = True,
    ) -> None:
        self.folder = folder
        self.times = {"clone_s": clone, "boot_s": boot, "shutdown_s": shutdown}
        self.host, self.port, self.control_port = "127.0.0.1", free_port(), free_port()
        self.user, self.password = USER, PASSWORD
        self.guest_port, self.exporter_port = free_port("127.0.47.1"), free_port("127.0.47.1")
        self.cert = folder / "cert.pem"
        secret = folder / "password"
        secret.write_text(PASSWORD + "\n", encoding="utf-8")
        self.command = [
            str(build_go("vcenter")),
            *("-listen", f"{self.host}:{self.port}", "-control", f"{self.host}:{self.control_port}"),
            *("-cert", str(self.cert), "-key", str(folder / "key.pem")),
            *("-user", USER, "-password-file", str(secret)),
            *("-clone-time", f"{clone}s", "-boot-time", f"{boot}s", "-shutdown-time", f"{shutdown}s"),
            *("-base", base, "-hosts", str(hosts), "-guest-capacity", str(capacity)),
            *("-guest-port", str(self.guest_port), "-guest-exporter-port", str(self.exporter_port)),
            *("-guest-log-dir", str(folder / "guests"), "-state-dir", str(folder)),
        ]
        if guests:
            self.command += ["-guest-binary", str(build_go("guest"))]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """Connection options of the modules; the certificate is trusted by name, as in production."""
        return {
            "hostname": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password,
            "ca_path": str(self.cert),
        }

    def __enter__(self) -> VCenter:
        log = self.folder / "vcenter.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            wait_for(self._answers, timeout=60, what=f"vcenter is ready (see {log})")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the vCenter and with it its guests."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            text = (self.folder / "vcenter.log").read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"vcenter ended with status {self.process.returncode}: {text[-2000:]}")
        try:
            return self.control("GET", "/healthz")["status"] == "ok"
        except OSError:
            return False

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the control interface; ``urllib.error.HTTPError`` when it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.host}:{self.control_port}{path}",
            data=data,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def vms(self) -> dict[str, dict[str, Any]]:
        """What the simulator itself knows, by name: not through the modules under test."""
        return {row["name"]: row for row in self.control("GET", "/vms")}

    def vm(self, name: str) -> dict[str, Any] | None:
        """The row of one VM by name or moid; None when there is none."""
        try:
            return self.control("GET", f"/vms/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def fault(self, **rule: Any) -> int:
        """Add a fault rule; its id."""
        return self.control("POST", "/faults", rule)[0]["id"]

    def hits(self, rule: int) -> int:
        """How often the fault rule of this id struck."""
        return next(row["hits"] for row in self.control("GET", "/faults") if row["id"] == rule)

    def clear_faults(self) -> None:
        """Remove all rules."""
        self.control("DELETE", "/faults")

    def app(self, address: str, path: str = "/", timeout: float = 3.0) -> tuple[int, str]:
        """GET from a guest's application: status and body; OSError when nobody listens."""
        return self._get(f"http://{address}:{self.guest_port}{path}", timeout)

    def metrics(self, address: str) -> str:
        """The guest's metrics in the Prometheus text format."""
        return self._get(f"http://{address}:{self.exporter_port}/metrics", 3.0)[1]

    @staticmethod
    def _get(url: str, timeout: float) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
