# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several dispatchers on one ledger, and a lost ledger: nothing runs twice, nothing is left (T4, invariant 6)."""

from __future__ import annotations

import typing as t

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Outcome, State

DEAD = Outcome(State.DEAD, message="vanished")


def there(bench: t.Any, *, attempts: int = 1, group: str = "web") -> t.Any:
    """The node ``there`` claims a signal, launches it so many times, and is not heard of any more."""
    bench.queue.beat("there", 30)
    bench.alert(group)
    claim = bench.queue.claim(group, "out", node="there")
    for _unused in range(attempts):
        claim = bench.queue.begin_attempt(claim)
    return claim


async def test_actions_of_a_living_node_are_left_alone(bench: t.Any) -> None:
    """What does not run here may run there."""
    there(bench)
    for _unused in range(10):
        bench.queue.beat("there", 30)
        await bench.passes(seconds=10)
    assert bench.executor.launched == []
    assert bench.row().running.node == "there"
    assert bench.metric("controllers_alive") == 2


async def test_an_action_that_was_never_launched_is_taken_over_and_launched(bench: t.Any) -> None:
    """Killed between claim and launch."""
    there(bench, attempts=0)
    await bench.passes(4, seconds=7)
    assert bench.executor.launched == []
    await bench.passes(4)
    assert bench.executor.launched == ["web-1-1"]
    assert bench.row().running.node == "here"
    assert bench.metric("actions_taken_over_total", group="web") == 1
    assert bench.metric("controllers_alive") == 1


async def test_an_action_of_a_dead_node_goes_on_once_its_lock_has_run_out(bench: t.Any) -> None:
    """The play may outlive its dispatcher, and prolongs its lock: no attempt is burnt meanwhile."""
    there(bench)
    bench.play("web-1", ttl=120)
    for _unused in range(10):
        await bench.passes(seconds=60)
        bench.ledger.heartbeat("web-1", "web-1", 120)
    assert bench.executor.launched == []
    await bench.passes(17, seconds=7)
    assert bench.executor.launched == []
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-2"], "the same action, one attempt more"
    assert bench.row().running.foreign is False
    bench.end("web-1-2")
    await bench.passes(2)
    assert bench.row().running is None
    assert bench.ledger.action("web-1")["state"] == "succeeded"


async def test_an_action_that_its_play_has_ended_is_only_closed(bench: t.Any) -> None:
    """The node died, its play did not."""
    there(bench)
    bench.play("web-1", ttl=120)
    await bench.passes(2, seconds=31)
    bench.play("web-1", "succeeded")
    await bench.passes(3)
    assert bench.executor.launched == []
    assert bench.row().running is None
    assert bench.metric("actions_total", group="web", direction="out", result="succeeded") == 1


async def test_a_play_that_never_opened_its_action_is_launched_again(bench: t.Any) -> None:
    """There is no lock to wait for."""
    there(bench)
    await bench.passes(2, seconds=31)
    assert bench.executor.launched == ["web-1-2"]


async def test_a_lock_that_comes_to_life_again_is_waited_for(bench: t.Any) -> None:
    """The node was suspended with its play, and both wake up between take-over and launch."""
    there(bench)
    bench.play("web-1", ttl=30)
    bench.now += 40
    claim = bench.row().running
    bench.queue.beat("here", 30)
    assert bench.queue.take_over(claim, "here").foreign
    bench.ledger.heartbeat("web-1", "web-1", 120)
    await bench.passes(10, seconds=10)
    assert bench.executor.launched == []
    bench.play("web-1", "succeeded")
    await bench.passes(2)
    assert bench.executor.launched == []
    assert bench.row().running is None


async def test_who_comes_back_leaves_alone_what_was_taken_over(bench: t.Any) -> None:
    """A suspended dispatcher wakes up in the middle of anything: attempt, retry, end; all are refused."""
    bench.alert()
    await bench.passes()
    mine = bench.row().running
    bench.play("web-1", ttl=30)
    bench.now += 60
    bench.queue.beat("there", 30)
    assert bench.queue.take_over(mine, "there").node == "there"
    assert bench.queue.begin_attempt(mine) is None
    assert bench.queue.retry_later(mine, 5.0) is None
    assert bench.queue.finish_work(mine, failed="dead") is None
    bench.executor.outcomes["web-1-1"] = DEAD
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1"]
    assert bench.executor.forgotten == []
    assert bench.row().running.node == "there"
    assert bench.ledger.action("web-1")["state"] == "running"


async def test_a_claim_is_taken_over_by_one(bench: t.Any) -> None:
    """Compare and set: node, ident, attempt; and never from a node that is heard of."""
    there(bench)
    stale = bench.row().running
    assert bench.queue.take_over(stale, "here") is None, "it is alive"
    bench.now += 31
    first = bench.queue.take_over(bench.row().running, "here")
    assert bench.queue.take_over(stale, "third") is None
    bench.queue.beat("here", 30)
    again = bench.queue.begin_attempt(first)
    assert (again.foreign, again.attempts) == (False, 2)
    assert bench.queue.begin_attempt(first) is None


async def test_taking_over_keeps_to_the_limit(make_bench: t.Any) -> None:
    """max_parallel counts this node's own actions, and what it takes over becomes its own."""
    bench = make_bench(max_parallel=1)
    there(bench, attempts=0, group="web")
    there(bench, attempts=0, group="api")
    await bench.passes(5, seconds=7)
    assert len(bench.executor.launched) == 1
    assert sorted(work.running.node for work in bench.queue.groups()) == ["here", "there"]
    bench.end(bench.executor.launched[0])
    await bench.passes(3)
    assert sorted(bench.executor.launched) == ["api-1-1", "web-1-1"]


async def test_a_node_that_was_away_says_so(bench: t.Any, caplog: t.Any) -> None:
    """It beats before it looks, and looks before it acts."""
    await bench.passes(9, seconds=7)
    assert "not heard of" not in caplog.text
    bench.now += 100
    await bench.passes()
    assert "not heard of for" in caplog.text


async def test_a_ledger_that_is_lost_counts_from_the_start_again_and_nothing_collides(bench: t.Any) -> None:
    """An attempt's folder of the old ledger is not taken for one of the new; what still runs is waited for."""
    bench.executor.left_behind = ["web-1-1", "web-2-1"]
    bench.executor.outcomes["web-1-1"] = Outcome(State.FINISHED, rc=0)
    bench.executor.outcomes["web-2-1"] = Outcome(State.RUNNING)
    bench.alert()
    await bench.passes(10, seconds=3)
    assert bench.executor.launched == []
    bench.executor.outcomes["web-2-1"] = DEAD
    await bench.passes(3)
    assert bench.executor.launched == ["web-3-1"]


async def test_an_ident_that_a_member_still_names_is_not_given_out_again(bench: t.Any) -> None:
    """A ledger that reconcile rebuilt knows the members of actions whose rows are gone."""
    bench.ledger.update_members("web", [{"name": "web-a", "state": "in_service", "action": "web-1"}])
    bench.alert()
    await bench.passes()
    assert bench.executor.launched == ["web-2-1"]
