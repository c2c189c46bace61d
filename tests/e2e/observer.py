# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo sees from outside, never through the collection's own code: load, CPU, VMs, pool members, targets."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from e2e.outside import Outside, get_json

CPU = 'max(100 - avg by (instance)(rate(node_cpu_seconds_total{mode="idle",job="web"}[5s]))*100)'


class Observer(Outside):
    """Samples the lab once a second in a thread and answers questions about its present state."""

    def __init__(self, lab: dict[str, Any], load_stats: Path, group: str = "web") -> None:
        super().__init__(lab, group)
        self.load_stats = load_stats
        self.samples: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.samples.append(self.sample())
            self._stop.wait(max(0.0, 1 - (time.monotonic() - began)))

    # ---- the present state -------------------------------------------------------------------------------------------
    def vms(self) -> list[dict[str, Any]]:
        """VMs of the group and of its base."""
        names = f"{self.group}-"
        return [vm for vm in self.vm_rows() if vm["name"].startswith(names) and vm["name"] != "web-golden"]

    def events(self) -> list[dict[str, Any]]:
        """Rows of the ledger's events, oldest first."""
        events = self.ledger(
            "select e.action, a.direction, e.at, a.started_at, e.code, e.result, e.members, e.count_before,"
            " e.count_after, e.steps, e.message, e.source, e.reason, e.cold_start"
            " from events e join actions a on a.ident = e.action order by e.id"
        )
        for event in events:
            event["steps"] = json.loads(event["steps"] or "[]")
            event["cold_start"] = json.loads(event["cold_start"] or "[]")
            event["members"] = [row["name"] for row in json.loads(event["members"] or "[]")]
        return events

    def cpu(self) -> float | None:
        """The busiest instance's CPU in percent, as Prometheus computes it."""
        return self.prometheus(CPU)

    def prometheus(self, expression: str) -> float | None:
        """The first value of an expression; ``None`` when it has none."""
        query = urllib.parse.urlencode({"query": expression})
        result = get_json(f"{self.lab['prometheus']['url']}/api/v1/query?{query}")["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def load(self) -> dict[str, Any]:
        """The load generator's newest line."""
        lines = self.load_stats.read_text().splitlines()
        return json.loads(lines[-1]) if lines else {"sent": 0, "ok": 0, "failed": 0, "rate": 0}

    def sample(self) -> dict[str, Any]:
        load = self.load()
        return {
            "at": time.time(),
            "rate": load["rate"],
            "sent": load["sent"],
            "failed": load["failed"],
            "vms": len(self.vms()),
            "in_service": sum(1 for member in self.member_rows() if member.get("availability") == "available"),
            "cpu": self.cpu(),
        }

    def leaked(self, base: dict[str, str]) -> dict[str, int]:
        """What is left beyond the base members: each must be zero at the end."""
        addresses = set(base.values())
        return {
            "vms": sum(1 for vm in self.vms() if vm["name"] not in base),
            "members": sum(1 for member in self.member_rows() if member["address"] not in addresses),
            "targets": sum(1 for target in self.target_addresses() if target.rpartition(":")[0] not in addresses),
            "leases": len(self.ledger("select address from leases")),
        }
