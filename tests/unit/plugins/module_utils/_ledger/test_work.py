# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inbox and what it asks for, with a clock that the test turns (T1, T3, T4)."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert, Claim, GroupWork


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of its own for each test."""
    return Clock()


@pytest.fixture
def queue(ledger: Ledger) -> WorkQueue:
    """The intake's view of it."""
    return WorkQueue(ledger, live_for=900.0)


def alert(fingerprint: str = "f1", status: str = "firing", direction: str = "out", **kwargs: t.Any) -> Alert:
    """An alert of the group web."""
    values = {"start": "2026-01-01T00:00:00Z", "group": "web", "reason": f"because {fingerprint}", **kwargs}
    return Alert(fingerprint=fingerprint, status=status, direction=direction, **values)


def work(queue: WorkQueue) -> GroupWork:
    """What the group web has."""
    return next(group for group in queue.groups() if group.group == "web")


def claimed(queue: WorkQueue, direction: str = "out") -> Claim:
    """A claim that must succeed."""
    claim = queue.claim("web", direction, node="here")
    assert claim is not None
    return claim


def opened(ledger: Ledger, claim: Claim) -> None:
    """What the play does first."""
    ledger.start_action(claim.group, claim.direction, ident=claim.ident, owner="play", ttl=600)


def test_the_same_key_is_counted_not_stored(queue: WorkQueue, clock: Clock) -> None:
    """T1: retries and HA duplicates."""
    assert queue.accept_alerts([alert(), alert()]) == {"accepted": 1, "duplicates": 1, "set": 1, "withdrawn": 0}
    clock.now += 5
    assert queue.accept_alerts([alert()])["duplicates"] == 1
    row = queue.recent_alerts()[0]
    assert (row["seen"], row["received_at"], row["last_seen_at"]) == (3, clock.now - 5, clock.now)


def test_a_repeat_sets_the_signal_again_only_after_the_end(queue: WorkQueue, ledger: Ledger, clock: Clock) -> None:
    """T3: the second step of a lasting overload."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    opened(ledger, claim)
    clock.now += 60
    assert queue.accept_alerts([alert()])["set"] == 0
    ledger.finish_action(claim.ident, state="succeeded", cooldown=300)
    assert queue.finish_work(claim) is False
    assert work(queue).waiting == {}
    assert queue.accept_alerts([alert()])["set"] == 1
    assert work(queue).ready(clock.now) is None, "inside the cooldown"
    assert work(queue).cooling == {"out": clock.now + 300}
    clock.now += 301
    assert work(queue).ready(clock.now) == "out"


def test_what_comes_before_the_play_looks_is_answered_by_it(queue: WorkQueue, ledger: Ledger, clock: Clock) -> None:
    """T3: a storm that goes on between claim and play makes no second step; an alert after that waits."""
    queue.accept_alerts([alert("a")])
    claim = claimed(queue)
    clock.now += 1
    assert queue.accept_alerts([alert("b")])["set"] == 0
    assert queue.accept_alerts([alert("c", direction="in")])["set"] == 1
    clock.now += 1
    opened(ledger, claim)
    clock.now += 1
    assert queue.accept_alerts([alert("b")])["set"] == 0, "a repeat of what was answered"
    assert queue.accept_alerts([alert("d"), alert("e")])["set"] == 1, "one waits, not two"


def test_the_sweep_never_queues_behind_a_running_action(queue: WorkQueue, ledger: Ledger, clock: Clock) -> None:
    """A sweep repeats itself every period: it only wakes a group that is idle."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    opened(ledger, claim)
    clock.now += 1
    assert queue.accept_alerts([alert("sweep:1", source="sweep")])["set"] == 0
    ledger.finish_action(claim.ident, state="succeeded")
    queue.finish_work(claim)
    assert queue.accept_alerts([alert("sweep:1", source="sweep")])["set"] == 1
    assert queue.accept_alerts([alert("f1", "resolved")])["withdrawn"] == 1, "the next sweep asks again if need be"


def test_resolved_withdraws_its_direction_once_nobody_fires(queue: WorkQueue, clock: Clock) -> None:
    """Invariant 11; an alert that was not heard of for long does not count as firing."""
    queue.accept_alerts([alert("a"), alert("b"), alert("c", direction="in")])
    assert queue.accept_alerts([alert("a", "resolved")])["withdrawn"] == 0
    assert queue.accept_alerts([alert("b", "resolved")])["withdrawn"] == 1
    assert work(queue).waiting.keys() == {"in"}
    queue.accept_alerts([alert("silent")])
    clock.now += 901
    queue.accept_alerts([alert("d")])
    assert queue.accept_alerts([alert("d", "resolved")])["withdrawn"] == 1


