# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One connection to a database: its options, its limits, and its errors in words that help.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from .._common._errors import InvalidSpecError
from .._common._module import ArgumentSpec, check_limits, option
from .._common._patience import bounded
from ._driver import dict_row, psycopg
from ._errors import translate

LOCK_TIMEOUT_S = 30
#: How much longer than the server's own limit an answer may take before the connection is given up.
SILENCE_S = 20
LIMITS = {"port": (1, 65535), "connect_timeout": (1, 600), "statement_timeout": (1, 86400)}
SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
#: A text form of rows that is the same in every session and on every server.
_PLAIN_TEXT = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}


def connection_spec() -> ArgumentSpec:
    """Options of the fragment ``onprem.autoscale._pgvector``."""
    return ArgumentSpec(
        {
            "host": option("PGHOST", required=True),
            "port": option("PGPORT", type="int", default=5432),
            "database": option("PGDATABASE", required=True),
            "username": option("PGUSER", required=True),
            # Without a fallback: with neither of them libpq reads PGPASSWORD and PGPASSFILE by itself, and one of them
            # in a variable must not be in the way of the other one as an option.
            "password": {"type": "str", "no_log": True},
            "passfile": {"type": "path", "no_log": False},
            "sslmode": option("PGSSLMODE", choices=SSL_MODES, default="verify-full"),
            "ca_path": option("PGSSLROOTCERT", type="path"),
            "connect_timeout": {"type": "int", "default": 10},
            "statement_timeout": {"type": "int", "default": 300},
        },
        mutually_exclusive=[("password", "passfile")],
    )


@dataclasses.dataclass(frozen=True)
class Server:
    """A database and how to get there."""

    host: str
    port: int
    database: str
    username: str
    password: str | None = dataclasses.field(default=None, repr=False)
    passfile: str | None = None
    sslmode: str = "verify-full"
    ca_path: str | None = None
    connect_timeout: int = 10
    statement_timeout: int = 300

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Server:
        """Of a module's options. :raises InvalidSpecError: names the option and what is allowed."""
        server = cls(**{field.name: params[field.name] for field in dataclasses.fields(cls)})
        check_limits(params, LIMITS)
        if server.passfile:
            _check_passfile(server.passfile)
        return server

    @property
    def name(self) -> str:
        """``host:port/database``, for errors."""
        return f"{self.host}:{self.port}/{self.database}"

    def open(self, purpose: str, warn: t.Callable[[str], None] | None = None) -> Session:
        """Connect; every statement is its own transaction until :meth:`Session.transaction`.

        :param purpose: shown in ``pg_stat_activity.application_name``.
        :param warn: gets what the server tells on the way, such as an index that outgrows its memory.
        :raises AutoscaleError: the server's or libpq's answer, translated.
        """
        if self.passfile:
            os.environ.pop("PGPASSWORD", None)  # libpq would prefer it
        options = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.username,
            "password": self.password,
            "passfile": self.passfile,
            "sslmode": self.sslmode,
            "sslrootcert": self.ca_path or self._trusted_roots(),
            "connect_timeout": self.connect_timeout,
            "application_name": f"onprem.autoscale {purpose}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
        }
        try:
            connection = _patient_class().connect(
                **{key: value for key, value in options.items() if value is not None},
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=None,
            )
        except psycopg.Error as error:
            raise translate(error, self.name) from error
        session = Session(self, connection, warn)
        try:
            session.limit(self.statement_timeout)
            session.configure(_PLAIN_TEXT)
            # Who was killed here is noticed there: what nobody waits for any more ends within two seconds.
            session.configure({"client_connection_check_interval": "2s"})
        except BaseException:
            session.close()
            raise
        return session

    def _trusted_roots(self) -> str | None:
        """Those of the system where libpq knows them and the user has no file of its own."""
        own = os.path.expanduser("~/.postgresql/root.crt")
        if self.sslmode != "verify-full" or psycopg.pq.version() < 160000 or os.path.exists(own):
            return None
        return "system"


