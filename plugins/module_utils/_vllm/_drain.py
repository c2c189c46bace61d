# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Is nobody served any more? The HTTP server's count and the engine's have to be 0 for a while: SIGTERM would cut streams.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._common._errors import AutoscaleError, BackendDownError
from .._common._http import ConnectionBrokenError
from .._common._waiter import Waiter
from ._client import Connection, Pages
from ._rows import Member, Row, side_by_side


class _Blind(Exception):
    """The endpoint answers, but does not say whom it serves."""


@dataclasses.dataclass
class _Look:
    """What one look saw. ``refused``: nobody listens; ``silent``: no answer, which a busy host gives too."""

    load: int | None = None
    running: int | None = None
    waiting: int | None = None
    steps: float | None = None
    refused: bool = False
    silent: str = ""

    @property
    def busy(self) -> int:
        """How many are served."""
        return max(self.load or 0, (self.running or 0) + (self.waiting or 0))


def drain_many(
    members: t.Sequence[Member],
    connection: Connection,
    *,
    quiet: float,
    stall: float,
    waiter: t.Callable[[], Waiter] | None,
    clock: t.Callable[[], float] = time.monotonic,
) -> list[Row]:
    """Look at every member until it has been idle for *quiet* seconds, or its waiter's time is over.

    :param stall: an endpoint that does not answer, or whose requests make no step, for so many seconds serves nobody.
    :param waiter: makes one for each member; ``None``: one look, and idle is idle now.
    """

    def work(member: Member) -> Row:
        own = waiter() if waiter else None
        return _Drain(member, connection, quiet if own else 0.0, stall if own else 0.0, own, clock).run()

    return side_by_side(members, work)


class _Drain:
    """One member."""

    def __init__(
        self,
        member: Member,
        connection: Connection,
        quiet: float,
        stall: float,
        waiter: Waiter | None,
        clock: t.Callable[[], float],
    ) -> None:
        self._member = member
        self._connection = connection
        self._quiet = quiet
        self._stall = stall
        self._waiter = waiter
        self._clock = clock
        self._idle_since: float | None = None
        self._still_since: float | None = None  # no step, or no answer
        self._steps: float | None = None

    def run(self) -> Row:
        """Look until there is a verdict."""
        started = self._clock()
        with self._connection.client(self._member["address"]) as pages:
            while True:
                failed = False
                try:
                    look = _look(pages)
                    verdict = self._judge(look)
                except _Blind as error:
                    look, verdict, failed = _Look(), str(error), True
                if not verdict and (self._waiter is None or not self._waiter.pause()):
                    failed, verdict = True, self._not_drained(look)
                if verdict:
                    return self._row(look, verdict, failed, self._clock() - started)

    def _row(self, look: _Look, msg: str, failed: bool, seconds: float) -> Row:
        stalled = not failed and bool(look.busy or look.silent)
        more = {"load": look.load, "running": look.running, "waiting": look.waiting, "stalled": stalled}
        return Row(self._member["name"], self._member["address"], failed, msg, seconds, more)

    def _judge(self, look: _Look) -> str:
        """Why it is drained; empty while it is not."""
        now = self._clock()
        moved = look.steps != self._steps and not (look.refused or look.silent)
        first = self._steps is None
        if moved:
            self._steps = look.steps
        if look.busy or look.silent:
            self._idle_since = None
            if moved or self._still_since is None:
                self._still_since = now
            unknown = look.steps is None and not look.silent
            if self._waiter is None or unknown or now - self._still_since < self._stall:
                return ""
            what = look.silent or f"no step of the engine with {look.busy} in flight"
            return f"{what} for {self._stall:g} s: nobody is served"
        self._still_since = None
        if self._idle_since is None or (moved and not first):  # a request came and went between two looks
            self._idle_since = now
        if now - self._idle_since < self._quiet:
            return ""
        return (
            "nothing listens: nobody is served"
            if look.refused
            else f"idle for {self._quiet:g} s"
            if self._quiet
            else "idle"
        )

    def _not_drained(self, look: _Look) -> str:
        after = f" after {self._waiter.timeout:g} s" if self._waiter else ""
        if look.silent:
            return f"{look.silent}{after}; requests may still be running"
        if not look.busy:
            return f"not idle for {self._quiet:g} s{after}: requests still come"
        parts = (("running", look.running), ("waiting", look.waiting), ("load", look.load))
        counts = ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in parts)
        return f"still being answered{after}: {look.busy} ({counts})"


def _look(pages: Pages) -> _Look:
    """:raises _Blind: neither page says how many are served."""
    try:
        load = pages.load()
        engine = pages.snapshot()
    except ConnectionBrokenError as error:
        refused = error.passing and not error.cut
        return _Look(refused=refused, silent="" if refused else error.message)
    except BackendDownError as error:
        return _Look(silent=error.message)
    except AutoscaleError as error:
        raise _Blind(str(error)) from error
    if engine.running is None or engine.waiting is None:
        raise _Blind("/metrics has no vllm:num_requests_running: start vLLM without --disable-log-stats")
    return _Look(load, engine.running, engine.waiting, engine.steps)
