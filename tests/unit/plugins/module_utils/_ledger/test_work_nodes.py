# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciles in the queue, claims of several nodes, and what the metrics read; on both databases (T4, invariant 6)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert, reconcile_due

PERIOD = 600.0


@pytest.fixture
def queue(ledger: t.Any) -> WorkQueue:
    """The dispatcher's view of it."""
    return WorkQueue(ledger)


def ask(queue: WorkQueue, direction: str = "out") -> None:
    """An alert."""
    queue.accept_alerts([Alert(f"f{direction}", "s", "firing", "web", direction, "r")])


def work(queue: WorkQueue) -> t.Any:
    """What the group web has."""
    return next(group for group in queue.groups() if group.group == "web")


@pytest.mark.parametrize(
    ("asked", "last", "period", "due"),
    [
        (None, None, 600.0, None),
        (5.0, None, 600.0, 5.0),
        (None, 100.0, 600.0, 700.0),
        (800.0, 100.0, 600.0, 700.0),
        (200.0, 100.0, 600.0, 200.0),
        (200.0, 100.0, 0.0, None),
    ],
)
def test_when_a_reconcile_is_due(asked: float | None, last: float | None, period: float, due: float | None) -> None:
    """The sooner of what was asked for and the period; switched off is off."""
    assert reconcile_due(asked, last, period) == due


def test_of_two_nodes_one_reconciles(queue: WorkQueue, clock: t.Any) -> None:
    """Also when the second one looked before the first one had ended: the period is asked again under the claim."""
    queue.ask_reconciles({"web": clock.now}, "test")
    assert work(queue).may_reconcile(clock.now, PERIOD)
    claim = queue.claim("web", "reconcile", node="a", period=PERIOD)
    assert (claim.direction, claim.source, claim.reason) == ("reconcile", "sweep", "test")
    assert queue.claim("web", "reconcile", node="b", period=PERIOD) is None
    assert queue.finish_work(claim) is False
    assert queue.claim("web", "reconcile", node="b", period=PERIOD) is None
    clock.tick(PERIOD)
    assert queue.claim("web", "reconcile", node="b", period=PERIOD).reason == "the period"


def test_a_reconcile_leaves_signals_rest_and_failures_as_they_are(queue: WorkQueue, clock: t.Any) -> None:
    """It runs in the middle of the rest after a failure, well or badly."""
    ask(queue)
    queue.finish_work(queue.claim("web", "out", node="a"), failed="no", pause=lambda _n: 900.0, limit=1, soon=5.0)
    before = work(queue)
    assert (before.failures, before.attention, before.reconcile_asked) == (1, "no", clock.now + 5)
    ask(queue)
    for failed in ("", "broken"):
        clock.tick(PERIOD)
        claim = queue.begin_attempt(queue.claim("web", "reconcile", node="a", period=PERIOD))
        ask(queue, "in")
        waits = queue.retry_later(claim, clock.now + 3)
        assert queue.finish_work(waits, failed=failed, pause=lambda _n: 1.0, limit=1) is False
        now = work(queue)
        assert (now.failures, now.attention, now.not_before) == (1, "no", before.not_before)
        assert now.waiting.keys() == {"out", "in"}
        assert now.reconcile_asked is None


def test_a_signal_does_not_forget_that_a_reconcile_was_asked_for(queue: WorkQueue, clock: t.Any) -> None:
    """Claim and end of an out between; and a sooner time wins."""
    queue.ask_reconciles({"web": clock.now + 50}, "later")
    queue.ask_reconciles({"web": clock.now + 90}, "even later")
    ask(queue)
    queue.finish_work(queue.claim("web", "out", node="a"))
    assert work(queue).reconcile_asked == clock.now + 50
    clock.tick(50)
    assert queue.claim("web", "reconcile", node="a", period=PERIOD).reason == "later"


