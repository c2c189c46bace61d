# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the plays at every step boundary and inside the long steps; one reconcile; nothing may be amiss.

``python tests/chaos/kill.py`` lists the boundaries of an undisturbed scale_out and scale_in, then kills a run at each,
and some inside a task, spread over a few labs side by side. After each kill one reconcile runs, and what vCenter,
BIG-IP, the targets' file and the ledger's file then hold is compared with the end of the undisturbed run. Writes
build/chaos/kills.json.

The receiver, the dispatcher and Alertmanager are killed too, while an alert fires (services.py).

``--sample`` does a quarter: two boundaries of eight, at one of which the play dies alone, at the other with all; of the
rest as many, of each service one at least.
``--only out --boundaries 5-9`` does a part, ``--inside`` only the kills inside tasks, ``--services`` only those of the
services, ``--list`` only lists.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import kill_report
from chaos.matrix_plays import Plays
from chaos.services import SCENARIOS
from chaos.worker import MOMENTS, SIZE_BEFORE, Kill, Pool, Result, Worker, own_environment
from lab.build import build_go
from lab.settings import REPO

OUT = REPO / "build" / "chaos"
LABS = (2, 3, 12)
BEGAN = time.monotonic()
_SAYING = threading.Lock()


def say(text: str) -> None:
    with _SAYING:
        print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def plan_kills(boundaries: dict[str, list[dict[str, Any]]]) -> list[Kill]:
    """Every boundary of both directions in turn, then the moments inside tasks, then the services."""
    kills = []
    for number in range(max(len(rows) for rows in boundaries.values())):
        for direction, rows in boundaries.items():
            if number < len(rows):
                row = rows[number]
                kills.append(Kill(direction, row["number"], row["task"], everything=row["number"] % 2 == 0))
    for index, (name, (direction, module, _seen, _delay)) in enumerate(MOMENTS.items()):
        tasks = [row["task"] for row in boundaries[direction] if row["action"] == f"onprem.autoscale.{module}"]
        if not tasks:
            raise RuntimeError(f"no task of scale_{direction} uses {module}: moment {name} is out of date")
        kills.append(Kill(direction, 0, tasks[0], name, everything=index % 2 == 1))
    kills += [Kill("out", 0, "", point, everything, part) for part, point, everything in SCENARIOS]
    return kills


def chosen(kills: list[Kill], options: argparse.Namespace) -> list[Kill]:
    """The part that the command line asks for."""
    first, _dash, last = (options.boundaries or "1-999").partition("-")
    numbers = range(int(first), int(last or first) + 1)
    rows = [kill for kill in kills if not options.only or kill.direction == options.only]
    if options.inside is not None:
        return [kill for kill in rows if kill.part == "play" and kill.inside and options.inside in kill.inside]
    if options.services is not None:
        return [kill for kill in rows if kill.part != "play" and options.services in kill.label]
    if options.boundaries:
        return [kill for kill in rows if kill.number in numbers]
    if options.sample:
        boundaries = [kill for kill in rows if kill.number]
        return [kill for kill in boundaries if kill.number % 8 in (1, 6)] + [
            kill for index, kill in enumerate(kill for kill in rows if not kill.number) if index % 8 in (0, 3)
        ]
    return rows


def work(worker: Worker, pool: Pool, results: list[Result], total: int) -> None:
    """What each worker does until no kill is left."""
    while kill := pool.take(worker.size):
        result = worker.carry_out(kill)
        results.append(result)
        how = "with all its processes" if kill.everything else "alone"
        place = f"inside {kill.inside}, task" if kill.inside else f"at boundary {kill.number}, before"
        what = f"scale_{kill.direction} killed {how} {place} {kill.task!r}"
        if kill.part != "play":
            what = f"{kill.part} killed {how} at {kill.inside}"
        verdict = f"MISS {result.misses}" if result.misses else "as undisturbed"
        say(
            f"[{len(results)}/{total}] {what}: promised {result.promised}, {verdict}"
            f" ({result.seconds:.0f} s, lab {worker.index})"
        )


def prepare(workers: list[Worker]) -> dict[str, list[dict[str, Any]]]:
    """All labs up; the first one learns the boundaries and the end states for all."""
    for program in ("vcenter", "guest"):
        build_go(program)  # once, before several want it
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as threads:
        rest = [threads.submit(worker.up) for worker in workers[1:]]
        workers[0].up()
        boundaries = {direction: workers[0].learn(direction) for direction in ("out", "in")}
        for future in rest:
            future.result()
    for worker in workers:
        worker.ends = workers[0].ends
    return boundaries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(SIZE_BEFORE))
    parser.add_argument("--boundaries", help="for instance 5-9, or 7")
    parser.add_argument(
        "--inside", nargs="?", const="", help="only kills inside tasks, those whose name holds this text"
    )
    parser.add_argument("--services", nargs="?", const="", help="only the services, those whose label has this text")
    parser.add_argument("--sample", action="store_true", help="a quarter of all")
    parser.add_argument("--labs", default=",".join(map(str, LABS)), help="LAB_INDEX of the labs to use")
    parser.add_argument("--list", action="store_true", help="list the boundaries and stop")
    options = parser.parse_args()
    own_environment()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"signal {number}"))
    workers = [Worker(int(index), OUT / "kills", say) for index in options.labs.split(",")]
    results: list[Result] = []
    stack = contextlib.ExitStack()
    plays = stack.enter_context(Plays())
    try:
        for worker in workers:
            worker.site.plays = plays
        boundaries = prepare(workers)
        for direction, rows in boundaries.items():
            say(f"scale_{direction} has {len(rows)} step boundaries")
            for row in rows if options.list else ():
                print(f"  {row['number']:3d}  {row['task']}  ({row['path']})")
        if options.list:
            return 0
        kills = chosen(plan_kills(boundaries), options)
        say(f"{len(kills)} kills in {len(workers)} labs")
        pool = Pool(kills)
        with concurrent.futures.ThreadPoolExecutor(len(workers)) as threads:
            try:
                for future in [threads.submit(work, worker, pool, results, len(kills)) for worker in workers]:
                    future.result()
            finally:
                pool.give_up()
    finally:
        for worker in workers:
            worker.site.down()
        stack.close()
    parts = (options.only, options.boundaries, options.inside, options.services)
    whole = all(part is None for part in parts)
    summary = {
        "complete": whole and not options.sample,
        "boundaries": {direction: len(rows) for direction, rows in boundaries.items()},
        "kills": [result.row() for result in results],
        "seconds": time.monotonic() - BEGAN,
    }
    (OUT / ("kills.json" if whole else "kills-part.json")).write_text(json.dumps(summary, indent=1) + "\n")
    missed = sum(1 for result in results if result.misses)
    untouched = sum(1 for result in results if result.promised == "nothing")
    print("\n" + kill_report.text(summary["kills"]))
    number = sum(summary["boundaries"].values())
    print(
        f"\n{number} boundaries, {len(results)} kills, of which {untouched} before anything was promised;"
        f" {missed} missed; {summary['seconds']:.0f} s"
    )
    return 1 if missed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
