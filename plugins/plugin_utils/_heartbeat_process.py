# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The process that ``_heartbeat`` starts. It is run as a script and needs only the standard library until its first beat,
so that a short action does not pay for opening a ledger.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import types
import typing as t
from pathlib import Path

#: The lock is prolonged so often in the time that it lives.
BEATS_A_TTL = 4
#: How often the play is looked for where the system cannot tell of its end, in seconds.
LOOK_EVERY_S = 1.0


def status(pid: int) -> tuple[str, str]:
    """State letter and start time of a process; empty where the system does not tell or it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # the name in front may hold anything
    return fields[0], fields[19]


class _Play:
    """The process that is watched; its id alone may be another's by now."""

    def __init__(self, pid: int, started: str) -> None:
        self._pid, self._started = pid, started
        self._file: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._file = os.pidfd_open(pid)

    def stopped(self) -> bool:
        return status(self._pid)[0] == "T"

    def wait_for_end(self) -> None:
        """Return when the play is gone: at once where the system tells of it, else within a second."""
        while self._there():
            if self._file is None:
                time.sleep(LOOK_EVERY_S)
            else:
                select.select([self._file], [], [])
                return

    def _there(self) -> bool:
        state, started = status(self._pid)
        if self._started:
            return started == self._started and state not in "ZX"
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


def _beat(order: t.Mapping[str, t.Any], play: _Play) -> None:
    """Prolong the lock until the action does not hold it any more."""
    errors = ledger = None
    while True:
        time.sleep(order["ttl"] / BEATS_A_TTL)
        if play.stopped():
            continue
        if ledger is None:
            errors, ledger = _import_ledger(order["path"])
        try:
            # A look makes and migrates nothing: a ledger that was deleted is not made anew from here.
            with ledger.Ledger.open(order["url"], look_only=True) as mine:
                mine.heartbeat(order["ident"], order["owner"], order["ttl"])
        except (errors.ConflictError, errors.NotFoundError):
            return  # ended, or taken over
        except Exception:  # noqa: S112 - nobody reads a log of this process
            continue  # the ledger is away for a moment; the lock lives for three more beats


def _import_ledger(path: t.Sequence[str]) -> tuple[t.Any, t.Any]:
    """Errors and ledger of the collection that this file belongs to, whichever others the interpreter would find."""
    sys.path[:] = path
    name, paths = "", [[], [], [str(Path(__file__).absolute().parents[2])]]
    for part, where in zip(("ansible_collections", "onprem", "autoscale"), paths, strict=True):
        name = f"{name}.{part}".lstrip(".")
        package = types.ModuleType(name)
        package.__path__ = where
        sys.modules[name] = package
    utils = f"{name}.plugins.module_utils"
    return importlib.import_module(f"{utils}._common._errors"), importlib.import_module(f"{utils}._ledger")


def _detach() -> None:
    """Go on as a process of its own: nobody's child, no file of anybody's, signals as usual."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.write(1, str(os.getpid()).encode())
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    if null > 2:
        os.close(null)


def _main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    play = _Play(order["pid"], order["started"])
    _detach()

    def beat() -> None:
        try:
            _beat(order, play)
        finally:
            os._exit(0)

    threading.Thread(target=beat, daemon=True).start()
    play.wait_for_end()
    # In the middle of a beat too: a transaction that is cut off is rolled back.
    os._exit(0)


if __name__ == "__main__":
    _main()
