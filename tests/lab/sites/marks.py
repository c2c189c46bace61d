# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark that every process of a site carries in its environment, and the end of all that carry it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from ..process import LabError, start_time

MARK = "ONPREM_AUTOSCALE_SITE"


@contextlib.contextmanager
def marked(mark: str) -> Iterator[None]:
    """What is started meanwhile belongs to the site."""
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before


def processes(mark: str) -> list[int]:
    """All that carry the mark, and what they have started: PostgreSQL's backends write over their environment."""
    wanted, found, parents = f"{MARK}={mark}".encode(), set(), {}
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    while grown := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= grown
    return sorted(pid for pid in found if pid != os.getpid() and start_time(pid) is not None)


def kill(mark: str, timeout: float = 10.0) -> int:
    """SIGKILL to all of them at once, until there is none; how many there were.

    Everybody is frozen first, so that nobody sees another one die and acts on it, as in a power cut.
    """
    victims = processes(mark)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    count, deadline = len(victims), time.monotonic() + timeout
    while left := processes(mark):
        if time.monotonic() > deadline:
            raise LabError(f"processes of {mark} survive kill -9: {left}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return count
