# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo of the second site: killed, failed over, measured from outside, failed back, in each pattern (D1 to D6).

Run by `make demo-dr`; DEMO_PLANS=warm for one of the plans pilot, warm, active,
DEMO_NO_DRILL=1 without the drill. Writes build/demo-dr/summary.json and
report.html; each run's own report is in build/dr. A figure that outside and inside do not share within a second, a lost
row in synchronous mode, a second writer, or anything left is a non-zero exit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psycopg
import requests
from e2e import report_dr
from e2e.dr_kit import STORES, DrKit, Users

from lab.process import LabError
from lab.settings import REPO
from lab.sites.clients import gslb_member, inventory_of
from lab.sites.outside import failures, gap, lost_rows, writers
from lab.sites.seed import GSLB_PERIOD_S

OUT = REPO / "build" / "demo-dr"
RECORDS = REPO / "build" / "dr"
PLANS = ("pilot", "warm", "active")
TOLERANCE_S = 1.0
# Of each run's report; those from outside are null where nobody measured.
KEYS = {
    "pattern", "kind", "rto_s", "rpo_s", "rto_outside_s", "rpo_outside_rows", "steps", "requests_failed", "writers_max"
}  # fmt: skip


class DrDemo:
    """One run: what happened, and what both sides say of it."""

    def __init__(self, plans: tuple[str, ...] = PLANS) -> None:
        self.began = time.time()
        self.plans = plans
        self.kit = DrKit(OUT, RECORDS, self.say)
        self.steps: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.misses: list[str] = []

    def say(self, text: str) -> None:
        print(f"{time.time() - self.began:6.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the summary."""
        began = time.time()
        self.say(f"-- {name}")
        yield
        self.steps.append({"name": name, "seconds": round(time.time() - began, 2), "started": began - self.began})

    def miss(self, text: str) -> None:
        self.misses.append(text)
        self.say(f"MISSED: {text}")

    # ---- the story ---------------------------------------------------------------------------------------------------
    def story(self) -> None:
        for folder in (OUT, RECORDS):
            shutil.rmtree(folder, ignore_errors=True)
        with self.step("two sites"):
            self.kit.up()
        with self.step("stores, replication, monitoring, epoch"):
            self.kit.prepare(
                ("demo",) * ("warm" in self.plans or "active" in self.plans) + ("notes",) * ("pilot" in self.plans)
            )
        for plan in self.plans:
            self.pattern(plan)

    def pattern(self, plan: str) -> None:
        """Load and checker run; the primary site dies; the other one takes over; and back."""
        if plan == "active":
            with self.step("active: both sites serve"):
                self.kit.playbook("scale_out", "b", group="web", autoscale_site="a")
                gslb_member(self.kit.row("a"), "b", True)
        with self.kit.users(plan) as users:
            users.checker.wait_more("a", 20)
            users.wait_served(time.time())
            with self.step(f"{plan}: dr_backup"):
                self.kit.playbook("dr_backup", plan=plan)
            if plan == "warm" and not os.environ.get("DEMO_NO_DRILL"):
                self.drill(plan, users)
            self.failover(plan, users)
            self.failback(plan, users)

    def drill(self, plan: str, users: Users) -> None:
        """D2: nothing of production notices, and nothing is left."""
        before = {site: inventory_of(self.kit.row(site)) for site in ("a", "b")}
        began = time.time()
        with self.step(f"{plan}: drill during production"):
            name = self.record(plan, "drill", lambda: self.kit.playbook("dr_drill", plan=plan))
        time.sleep(1.5)  # the load's lines of the last second
        failed = failures(users.requests(), began, time.time())
        after = {site: inventory_of(self.kit.row(site)) for site in ("a", "b")}
        if failed:
            self.miss(f"{plan}: {failed} production requests failed during the drill")
        for site, kinds in after.items():
            for kind, names in kinds.items():
                if extra := sorted(set(names) - set(before[site][kind])):
                    self.miss(f"{plan}: the drill left {kind} at site {site}: {', '.join(extra)}")
        most = writers(users.checker.commits(), began, time.time())
        self.observe(plan, name, "drill", {"requests_failed": failed, "writers_max": most})

    def failover(self, plan: str, users: Users) -> None:
        """The site dies at once; what is lost and for how long is measured by its users."""
        time.sleep(0.5)
        began = killed_at = time.time()
        with self.step(f"{plan}: kill -9 of site a"):
            self.say(f"{self.kit.lab.kill('a')} processes killed")
        with self.step(f"{plan}: dr_failover to b"):
            # Nobody can prove that a dead site takes no writes; a store with dumps has no other fence.
            forced = {"force": True} if plan == "pilot" else {}
            name = self.record(plan, "failover", lambda: self.kit.playbook("dr_failover", plan=plan, to="b", **forced))
        with self.step(f"{plan}: served by b"):
            users.wait_served(time.time())
            users.checker.wait_more("b", 10)
        away = gap(users.requests(), killed_at - 0.2)
        commits = users.checker.commits()
        lost, newest = lost_rows(commits, users.logins["b"].rows(), "a", time.time())
        most = writers(commits, began - 5, time.time())
        outside = {
            "rto_outside_s": round(away.seconds, 3) if away else 0.0,
            "rpo_outside_rows": lost,
            "requests_failed": away.failed if away else 0,
            "writers_max": most,
        }
        report = self.observe(plan, name, "failover", outside)
        lost_at = away.lost if away else killed_at
        rpo_outside = 0.0 if not lost else round(max(0.0, lost_at - (newest or 0)), 3)
        self.runs[-1]["rpo_outside_s"] = rpo_outside
        self.compare(plan, "RTO", report.get("rto_s"), outside["rto_outside_s"])
        self.compare(plan, "RPO", report.get("rpo_s"), rpo_outside)
        if plan != "pilot" and lost:
            self.miss(f"{plan}: {lost} committed rows were lost in synchronous mode")
        if plan == "active" and away and away.seconds > GSLB_PERIOD_S:
            self.miss(f"active: requests failed for {away.seconds:.1f} s, the GSLB's own period is {GSLB_PERIOD_S:g} s")

    def failback(self, plan: str, users: Users) -> None:
        """The site returns with its data, follows, and takes over again."""
        began = time.time()
        with self.step(f"{plan}: site a returns"):
            self.kit.bring_back("a", closed=[STORES[plan]] if plan == "pilot" else ())
        with self.step(f"{plan}: dr_failback to a"):
            name = self.record(plan, "failback", lambda: self.kit.playbook("dr_failback", plan=plan, to="a"))
        with self.step(f"{plan}: served by a"):
            users.wait_served(time.time())
            users.checker.wait_more("a", 10)
        commits = users.checker.commits()
        lost, _newest = lost_rows(
            [row for row in commits if row.sent >= began], users.logins["a"].rows(), "b", time.time()
        )
        failed = failures(users.requests(), began, time.time())
        outside = {
            "rto_outside_s": 0.0,
            "rpo_outside_rows": lost,
            "requests_failed": failed,
            "writers_max": writers(commits, began, time.time()),
        }
        if failed and (away := gap(users.requests(), began)):
            outside["rto_outside_s"] = round(away.seconds, 3)
        self.observe(plan, name, "failback", outside)
        if lost:
            self.miss(f"{plan}: {lost} committed rows were lost in a planned failback")
        if failed:
            self.miss(f"{plan}: {failed} requests failed during the failback")

    # ---- both sides' figures -----------------------------------------------------------------------------------------
    def record(self, plan: str, kind: str, work: Any) -> str:
        """Do it; the name of the run whose report it has written."""
        before = [row["run"] for row in self.kit.reports(plan)]
        work()
        new = [row["run"] for row in self.kit.reports(plan) if row["run"] not in before and row["kind"] == kind]
        if len(new) != 1:
            raise LabError(f"{kind} of {plan} has left {len(new)} reports in {RECORDS}")
        return new[0]

    def observe(self, plan: str, name: str, kind: str, outside: dict[str, Any]) -> dict[str, Any]:
        """Put the outside figures into the run's report; it, read again."""
        self.kit.record_outside(plan, name, outside)
        report = next(row for row in self.kit.reports(plan) if row["run"] == name)
        self.runs.append({"plan": plan, "kind": kind, "run": name, **report})
        if outside["writers_max"] > 1:
            self.miss(f"{plan}: {outside['writers_max']} sites took writes at once during the {kind}")
        missing = [key for key in ("pattern", "kind", "steps", *outside) if report.get(key) is None]
        if missing:
            self.miss(f"{plan}: the report of the {kind} lacks {', '.join(missing)}")
        return report

    def compare(self, plan: str, what: str, inside: float | None, outside: float) -> None:
        said = "nothing" if inside is None else f"{inside:.2f} s"
        self.say(f"{plan}: {what} {said} in the report, {outside:.2f} s from outside")
        if inside is None or abs(inside - outside) > TOLERANCE_S:
            self.miss(f"{plan}: {what} is {said} in the report and {outside:.2f} s from outside")

    # ---- the end -----------------------------------------------------------------------------------------------------
    def close(self, leaked: dict[str, int]) -> dict[str, Any]:
        """The summary, judged and written."""
        for row in self.kit.reports():
            if lacking := sorted(KEYS - set(row)):
                self.miss(f"the report of {row['plan']} {row['run']} lacks {', '.join(lacking)}")
        self.misses += [f"{number} {name} leaked" for name, number in leaked.items() if number]
        summary = {
            "plans": list(self.plans),
            "runs": self.runs,
            "steps": self.steps,
            "leaked": leaked,
            "misses": self.misses,
            "seconds": round(time.time() - self.began, 1),
        }
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        report_dr.write(OUT / "report.html", summary, OUT)
        return summary


def main() -> int:
    """All of it; the exit status. Whatever ends it, nothing stays behind."""
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    wanted = tuple(os.environ.get("DEMO_PLANS", "").replace(",", " ").split()) or PLANS
    demo = DrDemo(wanted)
    leaked: dict[str, int] = {}
    try:
        demo.story()
    except (LabError, psycopg.Error, OSError, ValueError, requests.RequestException) as error:
        demo.miss(str(error))
    finally:
        leaked.update(demo.kit.down())
    report_dr.table(demo.close(leaked))
    return 1 if demo.misses else 0


if __name__ == "__main__":
    sys.exit(main())
