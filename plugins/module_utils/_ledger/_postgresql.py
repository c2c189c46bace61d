# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The ledger in PostgreSQL, for several controllers.

Writers queue up behind one advisory lock that their transaction holds, so that all the code above may read, decide
and write as if it were alone, as behind SQLite's ``BEGIN IMMEDIATE``. Readers see one state for their whole
transaction and wait for nobody. Every setting belongs to a transaction and not to a session, so that a pooler between
(PgBouncer in transaction mode) changes nothing.
"""

from __future__ import annotations

import os
import socket
import time
import typing as t

from .._common._patience import bounded
from ._errors import LedgerError
from ._schema import HAS_SQLALCHEMY

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

#: Seconds. Each one is longer than the one before it, so that the most telling error is the one that comes.
CONNECT_TIMEOUT_S = 5
IDLE_TIMEOUT_S = 20  # a writer that stands still inside its transaction is disconnected, and the queue goes on
LOCK_TIMEOUT_S = 30
STATEMENT_TIMEOUT_S = 40
SILENCE_TIMEOUT_S = 45  # then the client gives up by itself: a frozen server keeps none of the limits above

CLOCK_TOLERANCE_S = 20  # less than the third of a lock's usual life that its heartbeat leaves


_WRITER_LOCK = 0x6F6E7072  # any constant; advisory locks belong to a database
_NO_RIGHT = "Let the ledger's role own its database, or see docs/ledger.md for the rights it needs"
_NOT_OURS = "Give the ledger a database (or a schema) of its own; this one has tables of something else"
_GONE = "Check that PostgreSQL runs and can be reached; then run again"
_BY_STATE = (
    ("28", "Check user and password (PGPASSFILE, or passfile= in the URL) and pg_hba.conf"),
    ("3D000", "Create the database, with the ledger's role as its owner (docs/ledger.md)"),
    ("3F000", _NO_RIGHT),
    ("42501", _NO_RIGHT),
    ("42P", _NOT_OURS),
    ("42703", _NOT_OURS),
    ("42804", _NOT_OURS),
    ("25006", "This is a read-only standby: point the URL to the primary, or name all hosts and "
     "target_session_attrs=read-write"),
    ("53100", "Free space on the server's disk, then run again; nothing of this call was stored"),
    ("53300", "Raise max_connections of the server, or lower max_parallel of the receivers"),
    ("53", "The server is short of resources; see its log, then run again"),
    ("55P03", "Another session holds the ledger: look in pg_stat_activity for one that is 'idle in transaction'"),
    ("57014", "The server was too slow: look for long transactions and at its disks, then run again"),
    ("25P03", "This process stood still for too long inside a transaction; run again, nothing of this call was stored"),
    ("40", "Run again: nothing of this call was stored"),
    ("57P03", "The server starts, stops or recovers; run again in a moment"),
    ("57P", _GONE),
    ("08", _GONE),
    ("XX", "The server's data are damaged or it has an internal fault: see its log"),
)  # fmt: skip
# What comes while connecting has no SQLSTATE. A server that speaks another language gets the general remedy.
_BY_TEXT = (
    (("authentication failed", "no password supplied", "pg_hba.conf", "passfile"), "28"),
    (("database", "does not exist"), "3D000"),
    (("role", "does not exist"), "28"),
    (("permission denied for database",), "42501"),
    (("too many", "remaining connection slots"), "53300"),
    (("starting up", "shutting down", "recovery mode", "not accepting connections", "not yet accepting"), "57P03"),
    (("read-write", "standby", "read-only"), "25006"),
    (("refused", "timeout", "timed out", "resolve", "unreachable", "closed", "no route", "did not answer", "reset",
      "no such file", "ssl", "lost", "terminat", "eof"), "08"),
)  # fmt: skip


def explain(error: BaseException) -> tuple[str, str]:
    """Cause and remedy, from what the driver raised."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    # One line for each host or address that was tried, when there are several.
    tried = [line.rpartition("connection failed: ")[2] for line in lines if line.startswith("- host:")]
    cause = "; ".join(tried)[:400] or lines[0]
    state = getattr(error, "sqlstate", None) or _state_of(" ".join(lines).lower())
    for prefix, remedy in _BY_STATE:
        if state.startswith(prefix):
            return cause, remedy
    return cause, "Check the ledger URL and the database behind it"