class Session:
    """A connection whose errors are translated; rows are mappings."""

    def __init__(self, server: Server, connection: t.Any, warn: t.Callable[[str], None] | None) -> None:
        self.server = server
        self.connection = connection
        self._warn = warn
        self._told: set[str] = set()
        connection.add_notice_handler(self._note)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; what is open is rolled back."""
        self.connection.close()

    def limit(self, statement: float, lock: float | None = None) -> None:
        """From now on a statement may take so many seconds, and wait so many for a lock (30, or less than them)."""
        lock = min(LOCK_TIMEOUT_S, 0.75 * statement) if lock is None else lock
        self.connection.patience = statement + SILENCE_S
        self.configure({"statement_timeout": str(int(statement * 1000)), "lock_timeout": str(int(lock * 1000))})

    def configure(self, settings: t.Mapping[str, str]) -> None:
        """Set parameters for this session; those that the server does not know are left out."""
        self.rows(
            "SELECT set_config(name, wanted.value, false) FROM pg_settings "
            "JOIN unnest(%s::text[], %s::text[]) AS wanted (key, value) ON lower(name) = lower(key)",
            [list(settings), list(settings.values())],
            what="set " + ", ".join(settings),
        )

    def rows(self, query: t.Any, parameters: t.Any = None, *, what: str = "read") -> list[dict[str, t.Any]]:
        """The rows that *query* gives; none for a command."""
        with self.translated(what):
            cursor = self.connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def row(self, query: t.Any, parameters: t.Any = None, *, what: str = "read") -> dict[str, t.Any]:
        """The one row of *query*."""
        return self.rows(query, parameters, what=what)[0]

    def value(self, query: t.Any, parameters: t.Any = None, *, what: str = "read") -> t.Any:
        """The first column of the one row."""
        return next(iter(self.row(query, parameters, what=what).values()))

    def run(self, command: t.Any, what: str) -> None:
        """A command; *what* says what it is for, as a verb: ``create table x``."""
        self.rows(command, what=what)

    @contextlib.contextmanager
    def transaction(self, *, snapshot: bool = False) -> t.Iterator[None]:
        """All or nothing. With *snapshot* it only reads, and one state of the database all the time."""
        with self.translated("end a transaction"), self.connection.transaction():
            if snapshot:
                self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "read")
            yield

    @contextlib.contextmanager
    def translated(self, what: str) -> t.Iterator[None]:
        """psycopg's errors become those of the collection."""
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self.server.name, what) from error

    def _note(self, diagnostic: t.Any) -> None:
        text = str(diagnostic.message_primary or "")
        if self._warn and diagnostic.severity_nonlocalized in ("NOTICE", "WARNING") and text not in self._told:
            self._told.add(text)
            self._warn(text)


def _patient_class() -> t.Any:
    class PatientConnection(psycopg.Connection):  # type: ignore[misc, name-defined]
        """Closes itself when the server says nothing for longer than its own limits: nobody knows what it does."""

        patience = LOCK_TIMEOUT_S + SILENCE_S

        def wait(self, gen: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
            return super().wait(bounded(gen, self.patience, self._give_up), *args, **kwargs)

        def _give_up(self) -> t.NoReturn:
            seconds = self.patience
            self.close()
            raise psycopg.OperationalError(f"the server did not answer for {seconds:g} s")

    return PatientConnection


def _check_passfile(path: str) -> None:
    """libpq passes over such a file in silence, and the error is then about a password."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidSpecError(
            f"passfile {path} cannot be read: {error.strerror}",
            remedy="Write it on the machine that runs the module, as host:port:database:user:password",
        ) from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        raise InvalidSpecError(
            f"passfile {path} must be a file that only its owner may read", remedy=f"chmod 0600 {path}"
        )
