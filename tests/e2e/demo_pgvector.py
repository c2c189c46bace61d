# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo with vectors: declared, searched, killed, promoted, rewound, and what was lost is counted (C1 to C5).

Run by `make demo-pgvector`; DEMO_ROWS=2000 for a quick try. Writes build/pgvector/summary.json and report.html. A
recall below 0.95, a row lost in synchronous mode, an answer that differs, or anything left is a non-zero exit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e import report_pgvector
from e2e.vector_lab import INDEX, STORE, TABLE, VectorLab, until

from lab.process import LabError
from lab.settings import REPO
from lab.vectors import Cloud, Journal, Writer, load, missing, neighbours

OUT = REPO / "build" / "pgvector"
ROWS = int(os.environ.get("DEMO_ROWS", "20000"))
DIMENSION = 384
RECALL, K, SAMPLE = 0.95, 10, 100
PROBES = 20
A, B = "site-a", "site-b"


class PgvectorDemo:
    """One run: steps, answers, losses, verdict."""

    def __init__(self, rows: int = ROWS) -> None:
        self.began = time.time()
        self.rows = rows
        self.centres = max(4, min(200, rows // 100))  # a hundred neighbours each, as few rows as there may be
        self.cloud = Cloud(DIMENSION, centres=self.centres)
        self.probes = [self.cloud.probe(number) for number in range(PROBES)]
        self.lab = VectorLab(OUT, (A, B), dimension=DIMENSION)
        self.steps: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []  # where, when, and whether they are those of the beginning
        self.expected: dict[str, list[list[int]]] = {}
        self.losses: dict[str, dict[str, Any]] = {}
        self.misses: list[str] = []
        self.recall = 0.0
        self.index: dict[str, Any] = {}

    def say(self, text: str) -> None:
        print(f"{time.time() - self.began:6.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the summary."""
        began = time.time()
        self.say(f"-- {name}")
        yield
        seconds = round(time.time() - began, 2)
        self.steps.append({"name": name, "seconds": seconds, "started": round(began - self.began, 2)})

    def playbook(self, name: str, **variables: Any) -> None:
        """Run it; its output on the screen, line by line, and in the demo's folder."""
        command = self.lab.command(name, **variables)
        log = OUT / "logs" / f"{len(self.steps) + 1:02}-{name}.log"
        log.parent.mkdir(exist_ok=True)
        with (
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=REPO
            ) as process,
            log.open("w") as file,
        ):
            assert process.stdout
            try:
                for line in process.stdout:
                    file.write(line)
                    self.say(f"  | {line.rstrip()}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            raise LabError(f"{name} ended with {process.returncode}; see {log.relative_to(REPO)}")

    # ---- answers -----------------------------------------------------------------------------------------------------
    def ask(self, connection: psycopg.Connection[Any]) -> dict[str, list[list[int]]]:
        """The neighbours of the fixed probes: by looking at every row, and by the index."""
        return {
            "exact": neighbours(connection, TABLE, self.probes, k=K, exact=True),
            "index": neighbours(connection, TABLE, self.probes, k=K),
        }

    def compare(self, where: str, connection: psycopg.Connection[Any]) -> None:
        """Whether the answers are still those of the beginning."""
        found = self.ask(connection)
        equal = {way: found[way] == self.expected[way] for way in found}
        self.answers.append({"where": where, **equal})
        words = ", ".join(f"{way} {'the same' if same else 'DIFFERENT'}" for way, same in equal.items())
        self.say(f"answers {where}: {words}")
        self.misses += [f"answers {where} differ ({way})" for way, same in equal.items() if not same]

    # ---- the story ---------------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        with self.step("two emulated DSMs"):
            self.lab.up()

    def story(self) -> None:
        self.store()
        self.local_failover()
        with self.step(f"replicate to {B}, synchronous"):
            self.playbook("vector_store_replicate", **{"from": A, "to": B, "synchronous": True})
        self.disaster("synchronous", held=False)
        self.failback()
        self.disaster("asynchronous", held=True)

    def store(self) -> None:
        """From one declaration to a store that answers, on its replica too."""
        with self.step("declare: cluster, database, roles, table"):
            self.playbook("vector_store", vector_store_indexes=[])
        with self.step(f"load {self.rows:,} x {DIMENSION}"), self.lab.connect(A, "app") as connection:
            load(connection, TABLE, self.cloud, self.rows)
        with self.step("HNSW index"):
            self.playbook("vector_store")
        with self.step(f"recall@{K}"):
            self.measure_recall()
        with self.lab.connect(A) as connection:
            self.expected = self.ask(connection)
        with self.step("ask the read replica"):
            replica = next(node for node in self.lab.nodes(A) if node["role"] == "replica")
            with psycopg.connect(**self.at(replica), autocommit=True) as connection:
                assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
                self.compare("on the read replica", connection)

    def at(self, node: dict[str, Any]) -> dict[str, Any]:
        """Straight to one instance."""
        return self.lab.login("search", host=node["host"], port=node["port"])

    def measure_recall(self) -> None:
        login = self.lab.login("search", **self.lab.address(A))
        names = {"dbname": "database", "user": "username", "sslrootcert": "ca_path"}
        options = {names.get(name, name): value for name, value in login.items()}
        recall = {"sample": SAMPLE, "k": K, "ef_search": 100}
        found = self.lab.module("pgvector_info", {**options, "tables": [f"public.{TABLE}"], "recall": recall})
        (table,) = found["tables"]
        self.recall = float(table["recall"]["recall"])
        self.index = next(index for index in table["indexes"] if index["name"] == INDEX)
        self.say(f"recall@{K} {self.recall:.4f} on {SAMPLE} rows; index {self.index['size'] / 1e6:.0f} MB")
        if self.recall < RECALL:
            self.misses.append(f"recall@{K} is {self.recall:.4f}, below {RECALL}")

    def local_failover(self) -> None:
        """The primary instance alone dies; DSM's monitor promotes the replica beside it."""
        primary = next(node["name"] for node in self.lab.nodes(A) if node["role"] == "primary")
        with self.step("kill -9 of the primary instance; the monitor promotes the replica"):
            self.break_it(A, "kill", scope="primary")

            def other() -> bool:
                roles = {node["name"]: node["role"] for node in self.lab.nodes(A)}
                if roles.get(primary) == "primary" or "primary" not in roles.values():
                    return False
                with self.lab.connect(A) as connection:
                    return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

            until("another primary", other)
        with self.lab.connect(A) as connection:
            self.compare("after the local failover", connection)

    def disaster(self, mode: str, *, held: bool) -> None:
        """A client writes, all of site a is killed, site b is promoted, the client goes on there; a follows b."""
        first = self.rows + 1_000_000 * (1 + len(self.losses))
        login = self.lab.login(**self.lab.address(A, B))
        journal = OUT / f"journal-{mode}"
        with Writer(login, TABLE, journal, Cloud(DIMENSION, seed=2), first=first) as writer:
            with self.step(f"{mode}: a client writes"):
                writer.wait_more(300)
                if held:  # else a replica beside is as fast as the client, and there is nothing to be measured
                    self.break_it(B, "pause")
                    writer.wait_more(200)
            with self.step(f"{mode}: kill -9 of all of {A}"):
                self.break_it(A, "kill", scope="all")
                killed_at = time.time()
                before = writer.acknowledged
            with self.step(f"{mode}: promote {B}"):
                self.playbook("vector_store_promote", **{"from": A, "to": B})
            with self.step(f"{mode}: the client writes again"):
                writer.wait_more(100)
        with self.lab.connect(B) as connection:
            ids = Journal(journal).ids()
            lost = missing(connection, TABLE, ids)
            self.compare(f"at {B} after the {mode} promotion", connection)
        self.losses[mode] = {
            "acknowledged": len(ids),
            "before_the_kill": before,
            "lost": len(lost),
            "doubtful": len(writer.doubtful),
            "seconds_without_writes": round(writer.longest_gap, 2),
            "killed_at": killed_at,
            "times": writer.times,
        }
        self.say(f"{mode}: {len(ids)} rows acknowledged, {len(lost)} LOST; {writer.longest_gap:.1f} s without writes")
        with self.step(f"{mode}: {A} rewinds and follows {B}"):
            self.playbook("vector_store_rejoin", primary=B, standby=A)

    def failback(self) -> None:
        """A planned change back: nothing is lost, and no full copy is taken."""
        with self.step(f"fail back to {A}"):
            self.playbook("vector_store_promote", **{"from": B, "to": A, "planned": True})
        with self.step(f"{B} follows again, asynchronous"):
            self.playbook("vector_store_rejoin", primary=A, standby=B, synchronous=False)
        with self.lab.connect(A) as connection:
            self.compare(f"at {A} after the failback", connection)

    # ---- what breaks -------------------------------------------------------------------------------------------------
    def break_it(self, site: str, action: str, **body: Any) -> None:
        """By the emulator's control port."""
        namespace = self.lab.rows[site]["namespace"]
        answer = self.lab.control(site, "POST", f"/clusters/{namespace}/{STORE}/{action}", body)
        self.say(f"{action} at {site}: {', '.join(answer.get('killed') or [STORE])}")

    # ---- the end -----------------------------------------------------------------------------------------------------
    def close(self, leaked: dict[str, int]) -> dict[str, Any]:
        """The summary, judged and written."""
        lost = {mode: self.losses.get(mode, {}).get("lost") for mode in ("synchronous", "asynchronous")}
        if lost["synchronous"]:
            self.misses.append(f"{lost['synchronous']} committed rows were lost in synchronous mode")
        self.misses += [f"{number} {name} leaked" for name, number in leaked.items() if number]
        summary = {
            "rows": self.rows,
            "recall_at_10": self.recall,
            "lost_rows_sync": lost["synchronous"],
            "lost_rows_async": lost["asynchronous"],
            "answers_equal": bool(self.answers) and all(row["exact"] and row["index"] for row in self.answers),
            "steps": self.steps,
            "answers": self.answers,
            "writes": {
                mode: {key: value for key, value in row.items() if key not in ("times", "killed_at")}
                for mode, row in self.losses.items()
            },
            "index": self.index,
            "setting": {
                "dimension": DIMENSION,
                "centres": self.centres,
                "k": K,
                "sample": SAMPLE,
                "cpus": os.cpu_count(),
            },
            "leaked": leaked,
            "misses": self.misses,
            "seconds": round(time.time() - self.began, 1),
        }
        (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        report_pgvector.write(OUT / "report.html", summary, self.losses, self.began)
        return summary

    def table(self, summary: dict[str, Any]) -> None:
        print(f"\n{'step':<60} {'seconds':>7}")
        for row in summary["steps"]:
            print(f"{row['name']:<60} {row['seconds']:7.1f}")
        print(
            f"\nrows {summary['rows']}, recall@{K} {summary['recall_at_10']:.4f}; answers equal:"
            f" {summary['answers_equal']} ({len(summary['answers'])} comparisons); leaked {summary['leaked']}"
        )
        for mode, row in summary["writes"].items():
            print(
                f"{mode}: {row['lost']} of {row['acknowledged']} committed rows lost,"
                f" {row['seconds_without_writes']:.1f} s without writes"
            )
        print(f"{summary['seconds']:.0f} s\nbuild/pgvector/report.html, build/pgvector/summary.json")
        for miss in summary["misses"]:
            print(f"MISSED: {miss}")


def main() -> int:
    """All of it; the exit status. Whatever ends it, nothing stays behind."""
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    demo = PgvectorDemo()
    leaked: dict[str, int] = {}
    try:
        demo.prepare()
        demo.story()
    except (LabError, psycopg.Error, OSError) as error:
        demo.misses.append(str(error))
    finally:
        leaked.update(demo.lab.down())
    demo.table(demo.close(leaked))
    return 1 if demo.misses else 0


if __name__ == "__main__":
    sys.exit(main())