def test_a_late_copy_of_an_ended_alert_is_not_news(queue: WorkQueue, clock: Clock) -> None:
    """HA pair: firing comes after its own resolved. Much later it is an alert again."""
    queue.accept_alerts([alert(), alert(status="resolved")])
    clock.now += 10
    assert queue.accept_alerts([alert()])["set"] == 0
    clock.now += 60
    assert queue.accept_alerts([alert()])["set"] == 1


def test_an_alert_whose_end_comes_first_never_fires(queue: WorkQueue, clock: Clock) -> None:
    """Delivered in the wrong order: it asks for nothing, and keeps no other alert's end from withdrawing the signal."""
    queue.accept_alerts([alert("a", "resolved")])
    clock.now += 5
    assert queue.accept_alerts([alert("a")]) == {"accepted": 1, "duplicates": 0, "set": 0, "withdrawn": 0}
    queue.accept_alerts([alert("b")])
    assert queue.accept_alerts([alert("b", "resolved")])["withdrawn"] == 1


def test_out_wins_over_in(queue: WorkQueue) -> None:
    """Facts 6: out and in at once; the in that waited saw the group before it grew."""
    queue.accept_alerts([alert("a", direction="in"), alert("b")])
    assert work(queue).ready(1e12) == "out"
    assert queue.claim("web", "in", node="here") is None
    claim = claimed(queue)
    assert (claim.ident, claim.reason) == ("web-1", "because b")
    assert work(queue).waiting == {}


def test_an_out_that_cools_holds_back_an_in(queue: WorkQueue, ledger: Ledger, clock: Clock) -> None:
    """Shrinking a group that asks to grow would be absurd."""
    ident = ledger.start_action("web", "out", owner="person")
    ledger.finish_action(ident, state="succeeded", cooldown=300)
    queue.accept_alerts([alert("a", direction="in"), alert("b")])
    assert work(queue).ready(clock.now) is None
    queue.withdraw("web", "out")
    assert work(queue).ready(clock.now) == "in"


def test_a_lock_of_someone_else_is_waited_for(queue: WorkQueue, ledger: Ledger, clock: Clock) -> None:
    """Facts 6: a person's action holds the group; its ident is not given out again."""
    ident = ledger.start_action("web", "out", owner="person", ttl=60)
    queue.accept_alerts([alert()])
    assert work(queue).locked_by == ident
    assert queue.ready_groups(clock.now) == []
    clock.now += 61
    assert [group.group for group in queue.ready_groups(clock.now)] == ["web"]
    assert claimed(queue).ident != ident


def test_a_claim_is_won_once(queue: WorkQueue) -> None:
    """T3: two dispatchers, one action."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    assert queue.claim("web", "out", node="there") is None
    assert queue.running() == [claim]


def test_an_outdated_claim_launches_nothing(queue: WorkQueue) -> None:
    """T4: what was read before another pass finished the action must not start it again."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    first = queue.begin_attempt(claim)
    assert first is not None
    assert first.attempts == 1
    assert queue.begin_attempt(claim) is None, "the same attempt is not begun twice"
    queue.finish_work(first)
    assert queue.begin_attempt(first) is None
    assert queue.retry_later(first, 5.0) is None


def test_failures_pause_longer_then_call_a_person(queue: WorkQueue, clock: Clock) -> None:
    """The signal is kept while it fires; at the limit only a new delivery sets it."""
    queue.accept_alerts([alert()])
    for failures, attention in ((1, False), (2, False), (3, True)):
        claim = claimed(queue)
        assert queue.finish_work(claim, failed="broken", pause=lambda n: 10.0 * n, limit=3) is attention
        now = work(queue)
        assert (now.failures, now.not_before) == (failures, clock.now + 10 * failures)
        assert (now.waiting.keys() == {"out"}) is not attention
        assert now.ready(clock.now) is None
        clock.now += 100
    assert work(queue).attention == "broken"
    queue.accept_alerts([alert()])
    assert work(queue).ready(clock.now) == "out"
    queue.finish_work(claimed(queue))
    assert (work(queue).failures, work(queue).attention) == (0, "")


