# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops the lab's parts in order, and says what runs where."""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from . import exporter
from .build import BuildError, build_go
from .debs import MissingBinaryError, binary
from .process import LabError, Part, answers, port_holder
from .settings import REPO, Settings
from .tls import make_tls

#: A process that has just been killed may hold its sockets until the last of its threads has ended, in seconds.
PORTS_FREE_S = 3.0
ORDER = ("vcenter", "bigip", "alertmanager", "prometheus")
BINARIES = ("prometheus", "promtool", "alertmanager", "amtool")


class Lab:
    """The parts of one lab."""

    def __init__(self, settings: Settings | None = None, say: Callable[[str], None] | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self.say = say or (lambda text: print(text, flush=True))

    def part(self, name: str) -> Part:
        return Part(name, self.settings.run, self.settings.logs)

    # ---- up and down ------------------------------------------------------------------------------------------------
    def up(self, *, fresh: bool = True) -> dict[str, object]:
        """Start every part and wait until each one answers; returns what lab.json says.

        :param fresh: forget the data of an earlier lab (ledger, time series, configuration), not its logs.
        """
        settings = self.settings
        running = [name for name in (*ORDER, "receiver") if self.part(name).pid()]
        if running:
            raise LabError(f"the lab already runs ({', '.join(running)}); stop it with: make lab-down")
        self._check_ports()
        started = time.monotonic()
        self.say("lab: building and fetching (the first time takes about two minutes)")
        try:
            vcenter, guest = build_go("vcenter"), build_go("guest")
            binaries = {name: str(binary(name)) for name in BINARIES}
        except (BuildError, MissingBinaryError) as error:
            raise LabError(str(error)) from error
        if fresh:
            for name in ("prometheus", "alertmanager", "ledger", "runner", "bigip", "logs"):
                shutil.rmtree(settings.folder / name, ignore_errors=True)
        settings.folder.mkdir(parents=True, exist_ok=True)
        if settings.index:
            settings.write_group()
        tls = make_tls(settings.folder / "tls")
        arguments = exporter.arguments()
        description = json.loads(settings.write_description(binaries).read_text())
        try:
            self._start_vcenter(vcenter, guest, tls, arguments)
            self._start_bigip(tls)
            self._start_alertmanager(binaries["alertmanager"])
            self._start_prometheus(binaries["prometheus"], arguments)
        except LabError:
            self.down(quiet=True)
            raise
        self.say(f"lab: up in {time.monotonic() - started:.1f} s; logs in {_relative(settings.logs)}")
        return description

    def down(self, *, quiet: bool = False) -> None:
        """Stop whatever runs, the last started first."""
        for name in ("load", "receiver", *reversed(ORDER)):
            if self.part(name).stop() and not quiet:
                self.say(f"lab: {name} stopped")

    def status(self) -> list[dict[str, object]]:
        """A row a part: name, pid (None when it does not run), log."""
        return [
            {"name": name, "pid": self.part(name).pid(), "log": str(self.part(name).log)}
            for name in (*ORDER, "receiver")
        ]

    def _check_ports(self) -> None:
        ports = self.settings.ports()
        deadline = time.monotonic() + PORTS_FREE_S
        while taken := {name: holder for name, port in ports.items() if (holder := port_holder(port))}:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            lines = [f"  {name}: port {ports[name]} is held by {holder}" for name, holder in taken.items()]
            raise LabError("these ports of the lab are taken; stop the other process first:\n" + "\n".join(lines))

    # ---- the parts --------------------------------------------------------------------------------------------------
    def _start_vcenter(self, vcenter: Path, guest: Path, tls: dict[str, Path], arguments: Path) -> None:
        settings = self.settings
        part = self.part("vcenter")
        part.start(
            [
                str(vcenter),
                "-listen", f"{settings.host}:{settings.vcenter_port}",
                "-control", f"{settings.host}:{settings.vcenter_control_port}",
                "-cert", str(tls["cert"]),
                "-key", str(tls["key"]),
                "-user", "autoscale@vsphere.local",
                "-password-file", str(settings.secret("vcenter-password")),
                "-clone-time", f"{settings.clone_s}s",
                "-boot-time", f"{settings.boot_s}s",
                "-shutdown-time", f"{settings.shutdown_s}s",
                "-guest-binary", str(guest),
                "-guest-capacity", str(settings.guest_capacity),
                "-guest-exporter-arguments", str(arguments),
                "-guest-log-dir", str(settings.logs / "guests"),
                "-state-dir", str(settings.folder / "vcenter"),
                *self._vms(),
            ],
            environment=self._model_environment(guest),
        )  # fmt: skip
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.vcenter_control_port}/healthz"))
        for name, address in settings.base_members.items():
            part.wait_ready(lambda address=address: answers(f"http://{address}:8080/health"))
            self.say(f"lab: guest {name} serves on {address}")
        for name, address in settings.model_base.items():
            part.wait_ready(lambda address=address: answers(f"http://{address}:8001/readyz"))
            self.say(f"lab: guest {name} serves a model on {address}:8000")

    def _vms(self) -> list[str]:
        """Templates and base members; those of models run another guest."""
        settings = self.settings
        base = [f"{name}={address}" for name, address in settings.base_members.items()]
        if not settings.models:
            return ["-template", "web-template", "-base", ",".join(base)]
        base += [f"{name}={address}=model-template" for name, address in settings.model_base.items()]
        command = f"model-template={sys.executable} -m lab.model_guest"
        return ["-template", "web-template,model-template", "-guest-command", command, "-base", ",".join(base)]

    def _model_environment(self, guest: Path) -> dict[str, str]:
        settings = self.settings
        if not settings.models:
            return {}
        return {
            "PYTHONPATH": str(REPO / "tests"),
            "MODEL_GUEST_BINARY": str(guest),
            "MODEL_GUEST_SEQS": str(settings.model_seqs),
            "VLLM_API_KEY": settings.secret("model-key").read_text(),
            "VLLM_STUB_LOAD_SECONDS": f"{settings.model_load_s:g}",
            "VLLM_STUB_PACE": "0.1",
        }

    def _start_bigip(self, tls: dict[str, Path]) -> None:
        settings = self.settings
        config = settings.folder / "bigip" / "bigip.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(self._bigip_config(), indent=2))
        part = self.part("bigip")
        part.start(
            [
                sys.executable, "-m", "lab.bigip",
                "--listen", f"{settings.host}:{settings.bigip_port}",
                "--control", f"{settings.host}:{settings.bigip_control_port}",
                "--cert", str(tls["cert"]),
                "--key", str(tls["key"]),
                "--password-file", str(settings.secret("bigip-password")),
                "--config", str(config),
            ],
            environment={"PYTHONPATH": str(REPO / "tests")},
        )  # fmt: skip
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.bigip_control_port}/healthz"))
        if settings.base_members:
            part.wait_ready(lambda: answers(f"http://{settings.vip}/"))
        # Members serve before their monitor's first answer; who starts to watch now is to find them available.
        part.wait_ready(self._members_available)
        self.say(f"lab: virtual server on http://{settings.vip}")

    def _members_available(self) -> bool:
        """Whether the BIG-IP's monitors have found every member."""
        with urllib.request.urlopen(f"http://{self.settings.host}:{self.settings.bigip_control_port}/state") as answer:
            pools = json.load(answer)["pools"]
        return all(member["availability"] == "available" for pool in pools for member in pool["members"])

    def _bigip_config(self) -> dict[str, object]:
        addresses = self.settings.base_members.values()
        members = [{"name": f"{address}:8080", "address": address, "port": 8080} for address in addresses]
        monitor = {
            "name": "web-health",
            "type": "http",
            "send": "GET /health HTTP/1.0\r\n\r\n",
            "recv": "200 OK",
            "interval": 1,
            "timeout": 3,
        }
        pool = {"name": "web-pool", "monitor": "/Common/web-health", "members": members}
        virtual = {
            "name": "web-vip",
            "destination": self.settings.vip,
            "pool": "/Common/web-pool",
        }
        config = {"partition": "Common", "monitors": [monitor], "pools": [pool], "virtuals": [virtual]}
        for name, rows in self._model_pool().items():
            config[name] += rows
        return config

    def _model_pool(self) -> dict[str, list[dict[str, object]]]:
        """The pool of model endpoints: its monitor asks the canary, on another port than the members'."""
        settings = self.settings
        if not settings.models:
            return {}
        monitor = {
            "name": "model-ready",
            "type": "http",
            "destination": "*:8001",
            "send": "GET /readyz HTTP/1.0\r\n\r\n",
            "recv": "200 OK",
            "interval": 1,
            "timeout": 3,
        }
        members = [
            {"name": f"{address}:8000", "address": address, "port": 8000} for address in settings.model_base.values()
        ]
        pool = {"name": "model-pool", "monitor": "/Common/model-ready", "members": members}
        virtual = {
            "name": "model-vip",
            "destination": f"{settings.host}:{settings.model_vip_port}",
            "pool": "/Common/model-pool",
        }
        return {"monitors": [monitor], "pools": [pool], "virtuals": [virtual]}

    def _start_alertmanager(self, alertmanager: str) -> None:
        settings = self.settings
        folder = settings.folder / "alertmanager"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        config = folder / "alertmanager.yml"
        config.write_text(
            "# The site's own file: people first.\nroute:\n  receiver: people\nreceivers:\n  - name: people\n"
        )
        part = self.part("alertmanager")
        part.start(
            [
                alertmanager,
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={settings.host}:{settings.alertmanager_port}",
                "--cluster.listen-address=",
            ]
        )
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.alertmanager_port}/-/ready"))
        self.say(f"lab: Alertmanager on http://{settings.host}:{settings.alertmanager_port}")

    def _start_prometheus(self, prometheus: str, arguments: Path) -> None:
        settings = self.settings
        folder = settings.folder / "prometheus"
        for name in ("data", "rules", "targets"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        exporter.credentials(arguments, folder)
        config = folder / "prometheus.yml"
        config.write_text(self._prometheus_config())
        part = self.part("prometheus")
        part.start(
            [
                prometheus,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={settings.host}:{settings.prometheus_port}",
                "--web.enable-lifecycle",
                "--query.lookback-delta=15s",
            ],
            cwd=folder,
        )
        part.wait_ready(lambda: answers(f"http://{settings.host}:{settings.prometheus_port}/-/ready"))
        self.say(f"lab: Prometheus on http://{settings.host}:{settings.prometheus_port}")

    def _prometheus_config(self) -> str:
        settings = self.settings
        return f"""# The site's own file: jobs that are not a group's.
global:
  scrape_interval: {settings.scrape_s:g}s
  evaluation_interval: 1s
rule_files:
  - rules/*.yml
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["{settings.host}:{settings.alertmanager_port}"]
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ["{settings.host}:{settings.prometheus_port}"]
  - job_name: onprem-autoscale
    static_configs:
      - targets: ["{settings.host}:{settings.receiver_port}"]
"""


def _relative(path: Path) -> str:
    """A path as a person in the checkout would type it."""
    return str(path.relative_to(REPO)) if path.is_relative_to(REPO) else str(path)
