# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down how long the stages of vLLM's last start took: ``python vllm_coldstart.py CONFIG.json VERSION``.

The canary calls it after its first success. What the role did before the start (gpu, model, install) lies in
``stages_file`` and is used once. The stages of vLLM itself come from texts in the journal, which belong to a version of
vLLM: where a text is not known or not found, its stage is part of the next one, and the last one ends now, by the
wall's clock. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

#: Stage -> the text that ends it, in the order of a start, by the version that it was seen in.
MARKERS = {
    "0.32": (
        ("process", "Initializing a V1 LLM engine"),
        ("load", "Loading weights took"),
        ("engine", "init engine (profile, create kv cache, warmup model) took"),
        ("http", "Application startup complete"),
    ),
}
LAST = "http"


def stages(began: float, lines: list, version: str, now: float) -> list:
    """The stages of a start that began at *began*; *lines*: ``(time, text)`` of the journal since then."""
    known = MARKERS.get(".".join(version.split(".")[:2]), ())
    found, start, position = [], began, 0
    for stage, text in known:
        hit = next((row for row in range(position, len(lines)) if text in lines[row][1]), None)
        if hit is None:
            continue
        end, position = max(start, lines[hit][0]), hit + 1
        found.append(_row(stage, start, end, "journal"))
        start = end
    if not found or found[-1]["stage"] != LAST:
        found.append(_row(LAST, start, max(start, now), "wall"))
    return found


def _row(stage: str, start: float, end: float, source: str) -> dict:
    return {
        "stage": stage,
        "start": round(start, 3),
        "end": round(end, 3),
        "seconds": round(end - start, 3),
        "ok": True,
        "source": source,
    }


def journal(unit: str, invocation: str) -> list:
    """``(time, text)`` of what this start said, the oldest first."""
    command = [
        "journalctl",
        "--no-pager",
        "--output=json",
        "--output-fields=MESSAGE",
        f"_SYSTEMD_INVOCATION_ID={invocation}",
    ]
    said = subprocess.run([*command, f"_SYSTEMD_UNIT={unit}"], capture_output=True, check=True, timeout=30).stdout
    rows = []
    for line in said.splitlines():
        row = json.loads(line)
        text = row.get("MESSAGE")
        if isinstance(text, list):  # bytes that are no text, such as colours
            text = bytes(text).decode(errors="replace")
        rows.append((int(row["__REALTIME_TIMESTAMP"]) / 1e6, text or ""))
    return rows


def started(unit: str) -> tuple:
    """``(time, invocation)`` of the start."""
    names = "--property=InvocationID,ExecMainStartTimestampMonotonic"
    said = subprocess.run(
        ["systemctl", "show", unit, names], capture_output=True, check=True, timeout=30, text=True
    ).stdout
    shown = dict(line.split("=", 1) for line in said.splitlines())
    age = time.clock_gettime(time.CLOCK_MONOTONIC) - int(shown["ExecMainStartTimestampMonotonic"]) / 1e6
    return time.time() - age, shown["InvocationID"]


def before(path: str) -> list:
    """What the role noted, once: the next start without the role has no such stages."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["stages"]
    except (OSError, ValueError, LookupError):
        return []
    finally:
        if os.path.exists(path):
            os.remove(path)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    now = time.time()
    began, invocation = started(config["unit"])
    try:
        lines = journal(config["unit"], invocation)
    except (OSError, subprocess.SubprocessError, ValueError):
        lines = []
    found = before(config["stages_file"]) + stages(began, lines, sys.argv[2], now)
    fresh = f"{config['coldstart_file']}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump({"stages": found}, file, indent=1)
        file.write("\n")
    os.replace(fresh, config["coldstart_file"])


if __name__ == "__main__":
    main()
