# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The door to the databases: engine, file, wording of errors. What only one of them has stands in ``_sqlite`` and
``_postgresql``; nothing else in the ledger knows which one it talks to.
"""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from . import _postgresql, _sqlite
from ._errors import LedgerError
from ._schema import HAS_SQLALCHEMY

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

_WRITER = "onprem_autoscale_writer"
_SECRET_OPTIONS = ("password", "sslpassword")


def masked(url: str) -> str:
    """*url* as it may be printed: no password, no query (drivers accept passwords there too)."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return "(a URL that cannot be parsed)"
    return parsed.set(query={}).render_as_string(hide_password=True)


def as_ledger_error(error: Exception, url: str, what: str, *, committing: bool = False) -> LedgerError:
    """What a driver's error means for a reader.

    :param committing: the transaction was ending: when the connection broke there, nobody knows how it ended.
    """
    original = getattr(error, "orig", None) or error
    postgresql = _backend(url) == "postgresql"
    cause, remedy = (_postgresql if postgresql else _sqlite).explain(original)
    if committing and getattr(error, "connection_invalidated", False):
        cause += "; it is not known whether the last entry was stored"
        remedy = "Run the same again: an entry that was stored is found, and nothing is done twice"
    return LedgerError(f"cannot {what} the ledger {masked(url)}: {_without_secrets(cause, url)}", remedy=remedy)


def make_engine(url: str) -> sa.Engine:
    """An engine whose transactions are real: a reader sees one state, and :func:`writer` is alone in writing.

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
        return _sqlite.make_engine(parsed, masked(url), is_writer)
    if backend == "postgresql":
        return _postgresql.make_engine(parsed, masked(url), is_writer)
    raise LedgerError(f"the ledger cannot live in {backend}", remedy="Use a sqlite:// or postgresql+psycopg:// URL")


def exists(url: str) -> bool:
    """Whether there is a store to look at; only for a SQLite file can the answer be no."""
    path = _file(url)
    return path is None or path.exists()


def identity(url: str) -> tuple[int, int] | None:
    """Device and inode of a SQLite file: another pair means that somebody put another file in its place.

    ``None`` when there is no such file, and always for a server, which cannot be replaced under an open connection.
    """
    path = _file(url)
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def empty_engine() -> sa.Engine:
    """A store in memory, for a look at a ledger that does not exist yet."""
    return _sqlite.memory_engine(is_writer)


def writer(engine: sa.Engine) -> sa.Engine:
    """The same engine and pool, for transactions that write: they queue up at their start, not at the first write."""
    return engine.execution_options(**{_WRITER: True})


def is_writer(connection: sa.Connection) -> bool:
    """Whether *connection* came from :func:`writer`."""
    return bool(connection.get_execution_options().get(_WRITER))


def _backend(url: str) -> str:
    try:
        return sa.make_url(url).get_backend_name()
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return ""


def _file(url: str) -> Path | None:
    """The file of a SQLite URL."""
    if _backend(url) != "sqlite":
        return None
    database = sa.make_url(url).database
    return Path(database).expanduser() if database and database != ":memory:" else None


def _without_secrets(text: str, url: str) -> str:
    """A driver's text should hold no password; should it do so all the same, it goes no further."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        return text
    secrets: list[t.Any] = [parsed.password, *(parsed.query.get(name) for name in _SECRET_OPTIONS)]
    for secret in secrets:
        if secret and str(secret) in text:
            text = text.replace(str(secret), "***")
    return text
