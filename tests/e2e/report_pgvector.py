# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the demo with vectors: what the client wrote while sites died, every comparison, every step's seconds."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.report import STYLE, _boxes, plt

COLOURS = {"kill": "#d64545", "promote": "#33658a", "written": "#2a7f62", "steps": "#33658a"}


def _svg(figure: Any) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def plot_writes(losses: Mapping[str, Mapping[str, Any]], steps: list[dict[str, Any]], began: float) -> str:
    """Rows acknowledged over time, for each mode; the kill and the promotion are marked."""
    figure, axes = plt.subplots(1, len(losses), figsize=(11, 3.4), squeeze=False)
    for axis, (mode, row) in zip(axes[0], losses.items(), strict=True):
        start = row["times"][0]
        axis.step([at - start for at in row["times"]], range(1, len(row["times"]) + 1), color=COLOURS["written"])
        axis.axvline(row["killed_at"] - start, color=COLOURS["kill"], lw=1.2)
        axis.annotate(" kill -9", (row["killed_at"] - start, 0), color=COLOURS["kill"], fontsize=8)
        for step in steps:
            if step["name"].startswith(f"{mode}: promote"):
                at = began + step["started"] - start
                axis.axvspan(at, at + step["seconds"], color=COLOURS["promote"], alpha=0.13, lw=0)
                axis.annotate("promote", (at + step["seconds"], 0), ha="right", color=COLOURS["promote"], fontsize=8)
        axis.set_title(f"{mode}: {row['lost']} of {row['acknowledged']} committed rows lost", fontsize=10)
        axis.set_xlabel("seconds")
        axis.set_ylabel("rows acknowledged")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def plot_steps(steps: list[dict[str, Any]]) -> str:
    """When each step ran."""
    figure, axis = plt.subplots(figsize=(11, 0.32 * len(steps) + 0.8))
    for row, step in enumerate(steps):
        axis.barh(row, max(step["seconds"], 0.2), left=step["started"], color=COLOURS["steps"], height=0.6)
        axis.annotate(f" {step['seconds']:.1f}", (step["started"] + step["seconds"], row), va="center", fontsize=8)
    axis.set_yticks(range(len(steps)), [step["name"] for step in steps], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("seconds")
    axis.grid(alpha=0.25, axis="x")
    axis.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def write(path: Path, summary: Mapping[str, Any], losses: Mapping[str, Mapping[str, Any]], began: float) -> None:
    """Write report.html."""
    sync, asynchronous = summary["lost_rows_sync"], summary["lost_rows_async"]
    facts = [
        ("rows", f"{summary['rows']:,}", False),
        ("recall@10", f"{summary['recall_at_10']:.4f}", summary["recall_at_10"] < 0.95),
        ("rows lost, synchronous", "-" if sync is None else str(sync), bool(sync)),
        ("rows lost, asynchronous (measured)", "-" if asynchronous is None else str(asynchronous), False),
        ("answers equal", "yes" if summary["answers_equal"] else "no", not summary["answers_equal"]),
        *((f"leaked {name}", str(number), bool(number)) for name, number in summary["leaked"].items()),
        ("seconds", f"{summary['seconds']:.0f}", False),
    ]
    misses = "".join(f"<li>{html.escape(miss)}</li>" for miss in summary["misses"])
    answers = "".join(
        f"<tr><td>{html.escape(row['where'])}</td><td>{_word(row['exact'])}</td><td>{_word(row['index'])}</td></tr>"
        for row in summary["answers"]
    )
    writes = "".join(
        f"<tr><td>{html.escape(mode)}</td>"
        + "".join(
            f"<td class=n>{row[key]}</td>"
            for key in ("acknowledged", "before_the_kill", "lost", "doubtful", "seconds_without_writes")
        )
        + "</tr>"
        for mode, row in summary["writes"].items()
    )
    setting = summary["setting"]
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>onprem.autoscale vectors</title>
<style>{STYLE}</style>
<h1>Vectors that survive their site: declared, searched, killed, promoted, rewound</h1>
<p class=muted>Two emulated DSMs with real PostgreSQL and pgvector; {summary["rows"]:,} x {setting["dimension"]} around
{setting["centres"]} centres; HNSW m 16, ef_construction 64; {setting["cpus"]} CPUs.
{"<b>Something was missed, see below.</b>" if misses else ""}</p>
<div class=facts>{_boxes(facts)}</div>{f"<h2>Missed</h2><ul>{misses}</ul>" if misses else ""}
<h2>A client that writes while site a is killed</h2>{plot_writes(losses, summary["steps"], began) if losses else ""}
<table><tr><th>mode<th class=n>acknowledged<th class=n>before the kill<th class=n>lost<th class=n>without an answer
<th class=n>seconds without writes</tr>{writes}</table>
<h2>The same answers: ten neighbours of fixed probes</h2>
<table><tr><th>where<th>every row looked at<th>by the index</tr>{answers}</table>
<h2>Steps, in seconds</h2>{plot_steps(summary["steps"]) if summary["steps"] else ""}</html>
"""
    )


def _word(same: bool) -> str:
    return "the same" if same else "<b class=bad>different</b>"
