# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Who works on a run: the ansible-playbook process above a module, and whether that of an earlier run still lives.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import typing as t
from pathlib import Path

from .._common._errors import RefusedError

PROC = Path("/proc")
_PROGRAMS = ("ansible-playbook", "ansible", "ansible-console")


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process, so that no later one with the same number is taken for it."""

    host: str
    boot: str
    #: The namespace of process numbers; a container has its own.
    numbers: str
    pid: int
    #: Start of the process, in the kernel's ticks since the boot.
    started: str

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, data: t.Mapping[str, t.Any]) -> Owner:
        """From :meth:`as_dict`."""
        return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})

    def __str__(self) -> str:
        return f"ansible-playbook, process {self.pid} on {self.host}"


def this_owner(proc: Path = PROC) -> Owner:
    """The ansible-playbook that runs this module.

    A worker is a fork of it with the same command line, so that the uppermost of those is meant; a playbook that was
    started by another playbook is one of its own.

    :raises RefusedError: there is none above this process on this machine.
    """
    pid, found, line = os.getppid(), 0, b""
    while pid > 1:
        command = _command(proc, pid)
        if found and command != line:
            break
        if not found and _is_ansible(command):
            line = command
        if line:
            found = pid
        pid = int((_status(proc, pid) or ["", "0"])[1])
    if not found:
        raise RefusedError(
            "There is no ansible-playbook above this process, so nobody could tell later whether the run still lives",
            remedy="Run recovery_record on the controller: hosts localhost, connection local, Linux.",
        )
    return _owner(proc, found)


def alive(owner: Owner, proc: Path = PROC) -> bool | None:
    """Whether it still runs; None when that cannot be told from here."""
    here = _owner(proc, os.getpid())
    if owner.host != here.host:
        return None
    if owner.boot != here.boot:
        return False
    if owner.numbers != here.numbers:
        return None
    status = _status(proc, owner.pid)
    return status is not None and status[0] not in ("Z", "X") and status[19] == owner.started


def _owner(proc: Path, pid: int) -> Owner:
    status = _status(proc, pid)
    return Owner(
        host=socket.gethostname(),
        boot=_read(proc / "sys" / "kernel" / "random" / "boot_id").decode("ascii", "replace").strip(),
        numbers=_link(proc / "self" / "ns" / "pid"),
        pid=pid,
        started=status[19] if status else "",
    )


def _status(proc: Path, pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (the state); None when there is no such process."""
    text = _read(proc / str(pid) / "stat").decode("ascii", "replace")
    return text.rpartition(")")[2].split() or None


def _command(proc: Path, pid: int) -> bytes:
    return _read(proc / str(pid) / "cmdline")


def _is_ansible(command: bytes) -> bool:
    words = [os.path.basename(word).decode("utf-8", "replace") for word in command.split(b"\0")[:3]]
    if words and words[0].startswith("python"):
        words = [word for word in words[1:] if not word.startswith("-")][:1]
    return bool(words) and words[0] in _PROGRAMS


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
