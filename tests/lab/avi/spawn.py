# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Avi controllers as processes of their own: ``with federation(folder) as sites: sites["a"].row["url"]``."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import types
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..kit import free_port
from ..process import LabError, Part
from ..tls import make_tls

TESTS = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
DOMAINS = ("shop.example",)


class Avi:
    """The controller of one site, below *folder*; ports, users and objects stay over ``down``, ``kill`` and ``up``.

    :param name: of the site. It leads a federation of its own until :func:`join` says otherwise.
    :param domains: that the federation answers for.
    :param scale: factor on the times of monitors (1 = as on the product); the sites talk every 5 s times this.
    :param tls: what ``lab.tls.make_tls`` returned, to be trusted by those who trust it; else one of its own.
    :param targets: address of a member -> address and port that are asked in its place.
    :param ports: ``port``, ``control_port`` and ``dns_port``; free ones, kept from then on, where none is given.
    :param dns_host: the address that its DNS has.
    :param environment: of the process, beside this one's.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "a",
        *,
        domains: Sequence[str] = DOMAINS,
        scale: float = 0.1,
        password: str = "",
        enable_config_by_members: bool = False,
        tls: Mapping[str, Path] | None = None,
        targets: Mapping[str, tuple[str, int]] | None = None,
        ports: Mapping[str, int] | None = None,
        dns_host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self._given = {
            "domains": list(domains),
            "scale": scale,
            "enable_config_by_members": enable_config_by_members,
            "targets": {key: list(value) for key, value in (targets or {}).items()},
            "dns_host": dns_host,
            **(ports or {}),
        }
        self._password = password
        self._tls = tls
        self._environment = dict(environment or {})
        self._part = Part("emulator", folder, folder)

    def __enter__(self) -> Avi:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.down()

    # -- up and down ---------------------------------------------------------------------------------------------------

    def configure(self, **more: Any) -> dict[str, Any]:
        """Write its configuration: what is given now, ports and users as they were; *more* is ``join``'s."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.json"
        old = json.loads(file.read_text()) if file.exists() else self._first()
        config = {**old, **self._given, **more}
        tls = self._tls or make_tls(self.folder / "tls")
        config.update({key: str(tls[key]) for key in ("ca", "cert", "key")})
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump(config, out, indent=2)
        return config

    def _first(self) -> dict[str, Any]:
        ports = {key: free_port() for key in ("port", "control_port", "dns_port")}
        users = [
            {"name": "admin", "password": self._password or secrets.token_urlsafe(16)},
            {"name": "reader", "password": secrets.token_urlsafe(16), "write": False},
        ]
        alone = {"sites": {self.name: ports["port"]}, "peers": {}, "leader": self.name}
        return {"name": self.name, **ports, "users": users, **alone}

    def up(self) -> dict[str, Any]:
        """Start it, wait until it serves; the row. One that runs is left alone."""
        if not self.running():
            self.down()  # what a killed one left
            self.configure()
            path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
            command = [sys.executable, "-m", "lab.avi.emulator", str(self.folder)]
            self._part.start(command, {**self._environment, "PYTHONPATH": path})
            self._part.wait_ready((self.folder / "ready.json").exists, START_TIMEOUT_S)
        return self.row

    def down(self) -> None:
        """Stop it. Its objects stay."""
        self._part.stop()
        (self.folder / "ready.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9."""
        pid = self._part.pid()
        if pid is None:
            raise LabError(f"no Avi runs in {self.folder}")
        os.kill(pid, signal.SIGKILL)
        if not self._part.wait_gone(10):
            raise LabError(f"the emulator in {self.folder} survives kill -9")
        (self.folder / "ready.json").unlink(missing_ok=True)

    def running(self) -> bool:
        return self._part.pid() is not None and (self.folder / "ready.json").exists()

    # -- what a client needs -------------------------------------------------------------------------------------------

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in."""
        config = json.loads((self.folder / "config.json").read_text())
        return {
            "site": self.name,
            "url": f"https://127.0.0.1:{config['port']}",
            "hostname": "127.0.0.1",
            "port": config["port"],
            "username": config["users"][0]["name"],
            "password": config["users"][0]["password"],
            "users": {user["name"]: user["password"] for user in config["users"]},
            "ca": config["ca"],
            "control": f"http://127.0.0.1:{config['control_port']}",
            "dns": {"address": config["dns_host"], "port": config["dns_port"]},
        }

    def call(self, method: str, path: str, body: Any = None, timeout: float = 10) -> Any:
        """A call to the control port; the JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.row["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.loads(response.read())

    def state(self) -> dict[str, Any]:
        return self.call("GET", "/state")

    def log(self) -> str:
        """What it has written."""
        return self._part.log.read_text(errors="replace")


def join(sites: Sequence[Avi], leader: str) -> None:
    """Make *sites* one federation, before their first ``up``; again is harmless."""
    configs = {site.name: site.configure() for site in sites}
    ports = {name: config["port"] for name, config in configs.items()}
    controls = {name: f"http://127.0.0.1:{config['control_port']}" for name, config in configs.items()}
    for site in sites:
        peers = {name: url for name, url in controls.items() if name != site.name}
        site.configure(sites=ports, peers=peers, leader=leader)


@contextlib.contextmanager
def federation(
    folder: Path, names: Sequence[str] = ("a", "b"), *, leader: str = "", **how: Any
) -> Iterator[dict[str, Avi]]:
    """Sites that run, by name; the first one leads where nothing else is said. *how* is what :class:`Avi` takes."""
    sites = {name: Avi(folder / name, name, **how) for name in names}
    join(list(sites.values()), leader or names[0])
    try:
        for site in sites.values():
            site.up()
        yield sites
    finally:
        for site in sites.values():
            site.down()
