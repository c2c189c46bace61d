# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors that are always the same, a client that notes what is committed, and who counts what is lost of it.

Uniform random vectors have no near neighbours, so that every index looks bad on them; real embeddings come in clusters.
:class:`Cloud` makes such ones, row by row from its number. :class:`Writer` is a client as it should be: one address for
all sites, and an id goes into its journal when its commit was acknowledged, not before.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from .process import LabError

# psycopg sends bytes as they are when it takes them for bytea: what arrives is pgvector's own binary form.
_TYPES = ("int8", "text", "bytea")
_NOT_REPLICATED = "canceling wait for synchronous replication"


class Cloud:
    """Unit vectors around centres. Row *n* is the same in every run, however many rows are made.

    :param seed: another seed is another cloud, far from this one: none of its rows is a neighbour of one of these.
    """

    def __init__(self, dimension: int = 384, *, centres: int = 200, noise: float = 0.4, seed: int = 1) -> None:
        self.dimension = dimension
        self.seed = seed
        self._noise = noise / dimension**0.5  # for each number, so that the noise's length does not grow with them
        self._centres = _unit(np.random.default_rng([seed]).standard_normal((centres, dimension)))

    def row(self, number: int) -> np.ndarray:
        """The vector of one row."""
        noise = np.random.default_rng([self.seed, number]).standard_normal(self.dimension, dtype=np.float32)
        return _unit(self._centres[number % len(self._centres)] + self._noise * noise)

    def probe(self, number: int) -> np.ndarray:
        """A vector to search for: near a centre, and nobody's row."""
        return self.row(2**40 + number)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def binary(vector: np.ndarray) -> bytes:
    """pgvector's binary form: dimension and a zero as int16, then float4, all in network order."""
    return len(vector).to_bytes(2, "big") + b"\0\0" + vector.astype(">f4").tobytes()


def text(vector: np.ndarray) -> str:
    """pgvector's text form, exact."""
    return "[" + ",".join(str(number) for number in vector) + "]"


def load(connection: psycopg.Connection[Any], table: str, cloud: Cloud, rows: int) -> None:
    """Rows 0 to *rows* into ``(id, title, embedding)`` by one binary COPY, in one transaction."""
    query = sql.SQL("COPY {} (id, title, embedding) FROM STDIN (FORMAT BINARY)").format(_name(table))
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            copy.set_types(_TYPES)
            for number in range(rows):
                copy.write_row((number, f"document {number}", binary(cloud.row(number))))
        cursor.execute(sql.SQL("ANALYZE {}").format(_name(table)))


def neighbours(
    connection: psycopg.Connection[Any], table: str, probes: Sequence[np.ndarray], *, k: int = 10, exact: bool = False
) -> list[list[int]]:
    """Ids of the *k* nearest rows by cosine distance, for each probe; by the index, or by looking at every row.

    :raises LabError: when the plan is not the one that was asked for.
    """
    query = sql.SQL("SELECT id FROM {} ORDER BY embedding <=> %s::vector LIMIT %s").format(_name(table))
    off = ("enable_indexscan", "enable_bitmapscan") if exact else ("enable_seqscan", "enable_sort")
    with connection.transaction(), connection.cursor() as cursor:
        for setting in off:
            cursor.execute(sql.SQL("SET LOCAL {} = off").format(sql.Identifier(setting)))
        if not exact:
            cursor.execute("SET LOCAL hnsw.ef_search = 200")
        explained = cursor.execute(sql.SQL("EXPLAIN ") + query, (text(probes[0]), k)).fetchall()
        plan = "\n".join(row[0] for row in explained)
        if ("Index Scan" in plan) is exact:
            raise LabError(f"asked for {'every row' if exact else 'the index'}, PostgreSQL plans otherwise:\n{plan}")
        return [[row[0] for row in cursor.execute(query, (text(probe), k))] for probe in probes]


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


