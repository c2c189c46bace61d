# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab lives: folders, addresses, ports, timers. One value, read by every part and written to lab.json."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
DEFAULT_DIR = REPO / "build" / "lab"
GROUPS_DIR = REPO / "inventories" / "lab" / "scaling_groups"
MODEL_GROUP = Path(__file__).with_name("model_group.yml")
MODEL_NAME = "lab-model"
SUBNET = "127.0.48"
PORT_STEP = 1000  # no two ports of labs side by side meet, as theirs differ modulo 1000
MAX_INDEX = 13  # beyond it ports would reach 32768, where Linux takes ports for outgoing connections
TIMERS = ("clone_s", "boot_s", "shutdown_s", "scrape_s")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every address, port and timer of one lab. Times are seconds; all addresses are loopback."""

    index: int = 0
    folder: Path = DEFAULT_DIR
    host: str = "127.0.0.1"
    vcenter_port: int = 18989
    vcenter_control_port: int = 18988
    bigip_port: int = 18443
    bigip_control_port: int = 18444
    vip_port: int = 18080
    model_vip_port: int = 18081
    prometheus_port: int = 19090
    alertmanager_port: int = 19093
    receiver_port: int = 19087
    clone_s: float = 3.0
    boot_s: float = 2.0
    shutdown_s: float = 1.0
    guest_capacity: int = 50
    scrape_s: float = 1.0
    models: bool = False  # a template, a base member and a pool of model endpoints as well
    model_load_s: float = 3.0
    model_seqs: int = 3

    @classmethod
    def from_environment(cls) -> Settings:
        """The lab that ``LAB_INDEX`` names (0 without it), with what else the environment changes.

        ``LAB_DIR`` is its folder; ``LAB_CLONE_S``, ``LAB_BOOT_S``, ``LAB_SHUTDOWN_S``, ``LAB_SCRAPE_S`` are its times.
        """
        changes: dict[str, object] = {}
        if os.environ.get("LAB_DIR"):
            changes["folder"] = Path(os.environ["LAB_DIR"]).resolve()
        for name in TIMERS:
            if f"LAB_{name.upper()}" in os.environ:
                changes[name] = float(os.environ[f"LAB_{name.upper()}"])
        return cls.numbered(int(os.environ.get("LAB_INDEX") or 0), **changes)

    @classmethod
    def numbered(cls, index: int, **changes: Any) -> Settings:
        """Lab *index* of several side by side: ports, guests' subnet and folder of its own; 0 is the usual one.

        :param changes: fields that differ all the same.
        :raises ValueError: no such index.
        """
        if not 0 <= index <= MAX_INDEX:
            raise ValueError(f"LAB_INDEX is {index}; it must be 0 to {MAX_INDEX}, as the ports end at 32767")
        ports = {
            field.name: field.default + index * PORT_STEP
            for field in dataclasses.fields(cls)
            if field.name.endswith("_port") and isinstance(field.default, int)
        }
        folder = {"folder": DEFAULT_DIR.with_name(f"lab-{index}")} if index else {}
        return cls(**{"index": index, **ports, **folder, **changes})

    @property
    def subnet(self) -> str:
        """The first three numbers of the guests' addresses."""
        first, second, third = SUBNET.split(".")
        return f"{first}.{second}.{int(third) + self.index}"

    @property
    def vip(self) -> str:
        """Where the BIG-IP serves the group ``web``, as address:port."""
        return f"{self.host}:{self.vip_port}"

    @property
    def base_members(self) -> dict[str, str]:
        """Address by name of the VMs that are there from the start."""
        return {"web-base-1": f"{self.subnet}.11", "web-base-2": f"{self.subnet}.12"}

    @property
    def model_base(self) -> dict[str, str]:
        """As :attr:`base_members`, of the group ``model``."""
        return {"model-base-1": f"{self.subnet}.21"} if self.models else {}

    @property
    def groups_dir(self) -> Path:
        """Folder of the group files: the inventory's own for lab 0, else one that `up` writes."""
        return self.folder / "scaling_groups" if self.index else GROUPS_DIR

    @property
    def environment(self) -> dict[str, str]:
        """What ``ansible-playbook -i inventories/lab/hosts.yml`` needs to work on this lab."""
        return {"LAB_INDEX": str(self.index), "LAB_DIR": str(self.folder)}

    def group_spec(self, changes: Mapping[str, Any] | None = None, name: str = "web") -> dict[str, Any]:
        """A group for this lab: the inventory's web.yml with this lab's addresses.

        :param changes: keys to set, dictionaries a level deep.
        """
        spec = self._spec(GROUPS_DIR / "web.yml", changes)
        spec["name"] = name
        return spec

    def model_spec(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The group ``model`` for this lab; *changes* as for :meth:`group_spec`."""
        return self._spec(MODEL_GROUP, changes)

    def _spec(self, file: Path, changes: Mapping[str, Any] | None) -> dict[str, Any]:
        spec = yaml.safe_load(file.read_text().replace(f"{SUBNET}.", f"{self.subnet}."))
        spec["load_balancer"]["vip"] = f"{self.host}:{self.model_vip_port}" if file == MODEL_GROUP else self.vip
        for key, value in (changes or {}).items():
            spec[key] = {**spec[key], **value} if isinstance(value, Mapping) and key in spec else value
        return spec

    def write_group(self, changes: Mapping[str, Any] | None = None, name: str = "web") -> Path:
        """Write :meth:`group_spec` as ``<name>.yml`` where this lab's playbooks look; never in lab 0.

        :raises ValueError: lab 0, whose group files are the inventory's own.
        """
        if not self.index:
            raise ValueError(
                f"the groups of lab 0 are those of {GROUPS_DIR}; use a lab with an index, or a folder of your own"
            )
        path = self.groups_dir / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.group_spec(changes, name), sort_keys=False))
        return path

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
                "vip": self.vip,
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
            "base_members": self.base_members,
            "scaling_groups_dir": str(self.groups_dir),
            **self._model_description(),
        }

    def _model_description(self) -> dict[str, object]:
        if not self.models:
            return {}
        key = str(self.secret("model-key"))
        return {
            "model": {"vip": f"{self.host}:{self.model_vip_port}", "key_file": key, "base_members": self.model_base}
        }

    def write_description(self, binaries: dict[str, str]) -> Path:
        """Write lab.json and return its path."""
        path = self.folder / "lab.json"
        path.write_text(json.dumps(self.description(binaries), indent=2) + "\n")
        return path
