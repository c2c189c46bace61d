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
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path


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

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.arguments: set[str] = set()
        self.environments: set[str] = set()
        self.programs: set[str] = set()  # what was seen at all
        self.rounds = 0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ending.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ending.is_set():
            for entry in os.listdir("/proc"):
                if entry.isdecimal() and int(entry) != os.getpid():  # this process knows them
                    self._look(entry)
            self.rounds += 1
            time.sleep(0.005)

    def _look(self, pid: str) -> None:
        with contextlib.suppress(OSError):
            command = _read(f"/proc/{pid}/cmdline")
            words = command.split(b"\0")
            program = b" ".join(words[:2]).decode(errors="replace")[:120]
            self.programs.add(program)
            self.arguments |= {f"{name} in the arguments of {words[0]!r}" for name in self._secrets.within(command)}
            found = self._secrets.within(_read(f"/proc/{pid}/environ"))
            self.environments |= {f"{name} in the environment of {words[0]!r}" for name in found}


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(1 << 20)


class Watched:
    """One command under watch: ``run`` it, then ask for ``findings``.

    :param folder: for its output, its log and its temporary files; made private.
    """

    def __init__(self, secrets: Secrets, folder: Path) -> None:
        self.secrets = secrets
        self.folder = folder
        self.output = folder / "output"
        self.log = folder / "ansible.log"
        self.temporary = folder / "tmp"
        self.sampler = Sampler(secrets)
        self.temporary.mkdir(parents=True)
        folder.chmod(0o700)

    def run(self, command: Sequence[str], *, timeout: float = 240, **environment: str) -> int:
        """Its exit status. Whatever Ansible leaves behind lies in the folder, as nothing is told to clean up more."""
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
                env={**os.environ, **places, **environment},
            ).returncode

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")

    def findings(self, *folders: Path) -> list[str]:
        """Every place where a password came out; *folders* are searched for files that others may read, too."""
        found = set(self.sampler.arguments | self.sampler.environments)
        for path in (self.output, self.log):
            found |= self._in_lines(path)
        for folder in (self.temporary, *folders):
            found |= self._in_open_files(folder)
        return sorted(found)

    def _in_lines(self, path: Path) -> set[str]:
        lines = path.read_bytes().splitlines() if path.exists() else []
        return {
            f"{name} in {path.name}, line {n}" for n, line in enumerate(lines, 1) for name in self.secrets.within(line)
        }

    def _in_open_files(self, folder: Path) -> set[str]:
        found = set()
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # of a server that works on
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) and mode & 0o077:
                    names = self.secrets.within(path.read_bytes())
                    found |= {f"{name} in {path.relative_to(folder)}, mode {mode & 0o777:o}" for name in names}
        return found
