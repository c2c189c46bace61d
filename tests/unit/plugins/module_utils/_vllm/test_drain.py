# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is nobody served any more? (B5)"""

from __future__ import annotations

import socket
import typing as t

import pytest
from unit.kit.fake_vllm import Server, numbers
from unit.kit.http_talk import Clock

from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._client import Connection
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._drain import drain_many
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._rows import Row

MEMBER = {"name": "llm-1", "address": "127.0.0.1"}


def drain(connection: Connection, clock: Clock, timeout: float = 300, *, wait: bool = True) -> Row:
    (row,) = drain_many(
        [MEMBER],
        connection,
        quiet=10,
        stall=60,
        waiter=(lambda: Waiter(timeout, 5, clock=clock, sleep=clock.sleep)) if wait else None,
        clock=clock,
    )
    return row


class Life:
    """``(until, load, running, waiting, steps a second)``: what the pages say as time passes."""

    def __init__(self, server: Server, clock: Clock, *phases: tuple[float, int, int, int, float]) -> None:
        self.clock, self.started, self.phases = clock, clock.now, phases
        server.pages["/load"] = lambda: (200, f'{{"server_load": {self.now()[1]}}}')
        server.pages["/metrics"] = lambda: (200, numbers(self.now()[2], self.now()[3], self.steps()))

    def now(self) -> tuple[float, int, int, int, float]:
        return next(phase for phase in self.phases if self.clock.now - self.started < phase[0])

    def steps(self) -> int:
        return 100 + int(self.now()[4] * (self.clock.now - self.started))


EVER = 1e9


def test_idle_for_a_while(server: Server) -> None:
    clock = Clock()
    row = drain(server.connection, clock)
    assert (row.failed, row.more) == (False, {"load": 0, "running": 0, "waiting": 0, "stalled": False})
    assert sum(clock.slept) >= 10


@pytest.mark.parametrize("busy", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_each_of_the_three_counts_holds_it_up(server: Server, busy: tuple[int, int, int]) -> None:
    clock = Clock()
    Life(server, clock, (100, *busy, 5), (EVER, 0, 0, 0, 0))
    row = drain(server.connection, clock)
    assert not row.failed
    assert sum(clock.slept) >= 110


def test_a_request_between_two_looks_starts_the_time_again(server: Server) -> None:
    """Its step is seen, though no count ever was."""
    clock = Clock()
    Life(server, clock, (50, 0, 0, 0, 1), (EVER, 0, 0, 0, 0))
    row = drain(server.connection, clock)
    assert not row.failed
    assert sum(clock.slept) >= 55


def test_at_the_deadline_it_fails_and_says_how_many_are_running(server: Server) -> None:
    """Nothing is stopped then: B5 has no exception."""
    clock = Clock()
    Life(server, clock, (EVER, 3, 2, 1, 5))
    row = drain(server.connection, clock, 120)
    assert (row.failed, row.msg) == (True, "still being answered after 120 s: 3 (running 2, waiting 1, load 3)")
    assert row.more == {"load": 3, "running": 2, "waiting": 1, "stalled": False}


def test_requests_that_make_no_step_are_served_by_nobody(server: Server) -> None:
    clock = Clock()
    Life(server, clock, (30, 1, 1, 0, 5), (EVER, 1, 1, 0, 0))
    row = drain(server.connection, clock)
    assert (row.failed, row.more["stalled"]) == (False, True)
    assert "no step of the engine with 1 in flight for 60 s" in row.msg
    assert sum(clock.slept) >= 85


def test_slow_is_not_stalled(server: Server) -> None:
    """One step in 40 seconds."""
    clock = Clock()
    Life(server, clock, (EVER, 1, 1, 0, 1 / 40))
    assert drain(server.connection, clock, 600).failed


def test_nobody_listens() -> None:
    clock = Clock()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        row = drain(Connection(port=bound.getsockname()[1]), clock)
    assert (row.failed, row.msg) == (False, "nothing listens: nobody is served")
    assert 10 <= sum(clock.slept) < 30


def test_an_endpoint_that_answers_badly_may_still_serve_and_needs_the_longer_time(server: Server) -> None:
    clock = Clock()
    server.pages["/load"] = (503, "")
    row = drain(server.connection, clock)
    assert (row.failed, row.more["stalled"]) == (False, True)
    assert sum(clock.slept) >= 60
    failed = drain(server.connection, Clock(), 30)
    assert failed.failed
    assert "requests may still be running" in failed.msg


def test_without_the_engines_numbers_nothing_is_said_to_be_drained(server: Server) -> None:
    server.pages["/metrics"] = (200, "process_start_time_seconds 1\n")
    row = drain(server.connection, Clock())
    assert row.failed
    assert "--disable-log-stats" in row.msg


def test_one_look_without_waiting(server: Server) -> None:
    assert drain(server.connection, Clock(), wait=False).msg == "idle"
    server.pages["/metrics"] = (200, numbers(running=2))
    row = drain(server.connection, Clock(), wait=False)
    assert (row.failed, row.msg) == (True, "still being answered: 2 (running 2, waiting 0, load 0)")


def test_a_server_without_a_load_page(server: Server) -> None:
    server.pages["/load"] = (404, "")
    row: t.Any = drain(server.connection, Clock())
    assert (row.failed, row.more["load"]) == (False, None)
