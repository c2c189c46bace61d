# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's page: load, CPU, VM count and actions over time, and a table of every action's steps."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"out": "#2a7f62", "in": "#b0562f", "reconcile": "#33658a", "refused": "#8a8a8a", "outage": "#d64545"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea } td.n, th.n { text-align: right }
.facts { display: flex; gap: 1rem; flex-wrap: wrap } .fact { background: #f2f5f8; border-radius: 8px; padding: .7rem 1.1rem }
.fact b { display: block; font-size: 1.4rem } .bad b { color: #b3261e } .muted { color: #5d6b7a } svg { width: 100%; height: auto }
"""


def plot(
    samples: list[dict[str, Any]], actions: list[dict[str, Any]], outages: Sequence[Mapping[str, Any]] = ()
) -> str:
    """An SVG of three rows on one time axis; actions are shaded, refusals dashed, outages red bars at the foot."""
    start = samples[0]["at"]
    when = [sample["at"] - start for sample in samples]
    figure, (load, cpu, count) = plt.subplots(3, 1, figsize=(11, 7.5), sharex=True, height_ratios=[2, 2, 2])
    load.plot(when, [sample["rate"] for sample in samples], color="#33658a")
    load.set_ylabel("requests/s")
    cpu.plot(when, [sample["cpu"] for sample in samples], color="#86495f")
    cpu.set_ylabel("busiest CPU, %")
    cpu.set_ylim(0, 105)
    count.step(when, [sample["vms"] for sample in samples], where="post", label="VMs", color="#1d2733")
    count.step(
        when, [sample["in_service"] for sample in samples], where="post", label="in service", color="#2a7f62", ls="--"
    )
    return _finished(figure, (load, cpu, count), samples, actions, outages)


def plot_models(samples: list[dict[str, Any]], actions: list[dict[str, Any]]) -> str:
    """The same for model endpoints: clients, the engines' requests, VMs."""
    when = [sample["at"] - samples[0]["at"] for sample in samples]
    figure, (load, queue, count) = plt.subplots(3, 1, figsize=(11, 7.5), sharex=True, height_ratios=[2, 2, 2])
    load.step(when, [sample["rate"] for sample in samples], where="post", color="#33658a")
    load.set_ylabel("streams at a time")
    queue.plot(when, [sample["waiting"] for sample in samples], color="#b0562f", label="waiting")
    queue.plot(when, [sample["running"] for sample in samples], color="#2a7f62", label="running")
    queue.set_ylabel("requests in vLLM")
    queue.legend(loc="upper right")
    count.step(when, [sample["vms"] for sample in samples], where="post", label="VMs", color="#1d2733")
    in_service = [sample["in_service"] for sample in samples]
    count.step(when, in_service, where="post", label="in service", color="#2a7f62", ls="--")
    return _finished(figure, (load, queue, count), samples, actions, ())


def _finished(
    figure: Any,
    axes: tuple[Any, ...],
    samples: list[dict[str, Any]],
    actions: list[dict[str, Any]],
    outages: Sequence[Mapping[str, Any]],
) -> str:
    """With the actions on it, as SVG."""
    start, load, count = samples[0]["at"], axes[0], axes[-1]
    count.set_ylabel("VMs")
    count.set_ylim(0, max(sample["vms"] for sample in samples) + 1)
    count.legend(loc="upper right")
    count.set_xlabel("seconds")
    for action in actions:
        refused = action["result"] != "succeeded"
        colour = COLOURS["refused"] if refused else COLOURS[action["direction"]]
        for axis in axes:
            if refused:
                axis.axvline(action["ended_at"] - start, color=colour, ls=":", lw=1)
            else:
                axis.axvspan(action["started_at"] - start, action["ended_at"] - start, color=colour, alpha=0.13, lw=0)
        label = action["code"] if refused else f"{action['count_before']} to {action['count_after']}"
        load.annotate(
            label, (action["ended_at"] - start, load.get_ylim()[1]), rotation=90, va="top", ha="right", fontsize=8
        )
    for outage in outages:
        for axis in axes:
            axis.axvspan(outage["began_at"] - start, outage["ended_at"] - start, 0, 0.06, color=COLOURS["outage"], lw=0)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def write(path: Path, summary: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """Write report.html from the summary and the samples."""
    bad = summary["requests_failed"] or any(summary["leaked"].values()) or summary["misses"]
    facts = [
        ("requests", f"{summary['requests_total']:,}", False),
        ("failed", str(summary["requests_failed"]), bool(summary["requests_failed"])),
        *((f"leaked {name}", str(number), bool(number)) for name, number in summary["leaked"].items()),
        ("seconds", f"{summary['seconds']:.0f}", False),
    ]
    outages = summary.get("outages")
    if outages:
        facts += [
            ("outages of the BIG-IP's management", str(outages["count"]), False),
            ("seconds of outage", f"{outages['seconds']:.0f}", False),
            ("calls hit", str(outages["calls_hit"]), False),
        ]
    boxes, rows = _boxes(facts), _rows(summary["actions"])
    misses = "".join(f"<li>{html.escape(miss)}</li>" for miss in summary["misses"])
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>onprem.autoscale demo</title><style>{STYLE}</style>
<h1>A real alert adds a VM that serves, and takes it away again</h1>
<p class=muted>Group web, two base members, min {summary["setting"]["min"]}, max {summary["setting"]["max"]};
clone {summary["setting"]["clone_s"]:g} s, boot {summary["setting"]["boot_s"]:g} s (simulated); driven by Alertmanager's webhook alone.
{"Red at the foot: the BIG-IP's management port is out. " if outages else ""}{"<b>Something was missed, see below.</b>" if bad else ""}</p>
<div class=facts>{boxes}</div>{f"<h2>Missed</h2><ul>{misses}</ul>" if misses else ""}
<h2>Load, CPU, VMs</h2>{plot(samples, summary["actions"], outages["rows"] if outages else ())}
<h2>Actions</h2><table><tr><th>started<th>action<th>code<th>VMs<th class=n>seconds<th>steps (seconds)<th>members</tr>
{rows}</table></html>
"""
    )


def _boxes(facts: Sequence[tuple[str, str, Any]]) -> str:
    return "".join(f'<div class="fact{" bad" if red else ""}"><b>{value}</b>{name}</div>' for name, value, red in facts)


def _rows(actions: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for action in actions:
        steps = ", ".join(f"{step['step']} {step['seconds']:.1f}" for step in action["steps"])
        rows.append(
            f"<tr><td>{time.strftime('%H:%M:%S', time.localtime(action['started_at']))}</td><td>{html.escape(action['name'])}</td>"
            f"<td>{html.escape(action['code'])}</td><td>{action['count_before']} to {action['count_after']}</td>"
            f"<td class=n>{action['seconds']:.1f}</td><td>{html.escape(steps)}</td>"
            f"<td>{html.escape(', '.join(action['members']))}</td></tr>"
        )
    return "".join(rows)


def write_models(path: Path, summary: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """The page of the demo with model endpoints."""
    cut, setting = summary["streams_cut"], summary["setting"]
    facts = [
        ("streams", f"{summary['streams_total']:,}", False),
        ("cut", str(cut), bool(cut)),
        *((f"leaked {name}", str(number), bool(number)) for name, number in summary["leaked"].items()),
        ("seconds", f"{summary['seconds']:.0f}", False),
    ]
    misses = "".join(f"<li>{html.escape(miss)}</li>" for miss in summary["misses"])
    cold = "".join(
        f"<tr><td>{html.escape(row['host'])}</td><td>{html.escape(row['stage'])}</td><td class=n>{row['seconds']:.1f}</td></tr>"
        for row in summary["cold_start"]
    )
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>onprem.autoscale model endpoints</title><style>{STYLE}</style>
<h1>A queue adds an endpoint that serves tokens, and its end takes it away without a cut stream</h1>
<p class=muted>Group model, one base member, min {setting["min"]}, max {setting["max"]}; an endpoint answers {setting["seqs"]}
requests at once; clone {setting["clone_s"]:g} s, boot {setting["boot_s"]:g} s, load {setting["load_s"]:g} s (simulated).</p>
<div class=facts>{_boxes(facts)}</div>{f"<h2>Missed</h2><ul>{misses}</ul>" if misses else ""}
<h2>Clients, requests, VMs</h2>{plot_models(samples, summary["actions"])}
<h2>Cold start</h2><table><tr><th>host<th>stage<th class=n>seconds</tr>{cold}</table>
<h2>Actions</h2><table><tr><th>started<th>action<th>code<th>VMs<th class=n>seconds<th>steps (seconds)<th>members</tr>
{_rows(summary["actions"])}</table></html>
"""
    )
