# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a password came out: in what a command printed and logged, in arguments of processes, in open files."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.forked import PYTHON

NUL = b"\0"


class Secrets:
    """Passwords by the name that a finding calls them by; the passwords themselves are never part of a finding."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._forms = [(f"{name} ({form})", blob) for name, word in words.items() for form, blob in _forms(word)]

    def within(self, blob: bytes) -> set[str]:
        """Which ones, and how written, are within *blob*."""
        return {name for name, form in self._forms if form in blob}


def _forms(word: str) -> list[tuple[str, bytes]]:
    """The ways in which a password may be written down."""
    plain = word.encode()
    forms = {
        "plain": plain,
        "quoted": urllib.parse.quote(word, safe="").encode(),
        "json": json.dumps(word)[1:-1].encode(),
    }
    for shift in range(3):  # base64 of a longer text that it is a part of: less the characters that it shares
        coded = base64.b64encode(b"\0" * shift + plain)
        forms[f"base64+{shift}"] = coded[(0, 2, 3)[shift] : -4]
    return [(form, blob) for form, blob in forms.items() if form == "plain" or blob != plain]


class Sampler:
    """Reads the arguments and the environment of every process, again and again, while a command runs."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._last: dict[str, bytes] = {}
        self.arguments: set[bytes] = set()
        self.environments: set[tuple[bytes, bytes]] = set()  # with the program

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ending.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        before: set[str] | None = None  # what runs already is read once, so that this takes little of the machine
        while not self._ending.is_set():
            there = {entry for entry in os.listdir("/proc") if entry.isdecimal()} - {str(os.getpid())}  # it knows them
            for pid in there if before is None else there - before:
                self._look(pid)
            before = there if before is None else before & there
            self._ending.wait(0.01)

    def _look(self, pid: str) -> None:
        with contextlib.suppress(OSError):
            command = _read(f"/proc/{pid}/cmdline")
            if self._last.get(pid) != command:  # a new one, or another program in its place
                self._last[pid] = command
                self.arguments.add(command)
                self.environments.add((command.split(NUL)[0], _read(f"/proc/{pid}/environ")))

    def findings(self, secrets: Secrets) -> set[str]:
        """In what was seen."""
        found = {
            f"{name} in the arguments of {command.split(NUL)[0].decode(errors='replace')}"
            for command in self.arguments
            for name in secrets.within(command)
        }
        return found | {
            f"{name} in the environment of {program.decode(errors='replace')}"
            for program, environment in self.environments
            for name in secrets.within(environment)
        }


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(1 << 20)


class Watched:
    """One command under watch: ``run`` it, then ask for ``findings``.

    :param folder: for its output, its log and its temporary files; made private.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.log = folder / "ansible.log"
        self.temporary = folder / "tmp"
        self.sampler = Sampler()
        self.temporary.mkdir(parents=True)
        folder.chmod(0o700)

    def run(self, command: Sequence[str], *, timeout: float = 240, **environment: str) -> int:
        """Its exit status. Whatever Ansible leaves behind lies in the folder, as nothing is told to clean up more.

        Each module is a program of its own, as on people's machines: the environment of a fork cannot be looked at.
        """
        before = {name: value for name, value in os.environ.items() if name != PYTHON}
        places = {
            "TMPDIR": str(self.temporary),
            "ANSIBLE_LOCAL_TEMP": str(self.temporary / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self.temporary / "remote"),
            "ANSIBLE_LOG_PATH": str(self.log),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",  # what prints most
        }
        with self.sampler, self.output.open("wb") as output:
            return subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=timeout,
                env={**before, **places, **environment},
            ).returncode

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")

    def findings(self, secrets: Secrets, *folders: Path) -> list[str]:
        """Every place where a password came out; *folders* are searched for files that others may read, too."""
        found = self.sampler.findings(secrets)
        for path in (self.output, self.log):
            for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
                found |= {f"{name} in {path.name}, line {number}" for name in secrets.within(line)}
        for path, mode, names in files_with(secrets, self.temporary, *folders):
            if mode & 0o077:
                found |= {f"{name} in {path.name}, mode {mode:o}" for name in names}
        return sorted(found)


def files_with(secrets: Secrets, *folders: Path) -> Iterator[tuple[Path, int, set[str]]]:
    """Files below *folders* that hold a password: path, mode, and whose."""
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # of a server that works on
                mode = path.lstat().st_mode
                names = secrets.within(path.read_bytes().rstrip(NUL)) if stat.S_ISREG(mode) else set()
                if names:
                    yield path, mode & 0o777, names
