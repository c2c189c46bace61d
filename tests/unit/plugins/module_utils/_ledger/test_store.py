# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on both databases: transactions, versions, migrations, errors that say what to do."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import (
    Ledger,
    LedgerError,
    _dialect,
    _postgresql,
    _sqlite,
    _store,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import (
    MIGRATIONS,
    current_version,
    tables,
)

VERSION = current_version()


def raw(url, sql):
    """Talk to the database without the code under test."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.exec_driver_sql(sql)
        found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def columns(url, table):
    engine = sa.create_engine(url)
    found = [column["name"] for column in sa.inspect(engine).get_columns(table)]
    engine.dispose()
    return found


def test_writers_wait_for_each_other(ledger, url):
    order = []

    def second():
        with Ledger.open(url) as mine, mine.write():
            order.append("second")

    thread = threading.Thread(target=second)
    with ledger.write():
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_an_error_rolls_everything_back(ledger):
    def interrupted():
        with ledger.write() as connection:
            connection.execute(sa.insert(tables.work).values(group_name="web"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert ledger.groups() == []


def test_upsert_updates_or_inserts(ledger):
    key = {"group_name": "web"}
    for sequence in (1, 2):
        with ledger.write() as connection:
            ledger.upsert(connection, tables.work, key, {"sequence": sequence}, {"attempts": 7})
            ledger.upsert(connection, tables.work, key, {})
    work = ledger.group_state("web")["work"]
    assert (work["sequence"], work["attempts"]) == (2, 7)


def test_schema_version_is_written(ledger, url):
    assert raw(url, "select version from schema_version") == [(VERSION,)] == [(4,)]


def test_a_newer_schema_is_refused(ledger, url):
    raw(url, "update schema_version set version = 99")
    with pytest.raises(
        LedgerError, match=rf"has schema version 99, this release knows {VERSION}\. Update the collection"
    ):
        Ledger.open(url)
    assert raw(url, "select version from schema_version") == [(99,)]


def add_site(connection):
    connection.exec_driver_sql("ALTER TABLE actions ADD COLUMN site TEXT NOT NULL DEFAULT 'main'")


def add_epoch(connection):
    connection.exec_driver_sql("ALTER TABLE actions ADD COLUMN epoch INTEGER")


def test_migrations_run_once_in_order_and_keep_the_rows(ledger, url):
    ledger.start_action("web", "out", owner="me")
    ledger.close()
    for more in ((add_site,), (add_site, add_epoch), (add_site, add_epoch)):
        Ledger.open(url, migrations=(*MIGRATIONS, *more)).close()
        assert raw(url, "select version from schema_version") == [(VERSION + len(more),)]
    assert raw(url, "select ident, site, epoch from actions") == [("web-1", "main", None)]


def test_a_failed_migration_leaves_the_old_version(ledger, url):
    ledger.close()

    def broken(connection):
        connection.exec_driver_sql("ALTER TABLE nowhere ADD COLUMN x TEXT")

    with pytest.raises(LedgerError, match=r"no such table|does not exist"):
        Ledger.open(url, migrations=(*MIGRATIONS, add_site, broken))
    assert raw(url, "select version from schema_version") == [(VERSION,)]
    assert "site" not in columns(url, "actions")
    Ledger.open(url).close()


def test_a_look_makes_and_migrates_nothing(url, tmp_path):
    """Check mode and info modules leave no trace."""
    with Ledger.open(url, look_only=True) as looking:
        assert looking.groups() == []
        assert looking.group_state("web")["members"] == []
    assert list(tmp_path.iterdir()) == []
    if url.startswith("postgresql"):
        assert raw(url, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]
    Ledger.open(url).close()
    with pytest.raises(LedgerError, match=f"has schema version {VERSION}, this release reads {VERSION + 1}"):
        Ledger.open(url, look_only=True, migrations=(*MIGRATIONS, add_site))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ledger.db", "cannot be parsed"),
        ("mysql://me@host/x", "cannot live in mysql"),
        ("postgresql+nodriver://me@host/x", "cannot open the ledger"),
    ],
)
def test_a_url_that_cannot_work_is_explained(url, message):
    with pytest.raises(LedgerError, match=message):
        Ledger.open(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql+nodriver://me:s3cret@host/x", "mysql://me:s3cret@host/x", "postgresql+nodriver://h/x?password=s3cret"],
)
def test_no_password_in_an_error(url):
    """A15: no secret in output."""
    with pytest.raises(LedgerError) as caught:
        Ledger.open(url)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in _dialect.masked(url)


def test_a_broken_url_with_a_password_is_not_echoed():
    with pytest.raises(LedgerError) as caught:
        Ledger.open("postgres//me:s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_a_lock_that_stays_is_an_error_after_the_timeout(ledger, url, monkeypatch):
    monkeypatch.setattr(_sqlite, "BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(_postgresql, "LOCK_TIMEOUT_S", 0.2)
    with ledger.write(), Ledger.open(url) as other:
        began = time.monotonic()
        with pytest.raises(LedgerError, match=r"cannot write the ledger .*lock.*\. Another (process|session) holds"):
            other.start_action("web", "out", owner="me")
        assert 0.15 < time.monotonic() - began < 5


def test_without_sqlalchemy_the_error_says_what_to_install(monkeypatch, url):
    monkeypatch.setattr(_store, "HAS_SQLALCHEMY", False)
    with pytest.raises(LedgerError, match=r"pip install 'SQLAlchemy>=2.0'"):
        Ledger.open(url)


def test_ledger_error_is_one_of_the_family():
    assert issubclass(LedgerError, AutoscaleError)


def test_at_most_one_running_action_is_a_rule_of_the_store(ledger):
    """Invariant 6, below the code: the index refuses a second running row."""
    ledger.start_action("web", "out", owner="me")
    with pytest.raises(LedgerError, match=r"(UNIQUE|unique) constraint"), ledger.write() as connection:
        connection.execute(
            sa.insert(tables.actions).values(
                ident="x", group_name="web", direction="in", state="running", started_at=1.0
            )
        )


def test_an_address_with_two_leases_is_refused_by_the_store(ledger):
    """Invariant 3, below the code."""
    lease = {"address": "10.0.0.1", "group_name": "web", "leased_at": 1.0}
    rows = [{**lease, "member": "a"}, {**lease, "member": "b"}]
    with pytest.raises(LedgerError, match=r"(UNIQUE|unique) constraint"), ledger.write() as connection:
        connection.execute(sa.insert(tables.leases), rows)
    assert ledger.leased_addresses() == set()
