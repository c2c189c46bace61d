# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: every call that a play makes to a backend, times every way in which a call goes wrong.

``python tests/chaos/matrix.py`` runs scale_out and scale_in undisturbed through the fault proxy and takes the calls
that it saw as rows. For each call and fault it runs the play once, takes the fault away, runs one reconcile if the
group is not converged, and compares what the backends hold with an undisturbed group. Writes build/chaos/matrix.json,
matrix.html and faults.json; the exit status is 1 if any cell is not ok.

``--only 'bigip:*' --faults refuse,cut`` does a part, ``--sample`` each call with one fault, ``--list`` only lists the
rows. The faults are refuse,
refuse-lasting, delay, status, status-lasting, cut, apply-status, stale.

``--each`` has a row for each time a call is made: the second login of a play is that of the module that clones, so
that a lasting fault from there on hits a play in the middle of its work. Writes matrix-each.json and so on.

``--ledger`` makes another, small table instead: the ledger lies in PostgreSQL, its rows are the transactions that a
play writes there, and each is lost before it, held up, or lost right after it. Writes matrix-ledger.json, .html and
faults-ledger.json.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import matrix_report
from chaos.matrix_cells import Call, Cell, Fault, Pool, Result, cells, chosen, sample
from chaos.matrix_ledger import LedgerWorker
from chaos.matrix_plays import Plays
from chaos.matrix_worker import TIMES, Worker
from lab.build import build_go
from lab.settings import REPO

OUT = REPO / "build" / "chaos"
LABS = (4, 5, 13)
BEGAN = time.monotonic()
_SAYING = threading.Lock()


def say(text: str) -> None:
    with _SAYING:
        print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


def prepare(workers: list[Worker]) -> list[Call]:
    """All labs up, each with both end states learned; the rows are what any of them saw."""
    for program in ("vcenter", "guest"):
        build_go(program)  # once, before several want it

    def learn(worker: Worker) -> list[Call]:
        worker.up()
        return [*worker.undisturbed("out"), *worker.undisturbed("in")]

    with concurrent.futures.ThreadPoolExecutor(len(workers)) as threads:
        found = list(threads.map(learn, workers))
    return list(dict.fromkeys(row for rows in found for row in rows))


def work(worker: Worker, pool: Pool, results: list[Result], total: int) -> None:
    """What each worker does until no cell is left."""
    while cell := pool.take(worker.size):
        result = worker.carry_out(cell)
        results.append(result)
        verdict = "ok" if result.ok else f"FAIL {result.why}"
        verdict = f"n/a, {result.not_applicable}" if result.not_applicable else verdict
        said = f"{result.result or 'nothing'}{', reconciled' if result.reconciled else ''}"
        took = f"({result.seconds:.0f} s, lab {worker.index})"
        say(f"[{len(results)}/{total}] {cell.title}: play {said}: {verdict} {took}")


def run_cells(workers: list[Worker], todo: list[Cell], results: list[Result]) -> None:
    """All cells, by all workers side by side; *results* is added to."""
    pool = Pool(todo)
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as threads:
        for future in [threads.submit(work, worker, pool, results, len(todo)) for worker in workers]:
            future.result()


def wanted_cells(rows: list[Call], faults: list[Fault], options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for."""
    some = list(dict.fromkeys(row for pattern in options.only or ["*"] for row in chosen(rows, pattern)))
    todo = cells(some, faults)
    return (sample(todo) if options.sample else todo)[: options.limit]


def wanted_faults(names: str | None, all_faults: Sequence[Fault]) -> list[Fault]:
    """The columns asked for; all without a name."""
    known = {fault.name: fault for fault in all_faults}
    if names is None:
        return list(all_faults)
    unknown = set(names.split(",")) - set(known)
    if unknown:
        raise SystemExit(f"unknown faults {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="calls, as backend:call or out/backend:call, with *")
    parser.add_argument("--faults", help="columns, with commas between")
    parser.add_argument("--labs", default=",".join(map(str, LABS)), help="LAB_INDEX of the labs to use")
    parser.add_argument("--ledger", action="store_true", help="the ledger in PostgreSQL instead of the backends")
    parser.add_argument("--each", action="store_true", help="a row for each time a call is made, up to 4")
    parser.add_argument("--sample", action="store_true", help="each call with one fault, the faults in turn")
    parser.add_argument("--limit", type=int, help="at most so many cells")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    options = parser.parse_args()
    for name in ("LAB_DIR", "LAB_JSON", "LAB_INDEX"):
        os.environ.pop(name, None)
    kind = LedgerWorker if options.ledger else Worker
    faults = wanted_faults(options.faults, kind.faults)
    rows: list[Call] = []
    results: list[Result] = []
    cells_began = BEGAN
    with Plays() as plays:
        kind.each = options.each
        workers = [kind(int(index), OUT / "matrix", plays) for index in options.labs.split(",")]
        try:
            rows = prepare(workers)
            say(f"{len(rows)} calls seen in scale_out and scale_in")
            if options.list:
                for row in rows:
                    print(f"  {row.title}{'  (read)' if row.read else ''}")
                return 0
            todo = wanted_cells(rows, faults, options)
            say(f"{len(todo)} cells in {len(workers)} labs")
            cells_began = time.monotonic()
            run_cells(workers, todo, results)
        finally:
            for worker in workers:
                worker.down()
    part = bool(options.only or options.faults or options.limit)
    suffix = "".join(
        f"-{name}" for name, is_on in (("ledger", options.ledger), ("each", options.each), ("part", part)) if is_on
    )
    spent = time.monotonic() - cells_began
    about = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "complete": not (part or options.sample),
        "calls": len(rows),
        "labs": len(workers),
        "processors": os.cpu_count(),
        "times": TIMES,
        "seconds": round(time.monotonic() - BEGAN, 1),
        "seconds_per_cell": round(spent / max(1, len(results)), 2),
    }
    by_place = {(result.cell.call, result.cell.fault.name): result for result in results}
    shown = [row for row in rows if any((row, fault.name) in by_place for fault in kind.faults)]
    print("\n" + matrix_report.table(shown, by_place, kind.faults) + "\n")
    for result in results:
        if not result.ok:
            print(f"FAIL  {result.cell.title}: {'; '.join(result.why)[:500]}")
    paths = matrix_report.write(OUT, shown, by_place, about, suffix, kind.faults)
    numbers = matrix_report.counts(results)
    print(
        f"{numbers['cells']} cells: {numbers['ok']} ok (of them {numbers['reconciled']} after a reconcile,"
        f" {numbers['not_applicable']} not applicable), {numbers['failed']} failed; {about['seconds']:.0f} s,"
        f" {about['seconds_per_cell']} s a cell; {', '.join(str(path.relative_to(REPO)) for path in paths)}"
    )
    return 0 if results and not numbers["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
