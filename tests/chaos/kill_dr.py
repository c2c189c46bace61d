# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of dr_failover at its step boundaries; the same command again; two sites never take writes at once.

``python tests/chaos/kill_dr.py`` starts the lab of two sites and runs one failover and one failback undisturbed. Then
each run of dr_failover is killed with all its processes when its journal says that a step is done and the next one
begins, and the same command runs again: the service must end where the undisturbed run left it. A writer at each
site's database tries all the while. Writes build/chaos/kills_dr.json.

The failover is a planned one; with ``--lost`` the first site is killed before, and comes back for the failback.
``--sample`` kills one run at a few boundaries, one after the other, and ends it; ``--chain`` the same at all of them;
``--boundaries 3-6`` a part, ``--list`` lists them and stops.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e.dr_kit import DrKit, Users

from lab.process import LabError
from lab.settings import REPO
from lab.sites.clients import control, inventory_of
from lab.sites.marks import kill, marked
from lab.sites.outside import lost_rows, writers

OUT = REPO / "build" / "chaos"
RECORDS = OUT / "dr"
PLAN = "warm"
RUN_S = 300
Boundary = tuple[str, str]  # a step, and what the journal says of it: running, or done for the last one
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def reached(boundary: Boundary) -> bool:
    """Whether the journal of a run says that."""
    step, state = boundary
    for file in RECORDS.glob(f"{PLAN}-*.journal.json"):
        try:
            rows = json.loads(file.read_text())["steps"]
        except (OSError, ValueError):
            continue  # it is being replaced
        return any(row["name"] == step and row["state"] == state for row in rows)
    return False


class Kills:
    """The runs, the kills, and what was amiss."""

    def __init__(self, *, lost: bool = False) -> None:
        self.kit = DrKit(OUT / "dr-logs", RECORDS, say)
        self.lost = lost
        self.variables = {"plan": PLAN, "to": "b", **({} if lost else {"planned": True})}
        self.rows: list[dict[str, Any]] = []
        self.end: dict[str, Any] = {}
        self.writers_max = 0

    # ---- runs --------------------------------------------------------------------------------------------------------
    def failover(self) -> None:
        """To its end."""
        self.kit.playbook("dr_failover", **self.variables)

    def lose(self) -> None:
        """What makes people move the service."""
        if self.lost:
            say(f"{self.kit.lab.kill('a')} processes of site a killed")

    def failback(self) -> None:
        if self.lost:
            self.kit.bring_back("a")
        self.kit.playbook("dr_failback", plan=PLAN, to="a")

    def killed_at(self, boundary: Boundary) -> None:
        """Begin it or go on with it, and kill it there.

        :raises LabError: it ended before.
        """
        mark = f"kill-{time.time_ns()}"
        log = self.kit.out / "logs" / f"{mark}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = self.kit.command("dr_failover", **self.variables)
        with log.open("w") as file, marked(mark):
            environment = self.kit.environment()
            process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=REPO, env=environment
            )
        deadline = time.monotonic() + RUN_S
        seen = False
        try:
            while process.poll() is None and not (seen := reached(boundary)):
                if time.monotonic() > deadline:
                    raise LabError(f"{' '.join(boundary)} is not reached within {RUN_S} s; see {log}")
                time.sleep(0.01)
        finally:
            number = kill(mark)
            process.wait()
        if not seen:
            raise LabError(f"dr_failover ended with {process.returncode} before {' '.join(boundary)}; see {log}")
        say(f"{number} processes killed: step {boundary[0]} is {boundary[1]}")

    # ---- states ------------------------------------------------------------------------------------------------------
    def state(self, users: Users) -> dict[str, Any]:
        """Where the service is: the end of a run, without names that are made up anew."""
        began = time.time()
        users.wait_served(began)
        users.checker.wait_more("b", 5)
        commits = [row for row in users.checker.commits() if row.sent >= began]
        rows = {site: self.kit.row(site) for site in (("b",) if self.lost else ("a", "b"))}
        members = control(rows["b"]["bigip"]["control"], "/state")["gtm"]["members"]
        return {
            "writers": sorted({row.site for row in commits}),
            "gslb": sorted(name for name, row in members.items() if row["enabled"] == "enabled"),
            "vms": {site: len(inventory_of(row)["vms"]) for site, row in rows.items()},
            "clusters": {site: inventory_of(row)["clusters"] for site, row in rows.items()},
            "unfinished": sorted(file.name for file in RECORDS.glob("*.journal.json")),
            "steps": [row["name"] for row in self.report()["steps"] if row["state"] in ("done", "skipped")],
        }

    def report(self) -> dict[str, Any]:
        """Of the newest failover."""
        return [row for row in self.kit.reports(PLAN) if row["kind"] == "failover"][-1]

    # ---- the story ---------------------------------------------------------------------------------------------------
    def learn(self, users: Users) -> list[Boundary]:
        """The boundaries and the end state, of an undisturbed run."""
        users.checker.wait_more("a", 10)
        began = time.time()
        self.lose()
        self.failover()
        self.end = self.state(users)
        self.judge(users, began, ["undisturbed"])
        # The end of a step and the beginning of the next are one write.
        return [(step, "running") for step in self.end["steps"]] + [(self.end["steps"][-1], "done")]

    def disturbed(self, users: Users, boundaries: Sequence[Boundary]) -> None:
        """One run, killed at each of *boundaries* in turn, from where the one before it left the service."""
        self.failback()
        users.checker.wait_more("a", 5)
        began = time.time()
        self.lose()
        for boundary in boundaries:
            self.killed_at(boundary)
        self.failover()
        self.judge(users, began, [" ".join(boundary) for boundary in boundaries])

    def judge(self, users: Users, began: float, killed: list[str]) -> None:
        found = self.state(users)
        commits = users.checker.commits()
        most = writers(commits, began, time.time())
        lost, _newest = lost_rows(commits, users.logins["b"].rows(), "a", time.time())
        self.writers_max = max(self.writers_max, most)
        misses = [f"{key}: {found[key]}, undisturbed {self.end[key]}" for key in found if found[key] != self.end[key]]
        misses += [f"{most} sites took writes at once"] if most > 1 else []
        misses += [f"{lost} committed rows lost"] if lost else []
        self.rows.append({"killed": killed, "misses": misses, "seconds": time.time() - began, "writers_max": most})
        say(f"killed at {', '.join(killed)}: {'MISS ' + '; '.join(misses) if misses else 'as undisturbed'}")


