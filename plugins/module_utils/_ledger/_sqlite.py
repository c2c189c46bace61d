# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The ledger in a file: the default, for one controller.
"""

from __future__ import annotations

import contextlib
import fcntl
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

_REMEDIES = (
    (("locked", "busy"), "Another process holds the ledger; look for a hanging play, then run again"),
    (("unable to open", "permission"), "Check that the folder exists and that this user may write in it"),
    (("readonly", "read-only"), "Give this user the right to write the file and its folder"),
    (
        ("not a database", "malformed", "corrupt"),
        "Move the file away; a new one is made, and vCenter's marks still say which VMs are ours",
    ),
    (("full",), "Free space on that disk, then run again; nothing of this call was stored"),
    (
        ("disk i/o",),
        "Look at the disk, its free space, its quota and its mount options, then run again; "
        "nothing of this call was stored",
    ),
)


def explain(error: BaseException) -> tuple[str, str]:
    """Cause and remedy, from what the driver raised."""
    cause = str(error).strip().partition("\n")[0]
    for words, text in _REMEDIES:
        if any(word in cause.lower() for word in words):
            return cause, text
    return cause, "Check the ledger URL and the database behind it"


def memory_engine(is_writer: t.Callable[[sa.Connection], bool]) -> sa.Engine:
    """A store that is forgotten when it is closed."""
    return _listen(
        sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, hide_parameters=True),
        is_writer,
    )


def make_engine(parsed: sa.URL, name: str, is_writer: t.Callable[[sa.Connection], bool]) -> sa.Engine:
    """Make the file when it is missing; ``BEGIN`` for readers, ``BEGIN IMMEDIATE`` for writers.

    :raises LedgerError: a store in memory, a folder or file that cannot be made, a file system without WAL.
    """
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise LedgerError(
            f"the ledger {name} would be forgotten at the end of the run",
            remedy="Name a file: sqlite:////absolute/path/ledger.db",
        )
    path = Path(parsed.database).expanduser()
    _make_file(path, name)
    try:
        _use_wal(path)
    except sqlite3.Error as error:
        cause, remedy = explain(error)
        raise LedgerError(f"cannot open the ledger {name}: {cause}", remedy=remedy) from error
    engine = sa.create_engine(
        parsed.set(database=str(path)),
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    return _listen(engine, is_writer)


def _listen(engine: sa.Engine, is_writer: t.Callable[[sa.Connection], bool]) -> sa.Engine:
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer(connection) else "BEGIN")

    sa.event.listen(engine, "connect", _connect)
    sa.event.listen(engine, "begin", begin)
    return engine


def _connect(connection: sqlite3.Connection, record: t.Any) -> None:
    # The driver must not open transactions by itself; the listener does. Works alike on Python 3.10 to 3.14.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")  # an accepted alert and a lease survive a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _make_file(path: Path, name: str) -> None:
    """The file with mode 0600 (SQLite gives its journal the same), a missing folder with 0700."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            with _alone_in(path.parent):
                _make_empty(path)
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(13, "permission denied", str(path))
    except OSError as error:
        raise LedgerError(
            f"cannot open the ledger {name}: {error.strerror or error}",
            remedy="Check that the folder exists and that this user may write in it, or name another file",
        ) from error


def _make_empty(path: Path) -> None:
    if path.exists():
        return  # another process was faster
    # Whoever deleted the file may have left its journals, and processes that still use them: a new database that
    # shares them with the old one would be corrupted.
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextlib.contextmanager
def _alone_in(folder: Path) -> t.Iterator[None]:
    """Of all processes that make a ledger in *folder*, one at a time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
