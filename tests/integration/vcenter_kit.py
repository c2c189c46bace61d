# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's vCenter as a process of one test module: free ports, its own guests, faults over HTTP.

A test file takes the fixtures at the end by name: ``vcenter, site = kit.vcenter, kit.site``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.build import build_go

USER = "autoscale@vsphere.local"
PASSWORD = "a-password-of-the-tests"
NETWORK = {"name": "VM Network", "cidr": "127.0.46.0/24", "gateway": "127.0.46.1", "dns_servers": ["127.0.46.2"]}
SHORT = {"clone": 20, "customization": 10, "address": 10, "shutdown": 5}
Result = dict[str, Any]


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


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabVCenter]:
    lab = LabVCenter(tmp_path_factory.mktemp("vcenter"))
    try:
        yield lab.start()
    finally:
        lab.stop()


class Site:
    """The modules with connection options filled in, and clean-up after each test."""

    def __init__(self, lab: LabVCenter, run_module: Callable[..., Result], start_module: Callable[..., Any]) -> None:
        self.lab = lab
        self._run = run_module
        self._start = start_module

    def args(self, count: int = 2, **other: Any) -> dict[str, Any]:
        """Arguments for *count* VMs web-1, web-2 .. at 127.0.46.11, 127.0.46.12 .."""
        return {
            "template": "web-template",
            "marks": {"group": "web", "action": "a1"},
            "network": NETWORK,
            "timeouts": SHORT,
            "vms": [{"name": f"web-{n}", "address": f"127.0.46.{10 + n}"} for n in range(1, count + 1)],
            **other,
        }

    def clone(self, args: dict[str, Any], **how: Any) -> Result:
        return self._run("vsphere_clone", {**self.lab.connection, **args}, **how)

    def start_clone(self, args: dict[str, Any]) -> Any:
        return self._start("vsphere_clone", {**self.lab.connection, **args})

    def info(self, **args: Any) -> list[dict[str, Any]]:
        result = self._run("vsphere_clone_info", {**self.lab.connection, **args})
        assert not result["failed"], result
        assert not result["changed"]
        return result["vms"]

    def mark(self, *names: str, check: bool = False, diff: bool = False, **args: Any) -> Result:
        options = {"vms": [{"name": name} for name in names], "marks": {"group": "web"}, **args}
        return self._run("vsphere_mark", {**self.lab.connection, **options}, check=check, diff=diff)

    def template(self, check: bool = False, **args: Any) -> Result:
        return self._run("vsphere_template", {**self.lab.connection, **args}, check=check)


@pytest.fixture
def site(vcenter: LabVCenter, run_module: Any, start_module: Any) -> Iterator[Site]:
    here = Site(vcenter, run_module, start_module)
    yield here
    vcenter.clear_faults()
    vcenter.control("PUT", "/times", vcenter.times)
    rows = vcenter.vms()
    left = [
        {"name": name, "marks": {"group": row["marks"]["group"]}}
        for name, row in rows.items()
        if "group" in row["marks"]
    ]
    if left:
        here.clone({"state": "absent", "vms": left, "timeouts": {"shutdown": 0}})
    for name, row in rows.items():
        if row["template"] and name != "web-template":
            here.template(name=name, state="absent", force=True)


def by_name(result: Result) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["vms"]}
