# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where two sites live: two labs side by side, each with addresses of its own for what clients reach."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from ..settings import MAX_INDEX, REPO, SUBNET, Settings

INDEX = 8
NAMES = ("a", "b")
DNS_PORT = 5353  # at addresses of each site's own
INVENTORY = REPO / "inventories" / "lab-sites"
SCOPE = "shop"  # of the epoch: one for the group, whichever plan moves it
SERVICES = {"shop": "www.shop.example", "pilot": "pilot.shop.example"}  # by the job that asks for it by its name


@dataclasses.dataclass(frozen=True)
class SiteSettings(Settings):
    """One site. Clients reach its virtual server, its DNS and Avi's DNS at addresses that no other site has."""

    site: str = "a"
    base: int = 2  # members that are there from the start
    ledger_port: int = 19432
    blackbox_port: int = 19115
    proxy_port: int = 19116
    harbor_port: int = 19280
    harbor_control_port: int = 19281
    avi_port: int = 19445
    avi_control_port: int = 19446
    pais_port: int = 19282
    pais_control_port: int = 19283

    @property
    def vip(self) -> str:
        return f"{self.address(100)}:8080"

    @property
    def base_members(self) -> dict[str, str]:
        return {f"web-base-{number}": self.address(10 + number) for number in range(1, self.base + 1)}

    def address(self, last: int) -> str:
        """An address of the site: 53 answers for BIG-IP DNS, 54 for Avi, 100 is the virtual server."""
        return f"{self.subnet}.{last}"

    @property
    def mark(self) -> str:
        return f"{self.index}-{self.site}"

    def group_spec(self, changes: Any = None, name: str = "web") -> dict[str, Any]:
        own = {"site": self.site, "recovery": {"scope": SCOPE}}
        spec = super().group_spec({**own, **(changes or {})}, name)
        spec["base_members"] = [{"name": name, "address": where} for name, where in self.base_members.items()]
        return spec


@dataclasses.dataclass(frozen=True)
class SitesSettings:
    """Both sites; ``LAB_SITES_INDEX`` (8) is the first one's lab, the next one is the other's."""

    index: int = INDEX
    standby: int = 1  # base members of the second site

    def __post_init__(self) -> None:
        if not 0 < self.index < MAX_INDEX:
            raise ValueError(f"LAB_SITES_INDEX is {self.index}; it must be 1 to {MAX_INDEX - 1}, as two labs are meant")

    @classmethod
    def from_environment(cls) -> SitesSettings:
        """``LAB_SITES_INDEX``, and ``LAB_SITES_STANDBY`` (1): members of the second site."""
        read = {"index": "LAB_SITES_INDEX", "standby": "LAB_SITES_STANDBY"}
        return cls(**{name: int(os.environ[key]) for name, key in read.items() if os.environ.get(key)})

    @property
    def folder(self) -> Path:
        return REPO / "build" / "lab" / ("sites" if self.index == INDEX else f"sites-{self.index}")

    @property
    def sites(self) -> dict[str, SiteSettings]:
        """By name. Each one's files lie in a folder of its own."""
        made = {}
        for offset, (name, base) in enumerate(zip(NAMES, (2, self.standby), strict=True)):
            folder = self.folder / name
            made[name] = SiteSettings.numbered(
                self.index + offset, site=name, base=base, folder=folder, clone_s=1.0, boot_s=1.0, shutdown_s=0.5
            )
        return made

    @property
    def witness_port(self) -> int:
        return self.sites["a"].ledger_port + 1

    @property
    def resolver(self) -> tuple[str, int]:
        """Where those who use the service ask for its name: at neither site."""
        return self.sites["a"].host, self.sites["a"].ledger_port + 2

    def localised(self, text: str) -> str:
        """A file of the inventory, whose addresses are those of the usual index, for this one."""
        first, second, third = SUBNET.split(".")
        for offset in (1, 0) if self.index > INDEX else (0, 1):
            old, new = (f"{first}.{second}.{int(third) + index + offset}." for index in (INDEX, self.index))
            text = text.replace(old, new)
        return text

    def write_plans(self) -> Path:
        """The recovery plans for this lab's addresses; the folder."""
        folder = self.folder / "recovery_plans"
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted((INVENTORY / "recovery_plans").glob("*.yml")):
            (folder / file.name).write_text(self.localised(file.read_text()))
        return folder
