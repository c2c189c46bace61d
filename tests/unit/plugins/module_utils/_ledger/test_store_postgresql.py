# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in PostgreSQL: isolation, limits, errors with their remedies, connections that break."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest
import sqlalchemy as sa

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError, _postgresql
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables


@pytest.fixture
def shared(postgresql_url, clock):
    with Ledger.open(postgresql_url, clock=clock) as opened:
        yield opened


def setting(connection, name):
    return connection.exec_driver_sql(f"SELECT current_setting('{name}')").scalar()


# ---- transactions


def test_a_writer_is_limited_and_durable(shared, monkeypatch):
    """The server of these tests commits asynchronously; a ledger's transaction does not (T4: accepted is durable)."""
    with shared.write() as connection:
        assert setting(connection, "transaction_isolation") == "read committed"
        assert setting(connection, "synchronous_commit") == "on"
        limits = {name: setting(connection, f"{name}_timeout") for name in ("lock", "statement")}
        assert limits == {"lock": "30s", "statement": "40s"}
        assert setting(connection, "idle_in_transaction_session_timeout") == "20s"
        assert setting(connection, "application_name").endswith(f"/{os.getpid()}")
        raw = connection.connection.dbapi_connection
    with raw.cursor() as cursor:  # a pooler may hand this session to somebody else
        assert cursor.execute("SELECT current_setting('lock_timeout')").fetchone() == ("0",)
        assert cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
    raw.rollback()


def test_a_reader_sees_one_state_waits_for_nobody_and_cannot_write(shared, postgresql_url, clock):
    with Ledger.open(postgresql_url, clock=clock) as other, shared.read() as connection:
        count = sa.select(sa.func.count()).select_from(tables.actions)
        assert setting(connection, "transaction_isolation") == "repeatable read"
        assert connection.scalar(count) == 0
        with other.write():
            assert connection.scalar(count) == 0, "the lock of all writers holds up no reader"
        other.start_action("web", "out", owner="me")
        assert connection.scalar(count) == 0, "still the state of the first look"
        with pytest.raises(sa.exc.DBAPIError, match="read-only transaction"):
            connection.execute(sa.delete(tables.actions))
    assert shared.groups() == ["web"]


def test_values_come_back_as_they_went_in(shared, clock):
    """JSON null, big numbers, floats, text of the world."""
    clock.now = 1_700_000_000.123456
    ident = shared.start_action("web", "out", owner="me", reason="größer als 80 % – 混雑")
    action = shared.action(ident)
    assert (action["plan"], action["started_at"]) == (None, 1_700_000_000.123456)
    with shared.read() as connection:
        where = tables.actions.c.plan.is_(None)
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.actions).where(where)) == 1
    plan = {"launches": [{"name": "a", "n": 2**60}], "size_before": 2, "none": None}
    shared.record_plan(ident, plan, [{"name": "a"}])
    assert shared.action(ident)["plan"] == plan
    assert shared.action(ident)["reason"] == "größer als 80 % – 混雑"
    with shared.write() as connection:
        connection.exec_driver_sql("SELECT setval('events_id_seq', 5000000000)")
    assert shared.finish_action(ident, state="succeeded")["id"] == 5_000_000_001


# ---- what goes wrong, and what to do about it


def cannot(url, *, write=False):
    """The error of an opening, or of a write."""

    def attempt():
        with Ledger.open(url) as ledger:
            if write:
                ledger.suspend("web", ["all"])

    with pytest.raises(LedgerError) as caught:
        attempt()
    return str(caught.value)


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_server(postgresql_server):
    message = cannot(postgresql_server.url("ledger", port=closed_port()))
    assert message.startswith("cannot read the ledger postgresql+psycopg://autoscale@127.0.0.1:")
    assert "refused" in message
    assert message.endswith("Check that PostgreSQL runs and can be reached; then run again")


def test_no_such_host():
    assert "Check that PostgreSQL runs and can be reached" in cannot("postgresql+psycopg://me@no.such.host.invalid/x")


def test_every_address_of_a_host_is_in_the_error(postgresql_server):
    port = closed_port()
    message = cannot(f"postgresql+psycopg://me@/x?host=127.0.0.1:{port}&host=127.0.0.2:{port}")
    assert "127.0.0.1" in message
    assert "127.0.0.2" in message
    assert "Check that PostgreSQL runs" in message


