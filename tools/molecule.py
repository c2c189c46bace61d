# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the roles' molecule scenarios on real hosts, some side by side; build/molecule/summary.json tells how each went.

Run by `make molecule`. Where hosts cannot be booted it says why and fails: a role that nobody tried is not tested.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "extensions" / "molecule"
OUT = ROOT / "build" / "molecule"
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}"}
#: What the scenarios of a role are tested with and is built from source.
BUILT = {"log_agent": ("loki", "promtail", "otelcol", "otelcol-next"), "vector_store": ("kubeapi",)}
#: Not every commit's: run by `make test-nightly`, or when named.
NIGHTLY = frozenset({"vllm_host_image"})
TAIL_LINES = 60
LIMIT_S = 1200
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str) -> None:
    print(text, flush=True)


def known() -> dict[str, int]:
    """Hosts to boot by name of scenario, none where this machine is the host; the longest come early."""
    files = sorted(SCENARIOS.glob("*/molecule.yml"), reverse=True)
    rows = {path.parent.name: yaml.safe_load(path.read_text())["platforms"] for path in files}
    return {name: sum("number" in row for row in platforms) for name, platforms in rows.items()}


def hosts(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m lab.hosts``."""
    command = [sys.executable, "-m", "lab.hosts", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def build(scenarios: Iterable[str]) -> bool:
    """Whether all is there that these scenarios are tested with."""
    roles = {name.rpartition("_")[0] for name in scenarios}
    programs = [program for role in sorted(roles & BUILT.keys()) for program in BUILT[role]]
    if not programs:
        return True
    say(f"{', '.join(programs)} (the first time they are built, some ten minutes)")
    return subprocess.run([sys.executable, "-m", "lab.build", *programs], env=ENVIRONMENT, check=False).returncode == 0


def play(name: str, count: int) -> dict[str, Any]:
    """Run one scenario from its first step to its last; its output is in build/molecule/<name>.log."""
    log = OUT / f"{name}.log"
    began = time.monotonic()
    say(f"{name}: begins on {count} hosts")
    command = ["molecule", "test", "--no-command-borders", "--scenario-name", name]
    with log.open("w") as output:
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=ENVIRONMENT,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            ended = f"no end within {LIMIT_S} s"
    seconds = round(time.monotonic() - began, 1)
    role, _unused, scenario = name.rpartition("_")
    if ended == 0:
        say(f"{name}: passed in {seconds:g} s")
    else:
        text = ANSI.sub("", log.read_text(errors="replace")).splitlines()[-TAIL_LINES:]
        say(f"{name}: FAILED ({ended}) after {seconds:g} s; the end of {log.relative_to(ROOT)}:\n" + "\n".join(text))
    return {"role": role, "scenario": scenario, "hosts": count, "seconds": seconds, "ok": ended == 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO", help="repeat it for several")
    parser.add_argument("--nightly", action="store_true", help="those that are left out else, and no other")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios side by side")
    arguments = parser.parse_args()
    scenarios = known()
    unknown = set(arguments.only) - scenarios.keys()
    if unknown or not scenarios:
        say(f"no such scenario: {', '.join(sorted(unknown)) or 'none at all'}; known: {', '.join(scenarios)}")
        return 2
    names = set(arguments.only) or (NIGHTLY if arguments.nightly else scenarios.keys() - NIGHTLY)
    wanted = {name: count for name, count in scenarios.items() if name in names}
    if not arguments.only and not arguments.nightly:
        say(f"left out, as they belong to `make test-nightly`: {', '.join(sorted(NIGHTLY))}")
    OUT.mkdir(parents=True, exist_ok=True)
    summary = OUT / "summary.json"
    summary.unlink(missing_ok=True)
    boots = any(wanted.values())
    if boots:
        say("a first host: boot, SSH, removal (the first time its root file system is made, about a minute)")
        tried = hosts("check")
        if tried.returncode:
            say(f"molecule cannot run here, so the roles are not tested:\n{tried.stderr.strip()}")
            return 1
    if not build(wanted):
        return 1
    began = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            rows = list(pool.map(play, wanted, wanted.values()))
    finally:
        if boots:
            hosts("clear")
    summary.write_text(json.dumps(rows, indent=2) + "\n")
    table(rows, time.monotonic() - began)
    return 0 if all(row["ok"] for row in rows) else 1


def table(rows: list[dict[str, Any]], seconds: float) -> None:
    say(f"\n{'role':<18} {'scenario':<10} {'hosts':>5} {'seconds':>8}")
    for row in rows:
        line = f"{row['role']:<18} {row['scenario']:<10} {row['hosts']:>5} {row['seconds']:>8.1f}"
        say(line if row["ok"] else f"{line}  FAILED")
    passed = sum(row["ok"] for row in rows)
    say(f"in {seconds:.0f} s; build/molecule/summary.json\n{passed} passed, {len(rows) - passed} failed")


if __name__ == "__main__":
    sys.exit(main())
