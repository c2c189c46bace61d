# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Open the ledger, bring its schema up to date, and hand out transactions.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import typing as t

from . import _dialect
from ._errors import LedgerError
from ._schema import HAS_SQLALCHEMY, MIGRATIONS, current_version, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

S = t.TypeVar("S", bound="Store")


class _Opened(t.NamedTuple):
    """What an open store stands on."""

    reader: sa.Engine
    writer: sa.Engine
    file: tuple[int, int] | None  # of SQLite: which file the engines have open
    process: int


class Store:
    """An open ledger. Threads may share it; a process that was forked off opens its own connections.

    :ivar clock: seconds since the epoch; the only source of time in the ledger.
    """

    def __init__(
        self,
        url: str,
        clock: t.Callable[[], float],
        migrations: t.Sequence[t.Callable[[t.Any], None]] = MIGRATIONS,
        look_only: bool = False,
    ) -> None:
        self.clock = clock
        self._url = url
        self._migrations = migrations
        self._look_only = look_only
        self._opening = threading.Lock()
        self._opened: _Opened | None = None

    @classmethod
    def open(
        cls: type[S],
        url: str,
        *,
        clock: t.Callable[[], float] = time.time,
        migrations: t.Sequence[t.Callable[[t.Any], None]] = MIGRATIONS,
        look_only: bool = False,
    ) -> S:
        """Open the ledger at *url* (SQLAlchemy form); make it or migrate it when needed.

        :param look_only: make and migrate nothing (check mode, info); a store that does not exist yet looks empty.
        :raises LedgerError: no SQLAlchemy, no such database, not writable, corrupt, or newer than this code.
        """
        if not HAS_SQLALCHEMY:
            raise LedgerError(
                "the ledger needs the Python library SQLAlchemy 2 where the playbook runs",
                remedy="pip install 'SQLAlchemy>=2.0' in Ansible's own Python environment",
            )
        store = cls(url, clock, migrations, look_only)
        store._current()
        return store

    def close(self) -> None:
        """Give back all connections; the object may be used again."""
        with self._opening:
            self._forget()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The ledger's URL without its password."""
        return _dialect.masked(self._url)

    @contextlib.contextmanager
    def read(self) -> t.Iterator[sa.Connection]:
        """A transaction that sees one state of the store.

        :raises LedgerError: the store cannot be read.
        """
        # The engine's own context inside _transaction cleans up, whatever ends the caller's block.
        # pylint: disable-next=contextmanager-generator-missing-cleanup
        with self._transaction(self._current().reader, "read") as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> t.Iterator[sa.Connection]:
        """A transaction that is alone in writing from its first statement; commits at the end, rolls back on errors.

        :raises LedgerError: the store cannot be written; nothing of the transaction was stored. Only when the error
            says that this is not known (the connection broke while it committed) may all of it have been stored: the
            same call again then finds it.
        """
        opened = self._current()
        # pylint: disable-next=contextmanager-generator-missing-cleanup
        with self._transaction(opened.writer, "write") as connection:
            yield connection
        if opened.file != _dialect.identity(self._url):
            raise LedgerError(
                f"cannot write the ledger {self.name}: its file was removed or replaced meanwhile",
                remedy="Run the same again: it goes to the file that is there now, or to a new one",
            )

    @staticmethod
    def upsert(
        connection: sa.Connection,
        table: sa.Table,
        key: t.Mapping[str, t.Any],
        values: t.Mapping[str, t.Any],
        new: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        """Set *values* in the row with *key*, or insert it with *new* besides. Safe as writers are alone."""
        where = [table.c[name] == value for name, value in key.items()]
        if values:
            found = connection.execute(sa.update(table).where(*where).values(**values)).rowcount
        else:
            found = connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where))
        if not found:
            connection.execute(sa.insert(table).values(**key, **{**(new or {}), **values}))

    # ---- how it is open

    def _current(self) -> _Opened:
        """The engines, after a look whether they still lead to the store.

        A receiver runs for months. When somebody deletes or replaces its SQLite file, it would go on with the file
        that it has open, which nobody else can see. And a connection belongs to the process that made it.
        """
        with self._opening:
            opened = self._opened
            if opened and (opened.file, opened.process) == (_dialect.identity(self._url), os.getpid()):
                return opened
            self._forget()
            try:
                return self._open_anew()
            except BaseException:
                self._forget()
                raise

    def _open_anew(self) -> _Opened:
        if not self._look_only:
            opened = self._stand_on(_dialect.make_engine(self._url))
            self._bring_up_to_date(opened)
            return opened
        if _dialect.exists(self._url):
            opened = self._stand_on(_dialect.make_engine(self._url))
            if self._can_be_looked_at(opened):
                return opened
            self._forget()
        opened = self._stand_on(_dialect.empty_engine(), looks_empty=True)
        self._bring_up_to_date(opened)
        return opened

    def _stand_on(self, engine: sa.Engine, *, looks_empty: bool = False) -> _Opened:
        file = None if looks_empty else _dialect.identity(self._url)
        self._opened = _Opened(engine, _dialect.writer(engine), file, os.getpid())
        return self._opened

    def _forget(self) -> None:
        if self._opened:
            # What a parent process has open stays open: it still uses it.
            self._opened.reader.dispose(close=self._opened.process == os.getpid())
        self._opened = None

    @contextlib.contextmanager
    def _transaction(self, engine: sa.Engine, what: str) -> t.Iterator[sa.Connection]:
        committing = False
        try:
            with engine.begin() as connection:
                yield connection
                committing = True
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise _dialect.as_ledger_error(error, self._url, what, committing=committing) from error

    def _can_be_looked_at(self, opened: _Opened) -> bool:
        """Whether the store has been made; nothing is changed."""
        wanted = current_version(self._migrations)
        with self._transaction(opened.reader, "read") as connection:
            found = self._version(connection)
        if found is not None and found < wanted:
            raise LedgerError(
                f"the ledger {self.name} has schema version {found}, this release reads {wanted}",
                remedy="Run one action without check mode (or open the receiver); it migrates the ledger",
            )
        if found is not None and found > wanted:
            raise self._too_new(found, wanted)
        return found is not None

    def _bring_up_to_date(self, opened: _Opened) -> None:
        wanted = current_version(self._migrations)
        with self._transaction(opened.reader, "read") as connection:
            if self._version(connection) == wanted:
                return
        with self._transaction(opened.writer, "write") as connection:
            found = self._version(connection)  # another process may have done it meanwhile
            if found is not None and found > wanted:
                raise self._too_new(found, wanted)
            if found == wanted:
                return
            if found is None:
                tables.metadata.create_all(connection)
            else:
                for migrate in self._migrations[found - 1 :]:
                    migrate(connection)
            connection.execute(sa.delete(tables.schema_version))
            connection.execute(sa.insert(tables.schema_version).values(version=wanted))

    def _too_new(self, found: int, wanted: int) -> LedgerError:
        return LedgerError(
            f"the ledger {self.name} has schema version {found}, this release knows {wanted}",
            remedy="Update the collection here, or point to another ledger; an older release never writes it",
        )

    @staticmethod
    def _version(connection: sa.Connection) -> int | None:
        if not sa.inspect(connection).has_table(tables.schema_version.name):
            return None
        return connection.scalar(sa.select(sa.func.max(tables.schema_version.c.version)))
