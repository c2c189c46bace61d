# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One CREATE INDEX, watched: its progress is read over a second connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
import typing as t

from .._common._errors import AutoscaleError
from ._connection import Session

_LOOK_S = (0.2, 2.0)  # from the first look on, each one a little later
_CANCEL_S = 10.0  # the server keeps the time itself; after so many seconds more it is asked to stop


@dataclasses.dataclass
class Build:
    """What came out."""

    seconds: float
    progress: list[dict[str, t.Any]]
    error: AutoscaleError | None


def percent(row: t.Mapping[str, t.Any]) -> float | None:
    """How far a phase is, of a row of ``pg_stat_progress_create_index``; ``None`` where it does not count."""
    for done, total in (("blocks_done", "blocks_total"), ("tuples_done", "tuples_total")):
        if row[total]:
            return round(100.0 * min(row[done], row[total]) / row[total], 1)
    return None


def build(session: Session, command: t.Any, what: str, *, timeout: float) -> Build:
    """Run *command* on *session* for at most *timeout* seconds; the server ends it then.

    An error is returned, as the caller has to tidy up on the same session.
    """
    process = session.value("SELECT pg_backend_pid()")
    # It waits for old transactions, as long as it may take at all.
    session.limit(timeout, timeout)
    answers: queue.Queue[AutoscaleError | None] = queue.Queue()

    def work() -> None:
        try:
            session.run(command, what)
        except AutoscaleError as error:
            answers.put(error)
        except BaseException as error:  # never leave the other side waiting
            answers.put(AutoscaleError(f"cannot {what}: {error}"))
        else:
            answers.put(None)

    started = time.monotonic()
    worker = threading.Thread(target=work, name="build", daemon=True)
    worker.start()
    try:
        progress, error = _watch(session, process, answers, started, timeout)
    except BaseException:
        with contextlib.suppress(Exception):
            session.connection.cancel_safe(timeout=_CANCEL_S)
        raise
    worker.join()
    with contextlib.suppress(AutoscaleError):  # a connection that is gone says so at its next use
        session.limit(session.server.statement_timeout)
    seconds = round(time.monotonic() - started, 3)
    if error is None:
        progress.append({"phase": "done", "percent": 100.0, "seconds": seconds})
    return Build(seconds, progress, error)


def _watch(
    session: Session, process: int, answers: queue.Queue[AutoscaleError | None], started: float, timeout: float
) -> tuple[list[dict[str, t.Any]], AutoscaleError | None]:
    progress: list[dict[str, t.Any]] = []
    pause, cancelled = _LOOK_S[0], False
    with contextlib.ExitStack() as stack:
        watcher: Session | None = None
        with contextlib.suppress(AutoscaleError):  # max_connections, for example: then without progress
            watcher = stack.enter_context(session.server.open("progress"))
        while True:
            try:
                return progress, answers.get(timeout=pause)
            except queue.Empty:
                pass
            pause = min(pause * 1.3, _LOOK_S[1])
            elapsed = time.monotonic() - started
            if watcher:
                try:
                    _note(progress, watcher, process, elapsed)
                except AutoscaleError:
                    watcher = None
            if elapsed > timeout + _CANCEL_S and not cancelled:
                cancelled = True
                with contextlib.suppress(Exception):
                    session.connection.cancel_safe(timeout=_CANCEL_S)


def _note(progress: list[dict[str, t.Any]], watcher: Session, process: int, elapsed: float) -> None:
    """The last look at each phase."""
    rows = watcher.rows("SELECT * FROM pg_stat_progress_create_index WHERE pid = %s", [process])
    for row in rows:
        seen = {"phase": row["phase"], "percent": percent(row), "seconds": round(elapsed, 3)}
        if progress and progress[-1]["phase"] == seen["phase"]:
            progress[-1] = seen
        else:
            progress.append(seen)