# ---- the client that writes ------------------------------------------------------------------------------------------
class Journal:
    """Ids of committed rows, one a line, appended; what was acknowledged is on it, whoever dies then."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Journal:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._file)

    def note(self, number: int) -> None:
        """One write: never half of a line of two writers."""
        os.write(self._file, b"%d\n" % number)

    def ids(self) -> list[int]:
        """What is on it; a line that was cut does not count."""
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        return [int(line) for line in lines]


class Writer:
    """A thread that inserts a row after the other into ``(id, title, embedding)``, each in its own transaction.

    :param target: what :func:`psycopg.connect` takes; with several hosts and ``target_session_attrs`` it finds the
        one that takes writes, as clients of more than one site do.
    :param first: the first id. An id is tried once: when its commit got no answer, nobody knows.
    """

    def __init__(self, target: Mapping[str, Any], table: str, journal: Path, cloud: Cloud, *, first: int) -> None:
        self._target = {"connect_timeout": 2, "autocommit": True, **target}
        self._query = sql.SQL("INSERT INTO {} (id, title, embedding) VALUES (%s, %s, %s::vector)").format(_name(table))
        self._cloud = cloud
        self._next = first
        self._journal = Journal(journal)
        self._ending = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._failure: BaseException | None = None
        self.doubtful: list[int] = []  # no answer, or one that says: here, but not on the standby
        self.reconnects = 0
        self.times: list[float] = []  # of each acknowledgement

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End, even within a commit that waits for a standby that never answers."""
        self._ending.set()
        connection = self._connection
        if connection is not None:
            # Not cancel(): a cancelled wait for the standby is a commit, and would be answered as one.
            with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=30)
        if self._thread.is_alive():
            raise LabError("the writer does not end")
        self.check()

    def check(self) -> None:
        """:raises LabError: when the writer has ended by an error that no reconnect cures."""
        if self._failure is not None:
            raise LabError(f"the writer failed: {self._failure}") from self._failure

    @property
    def acknowledged(self) -> int:
        """How many rows are on the journal."""
        return len(self.times)

    @property
    def longest_gap(self) -> float:
        """The seconds for which nobody took a write, at the longest."""
        return max((after - before for before, after in itertools.pairwise(self.times)), default=0.0)

    def wait_more(self, count: int, timeout: float = 30.0) -> None:
        """Until *count* more rows were acknowledged from now on."""
        wanted, deadline = self.acknowledged + count, time.monotonic() + timeout
        while self.acknowledged < wanted:
            self.check()
            if time.monotonic() > deadline:
                raise LabError(f"the writer got {count - wanted + self.acknowledged} of {count} rows in {timeout:g} s")
            time.sleep(0.02)

    def _run(self) -> None:
        with self._journal:
            while not self._ending.is_set():
                try:
                    self._connection = psycopg.connect(**self._target)
                    with self._connection as connection:
                        self._write(connection)
                except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction, OSError):
                    # The server went, or is going over to the other site: both end by themselves.
                    self.reconnects += 1
                    self._ending.wait(0.05)
                except Exception as error:
                    self._failure = error
                    return

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        while not self._ending.is_set():
            number, self._next = self._next, self._next + 1
            try:
                connection.execute(self._query, (number, f"written {number}", text(self._cloud.row(number))))
            except psycopg.Error:
                self.doubtful.append(number)
                raise
            if any(_NOT_REPLICATED in notice for notice in notices):
                notices.clear()
                self.doubtful.append(number)
                continue
            self._journal.note(number)
            self.times.append(time.time())


def missing(connection: psycopg.Connection[Any], table: str, ids: Sequence[int]) -> list[int]:
    """Those of *ids* that the table does not have: each one is a committed row that was lost."""
    query = sql.SQL(
        "SELECT wanted FROM unnest(%s::bigint[]) AS wanted WHERE NOT EXISTS"
        " (SELECT FROM {} AS kept WHERE kept.id = wanted) ORDER BY wanted"
    ).format(_name(table))
    with connection.cursor() as cursor:
        return [row[0] for row in cursor.execute(query, (list(ids),))]
