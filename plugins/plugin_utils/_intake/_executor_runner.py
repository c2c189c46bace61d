# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The executor ``runner``: ansible-runner on this machine, in a session of its own, so that a play outlives the receiver.

``ansible-runner start`` is not used: it sets the umask to 0 for the whole play, answers 0 before anything is known,
and silently runs nothing when it finds an old ``pid`` file. ``ansible-runner run`` as the leader of a new session does
the same work without the three.

One folder (0700) an attempt, never used twice. Whether something of an attempt still runs is asked of the kernel: each
process of it carries the folder's path in its environment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from ._config import ExecutorConfig
from ._executor import Job, LaunchError, Outcome, State

LOG = logging.getLogger(__name__)
MARK = "ONPREM_AUTOSCALE_ATTEMPT"
LOG_FILE = "runner.log"
_LINE = 400


class RunnerExecutor:
    """Runs attempts under ``config.private_data_root``. Linux only: it reads ``/proc``.

    :raises LaunchError: the root folder cannot be made, or is open to others.
    """

    def __init__(self, config: ExecutorConfig, *, inventory: Path | None = None, proc: Path = Path("/proc")) -> None:
        self._config = config
        self._inventory = inventory
        self._proc = proc
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.root = config.private_data_root
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.root.stat().st_mode & 0o022:
                raise LaunchError(f"{self.root} can be written by others; run chmod go-w on it")
        except OSError as error:
            raise LaunchError(f"{self.root} cannot be used: {error}") from error

    # -- start -------------------------------------------------------------------------------------------------------

    def launch(self, job: Job) -> None:
        """Make the attempt's folder and start it; nothing is waited for.

        :raises LaunchError: nothing was started.
        """
        folder = self.root / job.name
        command = [
            *(sys.executable, "-m", "ansible_runner", "run", str(folder)),
            *("--playbook", job.playbook, "--ident", job.name, "--quiet"),
        ]
        if self._inventory:
            command += ["--inventory", str(self._inventory)]
        try:
            folder.mkdir(mode=0o700)
            for name in ("env", "project"):
                (folder / name).mkdir(mode=0o700)
            _write(folder / "env" / "extravars", json.dumps(self._extra_vars(job), indent=1))
            with open(os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
                child = subprocess.Popen(
                    command,
                    cwd=folder / "project",
                    env=self._environment(folder),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(f"cannot start {job.name}: {error}") from error
        self._children[job.name] = child

    def _extra_vars(self, job: Job) -> dict[str, t.Any]:
        return {
            **self._config.extra_vars,
            "group": job.group,
            "action_id": job.ident,
            "action_attempt": job.attempt,
            "signal_direction": job.direction,
            "signal_source": job.source,
            "signal_reason": job.reason,
        }

    def _environment(self, folder: Path) -> dict[str, str]:
        environment = {**os.environ, **self._config.environment, MARK: str(folder)}
        command = self._config.ansible_playbook
        first = command.parent if command else Path(sys.executable).parent
        if (first / "ansible-playbook").exists():
            environment["PATH"] = os.pathsep.join((str(first), environment.get("PATH", os.defpath)))
        return environment

    # -- follow ------------------------------------------------------------------------------------------------------

    def look(self, name: str) -> Outcome:
        """What the files and the kernel say about the attempt; the files first, the kernel, then the files again."""
        folder = self.root / name
        self._reap(name)
        if not folder.is_dir() and not self.processes(name):
            return Outcome(State.ABSENT, message=f"{name} was never launched here")
        outcome = self._written(folder, name)
        if outcome is None and self.processes(name):
            self._hide_environment(folder, name)
            return Outcome(State.RUNNING)
        # It may have written its last word between the two looks.
        outcome = outcome or self._written(folder, name)
        if outcome is None:
            outcome = Outcome(State.DEAD, message=_last_line(folder / LOG_FILE) or "it vanished without a word")
        self._hide_environment(folder, name)
        return outcome

    def _written(self, folder: Path, name: str) -> Outcome | None:
        """``rc`` and ``status``, once both stand there. A killed play leaves the text ``None`` in ``rc``."""
        artifacts = folder / "artifacts" / name
        try:
            rc_text = (artifacts / "rc").read_text(encoding="utf-8").strip()
            status = (artifacts / "status").read_text(encoding="utf-8").strip()
        except OSError:
            return None
        if not rc_text:
            return None
        rc = int(rc_text) if rc_text.lstrip("-").isdigit() else None
        if rc != 0 and self.processes(name):
            return None  # canceled or killed: the playbook's workers may still finish the task that they are in
        if rc is None:
            return Outcome(State.DEAD, status=status, message="ansible-playbook was killed")
        message = "" if rc == 0 else f"{status or 'ended'} with rc {rc}"
        return Outcome(State.FINISHED, rc=rc, status=status, message=message)

    def processes(self, name: str) -> list[int]:
        """Process ids of everything that still runs for the attempt, from the kernel."""
        return self._alive().get(name, [])

    def _alive(self) -> dict[str, list[int]]:
        """Attempt -> process ids, of every attempt under the root of which something runs."""
        mark = f"{MARK}={self.root}/".encode()
        found: dict[str, list[int]] = {}
        for entry in self._proc.iterdir():
            if not entry.name.isdigit():
                continue
            # A process that ends meanwhile, or is another user's, has nothing to say here.
            with contextlib.suppress(OSError):
                values = (entry / "environ").read_bytes().split(b"\0")
                name = next((value[len(mark) :] for value in values if value.startswith(mark)), b"")
                command = (entry / "cmdline").read_bytes() if name else b""
                # A shared ssh connection idles on for a minute; it changes nothing any more.
                if command and not (command.startswith(b"ssh:") and b"[mux]" in command):
                    found.setdefault(os.fsdecode(name), []).append(int(entry.name))
        return found

    def knows(self, ident: str) -> bool:
        """A folder of that ident lies here: a ledger that was lost counts from the start again, the folders do not."""
        form = re.compile(re.escape(ident) + r"-\d+")
        return any(form.fullmatch(entry.name) for entry in self.root.iterdir())

    def busy(self, group: str) -> list[str]:
        """Names of the group's attempts of which something still runs."""
        form = re.compile(re.escape(group) + r"-\d+-\d+")
        return sorted(name for name in self._alive() if form.fullmatch(name))

    def cancel(self, name: str) -> bool:
        """SIGTERM to ansible-runner itself: the task in flight ends, ``rc`` becomes 254."""
        sent = False
        for pid in self.processes(name):
            with contextlib.suppress(OSError):
                if b"ansible_runner" in (self._proc / str(pid) / "cmdline").read_bytes():
                    os.kill(pid, signal.SIGTERM)
                    sent = True
        return sent

    # -- tidy up -----------------------------------------------------------------------------------------------------

    def forget(self, name: str, *, good: bool) -> None:
        """Delete the folder of a good attempt unless it is to be kept; what failed stays for people to read."""
        self._reap(name)
        if good and not self._config.keep_successful_artifacts:
            shutil.rmtree(self.root / name, ignore_errors=True)

    def prune(self, keep: t.Collection[str]) -> int:
        """Keep the youngest ``keep_failed_artifacts`` folders and those named; delete the rest, unless they run."""
        if self._config.keep_successful_artifacts:
            return 0
        folders = [
            (entry.stat().st_mtime, entry)
            for entry in self.root.iterdir()
            if entry.is_dir() and entry.name not in keep and (entry / "env" / "extravars").exists()
        ]
        old = sorted(folders, reverse=True)[self._config.keep_failed_artifacts :]
        gone = [entry for _time, entry in old if not self.processes(entry.name)]
        for entry in gone:
            shutil.rmtree(entry, ignore_errors=True)
        return len(gone)

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            del self._children[name]

    def _hide_environment(self, folder: Path, name: str) -> None:
        """ansible-runner notes the whole environment in ``command``: replace it, for that is where passwords are."""
        path = folder / "artifacts" / name / "command"
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            if noted.get("env"):
                _write(path, json.dumps({**noted, "env": {}}))
        except (OSError, ValueError, AttributeError):
            return  # not there, or not written to its end yet: the next look does it


def _write(path: Path, text: str) -> None:
    """Write *path* whole, 0600, so that no reader sees a half of it."""
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _last_line(path: Path) -> str:
    """What a program said last: of a traceback, the error itself."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:_LINE] for line in reversed(lines) if line.strip()), "")
