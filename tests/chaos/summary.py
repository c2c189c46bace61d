# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the kills and the fault matrix together: build/chaos/summary.json and report.html. Any miss is a non-zero exit.

summary.json has ``boundaries`` (number of step boundaries of scale_out and scale_in), ``boundaries_killed`` (fewer
only in a sample), ``kills`` (number), ``leaked``
(vms, members, targets, leases: each must be 0), ``repeated_actions`` (0), ``missed`` (kills after which anything
differed from an undisturbed run: 0), ``faults`` ([{call, fault, ok}]) and ``misses`` (a line for each thing amiss).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import kill_report
from lab.settings import REPO

OUT = REPO / "build" / "chaos"
LEAKS = ("vms", "members", "targets", "leases")


def read(name: str, misses: list[str]) -> Any:
    """A file of an earlier step; a missing one is a miss."""
    path = OUT / name
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        misses.append(f"{name}: {error}")
        return None


def summarize(kills: dict[str, Any], faults: list[dict[str, Any]], misses: list[str]) -> dict[str, Any]:
    """What summary.json holds; *misses* is added to."""
    rows = kills["kills"]
    leaked = {name: sum(row["leaked"].get(name, 0) for row in rows) for name in LEAKS}
    repeated = sum(row["repeated"] for row in rows)
    at_boundary = {(row["direction"], row["number"]) for row in rows if row["part"] == "play" and not row["inside"]}
    wanted = {(way, number + 1) for way, count in kills["boundaries"].items() for number in range(count)}
    if not wanted:
        misses.append("no step boundary was found")
    if kills["complete"]:
        misses += [f"scale_{way} was not killed at boundary {number}" for way, number in sorted(wanted - at_boundary)]
    misses += [f"nothing killed {part}" for part in kill_report.PARTS if not any(row["part"] == part for row in rows)]
    misses += [f"{row['label']}: {miss}" for row in rows for miss in row["misses"]]
    misses += [f"{number} {name} leaked" for name, number in leaked.items() if number]
    if repeated:
        misses.append(f"{repeated} actions were run twice")
    if rows and not any("vms" in row["left"] for row in rows):
        misses.append("no kill left a VM undone: what is compared shows nothing")
    if not faults:
        misses.append("no fault was tried")
    misses += [f"{entry['call']} x {entry['fault']} is not ok" for entry in faults if not entry["ok"]]
    return {
        "boundaries": len(wanted),
        "boundaries_killed": len(at_boundary),
        "kills": len(rows),
        "leaked": leaked,
        "repeated_actions": repeated,
        "missed": sum(1 for row in rows if row["misses"]),
        "before_anything_was_promised": sum(1 for row in rows if row["promised"] == "nothing"),
        "seconds": round(kills["seconds"], 1),
        "faults": [{key: entry[key] for key in ("call", "fault", "ok")} for entry in faults],
        "misses": misses,
    }


def main() -> int:
    misses: list[str] = []
    kills = read("kills.json", misses) or {"complete": True, "kills": [], "boundaries": {}, "seconds": 0.0}
    faults = read("faults.json", misses) or []
    summary = summarize(kills, faults, misses)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    kill_report.write(OUT / "report.html", kills, summary)
    good = sum(1 for entry in summary["faults"] if entry["ok"])
    print(
        f"chaos: {summary['boundaries_killed']} of {summary['boundaries']} step boundaries killed,"
        f" {summary['kills']} kills, {summary['missed']} missed;"
        f" leaked {summary['leaked']}; {summary['repeated_actions']} actions run twice;"
        f" {good} of {len(summary['faults'])} calls x faults ok; build/chaos/report.html, build/chaos/summary.json"
    )
    for miss in misses:
        print(f"MISSED: {miss[:600]}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
