# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Open the ledger, bring its schema up to date, and hand out transactions.
"""

from __future__ import annotations

import contextlib
import time
import typing as t

from . import _dialect
from ._errors import LedgerError
from ._schema import HAS_SQLALCHEMY, MIGRATIONS, current_version, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

S = t.TypeVar("S", bound="Store")


class Store:
    """An open ledger. One object a process: never take it over a fork.

    :ivar clock: seconds since the epoch; the only source of time in the ledger.
    """

    def __init__(self, engine: sa.Engine, url: str, clock: t.Callable[[], float]) -> None:
        self._reader = engine
        self._writer = _dialect.writer(engine)
        self._url = url
        self.clock = clock

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
        empty = look_only and not _dialect.exists(url)
        store = cls(_dialect.empty_engine() if empty else _dialect.make_engine(url), url, clock)
        try:
            store._bring_up_to_date(migrations, look_only and not empty)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Give back all connections; the object may be used again."""
        self._reader.dispose()

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
        with self._explained("read"), self._reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> t.Iterator[sa.Connection]:
        """A transaction that is alone in writing from its first statement; commits at the end, rolls back on errors.

        :raises LedgerError: the store cannot be written; nothing of the transaction was stored.
        """
        with self._explained("write"), self._writer.begin() as connection:
            yield connection

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

    @contextlib.contextmanager
    def _explained(self, what: str) -> t.Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise _dialect.as_ledger_error(error, self._url, what) from error

    def _bring_up_to_date(self, migrations: t.Sequence[t.Callable[[t.Any], None]], look_only: bool) -> None:
        wanted = current_version(migrations)
        with self.read() as connection:
            found = self._version(connection)
        if found == wanted:
            return
        if look_only and (found is None or found < wanted):
            raise LedgerError(
                f"the ledger {self.name} has schema version {found or 'none'}, this release reads {wanted}",
                remedy="Run one action without check mode (or open the receiver); it migrates the ledger",
            )
        with self.write() as connection:
            found = self._version(connection)  # another process may have done it meanwhile
            if found is not None and found > wanted:
                raise LedgerError(
                    f"the ledger {self.name} has schema version {found}, this release knows {wanted}",
                    remedy="Update the collection here, or point to another ledger; an older release never writes it",
                )
            if found is None:
                tables.metadata.create_all(connection)
            else:
                for migrate in migrations[found - 1 :]:
                    migrate(connection)
            connection.execute(sa.delete(tables.schema_version))
            connection.execute(sa.insert(tables.schema_version).values(version=wanted))

    @staticmethod
    def _version(connection: sa.Connection) -> int | None:
        if not sa.inspect(connection).has_table(tables.schema_version.name):
            return None
        return connection.scalar(sa.select(sa.func.max(tables.schema_version.c.version)))
