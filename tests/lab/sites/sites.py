# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sites, and what stands at neither: the witness of the epoch, and the resolver of the service's users."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..avi.spawn import join
from ..pgserver import write_private
from ..postgres import Postgres
from ..process import LabError, Part, port_holder
from ..settings import REPO
from .seed import avi_service, gtm_config
from .settings import DNS_PORT, NAMES, SitesSettings
from .site import Site


class Sites:
    """``up``, ``down``, ``kill`` and ``start`` of a site, and what runs."""

    def __init__(self, settings: SitesSettings | None = None) -> None:
        self.settings = settings or SitesSettings.from_environment()
        self.sites = {
            name: Site(site, self.settings.resolver, gtm_config(self.settings, name))
            for name, site in self.settings.sites.items()
        }
        self.resolver = Part("resolver", self.settings.folder / "run", self.settings.folder / "logs")
        self.witness = Postgres(self.settings.folder / "witness", port=self.settings.witness_port)

    @property
    def file(self) -> Path:
        """What the inventory ``lab-sites`` reads."""
        return self.settings.folder / "sites.json"

    def site(self, name: str) -> Site:
        if name not in self.sites:
            raise LabError(f"there is no site {name}; there are {', '.join(NAMES)}")
        return self.sites[name]

    def up(self) -> dict[str, Any]:
        """Both, side by side, with nothing of an earlier lab; what sites.json says."""
        began = time.monotonic()
        if self.running():
            raise LabError("the lab of two sites already runs; stop it with: make lab-sites-down")
        self.witness.remove()
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        self.settings.write_plans()
        for site in self.sites.values():
            site.remove()
        join([site.avi for site in self.sites.values()], NAMES[0])
        try:
            self.witness.start()
            self.witness.create_database("ledger")
            self._start_resolver()
            self._start(NAMES, fresh=True)
            self._seed()
        except BaseException:
            self.down()
            raise
        described = self._describe()
        print(f"two sites: up in {time.monotonic() - began:.1f} s; {self.file}", flush=True)
        return described

    def running(self) -> int:
        """How many processes there are of both sites and what stands beside them."""
        beside = int(self.witness.running()) + int(self.resolver.pid() is not None)
        return sum(site.running() for site in self.sites.values()) + beside

    def down(self) -> None:
        """Stop everything."""
        for site in self.sites.values():
            site.down(quiet=True)
            site.kill()
        if self.witness.running():
            self.witness.stop()
        self.resolver.stop()

    def remove(self) -> None:
        """Stop everything and delete its data."""
        self.down()
        for site in self.sites.values():
            site.remove()
        self.witness.remove()

    def kill(self, name: str) -> int:
        """As when the power goes; how many processes died."""
        return self.site(name).kill()

    def start(self, name: str, *, closed: Collection[str] = ()) -> None:
        """A site that was killed, with its data.

        :param closed: clusters that take no clients until somebody opens them, as who brings a site back sees to.
        """
        if self.site(name).running():
            raise LabError(f"site {name} runs; kill it first: python -m lab.sites kill {name}")
        if closed:
            self.site(name).close_databases(closed)
        self._start([name], fresh=False)
        self._describe()

    def described(self) -> dict[str, Any]:
        """What sites.json says."""
        return json.loads(self.file.read_text())

    def status(self) -> list[dict[str, Any]]:
        """A row for each site, and the witness."""
        rows = [
            {"name": f"site {name}", "processes": site.running(), "log": str(site.settings.logs)}
            for name, site in self.sites.items()
        ]
        beside = (
            ("witness", self.witness.running(), self.witness.folder),
            ("resolver", self.resolver.pid() is not None, self.resolver.log),
        )
        return rows + [{"name": name, "processes": int(runs), "log": str(log)} for name, runs, log in beside]

    def _start_resolver(self) -> None:
        """It knows the DNS of both sites, as any of them may be dead."""
        host, port = self.settings.resolver
        servers = [
            word
            for last in (53, 54)
            for site in self.settings.sites.values()
            for word in ("--server", f"{site.address(last)}:{DNS_PORT}")
        ]
        self.resolver.start(
            [sys.executable, "-m", "lab.sites.resolver", "--listen", f"{host}:{port}", *servers],
            environment={"PYTHONPATH": str(REPO / "tests")},
        )
        self.resolver.wait_ready(lambda: port_holder(port) is not None)

    def _start(self, names: Any, *, fresh: bool) -> None:
        """Each by a process of its own: side by side, and none of them carries the mark of another."""
        command = [sys.executable, "-m", "lab.sites", "fresh" if fresh else "again"]
        started = {name: subprocess.Popen([*command, name], cwd=REPO) for name in names}
        failed = [name for name, process in started.items() if process.wait()]
        if failed:
            raise LabError(f"site {', '.join(failed)} did not start; its lines are above")

    def start_here(self, name: str, *, fresh: bool) -> None:
        """What such a process does."""
        site = self.site(name)
        row = site.up(fresh=fresh)
        write_private(site.settings.folder / "site.json", json.dumps(row, indent=2))

    def _seed(self) -> None:
        """What people have made: the service in Avi's GSLB, and a model."""
        first = self.sites[NAMES[0]]
        avi_service(first.avi, {name: site.settings.address(100) for name, site in self.sites.items()})
        first.harbor.seed("models/shop-reranker", "1.0", "weights of the shop's model")

    def _describe(self) -> dict[str, Any]:
        rows = {name: json.loads((site.settings.folder / "site.json").read_text()) for name, site in self.sites.items()}
        described = {
            "folder": str(self.settings.folder),
            "sites": rows,
            "witness": {"ledger": self.witness.url("ledger")},
            "resolver": dict(zip(("address", "port"), self.settings.resolver, strict=True)),
            "recovery_plans_dir": str(self.settings.folder / "recovery_plans"),
        }
        new = self.file.with_suffix(".new")
        write_private(new, json.dumps(described, indent=2) + "\n")
        new.replace(self.file)
        return described
