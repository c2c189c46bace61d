# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One long-running part of the lab: started detached, logged to a file, found again by pid and start time, stopped."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and where to look."""


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), field 22); ``None`` when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def port_holder(port: int) -> str | None:
    """Who listens on a TCP port of this machine, as ``name (pid N)``; ``None`` when nobody does."""
    wanted = f":{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (proc / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f"{(proc / 'comm').read_text().strip()} (pid {proc.name})"
        except OSError:
            continue
    return "another process"


class Part:
    """A process of the lab, by name."""

    def __init__(self, name: str, run: Path, logs: Path) -> None:
        self.name = name
        self.record = run / f"{name}.json"
        self.log = logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None  # known only to whoever started it

    def pid(self) -> int | None:
        """The pid when the recorded process still runs; a recycled pid does not count."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return None
        return record["pid"] if start_time(record["pid"]) == record["start_time"] else None

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
    ) -> int:
        """Start *command* in a session of its own with its output in the log.

        :param user: run it as this user, in none of root's groups; only for root.
        """
        as_user = {} if user is None else {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                **as_user,
            )
        self.record.write_text(json.dumps({"pid": process.pid, "start_time": start_time(process.pid)}))
        self._process = process
        return process.pid

    def wait_ready(self, ready: Callable[[], bool], timeout: float = 30) -> None:
        """Wait until *ready* says yes; a part that died says so with the end of its log."""
        deadline = time.monotonic() + timeout
        while True:
            if ready():
                return
            if self._process is not None and self._process.poll() is not None:
                raise LabError(
                    f"{self.name} ended with {self._process.returncode}; the end of {self.log}:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not ready after {timeout:g} s; the end of {self.log}:\n{self.tail()}")
            time.sleep(0.1)

    def wait_gone(self, timeout: float) -> bool:
        """Whether the process has ended within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while self.pid() is not None:
            if self._process is not None:
                self._process.poll()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def tail(self, lines: int = 12) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def stop(self, timeout: float = 10) -> bool:
        """SIGTERM to the session, SIGKILL after *timeout*; ``True`` when something was running."""
        pid = self.pid()
        if pid is None:
            self.record.unlink(missing_ok=True)
            return False
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                break
            if self.wait_gone(patience):
                break
        if self.pid() is not None:
            raise LabError(f"{self.name} (pid {pid}) does not stop")
        self.record.unlink(missing_ok=True)
        return True


def answers(url: str, timeout: float = 1) -> bool:
    """Whether a GET of *url* is answered with 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            return 200 <= response.status < 300
    except (OSError, urllib.error.URLError):
        return False