def test_a_wrong_password(postgresql_server, tmp_path):
    (tmp_path / "pgpass").touch(mode=0o600)
    (tmp_path / "pgpass").write_text("*:*:*:*:wr0ng\n")
    url = postgresql_server.url("ledger").partition("?")[0]
    for query in (f"?passfile={tmp_path}/pgpass", "?password=wr0ng"):
        message = cannot(url + query)
        assert "password authentication failed" in message
        assert "Check user and password" in message
        assert "wr0ng" not in message


def test_no_password(postgresql_server):
    url = postgresql_server.url("ledger").partition("?")[0] + "?passfile=/nonexistent"
    assert "Check user and password" in cannot(url)


def test_no_such_database_and_no_such_role(postgresql_server):
    assert "Create the database, with the ledger's role as its owner" in cannot(postgresql_server.url("nowhere"))
    assert "Check user and password" in cannot(postgresql_server.url("ledger", user="nobody"))


@pytest.fixture
def guest(postgresql_server, postgresql_url):
    """A role that owns nothing; its URL of the ledger's database."""
    name = f"guest_{os.getpid()}_{time.monotonic_ns()}"
    postgresql_server.create_role(name)
    yield postgresql_server.url("ledger", user=name), name
    with postgresql_server.connect("ledger") as connection:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def test_no_right_to_make_or_to_use_tables(guest, postgresql_server, postgresql_url):
    url, _name = guest
    assert "permission denied for schema public. Let the ledger's role own its database" in cannot(url)
    Ledger.open(postgresql_url).close()
    assert "permission denied" in cannot(url)


def test_a_role_that_may_only_read_can_look(guest, postgresql_server, postgresql_url):
    """Dashboards: SELECT is enough for a look, and a write says what is missing."""
    url, name = guest
    with Ledger.open(postgresql_url) as ledger:
        ledger.start_action("web", "out", owner="me")
    with postgresql_server.connect("ledger") as connection:
        connection.execute(
            f"GRANT USAGE ON SCHEMA public TO {name}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
        )
    with Ledger.open(url, look_only=True) as looking:
        assert looking.group_state("web")["action"]["name"] == "web-1"
    assert "permission denied for table" in cannot(url, write=True)


def test_a_standby_is_named_as_such(guest, postgresql_server, postgresql_url):
    """A session that is read-only as on a standby."""
    url, name = guest
    Ledger.open(postgresql_url).close()
    with postgresql_server.connect("ledger") as connection:
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {name}")
        connection.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
    message = cannot(url, write=True)
    assert "in a read-only transaction" in message
    assert "point the URL to the primary" in message


def test_too_many_connections(guest, postgresql_server):
    url, name = guest
    with postgresql_server.connect() as connection:
        connection.execute(f"ALTER ROLE {name} CONNECTION LIMIT 0")
    assert "too many connections" in (message := cannot(url))
    assert "Raise max_connections" in message


def test_a_database_of_something_else_is_left_alone(postgresql_server, postgresql_url):
    """Another tool's table has the same name."""
    with postgresql_server.connect("ledger") as connection:
        connection.execute("CREATE TABLE schema_version (installed_rank int); GRANT ALL ON schema_version TO ledger")
    assert "Give the ledger a database (or a schema) of its own" in cannot(postgresql_url)
    with postgresql_server.connect("ledger") as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


def test_a_schema_of_its_own_in_a_shared_database(postgresql_server, postgresql_url, clock):
    with postgresql_server.connect("ledger") as connection:
        connection.execute("DROP SCHEMA IF EXISTS scaling CASCADE; CREATE SCHEMA scaling AUTHORIZATION ledger")
    url = f"{postgresql_url}&options=-csearch_path%3Dscaling"
    with Ledger.open(url, clock=clock) as one, Ledger.open(postgresql_url, clock=clock) as other:
        one.start_action("web", "out", owner="me")
        assert (one.groups(), other.groups()) == (["web"], [])


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("53100", "Free space on the server's disk"),
        ("53200", "short of resources"),
        ("40P01", "Run again: nothing of this call was stored"),
        ("40001", "Run again: nothing of this call was stored"),
        ("57P03", "starts, stops or recovers"),
        ("XX001", "see its log"),
        ("22003", "Check the ledger URL"),
    ],
)
def test_each_state_has_its_remedy(state, remedy):
    """What cannot be made to happen here is made up."""
    error = Exception("the server's words")
    error.sqlstate = state
    assert remedy in _postgresql.explain(error)[1]