def chosen(boundaries: list[Boundary], options: argparse.Namespace) -> list[list[Boundary]]:
    """The runs, each with the boundaries that it is killed at."""
    if options.sample:  # where a service has two sites for a moment
        return [[row for row in boundaries if row[0].startswith(("data:", "models:", "traffic_"))]]
    if options.chain:
        return [boundaries]
    first, _dash, last = (options.boundaries or f"1-{len(boundaries)}").partition("-")
    return [[row] for row in boundaries[int(first) - 1 : int(last or first)]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="one run, killed at a few boundaries")
    parser.add_argument("--chain", action="store_true", help="one run, killed at every boundary")
    parser.add_argument("--lost", action="store_true", help="an unplanned failover, of a site that is dead")
    parser.add_argument("--boundaries", help="for instance 5-9, or 7")
    parser.add_argument("--list", action="store_true", help="list the boundaries and stop")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"signal {number}"))
    for folder in (RECORDS, OUT / "dr-logs"):
        shutil.rmtree(folder, ignore_errors=True)
    kills, boundaries = Kills(lost=options.lost), list[Boundary]()
    leaked: dict[str, int] = {}
    try:
        kills.kit.up()
        kills.kit.prepare(["demo"])
        kills.kit.playbook("dr_backup", plan=PLAN)
        with kills.kit.users(PLAN) as users:
            boundaries = kills.learn(users)
            for number, boundary in enumerate(boundaries, 1):
                say(f"boundary {number}: {' '.join(boundary)}")
            for run in [] if options.list else chosen(boundaries, options):
                kills.disturbed(users, run)
    except LabError as error:
        kills.rows.append({"killed": [], "misses": [str(error)], "seconds": 0.0, "writers_max": 0})
        say(f"MISS {error}")
    finally:
        leaked.update(kills.kit.down())
    missed = sum(1 for row in kills.rows if row["misses"]) + sum(leaked.values())
    count = sum(len(row["killed"]) for row in kills.rows if row["killed"] != ["undisturbed"])
    summary = {
        "planned": not options.lost,
        "complete": not (options.sample or options.boundaries or options.list),
        "boundaries": [" ".join(boundary) for boundary in boundaries],
        "runs": kills.rows,
        "writers_max": kills.writers_max,
        "leaked": leaked,
        "seconds": time.monotonic() - BEGAN,
    }
    (OUT / "kills_dr.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(
        f"\n{len(boundaries)} boundaries, {count} kills in {len(kills.rows)} runs; {missed} missed;"
        f" {kills.writers_max} writer at most; {summary['seconds']:.0f} s"
    )
    return 1 if missed or not (count or options.list) else 0


if __name__ == "__main__":
    sys.exit(main())