def test_a_failed_action_is_not_tried_again_for_an_alert_that_ended(queue: WorkQueue) -> None:
    """Invariant 11."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    queue.accept_alerts([alert(status="resolved")])
    queue.finish_work(claim, failed="broken", limit=5)
    assert work(queue).waiting == {}


@pytest.mark.parametrize("code", ["canceled", "gave_up"])
@pytest.mark.parametrize("after", [10.0, 700.0])
def test_a_failed_end_closes_the_action_that_its_play_left_open(
    queue: WorkQueue, ledger: Ledger, clock: Clock, code: str, after: float
) -> None:
    """Invariants 6 and 7, A9: no lock is left, an event tells of it, members and leases stay; also with an old lock."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    opened(ledger, claim)
    ledger.record_plan("web-1", {"launches": [{"name": "web-a"}], "size_before": 2}, [{"name": "web-a"}])
    ledger.lease_addresses("web-1", "web", ["web-a"], ["10.0.0.1"])
    ledger.begin_step("web-1", "clone")
    clock.now += after
    assert queue.finish_work(claim, failed="because", code=code, limit=5) is False
    state = ledger.group_state("web")
    assert (state["lock"], state["action"]) == (None, None)
    assert [row["name"] for row in state["members"]] == ["web-a"]
    assert [row["address"] for row in state["leases"]] == ["10.0.0.1"]
    (event,) = state["events"]
    assert (event["result"], event["code"], event["action"], event["count_before"]) == ("failed", code, "web-1", 2)
    assert event["message"].startswith("because; ")
    assert [(row["step"], row["state"]) for row in event["steps"]] == [("clone", "failed")]
    assert [row["name"] for row in event["members"]] == ["web-a"]
    found = ledger.action("web-1")
    assert found is not None
    assert (found["state"], found["code"], found["ended_at"]) == ("failed", code, clock.now)
    assert ledger.start_action("web", "out", owner="person") == "web-2", "the group is free at once"


def test_a_failed_end_leaves_an_ended_action_and_a_foreign_lock_alone(queue: WorkQueue, ledger: Ledger) -> None:
    """What the play itself said counts; and a lock that another action holds is not freed."""
    queue.accept_alerts([alert()])
    claim = claimed(queue)
    opened(ledger, claim)
    ledger.finish_action("web-1", state="failed", code="clone_failed", message="own words")
    ledger.start_action("web", "out", owner="person")
    queue.finish_work(claim, failed="because", limit=5)
    state = ledger.group_state("web")
    assert [(event["action"], event["code"]) for event in state["events"]] == [("web-1", "clone_failed")]
    assert state["lock"]["action"] == "web-2"
    assert state["action"]["name"] == "web-2"


def test_old_rows_are_pruned(queue: WorkQueue, clock: Clock) -> None:
    """The inbox does not grow for ever."""
    queue.accept_alerts([alert("old")])
    clock.now += 8 * 86400
    queue.accept_alerts([alert("new")])
    assert queue.prune() == 1
    assert queue.last_seen("web", "out") == clock.now


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["firing", "resolved", "claim out", "claim in", "open", "finish", "fail", "sweep"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["out", "in"]),
        st.floats(0.0, 400.0),
    ),
    max_size=30,
)


def test_whatever_happens_one_runs_and_only_what_fires_waits(url: str, new_url: t.Callable[[], str]) -> None:
    """T3 as a property: one running action, idents never come twice, nothing waits that no firing alert asked for."""

    @settings(max_examples=60 if url.startswith("sqlite") else 12, deadline=None)
    @given(steps=STEPS)
    def histories(steps: list[tuple[str, str, str, float]]) -> None:
        live_through(new_url(), steps)

    histories()


def live_through(url: str, steps: list[tuple[str, str, str, float]]) -> None:
    """One history, in a store of its own."""
    clock = Clock()
    with Ledger.open(url, clock=clock) as ledger:
        queue = WorkQueue(ledger)
        running: Claim | None = None
        idents: set[str] = set()
        asked: set[str] = set()
        for what, name, direction, pause in steps:
            clock.now += pause
            if what in ("firing", "resolved", "sweep"):
                status = "resolved" if what == "resolved" else "firing"
                given_alert = alert(f"{name}{direction}", status, direction)
                if what == "sweep":
                    given_alert = dataclasses.replace(given_alert, fingerprint="sweep:1", source="sweep")
                queue.accept_alerts([given_alert])
                if status == "firing":
                    asked.add(direction)
            elif what.startswith("claim"):
                claim = queue.claim("web", what.split()[1], node="here")
                if claim:
                    assert running is None
                    assert claim.ident not in idents
                    assert claim.direction in asked
                    idents.add(claim.ident)
                    running = claim
            elif running and what == "open" and ledger.action(running.ident) is None:
                opened(ledger, running)
            elif running and what in ("finish", "fail"):
                if ledger.action(running.ident):
                    ledger.finish_action(running.ident, state="succeeded" if what == "finish" else "failed")
                queue.finish_work(running, failed="x" if what == "fail" else "", limit=3)
                running = None
            for group in queue.groups():
                assert (group.running and group.running.ident) == (running and running.ident)
                assert set(group.waiting) <= asked
