# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the demo with two sites: what users saw in each run, and what the run's report says of it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.report import STYLE, _boxes, plt
from e2e.report_pgvector import _svg, plot_steps

from lab.sites.outside import read_commits, read_requests

COLOURS = {"served": "#2a7f62", "failed": "#d64545", "a": "#33658a", "b": "#b0562f"}


def _seconds(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"


def plot_users(folder: Path) -> str:
    """Requests served and failed a second, and each site's acknowledged commits, over the plan's whole time."""
    requests, commits = read_requests(folder / "requests.jsonl"), read_commits(folder / "commits.jsonl")
    if not requests:
        return ""
    start = requests[0].at
    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 3.6), sharex=True, height_ratios=[2, 1])
    for ok, name in ((True, "served"), (False, "failed")):
        times = [row.at - start for row in requests if row.ok is ok]
        bins = range(int(requests[-1].at - start) + 2)
        above.hist(times, bins=bins, color=COLOURS[name], label=name, histtype="stepfilled", alpha=0.8)
    above.set_ylabel("requests a second")
    above.legend(loc="lower right", fontsize=8)
    for line, site in enumerate(("a", "b")):
        times = [row.acknowledged - start for row in commits if row.site == site]
        below.plot(times, [line] * len(times), "|", color=COLOURS[site], markersize=9)
    below.set_yticks([0, 1], ["commits at a", "commits at b"], fontsize=8)
    below.set_ylim(-0.6, 1.6)
    below.set_xlabel("seconds")
    for axis in (above, below):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _counts(run: Mapping[str, Any]) -> list[str]:
    """Rows lost, requests failed, writers at once; a dash is what nobody counted."""
    counts = (run.get("rpo_outside_rows"), run.get("requests_failed"), run.get("writers_max"))
    return ["-" if value is None else str(value) for value in counts]


def write(path: Path, summary: Mapping[str, Any], out: Path) -> None:
    """Write report.html."""
    most = max((run["writers_max"] or 0 for run in summary["runs"]), default=0)
    facts = [
        ("runs", str(len(summary["runs"])), False),
        ("writers at once, at most", str(most), most > 1),
        *((f"leaked {name}", str(number), bool(number)) for name, number in summary["leaked"].items()),
        ("seconds", f"{summary['seconds']:.0f}", False),
    ]
    misses = "".join(f"<li>{html.escape(miss)}</li>" for miss in summary["misses"])
    rows = "".join(
        f"<tr><td>{html.escape(run['plan'])}<td>{html.escape(run['kind'])}"
        f'<td><a href="../dr/{html.escape(run["plan"])}-{html.escape(run["run"])}.html">{html.escape(run["run"])}</a>'
        f"<td class=n>{_seconds(run.get('rto_s'))}<td class=n>{_seconds(run.get('rto_outside_s'))}"
        f"<td class=n>{_seconds(run.get('rto_target_s'))}<td class=n>{_seconds(run.get('rpo_s'))}"
        f"<td class=n>{_seconds(run.get('rpo_outside_s'))}"
        + "".join(f"<td class=n>{count}" for count in _counts(run))
        + "</tr>"
        for run in summary["runs"]
    )
    seen = "".join(f"<h2>{html.escape(plan)}</h2>{plot_users(out / plan)}" for plan in summary["plans"])
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>onprem.autoscale, two sites</title>
<style>{STYLE}</style>
<h1>The second site: killed, failed over, failed back</h1>
<p class=muted>Two sites on one machine, each with all of its own. Requests go by the service's name; a client of each
site's database tries to write there all the while. {"<b>Something was missed, see below.</b>" if misses else ""}</p>
<div class=facts>{_boxes(facts)}</div>{f"<h2>Missed</h2><ul>{misses}</ul>" if misses else ""}
<table><tr><th>plan<th>kind<th>run<th class=n>RTO, s<th class=n>from outside<th class=n>target<th class=n>RPO, s
<th class=n>from outside<th class=n>rows lost<th class=n>requests failed<th class=n>writers</tr>{rows}</table>
{seen}
<h2>Steps, in seconds</h2>{plot_steps(summary["steps"]) if summary["steps"] else ""}</html>
"""
    )


def table(summary: Mapping[str, Any]) -> None:
    """What a person sees at the end."""
    print(f"\n{'step':<60} {'seconds':>7}")
    for row in summary["steps"]:
        print(f"{row['name']:<60} {row['seconds']:7.1f}")
    columns = ("RTO", "outside", "RPO", "outside", "lost", "failed", "writers")
    print(f"\n{'run':<22}" + "".join(f"{name:>9}" for name in columns))
    for run in summary["runs"]:
        seconds = (run.get("rto_s"), run.get("rto_outside_s"), run.get("rpo_s"), run.get("rpo_outside_s"))
        cells = [_seconds(value) for value in seconds] + _counts(run)
        print(f"{run['plan'] + ' ' + run['kind']:<22}" + "".join(f"{cell:>9}" for cell in cells))
    print(f"\nleaked {summary['leaked']}; {summary['seconds']:.0f} s")
    print("build/demo-dr/report.html, build/demo-dr/summary.json, build/dr")
    for miss in summary["misses"]:
        print(f"MISSED: {miss}")