def test_a_claim_moves_from_a_silent_node_to_one(queue: WorkQueue, clock: t.Any) -> None:
    """Compare and set; what the old node still tries is refused, whatever it is."""
    assert queue.beat("a", 30) is False
    assert queue.beat("a", 30) is True
    ask(queue)
    old = queue.begin_attempt(queue.claim("web", "out", node="a"))
    assert not work(queue).orphan
    assert queue.take_over(old, "b") is None
    clock.tick(31)
    assert work(queue).orphan
    new = queue.take_over(old, "b")
    assert (new.node, new.foreign, new.attempts, new.ident) == ("b", True, 1, old.ident)
    assert queue.take_over(old, "c") is None
    assert work(queue).running == new
    assert queue.beat("a", 30) is False, "it was away"
    for outdated in (
        queue.begin_attempt(old),
        queue.retry_later(old, 5.0),
        queue.finish_work(old),
        queue.finish_work(old, failed="dead"),
    ):
        assert outdated is None
    again = queue.begin_attempt(new)
    assert (again.attempts, again.foreign) == (2, False)
    assert work(queue).running == again
    assert queue.finish_work(again) is False


def moved(queue: WorkQueue, clock: t.Any) -> tuple[t.Any, t.Any]:
    """A claim whose first attempt node a launched, as a had it and as b has it now."""
    queue.beat("a", 30)
    ask(queue)
    old = queue.begin_attempt(queue.claim("web", "out", node="a"))
    clock.tick(31)
    return old, queue.take_over(old, "b")


def begin(ledger: t.Any, ident: str, attempt: int) -> None:
    """The first journal entry of an attempt's play."""
    ledger.start_action("web", "out", ident=ident, owner=f"host/{attempt}", attempt=attempt, ttl=120)


def test_an_attempt_that_was_launched_counts_before_it_has_started(
    queue: WorkQueue, ledger: t.Any, clock: t.Any
) -> None:
    """Invariant 6: the older play is the slower one, and would have the lock until the later one takes it away."""
    _old, mine = moved(queue, clock)
    assert queue.begin_attempt(mine).attempts == 2
    with pytest.raises(ConflictError, match="attempt 1 of action web-1 comes too late: attempt 2 was launched") as late:
        begin(ledger, mine.ident, 1)
    assert late.value.result["code"] == "stale_attempt"
    begin(ledger, mine.ident, 2)


def test_what_holds_its_lock_elsewhere_is_not_launched_again(queue: WorkQueue, ledger: t.Any, clock: t.Any) -> None:
    """Invariant 6: its play took the lock after the node that is to follow it had looked."""
    _old, mine = moved(queue, clock)
    begin(ledger, mine.ident, 1)
    assert queue.begin_attempt(mine) is None
    assert work(queue).running == mine
    clock.tick(120)
    assert queue.begin_attempt(mine).attempts == 2


def test_what_is_held_back(queue: WorkQueue, ledger: t.Any, clock: t.Any) -> None:
    """Suspended processes and the breaker, as the ledger's own calls write them."""
    ask(queue)
    ledger.suspend("web", ["launch"], by="me", reason="maintenance")
    assert work(queue).ready(clock.now) is None
    ledger.resume("web", ["launch"])
    assert work(queue).ready(clock.now) == "out"
    ledger.save_breaker(
        "web", {"state": "open", "failures": [], "opened_at": 1, "probe_at": clock.now + 9, "probes": 0}
    )
    assert work(queue).ready(clock.now) is None
    assert queue.overview().breakers == {"web": "open"}
    clock.tick(9)
    assert work(queue).ready(clock.now) == "out", "for the probe"
    ledger.suspend("web", ["all"])
    queue.withdraw("web", "out")
    ask(queue, "in")
    assert work(queue).ready(clock.now) is None
    assert queue.overview().suspended == {"web": frozenset({"launch", "terminate", "replace"})}


def test_overview(queue: WorkQueue, ledger: t.Any, clock: t.Any) -> None:
    """Of a reconcile that found something, through the call that it makes."""
    queue.beat("a", 30)
    ident = ledger.start_action("web", "reconcile", owner="o", ttl=60)
    findings = [{"kind": "vm_unknown", "name": "x"}, {"kind": "vm_unknown", "name": "y"}]
    leaked = {"vms": 2, "members": 0, "targets": 0, "leases": 0}
    ledger.reconciled(ident, owner="o", adopt=[], forget=[], states=[], findings=findings, leaked=leaked)
    ledger.update_members("web", [{"name": "web-a", "state": "quarantined"}])
    found = queue.overview()
    assert found.controllers == ("a",)
    assert found.locks == {"web": clock.now + 60}
    assert found.quarantined == {"web": 1}
    assert found.members == {"web": {"quarantined": 1}}
    assert found.leases == {}
    last = found.reconciled["web"]
    assert (last.at, last.findings, last.leaked) == (clock.now, {"vm_unknown": 2}, leaked)
