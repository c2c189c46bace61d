# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait: deadlines, intervals, and what is returned when time is up."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import WaitTimeoutError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.tests.unit.kit.http_talk import Clock


def make(timeout: float, interval: float = 1.0) -> tuple[Waiter, Clock]:
    clock = Clock()
    return Waiter(timeout, interval, clock=clock, sleep=clock.sleep), clock


def test_what_is_true_already_takes_no_time() -> None:
    waiter, clock = make(60)
    assert waiter.until(lambda: 7, lambda seen: seen == 7, "seven") == 7
    assert clock.slept == []


def test_it_looks_again_until_it_is_true() -> None:
    waiter, clock = make(60)
    seen = iter(range(10))
    assert waiter.until(lambda: next(seen), lambda number: number == 3, "three") == 3
    assert len(clock.slept) == 3


def test_the_deadline_fails_and_returns_what_is_half_done() -> None:
    waiter, clock = make(10, 3)
    with pytest.raises(WaitTimeoutError) as late:
        waiter.until(
            lambda: "slow", lambda _seen: False, "The clone", remedy="Look.", result=lambda seen: {"moid": seen}
        )
    assert str(late.value) == "The clone did not happen within 10 s. Look."
    assert late.value.result == {"moid": "slow"}
    assert sum(clock.slept) == pytest.approx(10)


def test_there_is_always_a_last_look_at_the_deadline() -> None:
    """A thing that came true during the last pause counts."""
    waiter, clock = make(10, 5)
    assert waiter.until(lambda: clock.now, lambda now: now >= 1010, "ten seconds") == pytest.approx(1010)


def test_without_time_one_look_is_taken() -> None:
    waiter, clock = make(0)
    looks: list[int] = []
    with pytest.raises(WaitTimeoutError):
        waiter.until(lambda: looks.append(1), lambda _seen: False, "Nothing")
    assert len(looks) == 1
    assert clock.slept == []


def test_the_interval_is_capped_and_jittered_by_a_fifth() -> None:
    waiter, clock = make(10_000, 60)
    for _unused in range(200):
        assert waiter.pause()
    assert all(4.0 <= pause <= 6.0 for pause in clock.slept)
    assert max(clock.slept) - min(clock.slept) > 0.5


def test_elapsed_and_remaining() -> None:
    waiter, clock = make(10)
    clock.now += 4
    assert (waiter.elapsed, waiter.remaining) == (4, 6)
    clock.now += 40
    assert waiter.remaining == 0
    assert not waiter.pause()