def test_other_drivers_and_no_driver(monkeypatch):
    assert "Write the URL as postgresql+psycopg://" in cannot("postgresql+asyncpg://me@host/x")
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'psycopg[binary]>=3.2'" in cannot("postgresql://me@host/x")


def test_clocks_that_differ_are_refused(postgresql_url, monkeypatch):
    """Two controllers must agree on when a lock has run out (invariant 6)."""
    real = time.time
    monkeypatch.setattr(_postgresql.time, "time", lambda: real() - 90)
    assert "differ by 90 s. Synchronize both" in cannot(postgresql_url)


# ---- nothing hangs for ever


def test_a_long_statement_is_ended(shared, monkeypatch):
    monkeypatch.setattr(_postgresql, "STATEMENT_TIMEOUT_S", 0.3)
    with pytest.raises(LedgerError, match=r"statement timeout\. The server was too slow"), shared.write() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    assert shared.groups() == []


def test_a_writer_that_stands_still_is_disconnected_and_the_next_one_goes_on(shared, postgresql_url, monkeypatch):
    """A controller that is frozen inside a transaction must not hold up all the others."""
    monkeypatch.setattr(_postgresql, "IDLE_TIMEOUT_S", 0.5)

    def stand_still():
        with shared.write() as connection:
            shared.upsert(connection, tables.work, {"group_name": "ghost"}, {"sequence": 1})
            with Ledger.open(postgresql_url) as other:
                assert other.start_action("web", "out", owner="other") == "web-1"
            connection.execute(sa.select(tables.work))

    with pytest.raises(LedgerError, match="idle-in-transaction"):
        stand_still()
    assert shared.groups() == ["web"]


def test_a_frozen_server_is_given_up(shared, postgresql_server, monkeypatch):
    """Its machine swaps or is paused: the connection stands and nobody answers; no limit of the server counts then."""
    monkeypatch.setattr(_postgresql, "SILENCE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(_postgresql, "CONNECT_TIMEOUT_S", 2)
    assert shared.groups() == []
    postgresql_server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(LedgerError, match=r"(did not answer|timeout).* Check that PostgreSQL runs"):
            shared.groups()
        assert time.monotonic() - began < 30
        assert "timeout" in cannot(postgresql_server.url("ledger"))
    finally:
        postgresql_server.resume()
    assert shared.groups() == []


def test_connections_that_broke_while_idle_are_made_anew(shared, postgresql_server):
    """A restart or a failover between two entries is not an error."""
    shared.start_action("web", "out", owner="me")
    with postgresql_server.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'")
    assert shared.groups() == ["web"]
    postgresql_server.restart()
    assert shared.start_action("db", "out", owner="me") == "db-1"


def test_a_connection_that_breaks_inside_a_transaction_is_an_error_and_stores_nothing(shared, postgresql_server):
    def broken():
        with shared.write() as connection:
            shared.upsert(connection, tables.work, {"group_name": "ghost"}, {"sequence": 1})
            with postgresql_server.connect() as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'")
            connection.execute(sa.select(tables.work))

    with pytest.raises(LedgerError, match="Check that PostgreSQL runs and can be reached; then run again") as caught:
        broken()
    assert "not known" not in str(caught.value)
    assert shared.groups() == []


def test_a_child_process_leaves_the_connection_of_its_parent_alone(shared):
    """A play forks the process that prolongs its lock."""
    ident = shared.start_action("web", "out", owner="me", ttl=100)
    shared.clock.tick(50)
    child = os.fork()
    if child == 0:
        try:
            shared.heartbeat(ident, "me", 100)
            shared.close()
        finally:
            os._exit(0 if shared.group_state("web")["lock"]["remaining"] == 100 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert shared.group_state("web")["lock"]["remaining"] == 100
    shared.finish_action(ident, state="succeeded")
