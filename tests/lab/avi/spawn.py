# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Avi controllers as processes of their own: ``with federation(folder) as sites: sites["a"].row["url"]``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..emulated import Emulated, new_password
from ..kit import free_port
from ..tls import make_tls

DOMAINS = ("shop.example",)


class Avi(Emulated):
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

    KIND = "avi"
    START_TIMEOUT_S = 30
    CALL_TIMEOUT_S = 10

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
        super().__init__(folder, environment)
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

    def configure(self, **more: Any) -> dict[str, Any]:
        """Write its configuration: what is given now, ports and users as they were; *more* is ``join``'s."""
        config = {**(self.written() or self.first()), **self._given, **more}
        tls = self._tls or make_tls(self.folder / "tls")
        config.update({key: str(tls[key]) for key in ("ca", "cert", "key")})
        self.write(config)
        return config

    def first(self) -> dict[str, Any]:
        ports = {key: free_port() for key in ("port", "control_port", "dns_port")}
        users = [
            {"name": "admin", "password": self._password or new_password()},
            {"name": "reader", "password": new_password(), "write": False},
        ]
        alone = {"sites": {self.name: ports["port"]}, "peers": {}, "leader": self.name}
        return {"name": self.name, **ports, "users": users, **alone}

    @property
    def row(self) -> dict[str, Any]:
        """Where it is and how to log in."""
        config = self.written()
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

    def state(self) -> dict[str, Any]:
        return self.call("GET", "/state")


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
