# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The report of a run as one page without anything from outside, for somebody who reads it at night.
"""

from __future__ import annotations

import html
import time
import typing as t

Row = t.Mapping[str, t.Any]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --paper: #ffffff; --soft: #5d6b7a; --line: #dde3ea; --box:
#f2f5f8; --good: #1f7a52; --bad: #b3261e; --warn: #9a6200; --bar: #33658a; --plan: #b9c6d3 } @media
(prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --paper: #12171d; --soft: #9aa8b6; --line: #2b3540; --box:
#1b232c; --good: #58c08e; --bad: #ff8a80; --warn: #e6b450; --bar: #6ea8d8; --plan: #47586a } } body { font: 15px/1.5
system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px; margin: 2rem auto; padding: 0
1rem } h1 { font-size: 1.2rem; margin: 0 0 .8rem; font-weight: 600 } h2 { font-size: 1.1rem; margin-top: 2rem }
.verdict { border-left: 8px solid; border-radius: 6px; padding: .8rem 1.2rem; background: var(--box); font-size:
1.25rem } .verdict b { display: block; font-size: 1.7rem } .verdict.good { border-color: var(--good) } .good b {
color: var(--good) } .verdict.bad { border-color: var(--bad) } .bad b { color: var(--bad) } .verdict.warn {
border-color: var(--warn) } .warn b { color: var(--warn) } .muted { color: var(--soft) } .facts { display: flex;
gap: .8rem; flex-wrap: wrap; margin-top: 1rem } .fact { background: var(--box); border-radius: 8px; padding: .6rem
1rem; min-width: 8rem } .fact b { display: block; font-size: 1.4rem } table { border-collapse: collapse; width:
100%; font-variant-numeric: tabular-nums } th, td { text-align: left; padding: .3rem .5rem; border-bottom: 1px solid
var(--line); vertical-align: top } td.n, th.n { text-align: right; white-space: nowrap } td.time { width: 38%;
min-width: 12rem; padding: 0 } .track { position: relative; height: 2.4rem } .track i { position: absolute;
border-radius: 3px; min-width: 2px } .planned { top: .35rem; height: .55rem; background: var(--plan) } .actual {
top: 1.05rem; height: .95rem; background: var(--bar) } .actual.over { background: var(--warn) } .actual.failed {
background: var(--bad) } .mark { top: 0; bottom: 0; height: 100%; width: 0; border-left: 2px dashed var(--bad);
border-radius: 0 } .mark.served { border-color: var(--good) } .mark.target { border-color: var(--soft);
border-left-style: dotted } .key i { display: inline-block; width: 1.4rem; height: .7rem; border-radius: 3px;
margin: 0 .3rem 0 1rem; position: static } .key i.mark { width: 0; height: 1rem; vertical-align: middle } li {
margin: .2rem 0 } .error { color: var(--bad) } .warning { color: var(--warn) }
"""
_KINDS = {"failover": "Failover", "failback": "Failback", "drill": "Drill", "backup": "Backup"}


