# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciles: when they start, what they hold back and what not; suspended processes and the open breaker."""

from __future__ import annotations

import typing as t

import pytest
import sqlalchemy as sa

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert, GroupWork
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Outcome, State
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._schedule import Room, choose, first_reconciles

PERIOD = {"reconcile_period": 600}
DEAD = Outcome(State.DEAD, message="vanished")


def insert(bench: t.Any, table: str, **values: t.Any) -> None:
    """A row that the ledger's own calls write."""
    with bench.ledger.write() as connection:
        connection.execute(sa.insert(getattr(tables, table)).values(group_name="web", **values))


def reconcile_at_once(bench: t.Any, *groups: str) -> None:
    """A reconcile of each is due, of the others far away."""
    asked = dict.fromkeys(("web", "api", "db"), bench.now + 500)
    bench.queue.ask_reconciles({**asked, **dict.fromkeys(groups, bench.now)}, "test")


async def run_and_end(bench: t.Any, seconds: int, step: int = 10) -> list[str]:
    """Turn the clock; each reconcile that is launched succeeds at once. The groups in order."""
    seen, start = [], len(bench.executor.launched)
    for _unused in range(seconds // step):
        await bench.passes(seconds=step)
        for name in bench.executor.launched[start + len(seen) :]:
            seen.append(name)
            bench.executor.outcomes[name] = Outcome(State.FINISHED, rc=0, status="successful")
    return [name.split("-")[0] for name in seen]


async def test_every_group_once_a_period_and_not_all_at_once(make_bench: t.Any) -> None:
    """Enabled and known groups only; a group that was never asked for comes too; another period, another round."""
    bench = make_bench(PERIOD)
    (bench.folder / "groups" / "db.yml").write_text("name: db\nenabled: false\n")
    assert sorted(await run_and_end(bench, 600)) == ["api", "web"]
    job = bench.executor.jobs["web-1-1"]
    assert (job.playbook, job.direction, job.source, job.attempt) == (
        "onprem.autoscale.reconcile",
        "reconcile",
        "sweep",
        1,
    )
    starts = [row.reconciled_at for row in bench.queue.groups()]
    assert len(set(starts)) == len(starts), "spread"
    await run_and_end(bench, 600)
    assert sorted(name.split("-")[0] for name in bench.executor.launched) == ["api", "api", "web", "web"]


async def test_a_restart_does_not_begin_the_period_again(make_bench: t.Any) -> None:
    """Else a receiver that is restarted every few minutes would never reconcile."""
    bench = make_bench(PERIOD)
    for _unused in range(12):
        await run_and_end(bench, 50)
        bench.dispatcher = bench.fresh()
    assert len(bench.executor.launched) == 3


async def test_switched_off(bench: t.Any) -> None:
    """reconcile_period: 0, also after a failure."""
    bench.alert()
    await bench.passes()
    bench.end("web-1-1", "failed")
    await bench.passes(30, seconds=50)
    assert all(job.direction == "out" for job in bench.executor.jobs.values())


@pytest.mark.parametrize("how", ["failed", "lost", "canceled", "gave up"])
async def test_soon_after_an_action_that_went_wrong(make_bench: t.Any, how: str) -> None:
    """Five seconds later, although the group rests after its failure; the rest goes on behind it."""
    bench = make_bench(PERIOD, max_attempts=1, failure_pause=60, failure_pause_max=60)
    reconcile_at_once(bench)
    bench.alert()
    await bench.passes()
    if how == "canceled":
        bench.play("web-1")
        bench.executor.outcomes["web-1-1"] = Outcome(State.FINISHED, rc=254, status="canceled")
    elif how == "gave up":
        bench.play("web-1")
        bench.executor.outcomes["web-1-1"] = DEAD
    elif how == "lost":
        bench.play("web-1", ttl=0.5)
        bench.now += 1
        bench.play("web-90", "succeeded")
        bench.executor.outcomes["web-1-1"] = DEAD
    else:
        bench.end("web-1-1", "failed")
    await bench.passes()
    failed_at = bench.now
    await bench.passes(4)
    assert bench.executor.launched == ["web-1-1"]
    await bench.passes(2)
    job = bench.executor.jobs[bench.executor.launched[-1]]
    assert (len(bench.executor.launched), job.direction) == (2, "reconcile")
    assert job.reason == "after web-1, which failed"
    bench.end(job.name, direction="out")
    await bench.passes(2)
    row = bench.row()
    assert (row.running, row.failures, row.not_before) == (None, 1, failed_at + 60)
    await bench.passes(9, seconds=7)
    assert bench.executor.jobs[bench.executor.launched[-1]].direction == "out", "the signal was kept"


async def test_its_failure_is_only_its_own(make_bench: t.Any) -> None:
    """No rest, no attention, no count; and the next one comes with the next period."""
    bench = make_bench(PERIOD, max_failures=1, max_parallel=8)
    reconcile_at_once(bench, "web")
    await bench.passes()
    claimed_at = bench.row().reconciled_at
    bench.executor.outcomes["web-1-1"] = Outcome(State.FINISHED, rc=2, status="failed", message="failed with rc 2")
    await bench.passes(2)
    row = bench.row()
    assert (row.running, row.failures, row.attention, row.not_before, row.reconcile_asked) == (None, 0, "", 0, None)
    assert bench.metric("actions_total", group="web", direction="reconcile", result="failed") == 1
    assert bench.metric("needs_attention", group="web") == 0
    await bench.passes(3, seconds=100)
    assert "web-2-1" not in bench.executor.launched
    bench.now = claimed_at + 600
    await bench.passes()
    assert "web-2-1" in bench.executor.launched


async def test_an_alert_waits_for_its_end_and_is_not_lost(make_bench: t.Any) -> None:
    """Nor is a repeat of a known alert, nor one that the sweep found: a reconcile answers none of them."""
    bench = make_bench(PERIOD)
    bench.alert("api")  # known since long
    bench.queue.withdraw("api", "out")
    reconcile_at_once(bench, "web", "api")
    await bench.passes()
    assert sorted(bench.executor.launched) == ["api-1-1", "web-1-1"]
    bench.now += 40
    bench.alert("api")
    bench.queue.accept_alerts([Alert("sweep:1", "s", "firing", "web", "out", "r", source="sweep")])
    await bench.passes(5)
    assert len(bench.executor.launched) == 2
    for name in ("api-1-1", "web-1-1"):
        bench.executor.outcomes[name] = Outcome(State.FINISHED, rc=0, status="successful")
    await bench.passes(3)
    assert sorted(bench.executor.launched) == ["api-1-1", "api-2-1", "web-1-1", "web-2-1"]


async def test_a_signal_that_rests_does_not_hold_it_back(make_bench: t.Any) -> None:
    """And it leaves the signal where it is."""
    bench = make_bench(PERIOD)
    ident = bench.ledger.start_action("web", "out", owner="person")
    bench.ledger.finish_action(ident, state="succeeded", cooldown=300)
    bench.alert()
    reconcile_at_once(bench, "web")
    await bench.passes(2)
    assert bench.executor.jobs[bench.executor.launched[0]].direction == "reconcile"
    assert bench.row().waiting.keys() == {"out"}


async def test_a_signal_that_is_ready_comes_first(make_bench: t.Any) -> None:
    """Of the same group, and of the slots."""
    bench = make_bench(PERIOD, max_parallel=2)
    reconcile_at_once(bench, "web", "api", "db")
    bench.alert("web")
    await bench.passes(2)
    found = {(job.group, job.direction) for job in bench.executor.jobs.values()}
    assert ("web", "out") in found
    assert len(found) == 2


def group(name: str, **values: t.Any) -> GroupWork:
    """One that has nothing."""
    base: dict[str, t.Any] = {"waiting": {}, "reasons": {}, "cooling": {}, "locked_by": "", "not_before": 0.0}
    return GroupWork(name, None, **{**base, "failures": 0, "attention": "", **values})


@pytest.mark.parametrize(
    ("limit", "busy", "reconciling", "signals", "wanted"),
    [
        (4, 0, 0, 0, (0, 2)),
        (4, 0, 0, 3, (3, 1)),
        (4, 0, 0, 9, (4, 0)),
        (4, 2, 2, 9, (2, 0)),
        (4, 2, 2, 0, (0, 0)),
        (5, 1, 1, 0, (0, 1)),
        (1, 0, 0, 0, (0, 1)),
        (1, 0, 0, 1, (1, 0)),
        (2, 5, 0, 3, (0, 0)),
    ],
)
def test_reconciles_get_half_of_the_slots_and_never_that_of_a_signal(
    limit: int, busy: int, reconciling: int, signals: int, wanted: tuple[int, int]
) -> None:
    """At least one; the longest due first."""
    due = [group(f"r{n}", reconcile_asked=100.0 - n) for n in range(9)]
    asking = [group(f"s{n}", waiting={"out": float(n)}, reconcile_asked=0.0) for n in range(signals)]
    found = choose([*due, *asking], Room.left(limit, busy, reconciling), now=200.0, period=600.0)
    count = (sum(what == "out" for _work, what in found), sum(what == "reconcile" for _work, what in found))
    assert count == wanted
    names = [work.group for work, what in found if what == "reconcile"]
    assert names == [f"r{8 - n}" for n in range(len(names))]


def test_the_first_round_is_spread_over_the_period() -> None:
    """A hundred groups: no second of ten minutes gets more than a few; a time that is near is kept."""
    groups = [f"group-{number}" for number in range(100)]
    first = first_reconciles(groups, [], now=1000.0, period=600.0)
    assert all(1000.0 <= at <= 1600.0 for at in first.values())
    per_minute = [sum(1000 + 60 * n <= at < 1060 + 60 * n for at in first.values()) for n in range(10)]
    assert max(per_minute) <= 20
    assert first_reconciles(groups, [group(g, reconcile_asked=first[g]) for g in groups], now=1100, period=600) == {}
    assert first_reconciles(["a"], [group("a", reconcile_asked=9000.0)], now=1000.0, period=600).keys() == {"a"}
    assert first_reconciles(["a"], [group("a", reconciled_at=10.0)], now=1000.0, period=600) == {}


# -- held back ---------------------------------------------------------------------------------------------------------


async def test_suspended_launch_lets_out_signals_wait(bench: t.Any) -> None:
    """Until it is resumed; the other groups go on."""
    insert(bench, "suspensions", process="launch", since=0, by="me", reason="")
    bench.alert("web")
    bench.alert("api")
    await bench.passes(5)
    assert bench.executor.launched == ["api-1-1"]
    assert bench.row().held("out", bench.now) == "launch is suspended"
    assert bench.metric("process_suspended", group="web", process="launch") == 1
    with bench.ledger.write() as connection:
        connection.execute(sa.delete(tables.suspensions))
    await bench.passes()
    assert bench.executor.launched == ["api-1-1", "web-1-1"]
    assert bench.metric("process_suspended", group="web", process="launch") == 0


async def test_suspended_terminate_lets_in_signals_wait(bench: t.Any) -> None:
    """And no out."""
    insert(bench, "suspensions", process="terminate", since=0, by="me", reason="")
    bench.alert(direction="in")
    await bench.passes(3)
    assert bench.executor.launched == []
    bench.alert(direction="out")
    await bench.passes()
    assert bench.executor.jobs["web-1-1"].direction == "out"


async def test_suspended_replace_holds_nothing_back(make_bench: t.Any) -> None:
    """What a reconcile may do then is the planner's business."""
    bench = make_bench(PERIOD)
    insert(bench, "suspensions", process="replace", since=0, by="me", reason="")
    reconcile_at_once(bench, "web")
    await bench.passes()
    assert bench.executor.jobs["web-1-1"].direction == "reconcile"


async def test_an_open_breaker_lets_out_signals_wait_for_its_probe(bench: t.Any) -> None:
    """Invariant 8; the alert is believed then only if it still fires (invariant 11)."""
    insert(bench, "breakers", state="open", probe_at=bench.now + 100, updated_at=bench.now)
    bench.alert()
    await bench.passes(9, seconds=10)
    assert bench.executor.launched == []
    assert bench.metric("breaker_state", group="web") == 1
    await bench.passes(2, seconds=10)
    assert bench.executor.launched == ["web-1-1"]


async def test_what_waits_behind_an_open_breaker_for_too_long_is_looked_at_again(bench: t.Any) -> None:
    """Invariant 11: an alert that ended unseen does not act at the probe, nor hold back the other direction."""
    insert(bench, "breakers", state="open", probe_at=bench.now + 5000, updated_at=bench.now)
    bench.alert()
    bench.now += 901
    await bench.passes(2)
    assert bench.row().waiting == {}
    bench.alert(direction="in")
    await bench.passes()
    assert bench.executor.jobs["web-1-1"].direction == "in"
    bench.now += 5000
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1"]


async def test_metrics_of_what_the_ledger_says(bench: t.Any) -> None:
    """Locks, quarantine, the last reconcile, and the dispatchers; what is gone from the ledger is gone from here."""
    bench.ledger.start_action("web", "out", owner="person", ttl=60)
    insert(bench, "members", name="web-a", state="quarantined", created_at=1, updated_at=1)
    findings = [{"kind": "vm_unknown"}, {"kind": "vm_unknown"}, {"kind": "lease_without_vm"}]
    insert(bench, "reconciliations", at=77.0, findings=findings, leaked={"vms": 2, "leases": 1})
    insert(bench, "breakers", state="probing", updated_at=1)
    await bench.passes()
    assert bench.metric("lock_held", group="web") == 1
    assert bench.metric("lock_expiry_timestamp_seconds", group="web") == bench.now - 1 + 60
    assert bench.metric("lock_held", group="api") == 0
    assert bench.metric("members_quarantined", group="web") == 1
    assert bench.metric("breaker_state", group="web") == 2
    assert bench.metric("reconcile_findings", group="web", kind="vm_unknown") == 2
    assert bench.metric("reconcile_leaked", group="web", what="vms") == 2
    assert bench.metric("reconcile_leaked", group="web", what="targets") == 0
    assert bench.metric("reconcile_last_run_timestamp_seconds", group="web") == 77
    assert bench.metric("controllers_alive") == 1
    with bench.ledger.write() as connection:
        for name in ("reconciliations", "breakers", "members"):
            connection.execute(sa.delete(getattr(tables, name)))
    await bench.passes(2, seconds=40)
    assert bench.metric("reconcile_findings", group="web", kind="vm_unknown") is None
    assert bench.metric("lock_held", group="web") == 0
    assert bench.metric("breaker_state", group="web") == 0
