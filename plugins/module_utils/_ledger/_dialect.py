# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The one place that knows how a database differs from another: engine, file, locking, wording of its errors.
SQLite is the default and what is tested; the PostgreSQL branch is small and waits for its first user.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import typing as t
from pathlib import Path

from ._errors import LedgerError
from ._schema import HAS_SQLALCHEMY

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

BUSY_TIMEOUT_S = 30.0
_WRITER = "onprem_autoscale_writer"
_POSTGRESQL_LOCK = 0x6F6E7072  # any constant: all writers of this ledger wait for each other, as on SQLite

_REMEDIES = (
    (("locked", "busy"), "Another process holds the ledger; look for a hanging play, then run again"),
    (("unable to open", "permission"), "Check that the folder exists and that this user may write in it"),
    (("readonly", "read-only"), "Give this user the right to write the file and its folder"),
    (
        ("not a database", "malformed", "corrupt"),
        "Move the file away; a new one is made, and vCenter's marks still say which VMs are ours",
    ),
    (("full",), "Free space on that disk, then run again; nothing of this call was stored"),
    (("disk i/o",), "Look at the disk and its mount options, then run again"),
)


def masked(url: str) -> str:
    """*url* as it may be printed: no password, no query (drivers accept passwords there too)."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return "(a URL that cannot be parsed)"
    return parsed.set(query={}).render_as_string(hide_password=True)


def as_ledger_error(error: Exception, url: str, what: str) -> LedgerError:
    """What a driver's error means for a reader."""
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    remedy = "Check the ledger URL and the database behind it"
    for words, text in _REMEDIES:
        if any(word in cause.lower() for word in words):
            remedy = text
            break
    return LedgerError(f"cannot {what} the ledger {masked(url)}: {cause}", remedy=remedy)


def make_engine(url: str) -> sa.Engine:
    """An engine whose transactions are real: ``BEGIN`` for readers, ``BEGIN IMMEDIATE`` for :func:`writer`.

    :raises LedgerError: for a URL that cannot work, a folder or file that cannot be made, a store without WAL.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        raise LedgerError(
            "the ledger URL cannot be parsed",
            remedy="Write it as sqlite:////absolute/path/ledger.db or postgresql+psycopg://user@host/database",
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(parsed, url)
    if backend != "postgresql":
        raise LedgerError(f"the ledger cannot live in {backend}", remedy="Use a sqlite:// or postgresql:// URL")
    try:
        engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    except (ImportError, sa.exc.ArgumentError) as error:
        raise as_ledger_error(error, url, "open") from error
    sa.event.listen(engine, "begin", _begin_postgresql)
    return engine


def exists(url: str) -> bool:
    """Whether there is a store to look at; only for a SQLite file can the answer be no."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return True
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return True
    return Path(parsed.database).expanduser().exists()


def empty_engine() -> sa.Engine:
    """A store in memory, for a look at a ledger that does not exist yet."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, hide_parameters=True)
    sa.event.listen(engine, "connect", _connect_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def writer(engine: sa.Engine) -> sa.Engine:
    """The same engine and pool, for transactions that write: they queue up at ``BEGIN``, not at the first write."""
    return engine.execution_options(**{_WRITER: True})


def _is_writer(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get(_WRITER))


def _begin_postgresql(connection: sa.Connection) -> None:
    if _is_writer(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_writer(connection) else "BEGIN")


def _connect_sqlite(connection: sqlite3.Connection, record: t.Any) -> None:
    # The driver must not open transactions by itself; _begin_sqlite does. Works alike on Python 3.10 to 3.14.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")  # an accepted alert and a lease survive a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _sqlite_engine(parsed: sa.URL, url: str) -> sa.Engine:
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise LedgerError(
            f"the ledger {masked(url)} would be forgotten at the end of the run",
            remedy="Name a file: sqlite:////absolute/path/ledger.db",
        )
    path = Path(parsed.database).expanduser()
    _make_file(path, url)
    engine = sa.create_engine(
        parsed.set(database=str(path)),
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    sa.event.listen(engine, "connect", _connect_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    try:
        _use_wal(path)
    except sqlite3.Error as error:
        engine.dispose()
        raise as_ledger_error(error, url, "open") from error
    return engine


def _make_file(path: Path, url: str) -> None:
    """The file with mode 0600 (SQLite gives its journal the same), a missing folder with 0700."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(13, "permission denied", str(path))
    except OSError as error:
        raise LedgerError(
            f"cannot open the ledger {masked(url)}: {error.strerror or error}",
            remedy="Check that the folder exists and that this user may write in it, or name another file",
        ) from error


def _use_wal(path: Path) -> None:
    """Switch the file to WAL once; the file remembers it. SQLite may answer 'locked' here without waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal":
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise sqlite3.OperationalError(
                    f"journal mode is {mode}, WAL is not possible there (a network file system?): disk I/O"
                )
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()
