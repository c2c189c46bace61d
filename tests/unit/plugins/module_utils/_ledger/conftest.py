# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty ledger on each of both databases, with a clock that a test turns.

A test that takes ``url``, ``ledger`` or ``new_url`` runs on both. One about a database of its own takes ``sqlite_url``
or ``postgresql_url``. Without PostgreSQL the tests fail; they are not skipped.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import current_version, tables
from lab.postgres import Postgres

# Processes that race for a store are forked from one that has imported these and opened nothing: seconds less each.
multiprocessing.set_forkserver_preload(["pytest", "psycopg", "sqlalchemy.dialects.postgresql", Ledger.__module__])


@dataclasses.dataclass
class Clock:
    """Seconds since the epoch that only a test moves."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@pytest.fixture
def clock():
    return Clock()


SHAPE = """SELECT string_agg(format('%s %s', relname, relnatts), ', ' ORDER BY relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace"""


class Database:
    """One for each process of pytest, without fsync: no test here pulls the plug."""

    def __init__(self, server):
        self.server = server
        server.create_role("ledger")
        self.url = server.create_database("ledger", owner="ledger")
        Ledger.open(self.url).close()
        with server.connect("ledger") as connection:
            self.shape = connection.execute(SHAPE).fetchone()
        names = [table.name for table in reversed(tables.metadata.sorted_tables)]
        self.delete = "; ".join(f"DELETE FROM {name}" for name in names)  # noqa: S608  our own tables

    def clear(self, *, keep_tables=False):
        """Empty it, whatever the test before left open or locked; the URL comes back.

        :param keep_tables: a store without rows is enough. Making the tables is what takes time here.
        """
        with self.server.connect("ledger") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = 'ledger' AND pid <> pg_backend_pid()"
            )
            if keep_tables and connection.execute(SHAPE).fetchone() == self.shape:
                connection.execute(self.delete)
                connection.execute("INSERT INTO schema_version VALUES (%s)", [current_version()])
                connection.execute("ALTER SEQUENCE events_id_seq RESTART")
            else:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
                connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")  # as a new database has it
        return self.url


@pytest.fixture(scope="session")
def postgresql_server():
    with Postgres.temporary() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_database(postgresql_server):
    return Database(postgresql_server)


@pytest.fixture
def sqlite_url(tmp_path):
    """Of a file that does not exist yet, in a folder that does not either."""
    return f"sqlite:///{tmp_path}/ledger/ledger.db"


@pytest.fixture
def postgresql_url(postgresql_database, request):
    """Of an empty database; the role owns it and has no other right. With the fixture ``ledger`` the tables stay."""
    return postgresql_database.clear(keep_tables="ledger" in request.fixturenames)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Of a store that does not exist yet."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def new_url(url, tmp_path, request):
    """A function that returns the URL of another store without rows; the one before is forgotten."""
    numbers = itertools.count()

    def make():
        if url.startswith("sqlite"):
            return f"sqlite:///{tmp_path}/{next(numbers)}/ledger.db"
        return request.getfixturevalue("postgresql_database").clear(keep_tables=True)

    return make


@pytest.fixture
def ledger(url, clock):
    with Ledger.open(url, clock=clock) as opened:
        yield opened


@pytest.fixture
def sqlite_ledger(sqlite_url, clock):
    with Ledger.open(sqlite_url, clock=clock) as opened:
        yield opened
