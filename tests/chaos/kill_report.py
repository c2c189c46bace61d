# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kills as people read them: a table of text, and build/chaos/report.html."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

PARTS = {
    "play": "kill -9 of ansible-playbook",
    "receiver": "kill -9 of the receiver",
    "dispatcher": "kill -9 of the dispatcher (it runs in the receiver's process)",
    "alertmanager": "kill -9 of Alertmanager",
}
PROMISED = {
    "nothing": "nothing yet: the group stays as it was",
    "started": "the action was begun: it is decided and carried out",
    "planned": "the plan was stored: the same VMs and addresses are used",
    "ended": "the action had ended: nothing is done again",
    "one action": "the cooldown allows one action",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; vertical-align: top }
.facts { display: flex; gap: 1rem; flex-wrap: wrap }
.fact { background: #f2f5f8; border-radius: 8px; padding: .7rem 1.1rem }
.fact b { display: block; font-size: 1.4rem } .bad { color: #b3261e } .muted { color: #5d6b7a }
"""


def place(row: Row) -> str:
    """Where it was killed, in words."""
    if row["part"] != "play":
        return str(row["inside"])
    if row["inside"]:
        return f"inside '{row['task']}': {row['inside']}"
    return f"{row['number']:2d}, before '{row['task']}'"


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Plays first, out before in, by boundary, then the moments inside tasks, then the services."""
    parts = list(PARTS)

    def key(row: Row) -> tuple[Any, ...]:
        return parts.index(row["part"]), row["direction"] == "in", bool(row["inside"]), row["number"], row["inside"]

    return sorted(rows, key=key)


def text(rows: Iterable[Row]) -> str:
    """One line a kill."""
    lines = [f"{'killed':<16} {'how':<6} {'promised':<10} {'seconds':>7}  where, what was left undone, what is amiss"]
    for row in ordered(rows):
        who = f"scale_{row['direction']}" if row["part"] == "play" else row["part"]
        how = "all" if row["everything"] else "alone"
        amiss = f"  MISS: {'; '.join(row['misses'])[:400]}" if row["misses"] else ""
        left = f"  (undone: {', '.join(row['left'])})" if row["left"] else ""
        lines.append(f"{who:<16} {how:<6} {row['promised']:<10} {row['seconds']:7.1f}  {place(row)}{left}{amiss}")
    return "\n".join(lines)


def fact(value: Any, words: str, bad: bool = False) -> str:
    return f'<div class="fact{" bad" if bad else ""}"><b>{html.escape(str(value))}</b>{html.escape(words)}</div>'


def table(rows: Sequence[Row]) -> str:
    """An HTML table of some kills."""
    body = []
    for row in rows:
        cells = [
            place(row),
            "with all its processes" if row["everything"] else "alone",
            PROMISED.get(row["promised"], row["promised"]),
            ", ".join(row["left"]) or "nothing",
            f"{row['seconds']:.0f}",
        ]
        verdict = "; ".join(row["misses"]) if row["misses"] else "as undisturbed"
        body.append(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}"
            f"<td{' class=bad' if row['misses'] else ''}>{html.escape(verdict)}</td></tr>"
        )
    titles = ("killed at", "how", "what was promised", "what was left undone", "seconds", "after one reconcile")
    head = f"<tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    return f"<table>{head}{''.join(body)}</table>"


def write(path: Path, kills: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """The page: what was counted, then every kill."""
    rows = ordered(kills["kills"])
    leaked = summary["leaked"]
    bad = [entry for entry in summary["faults"] if not entry["ok"]]
    facts = [
        fact(f"{summary['boundaries_killed']}/{summary['boundaries']}", "step boundaries killed"),
        fact(summary["kills"], "kills"),
        fact(summary["missed"], "ended otherwise than undisturbed", bool(summary["missed"])),
        *(fact(number, f"{name} leaked", bool(number)) for name, number in leaked.items()),
        fact(summary["repeated_actions"], "actions run twice", bool(summary["repeated_actions"])),
        fact(f"{len(summary['faults']) - len(bad)}/{len(summary['faults'])}", "calls x faults converged", bool(bad)),
    ]
    sections = []
    for part, title in PARTS.items():
        for direction in ("out", "in"):
            some = [row for row in rows if (row["part"], row["direction"]) == (part, direction)]
            if some:
                name = f"{title}, scale_{direction}" if part == "play" else title
                sections.append(f"<h2>{html.escape(name)}</h2>{table(some)}")
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Chaos</title><style>{STYLE}</style>"
        "<h1>Killed at every step, then reconciled once</h1>"
        "<p class=muted>Each row is a run that was killed, followed by one reconcile. What vCenter, BIG-IP, the file of"
        " targets and the ledger then hold is compared with the end of a run that nobody disturbed."
        ' The matrix of calls and faults is in <a href="matrix.html">matrix.html</a>.</p>'
        f"<div class=facts>{''.join(facts)}</div>{''.join(sections)}</html>\n"
    )
