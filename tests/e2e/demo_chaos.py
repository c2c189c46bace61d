# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo under faults: the BIG-IP's management port flaps during the whole run, its data plane goes on.

Run by `make demo-chaos`. The loop must still go 2 -> 3 -> 4 -> 3 -> 2 by alerts alone, with no failed request and
nothing left behind. Writes build/demo-chaos/summary.json and report.html; any miss is a non-zero exit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e.demo import CALM, Demo, play

from lab.faults.spawn import FaultProxy
from lab.settings import REPO
from lab.tls import make_tls

UP_S, DOWN_S = (6.0, 10.0), (3.0, 5.0)
PASSING = (0, 9)  # calls that get through before an outage begins
#: In turn: nothing gets through; an error page; done, and the answer cut off; done, and answered with an error page.
KINDS = ("refuse", "status", "cut", "apply_then_status")
GROUP = {"quarantine": {"keep": 0}}  # nobody looks at failed VMs here, so that what is left over is a leak


class Flapper:
    """Takes the listener ``bigip`` of a proxy down and up again, by a seed, until it is stopped.

    ``rows`` has a row an outage: kind, began_at and ended_at (seconds since 1970), calls_hit.
    """

    def __init__(self, proxy: FaultProxy, seed: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._proxy = proxy
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End with the port up."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)

    def _run(self) -> None:
        for kind in itertools.cycle(KINDS):
            if self._stop.wait(self._random.uniform(*UP_S)):
                return
            # Calls are few, so each outage waits for some: it begins with a login, a read or a write in mid-work.
            self._proxy.fault("bigip", kind, times=None, skip=self._random.randint(*PASSING))
            while not self._hits() and not self._stop.wait(0.1):
                pass
            began = time.time()
            self._stop.wait(self._random.uniform(*DOWN_S))
            if hits := self._hits():
                self.rows.append({"kind": kind, "began_at": began, "ended_at": time.time(), "calls_hit": hits})
            self._proxy.clear()

    def _hits(self) -> int:
        return sum(rule["hits"] for rule in self._proxy.rules())

    def summary(self) -> dict[str, Any]:
        """Outages as summary.json tells them; seconds are of all of them together."""
        by_kind = Counter[str]()
        for row in self.rows:
            by_kind[row["kind"]] += row["calls_hit"]
        return {
            "count": len(self.rows),
            "seconds": round(sum(row["ended_at"] - row["began_at"] for row in self.rows), 1),
            "calls_hit": sum(by_kind.values()),
            "calls_hit_by_kind": dict(by_kind),
            "rows": self.rows,
        }


class ChaosDemo(Demo):
    """The demo with a proxy before the BIG-IP's management port."""

    out = REPO / "build" / "demo-chaos"
    receiver_options = {"reconcile_period": 60}

    def __init__(self, seed: int, limit_s: float) -> None:
        super().__init__()
        self.seed = seed
        self.limit_s = limit_s

    def connect(self, description: dict[str, Any]) -> dict[str, Any]:
        """The lab with the proxied port, and a group of the demo's own, in a description that ``LAB_JSON`` names."""
        bigip = description["bigip"]
        upstream = f"{bigip['hostname']}:{bigip['port']}"
        rows = [{"name": "bigip", "mode": "https", "upstream": upstream, "labels": "icontrol"}]
        settings = self.lab.settings
        self.proxy = FaultProxy(settings.folder / "faults", rows, make_tls(settings.folder / "tls")).start()
        self.flapper = Flapper(self.proxy, self.seed)
        self.say(f"fault proxy before {upstream} on port {self.proxy.ports['bigip']}, seed {self.seed}")
        groups = self.out / "scaling_groups"
        groups.mkdir()
        (groups / "web.yml").write_text(yaml.safe_dump(settings.group_spec(GROUP), sort_keys=False))
        changed = {
            **description,
            "bigip": {**bigip, "port": self.proxy.ports["bigip"]},
            "scaling_groups_dir": str(groups),
        }
        path = self.out / "lab.json"
        path.write_text(json.dumps(changed, indent=2) + "\n")
        os.environ["LAB_JSON"] = str(path)
        return changed

    def down(self) -> None:
        if hasattr(self, "proxy"):
            self.flapper.stop()
            self.proxy.stop()
        super().down()

    # ---- the loop ----------------------------------------------------------------------------------------------------
    def serving(self) -> int:
        """Members that the BIG-IP calls available, by its control port."""
        return sum(1 for member in self.observer.member_rows() if member.get("availability") == "available")

    def refused(self, code: str) -> bool:
        """Whether the last word on an alert was *code*; what reconcile did meanwhile does not count."""
        events = [event["code"] for event in self.observer.events() if event["direction"] != "reconcile"]
        return events[-1:] == [code]

    def loop(self) -> None:
        self.enable()
        self.flapper.start()
        grown = self.wait_for("4 serve, then refused at max", lambda: self.serving() == 4 and self.refused("at_max"))
        if grown:
            time.sleep(3)
            self.set_rate(CALM)
            self.wait_for("2 serve, then refused at min", lambda: self.serving() == 2 and self.refused("at_min"))
            self.wait_for("reconciled, nothing left over", self.clean)
        time.sleep(2)

    def clean(self) -> bool:
        """Whether a whole reconcile has run and nothing is left over."""
        done = self.observer.ledger("select ident from actions where direction = 'reconcile' and state = 'succeeded'")
        return bool(done) and not any(self.observer.leaked(self.base_members).values())

    def judge(self, summary: dict[str, Any]) -> None:
        """The same course with whatever repetitions the outages cost, inside the bounds all the time."""
        self.flapper.stop()
        summary["seed"] = self.seed
        summary["outages"] = self.flapper.summary()
        summary["calls"] = [row for row in self.proxy.calls() if row["fault"]]
        vms = [sample["vms"] for sample in self.observer.samples]
        serving = [sample["in_service"] for sample in self.observer.samples]
        summary["bounds"] = {"vms_max": max(vms), "in_service_min": min(serving), "in_service_max": max(serving)}
        if max(vms) > 4:
            self.misses.append(f"{max(vms)} VMs at once, the group's max is 4")
        if min(serving) < 2:
            at = self.observer.samples[serving.index(min(serving))]["at"] - self.began
            self.misses.append(f"{min(serving)} members in service at {at:.1f} s, the group's min is 2")
        done = [
            (event["direction"], event["count_before"], event["count_after"])
            for event in self.observer.events()
            if event["direction"] != "reconcile" and event["result"] == "succeeded"
        ]
        for step in (("out", 2, 3), ("out", 3, 4), ("in", 4, 3), ("in", 3, 2)):
            if step not in done:
                self.misses.append(f"no action {step[0]} from {step[1]} to {step[2]} succeeded; they were {done}")
        if not summary["outages"]["calls_hit"]:
            self.misses.append("no call was hit by an outage: this run showed nothing")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=4, help="of the outages' times")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds until what is not reached is missed")
    arguments = parser.parse_args()
    return play(ChaosDemo(arguments.seed, arguments.limit))


if __name__ == "__main__":
    sys.exit(main())
