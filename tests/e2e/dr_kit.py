# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of two sites for a demo: started, prepared as people prepare two sites, watched from outside, taken down."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.onprem.autoscale.plugins.filter.recovery_plan import recovery_plan
from lab.forked import forked_modules
from lab.process import LabError, Part
from lab.settings import REPO
from lab.sites.checker import Checker
from lab.sites.clients import SiteLogin
from lab.sites.outside import Request, read_requests
from lab.sites.settings import SERVICES, SitesSettings
from lab.sites.sites import Sites

INVENTORY = REPO / "inventories" / "lab-sites" / "hosts.yml"
STORES = {"pilot": "notes", "warm": "demo", "active": "demo"}
NAMES = {"pilot": SERVICES["pilot"], "warm": SERVICES["shop"], "active": SERVICES["shop"]}
RATE = 20  # requests a second


class DrKit:
    """One lab, and who uses its service.

    :param out: where logs go.
    :param records: the folder of journals and reports.
    """

    def __init__(self, out: Path, records: Path, say: Callable[[str], None], settings: SitesSettings | None = None):
        self.out, self.records, self.say = out, records, say
        self.lab = Sites(settings)
        self.described: dict[str, Any] = {}
        self._first = 1  # of the checkers' ids
        self._printing = threading.Lock()
        self._forked = contextlib.ExitStack()

    # ---- up and down -------------------------------------------------------------------------------------------------
    def up(self) -> None:
        """Start the lab; make the password of the stores' clients."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.lab.down()
        self._forked.enter_context(forked_modules())
        self.described = self.lab.up()
        folder = self.lab.settings.folder / "pgpass"
        folder.mkdir(mode=0o700, exist_ok=True)
        for role in ("app", "search"):
            file = folder / f"{role}.secret"
            if not file.exists():
                file.touch(0o600)
                file.write_text(secrets.token_hex(12) + "\n")
        self.password = (folder / "app.secret").read_text().strip()

    def down(self) -> dict[str, int]:
        """Stop everything; what was left, by kind."""
        Part("load", self.out, self.out).stop()
        self.lab.down()
        left = self.lab.running()
        self.lab.remove()
        self._forked.close()
        return {"processes": left}

    def bring_back(self, site: str, *, closed: Collection[str] = ()) -> None:
        """Start a site that was killed; *closed* are clusters that take no clients yet."""
        self.lab.start(site, closed=closed)
        self.described = self.lab.described()

    def row(self, site: str) -> dict[str, Any]:
        """Of sites.json."""
        return self.described["sites"][site]

    # ---- playbooks and modules ---------------------------------------------------------------------------------------
    def environment(self, site: str = "a") -> dict[str, str]:
        index = str(self.lab.settings.index)
        return {**os.environ, "LAB_SITES_INDEX": index, "LAB_SITE": site, "LAB_RECOVERY_DIR": str(self.records)}

    def command(self, name: str, **variables: Any) -> list[str]:
        """A playbook as a person runs it."""
        return [
            "ansible-playbook", f"onprem.autoscale.{name}", "-i", str(INVENTORY), "-e", json.dumps(variables)
        ]  # fmt: skip

    def playbook(self, name: str, site: str = "a", **variables: Any) -> None:
        """Run it; its output on the screen, line by line, and in the demo's folder."""
        self.run(self.command(name, **variables), name, site)

    def run(self, command: Sequence[str], name: str, site: str = "a") -> None:
        """:raises LabError: it ended with another status than 0."""
        log = self.out / "logs" / f"{time.time() % 100000:08.1f}-{name}-{secrets.token_hex(2)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                cwd=REPO,
                env=self.environment(site),
            ) as process,
            log.open("w") as file,
        ):
            assert process.stdout
            try:
                for line in process.stdout:
                    file.write(line)
                    with self._printing:
                        self.say(f"  | {line.rstrip()}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            shown = log.relative_to(REPO) if log.is_relative_to(REPO) else log
            raise LabError(f"{name} ended with {process.returncode}; see {shown}")

    def side_by_side(self, *works: Callable[[], None]) -> None:
        """Run them at once; the first failure is raised when all have ended."""
        failed: list[Exception] = []

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def task(self, module: str, arguments: dict[str, Any], site: str = "a") -> None:
        """One task of the collection, with the inventory."""
        self.run(
            [
                "ansible",
                "-i",
                str(INVENTORY),
                "localhost",
                "-m",
                f"onprem.autoscale.{module}",
                "-a",
                json.dumps(arguments),
            ],
            module,
            site,
        )

    def reports(self, plan: str = "*") -> list[dict[str, Any]]:
        """What ended runs left, the oldest first."""
        return [json.loads(file.read_text()) for file in sorted(self.records.glob(f"{plan}-[0-9]*[0-9].json"))]

    def record_outside(self, plan: str, run: str, outside: dict[str, Any]) -> None:
        """What was measured goes into the run's report."""
        text = (self.lab.settings.folder / "recovery_plans" / f"{plan}.yml").read_text()
        arguments = {
            "directory": str(self.records),
            "plan": recovery_plan(text, origin=f"{plan}.yml"),
            "state": "observed",
            "run": run,
            "outside": outside,
        }
        # A record is kept by a playbook: its owner is the ansible-playbook above the module.
        task = {"name": "Keep what was seen from outside", "onprem.autoscale.recovery_record": arguments}
        book = self.out / "observe.yml"
        book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        self.run(["ansible-playbook", "-i", str(INVENTORY), str(book)], "recovery_record")

    # ---- what people prepare -----------------------------------------------------------------------------------------
    def prepare(self, stores: Collection[str] = ("demo", "notes")) -> None:
        """The stores at site a, `demo` followed by site b; the group's monitoring; the first grant of the epoch."""

        def databases() -> None:
            if "demo" in stores:
                self.playbook("vector_store", store="demo")
                self.playbook("vector_store_replicate", store="demo", **{"from": "a", "to": "b", "synchronous": True})

        def others() -> None:
            if "notes" in stores:
                self.playbook("vector_store", store="notes")
            for site in ("a", "b"):
                self.playbook("configure", site, group="web")
            every = {name: row["ledger"] for name, row in self.described["sites"].items()}
            every["witness"] = self.described["witness"]["ledger"]
            self.task("site_epoch", {"scope": "shop", "site": "a", "stores": every, "state": "granted"})

        self.side_by_side(databases, others)

    # ---- who uses the service ----------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def users(self, plan: str) -> Iterator[Users]:
        """Requests by the service's name, and commits at both sites, until the end."""
        folder = self.out / plan
        folder.mkdir(parents=True, exist_ok=True)
        logins = {site: SiteLogin(self.row(site), STORES[plan], self.password) for site in ("a", "b")}
        first, self._first = self._first, self._first + 100_000_000
        resolver = self.described["resolver"]
        (folder / "rate").write_text(str(RATE))
        part = Part("load", self.out, folder)
        port = self.row("a")["service"]["port"]
        part.start(
            [
                sys.executable, "-m", "lab.load",
                "--url", f"http://{NAMES[plan]}:{port}",
                "--rate-file", str(folder / "rate"),
                "--stats", str(folder / "load.jsonl"),
                "--requests", str(folder / "requests.jsonl"),
                "--slow-every", "0",
                "--timeout", "2",
                "--resolver", f"{resolver['address']}:{resolver['port']}",
            ],
            {"PYTHONPATH": str(REPO / "tests")},
        )  # fmt: skip
        try:
            with Checker(logins, folder, first=first) as checker:
                yield Users(folder, checker, logins)
        finally:
            pid = part.pid()
            if pid is not None:
                os.kill(pid, signal.SIGTERM)
                part.wait_gone(5)
            part.stop()


class Users:
    """What they have seen until now."""

    def __init__(self, folder: Path, checker: Checker, logins: dict[str, SiteLogin]) -> None:
        self.folder, self.checker, self.logins = folder, checker, logins

    def requests(self) -> list[Request]:
        return read_requests(self.folder / "requests.jsonl")

    def wait_served(self, since: float, seconds: float = 2.0, timeout: float = 60.0) -> None:
        """Until the last *seconds* of requests, all sent after *since*, were served."""
        deadline = time.monotonic() + timeout
        while True:
            now = time.time()
            recent = [row for row in self.requests() if row.at >= max(since, now - seconds - 2)]
            if (
                recent
                and now - since > seconds
                and all(row.ok for row in recent)
                and recent[-1].at - recent[0].at >= seconds
            ):
                return
            if time.monotonic() > deadline:
                raise LabError(f"the service is not served without failures within {timeout:g} s; see {self.folder}")
            time.sleep(0.2)
