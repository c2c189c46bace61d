# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix as people read it: a table of text, a page, and the short list for the chaos tests' summary."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .matrix_cells import FAULTS, PLAYS, Call, Fault, Result

SIGNS = {"ok": "ok", "reconciled": "ok+r", "n/a": "n/a", "as 500": "= 500", "FAIL": "FAIL", "": "-"}
LEGEND = (
    ("ok", "the group was converged when the play ended, whatever the play said"),
    ("ok+r", "converged after one reconcile, once the fault was gone"),
    ("n/a", "does not apply: a write is never answered with an older answer, or no older answer was known"),
    ("= 500", "a read changes nothing: one that is done and then answered with 500 is one that is answered with 500"),
    ("FAIL", "an invariant did not hold; matrix.json says why"),
    ("-", "not run"),
)
STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2em;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:1em 0}
th,td{border:1px solid #c8c8c8;padding:.25em .6em;text-align:left}
thead th{background:#f0f0f0}
td.s{text-align:center}
td.ok{background:#dff2df}
td.reconciled{background:#e6eef9}
td.na{color:#666}
td.fail{background:#f7c9c9;font-weight:bold}
code{font-size:90%}
"""


def sign(result: Result | None, call: Call, fault: Fault) -> str:
    """``ok``, ``reconciled``, ``n/a``, ``as 500``, ``FAIL`` or nothing."""
    if not fault.fits(call.read):
        return "as 500" if call.read else "n/a"
    if result is None:
        return ""
    if not result.ok:
        return "FAIL"
    if result.not_applicable:
        return "n/a"
    return "reconciled" if result.reconciled else "ok"


def table(rows: Sequence[Call], results: Mapping[tuple[Call, str], Result], faults: Sequence[Fault] = FAULTS) -> str:
    """Calls x faults as text."""
    width = min(100, max([len(row.name) for row in rows] or [4]))
    head = "  ".join(f"{fault.title:<17}" for fault in faults)
    lines = [f"{'play':<9}  {'backend':<12}  {'call':<{width}}  {head}"]
    for row in rows:
        marks = (SIGNS[sign(results.get((row, fault.name)), row, fault)] for fault in faults)
        text = row.name if len(row.name) <= width else row.name[: width - 3] + "..."
        cells = "  ".join(f"{mark:<17}" for mark in marks)
        lines.append(f"{PLAYS[row.play]:<9}  {row.backend:<12}  {text:<{width}}  {cells}".rstrip())
    return "\n".join(lines)


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many cells ended how."""
    return {
        "cells": len(results),
        "ok": sum(result.ok for result in results),
        "failed": sum(not result.ok for result in results),
        "reconciled": sum(result.ok and result.reconciled for result in results),
        "not_applicable": sum(bool(result.not_applicable) for result in results),
        "plays_succeeded": sum(result.result == "succeeded" for result in results),
        "plays_refused": sum(result.result == "refused" for result in results),
        "plays_failed": sum(result.result == "failed" for result in results),
    }


def write(
    folder: Path,
    rows: Sequence[Call],
    results: Mapping[tuple[Call, str], Result],
    about: Mapping[str, Any],
    suffix: str = "",
    faults: Sequence[Fault] = FAULTS,
) -> list[Path]:
    """matrix.json, matrix.html and faults.json, each with *suffix*: a part of a matrix must not hide a whole one."""
    folder.mkdir(parents=True, exist_ok=True)
    found = list(results.values())
    data = {**about, **counts(found), "rows": [result.row() for result in found]}
    short = [
        {"call": f"{result.cell.call.play}/{result.cell.call.backend}: {result.cell.call.name}",
         "fault": result.cell.fault.name, "ok": result.ok}
        for result in found
    ]  # fmt: skip
    paths = {
        folder / f"matrix{suffix}.json": json.dumps(data, indent=1) + "\n",
        folder / f"matrix{suffix}.html": page(rows, results, {**about, **counts(found)}, faults),
        folder / f"faults{suffix}.json": json.dumps(short, indent=1) + "\n",
    }
    for path, text in paths.items():
        path.write_text(text)
    return list(paths)


def page(
    rows: Sequence[Call],
    results: Mapping[tuple[Call, str], Result],
    about: Mapping[str, Any],
    faults: Sequence[Fault] = FAULTS,
) -> str:
    """The table as one HTML page that needs nothing else."""
    heads = "".join(f"<th>{html.escape(fault.title)}</th>" for fault in faults)
    body = []
    for row in rows:
        cells = "".join(_cell(results.get((row, fault.name)), row, fault) for fault in faults)
        names = f"<td>{PLAYS[row.play]}</td><td>{row.backend}</td><td><code>{html.escape(row.name)}</code></td>"
        body.append(f"<tr>{names}{cells}</tr>")
    settings = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>" for key, value in about.items()
    )
    legend = "".join(f"<tr><td>{mark}</td><td>{html.escape(text)}</td></tr>" for mark, text in LEGEND)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Fault matrix</title><style>{STYLE}</style></head><body>
<h1>Fault matrix</h1>
<p>Each cell is one run of a play with one fault on one call to a backend. The calls are those that a proxy saw in an
undisturbed scale_out and scale_in. After the play the fault is taken away; a group that is not converged gets one
reconcile. Then VMs, pool members, targets, leases, locks and actions are read from the backends and must be those of an
undisturbed group. While a play runs the number of VMs, of enabled members, and each member's VM are watched.</p>
<table><thead><tr><th>play</th><th>backend</th><th>call</th>{heads}</tr></thead><tbody>
{"".join(body)}
</tbody></table>
<h2>Legend</h2><table>{legend}</table>
<h2>Run</h2><table>{settings}</table>
</body></html>
"""


def _cell(result: Result | None, row: Call, fault: Fault) -> str:
    mark = sign(result, row, fault)
    kind = {"n/a": "na", "as 500": "na", "FAIL": "fail", "": "na"}.get(mark, mark)
    hint = ""
    if result is not None:
        said = (
            "; ".join(result.why) or result.not_applicable or f"play: {result.result}, {result.code}. {result.message}"
        )
        hint = f' title="{html.escape(said[:600], quote=True)}"'
    return f'<td class="s {kind}"{hint}>{SIGNS[mark]}</td>'
