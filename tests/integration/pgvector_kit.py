# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL with pgvector of one test module, a database for each test, and vectors that look like real ones.

A test file takes the fixtures at the end by name: ``server = kit.server``, and those that stand on it.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from lab.postgres import ROLE, Postgres

Run = Callable[..., dict[str, Any]]
DIMENSION = 16
PASSAGES = {
    "name": "passages",
    "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "body", "type": "text"}],
    "vector": {"dimension": DIMENSION},
}
HNSW = {"name": "passages_hnsw", "table": "passages"}


class Database:
    """One database, with the modules' connection options and a connection of a user's own."""

    def __init__(self, server: Postgres, name: str, run_module: Run) -> None:
        self.server, self.name, self._run = server, name, run_module
        server.create_database(name)
        self.args = {
            "host": "127.0.0.1",
            "port": server.port,
            "database": name,
            "username": ROLE,
            "passfile": str(server.passfile),
            "sslmode": "disable",
        }

    def __call__(self, module: str, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        """The result of ``pgvector_<module>``, failed or not. ``None`` leaves a connection option out."""
        given = {key: value for key, value in {**self.args, **options}.items() if value is not None}
        return self._run(f"pgvector_{module}", given, check=check, diff=diff)

    def ok(self, module: str, **options: Any) -> dict[str, Any]:
        """The same; it must not fail."""
        result = self(module, **options)
        assert not result["failed"], result["msg"]
        return result

    def connect(self, **options: Any) -> psycopg.Connection:
        """A connection of somebody else."""
        return self.server.connect(self.name, **options)

    def value(self, query: str, *parameters: object) -> Any:
        """The first column of the first row."""
        with self.connect() as connection:
            found = connection.execute(query, parameters or None).fetchone()
        return found and found[0]

    def do(self, *commands: str) -> None:
        """Each its own transaction."""
        with self.connect() as connection:
            for command in commands:
                connection.execute(command)

    def filled(self, rows: int = 1000) -> Database:
        """Extension, table and rows, as the modules make them."""
        self.ok("extension")
        self.ok("table", tables=[PASSAGES])
        self.fill("passages", rows)
        return self

    def fill(self, table: str, rows: int, *, first: int = 1) -> None:
        """Rows in 40 clusters, so that an index has something to find; the same at each call."""
        chance = random.Random(7)
        centres = [[chance.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(40)]
        with self.connect() as connection, connection.cursor() as cursor:
            copy = f"COPY {table} (id, body, embedding) FROM STDIN"
            with cursor.copy(copy) as stream:
                for number in range(first, first + rows):
                    centre = centres[number % len(centres)]
                    vector = [round(value + chance.gauss(0, 0.15), 5) for value in centre]
                    stream.write_row((number, f"passage {number}", str(vector)))

    def indexes(self, table: str = "passages") -> dict[str, bool]:
        """The table's vector indexes, and whether each is valid, as the catalogue says."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT c.relname, x.indisvalid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid"
                " JOIN pg_am m ON m.oid = c.relam WHERE x.indrelid = %s::regclass AND m.amname <> 'btree'",
                [table],
            )
            return dict(rows.fetchall())


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The result of a module that ``start_module`` started, failed or not."""
    stdout, stderr = process.communicate(timeout=60)
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    assert lines, f"no JSON:\n{stdout}\n{stderr}"
    return {"changed": False, "failed": False, **json.loads(lines[-1])}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres.temporary() as running:
        yield running


@pytest.fixture(scope="module")
def new_database(server: Postgres, run_module: Run) -> Callable[[], Database]:
    """Makes empty databases; they go with the server."""
    numbers = itertools.count(1)
    return lambda: Database(server, f"docs_{next(numbers)}", run_module)


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    """An empty one."""
    return new_database()


@pytest.fixture(scope="module")
def docs(new_database: Callable[[], Database]) -> Database:
    """One with 2,000 rows and an index, which the tests of a module share and leave as it is."""
    made = new_database().filled(2000)
    made.ok("index", indexes=[HNSW])
    return made
