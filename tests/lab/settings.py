# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab lives: folders, addresses, ports, timers. One value, read by every part and written to lab.json."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DEFAULT_DIR = REPO / "build" / "lab"
BASE_MEMBERS = {"web-base-1": "127.0.48.11", "web-base-2": "127.0.48.12"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every address, port and timer of one lab. Times are seconds; all addresses are loopback."""

    folder: Path = DEFAULT_DIR
    host: str = "127.0.0.1"
    vcenter_port: int = 18989
    vcenter_control_port: int = 18988
    bigip_port: int = 18443
    bigip_control_port: int = 18444
    vip_port: int = 18080
    prometheus_port: int = 19090
    alertmanager_port: int = 19093
    receiver_port: int = 19087
    clone_s: float = 3.0
    boot_s: float = 2.0
    shutdown_s: float = 1.0
    guest_capacity: int = 50
    scrape_s: float = 1.0

    @classmethod
    def from_environment(cls) -> Settings:
        """``LAB_DIR``, ``LAB_CLONE_S``, ``LAB_BOOT_S`` change the folder and the simulated times."""
        changes: dict[str, object] = {}
        if "LAB_DIR" in os.environ:
            changes["folder"] = Path(os.environ["LAB_DIR"]).resolve()
        for name in ("clone_s", "boot_s"):
            if f"LAB_{name.upper()}" in os.environ:
                changes[name] = float(os.environ[f"LAB_{name.upper()}"])
        return dataclasses.replace(cls(), **changes)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def ports(self) -> dict[str, int]:
        """Port by the name of what listens there."""
        return {
            field.name.removesuffix("_port").replace("_", "-"): getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name.endswith("_port")
        }

    def secret(self, name: str) -> Path:
        """A file (0600) with a random secret, made on first use."""
        path = self.secrets / name
        if not path.exists():
            self.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path

    def description(self, binaries: dict[str, str]) -> dict[str, object]:
        """What lab.json says: the inventory ``inventories/lab`` reads it."""
        tls = self.folder / "tls"
        return {
            "folder": str(self.folder),
            "logs": str(self.logs),
            "ledger": f"sqlite:///{self.folder / 'ledger' / 'ledger.db'}",
            "vcenter": {
                "hostname": self.host,
                "port": self.vcenter_port,
                "username": "autoscale@vsphere.local",
                "password_file": str(self.secret("vcenter-password")),
                "ca_path": str(tls / "ca.pem"),
                "control": f"http://{self.host}:{self.vcenter_control_port}",
            },
            "bigip": {
                "hostname": self.host,
                "port": self.bigip_port,
                "username": "admin",
                "password_file": str(self.secret("bigip-password")),
                "ca_path": str(tls / "ca.pem"),
                "control": f"http://{self.host}:{self.bigip_control_port}",
                "vip": f"{self.host}:{self.vip_port}",
            },
            "prometheus": {
                "url": f"http://{self.host}:{self.prometheus_port}",
                "config_file": str(self.folder / "prometheus" / "prometheus.yml"),
                "rules_dir": str(self.folder / "prometheus" / "rules"),
                "file_sd_dir": str(self.folder / "prometheus" / "targets"),
                "promtool": binaries["promtool"],
            },
            "alertmanager": {
                "url": f"http://{self.host}:{self.alertmanager_port}",
                "config_file": str(self.folder / "alertmanager" / "alertmanager.yml"),
                "amtool": binaries["amtool"],
            },
            "receiver": {
                "url": f"http://{self.host}:{self.receiver_port}/alerts",
                "token_file": str(self.secret("receiver-token")),
            },
            "base_members": BASE_MEMBERS,
        }

    def write_description(self, binaries: dict[str, str]) -> Path:
        """Write lab.json and return its path."""
        path = self.folder / "lab.json"
        path.write_text(json.dumps(self.description(binaries), indent=2) + "\n")
        return path