def page(report: Row) -> str:
    """The page."""
    tone, head, words = _verdict(report)
    kind = _KINDS[report["kind"]] + (" (planned)" if report["planned"] and report["kind"] == "failover" else "")
    way = (
        f"site {report['source']}"
        if report["kind"] == "backup"
        else f"site {report['source']} to site {report['target']}"
    )
    title = f"{kind} of {report['plan']}, {way}"
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_text(title)}: {_text(head)}</title><style>{_STYLE}</style>
<h1>{_text(title)}</h1>
<div class="verdict {tone}"><b>{_text(head)}</b>{_text(words)}</div>
<p class=muted>Run {_text(report["run"])}, pattern {_text(report["pattern"])}, from {_moment(report["began_at"])} to
{_moment(report["ended_at"])}.</p>
<div class=facts>{_facts(report)}</div>
{_findings(report)}{_steps(report)}{_checks(report)}{_readiness(report)}</html>
"""


def _text(value: t.Any) -> str:
    return html.escape(str(value))


def _moment(value: float | None) -> str:
    return "-" if value is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    number, unit = (value, "s") if value < 600 else (value / 60, "min")
    return f"{number:.1f}".removesuffix(".0") + f" {unit}"


def _verdict(report: Row) -> tuple[str, str, str]:
    """Tone, head line, sentence."""
    left = [row for row in report["steps"] if row["state"] not in ("done", "skipped")]
    if report["result"] != "done":
        head = "Failed" if report["result"] == "failed" else "Given up before its end"
        why = f": {left[0]['detail']}" if left[0]["detail"] else ""
        return "bad", head, f"{len(left)} of {len(report['steps'])} steps are open, first {left[0]['name']}{why}."
    bad = [row["name"] for row in report["data_checks"] if not row["ok"]]
    if bad:
        return "bad", "Done, and data is not whole", f"Failed checks: {', '.join(bad)}."
    missed = [what.upper() for what in ("rto", "rpo") if report[f"{what}_met"] is False]
    if missed:
        return "bad", f"Done, {' and '.join(missed)} missed", _targets(report)
    if report["kind"] == "backup":
        return "good", "Done", "Everything that the plan names was backed up."
    unknown = [what.upper() for what in ("rto", "rpo") if report[f"{what}_met"] is None]
    if unknown:
        return "warn", f"Done, {' and '.join(unknown)} not measured", _targets(report)
    return "good", "Done, RTO and RPO kept", _targets(report)


def _targets(report: Row) -> str:
    what = "It would have taken" if report["kind"] == "drill" else "The service was away for"
    if report["rto_s"] is None:
        return "Nobody saw when the service was lost, or when it came back."
    words = f"{what} {_seconds(report['rto_s'])}, {_seconds(report['rto_target_s'])} are allowed"
    if report["rto_s"] == 0 and report["kind"] != "drill":
        words = "The service was never away"
    lost = "what was lost is not known" if report["rpo_s"] is None else f"{_seconds(report['rpo_s'])} of data are lost"
    return f"{words}; {lost}, {_seconds(report['rpo_target_s'])} are allowed."


def _facts(report: Row) -> str:
    boxes = []
    if report["kind"] != "backup":
        for what in ("rto", "rpo"):
            tone = {True: "good", False: "bad", None: "warn"}[report[f"{what}_met"]]
            basis = (
                f"<br><span class=muted>{_text(report['rpo_basis'])}</span>"
                if what == "rpo" and report["rpo_basis"]
                else ""
            )
            label = f"{what.upper()}, target {_seconds(report[f'{what}_target_s'])}{basis}"
            boxes.append(_box(tone, _seconds(report[f"{what}_s"]), label))
    if report["rto_outside_s"] is not None:
        boxes.append(_box("", _seconds(report["rto_outside_s"]), "RTO, seen from outside"))
    for key, label, limit in (
        ("rpo_outside_rows", "committed rows lost", None),
        ("requests_failed", "requests failed", None),
        ("writers_max", "writers at once, at most", 1),
    ):
        if report[key] is not None:
            tone = "" if limit is None else "good" if report[key] <= limit else "bad"
            boxes.append(_box(tone, f"{report[key]:,}", label))
    return "".join(boxes)


def _box(tone: str, value: str, label: str) -> str:
    return f'<div class="fact {tone}"><b>{_text(value)}</b>{label}</div>'


def _findings(report: Row) -> str:
    if not report["findings"]:
        return ""
    order = {"error": 0, "warning": 1}
    rows = sorted(report["findings"], key=lambda row: order.get(row["level"], 2))
    items = "".join(
        f'<li><b class="{_text(row["level"])}">{_text(row["level"])}</b> {_text(row["text"])}</li>' for row in rows
    )
    return f"<h2>Findings</h2><ul>{items}</ul>"


def _steps(report: Row) -> str:
    begun = [row for row in report["steps"] if row["began_at"] is not None]
    times = [row["began_at"] for row in begun] + [
        at for at in (report["lost_at"], report["served_at"]) if at is not None
    ]
    zero = min(times, default=report["began_at"])
    ends = [max(row["ended_at"] or 0, row["began_at"] + row["planned_s"]) for row in begun]
    span = max(*ends, *times, zero + 1) - zero if begun else 1.0
    # A target that lies far behind the end would press the bars into a corner.
    target = None if report["lost_at"] is None else report["lost_at"] + report["rto_target_s"]
    if target is not None and target - zero > 1.6 * span:
        target = None
    elif target is not None:
        span = max(span, target - zero)

    def place(at: float) -> str:
        return f"{100 * (at - zero) / span:.2f}%"

    marks = "".join(
        f'<i class="mark {name}" style="left:{place(at)}"></i>'
        for name, at in (("lost", report["lost_at"]), ("served", report["served_at"]), ("target", target))
        if at is not None
    )
    rows = "".join(
        f"<tr><td>{_text(row['title'])}<br><span class=muted>{_text(row['name'])}{_detail(row)}</span></td>"
        f"<td>{_text(row['state'])}</td><td class=n>{row['planned_s']} s</td>"
        f"<td class=n>{'-' if row['seconds'] is None else _seconds(row['seconds'])}</td>"
        f"<td class=time><div class=track>{_bars(row, place, span)}{marks}</div></td></tr>"
        for row in report["steps"]
    )
    keys = '<i class=planned></i>planned<i class=actual></i>actual<i class="actual over"></i>longer than planned'
    for name, words, at in (
        ("", "lost", report["lost_at"]), ("served", "back", report["served_at"]), ("target", "RTO target", target),
    ):  # fmt: skip
        keys += f'<i class="mark {name}"></i>{words}' if at is not None else ""
    scale = f"0 to {_seconds(span)} since {_moment(zero)}"
    return (
        f"<h2>Steps</h2><p class='muted key'>{_text(scale)}{keys}</p>"
        f"<table><tr><th>step<th>state<th class=n>planned<th class=n>actual<th>time</tr>{rows}</table>"
    )


def _detail(row: Row) -> str:
    again = f", begun {row['attempts']} times" if row["attempts"] > 1 else ""
    return again + (f": {_text(row['detail'])}" if row["detail"] else "")


def _bars(row: Row, place: t.Callable[[float], str], span: float) -> str:
    if row["began_at"] is None:
        return ""
    left = place(row["began_at"])
    bars = f'<i class=planned style="left:{left};width:{100 * row["planned_s"] / span:.2f}%"></i>'
    if row["seconds"] is None:
        return bars
    tone = "failed" if row["state"] == "failed" else "over" if row["seconds"] > row["planned_s"] else ""
    return f'{bars}<i class="actual {tone}" style="left:{left};width:{100 * row["seconds"] / span:.2f}%"></i>'


def _well(row: Row) -> str:
    return "<td>well</td>" if row["ok"] else '<td class="error">NOT well</td>'


def _checks(report: Row) -> str:
    if not report["data_checks"]:
        return ""
    rows = "".join(
        f"<tr><td>{_text(row['name'])}</td>{_well(row)}<td>{_text(row['detail'])}</td></tr>"
        for row in report["data_checks"]
    )
    return f"<h2>Data</h2><table><tr><th>check<th>result<th>detail</tr>{rows}</table>"


def _readiness(report: Row) -> str:
    seen = report["readiness"]
    if not isinstance(seen, t.Mapping) or "checks" not in seen:
        return ""
    rows = "".join(
        f"<tr><td>{_text(row['name'])}</td>{_well(row)}<td>{_text(row['reason'])}</td></tr>"
        for row in sorted(seen["checks"], key=lambda row: row["ok"])
    )
    words = "ready" if seen["ready"] else "not ready"
    return (
        f"<h2>Readiness before it: {seen['score']} of 100, {words}</h2>"
        f"<table><tr><th>check<th>result<th>reason</tr>{rows}</table>"
    )