def _state_of(text: str) -> str:
    for words, state in _BY_TEXT:
        # These two texts name what is missing in between.
        if all(word in text for word in words) if "does not exist" in words else any(word in text for word in words):
            return state
    return ""


def make_engine(parsed: sa.URL, name: str, is_writer: t.Callable[[sa.Connection], bool]) -> sa.Engine:
    """An engine on psycopg 3. It connects at first use.

    :raises LedgerError: another driver, or none.
    """
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise LedgerError(
            f"cannot open the ledger {name}: the driver {parsed.get_driver_name()} is not supported",
            remedy="Write the URL as postgresql+psycopg://user@host/database",
        )
    try:
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_pre_ping=True,  # after a restart or a failover of the server the next transaction finds the new one
            connect_args={key: value for key, value in _options().items() if key not in parsed.query},
        )
    except ImportError as error:
        raise LedgerError(
            f"cannot open the ledger {name}: the Python library psycopg 3 is missing where the playbook runs",
            remedy="pip install 'psycopg[binary]>=3.2' in Ansible's own Python environment",
        ) from error
    except sa.exc.ArgumentError as error:
        raise LedgerError(f"cannot open the ledger {name}: {error}", remedy="Check the ledger URL") from error
    patient = _bounded_connection(engine.dialect.dbapi)

    def connect(dialect: t.Any, record: t.Any, arguments: t.Any, options: t.Any) -> t.Any:
        return patient.connect(*arguments, **options)

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(_begin_sql(is_writer(connection)))

    def check_clock(connection: t.Any, record: t.Any) -> None:
        _check_clock(connection, name)

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "connect", check_clock)
    sa.event.listen(engine, "begin", begin)
    return engine


def _options() -> dict[str, t.Any]:
    """What libpq and the driver are told; the same names in the URL's query win."""
    return {
        "application_name": f"onprem.autoscale {socket.gethostname().partition('.')[0][:30]}/{os.getpid()}",
        "connect_timeout": CONNECT_TIMEOUT_S,  # an address
        # A machine that is gone, or a firewall that forgot the connection, is noticed within half a minute.
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": int(1000 * LOCK_TIMEOUT_S),
        "prepare_threshold": None,  # a pooler may give the next transaction another session
    }


def _check_clock(connection: t.Any, name: str) -> None:
    """Locks run out by the clock of whoever looks: controllers that disagree would take each other's over."""
    before = time.time()
    (server,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    after = time.time()
    connection.rollback()
    off = max(before - server, server - after, 0.0)
    if off > CLOCK_TOLERANCE_S:
        raise LedgerError(
            f"cannot use the ledger {name}: the clocks of this machine and of its server differ by {off:.0f} s",
            remedy="Synchronize both (chrony, NTP); locks of a shared ledger run out by the clock",
        )


def _begin_sql(writes: bool) -> str:
    """What each transaction begins with, in one round trip. A lock is waited for last: the limits count by then."""
    # Never "READ WRITE": an administrator who made the server read-only had a reason.
    mode = "READ COMMITTED" if writes else "REPEATABLE READ, READ ONLY"
    statements = [
        f"SET TRANSACTION ISOLATION LEVEL {mode}",
        f"SET LOCAL lock_timeout = {int(1000 * LOCK_TIMEOUT_S)}",
        f"SET LOCAL statement_timeout = {int(1000 * STATEMENT_TIMEOUT_S)}",
        f"SET LOCAL idle_in_transaction_session_timeout = {int(1000 * IDLE_TIMEOUT_S)}",
    ]
    if writes:
        # An accepted alert and a lease survive a crash, also where somebody made the server faster and less safe.
        statements += [
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
            f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})",
        ]
    return "; ".join(statements)


def _bounded_connection(driver: t.Any) -> t.Any:
    """The driver's connection class, which gives up when the server says nothing for too long."""

    class BoundedConnection(driver.Connection):  # type: ignore[misc, name-defined]
        """Closes itself then: nobody knows what the server still does with it."""

        def wait(self, gen: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
            return super().wait(bounded(gen, SILENCE_TIMEOUT_S, self._give_up), *args, **kwargs)

        def _give_up(self) -> t.NoReturn:
            self.close()
            raise driver.OperationalError(f"the server did not answer for {SILENCE_TIMEOUT_S:g} s")

    return BoundedConnection
