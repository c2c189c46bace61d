# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dispatcher's judgement, with an executor that does what the test says (T3, T4, A10)."""

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import (
    Job,
    Outcome,
    State,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._follower import judge
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._sweep import SweepError

GOOD = Outcome(State.FINISHED, rc=0, status="successful")
BAD = Outcome(State.FINISHED, rc=2, status="failed", message="failed with rc 2")
DEAD = Outcome(State.DEAD, message="vanished")
CANCELED = Outcome(State.FINISHED, rc=254, status="canceled", message="canceled with rc 254")


async def test_one_action_and_its_end(bench: t.Any) -> None:
    """T3: claim, launch once, follow, finish."""
    bench.alert()
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1"]
    job = bench.executor.jobs["web-1-1"]
    assert (job.playbook, job.reason, job.source) == ("onprem.autoscale.scale_out", "r", "alert")
    bench.play("web-1", "succeeded")
    bench.executor.outcomes["web-1-1"] = GOOD
    await bench.passes(3)
    assert bench.row().running is None
    assert bench.executor.launched == ["web-1-1"]
    assert bench.executor.forgotten == [("web-1-1", True)]


async def test_a_restart_follows_and_does_not_launch(bench: t.Any) -> None:
    """T4: every pass of a fresh dispatcher finds what runs."""
    bench.alert()
    await bench.passes()
    bench.dispatcher = bench.fresh()
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1"]


async def test_a_claim_without_a_launch_is_launched_after_a_restart(bench: t.Any) -> None:
    """T4: killed between the claim and the attempt."""
    bench.alert()
    bench.queue.claim("web", "out", node="here")
    await bench.passes()
    assert bench.executor.launched == ["web-1-1"]


async def test_an_attempt_that_never_came_to_be_is_made_again(bench: t.Any) -> None:
    """T4: killed between the stored attempt and the launch."""
    bench.alert()
    claim = bench.queue.claim("web", "out", node="here")
    assert claim is not None
    bench.queue.begin_attempt(claim)
    await bench.passes()
    assert bench.executor.launched == ["web-1-2"]


async def test_a_dead_attempt_is_followed_by_another_of_the_same_action(bench: t.Any) -> None:
    """At once the first time, then after a growing pause, and not for ever."""
    bench.alert()
    await bench.passes()
    bench.play("web-1")
    bench.executor.outcomes["web-1-1"] = DEAD
    await bench.passes()
    assert bench.executor.launched == ["web-1-1", "web-1-2"]
    bench.executor.outcomes["web-1-2"] = DEAD
    await bench.passes(14)
    assert bench.executor.launched == ["web-1-1", "web-1-2"], "it rests"
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1", "web-1-2", "web-1-3"]
    bench.executor.outcomes["web-1-3"] = DEAD
    await bench.passes()
    assert bench.row().running is None
    assert bench.row().failures == 1
    assert [name for name, good in bench.executor.forgotten if not good] == ["web-1-1", "web-1-2", "web-1-3"]


@pytest.mark.parametrize(("outcome", "code"), [(CANCELED, "canceled"), (DEAD, "gave_up"), (BAD, "gave_up")])
async def test_an_action_that_is_ended_from_outside_is_ended_in_the_ledger(
    make_bench: t.Any, outcome: Outcome, code: str
) -> None:
    """Invariant 6, A9: canceled or given up, the group is free at once and an event says why."""
    bench = make_bench(max_attempts=1)
    bench.alert()
    await bench.passes()
    bench.play("web-1")
    bench.executor.outcomes["web-1-1"] = outcome
    await bench.passes()
    state = bench.ledger.group_state("web")
    assert (state["lock"], state["action"]) == (None, None)
    assert [(event["result"], event["code"]) for event in state["events"]] == [("failed", code)]
    why = "canceled by a person" if code == "canceled" else f"given up after 1 attempts: {outcome.message}"
    assert why in state["events"][0]["message"]
    assert bench.row().locked_by == ""
    assert bench.row().failures == 1


async def test_a_launch_that_is_refused_counts(bench: t.Any) -> None:
    """No endless loop where nothing can be started."""
    bench.executor.refuse = True
    bench.alert()
    await bench.passes(60)
    assert bench.executor.launched == []
    assert bench.row().failures >= 1


async def test_a_site_that_may_not_act_is_not_asked_every_minute(bench: t.Any) -> None:
    """D6: a refusal, no failure; the alert that goes on is looked at again after a while, other groups at once."""
    bench.alert()
    await bench.passes()
    bench.end("web-1-1", "refused", code="not_holder")
    bench.alert(fingerprint="g")
    bench.alert("api")
    await bench.passes(100)
    assert bench.executor.launched == ["web-1-1", "api-1-1"]
    assert (bench.row().failures, bench.row().attention) == (0, "")
    assert bench.ledger.cooldowns("web") == {}
    await bench.passes(30)
    assert bench.executor.launched == ["web-1-1", "api-1-1", "web-2-1"]


async def test_groups_do_not_wait_for_each_other(bench: t.Any) -> None:
    """A10: one launch hangs in its executor, the others go on."""
    bench.executor.hang["web"] = threading.Event()
    for group in ("web", "api", "db"):
        bench.alert(group)
    for _unused in range(5):
        bench.now += 1
        await bench.dispatcher.look()
        for task in [task for group, task in bench.dispatcher._tasks.items() if group != "web"]:
            await task
    assert sorted(bench.executor.launched) == ["api-1-1", "db-1-1"]
    bench.executor.hang["web"].set()
    await bench.dispatcher.settle()
    assert "web-1-1" in bench.executor.launched


async def test_no_more_than_allowed_run_at_once(make_bench: t.Any) -> None:
    """max_parallel; the slot goes to the one that waits longest."""
    bench = make_bench(max_parallel=1)
    bench.alert("db")
    bench.now += 5
    bench.alert("api")
    await bench.passes(3)
    assert bench.executor.launched == ["db-1-1"]
    bench.play("db-1", "succeeded")
    bench.executor.outcomes["db-1-1"] = GOOD
    await bench.passes(3)
    assert bench.executor.launched == ["db-1-1", "api-1-1"]


async def test_a_disabled_group_waits(bench: t.Any) -> None:
    """Its file says no; the signal is kept and shown."""
    bench.alert()
    (bench.folder / "groups" / "web.yml").write_text("name: web\nenabled: false\n")
    await bench.passes(3)
    assert bench.executor.launched == []
    assert bench.row().waiting


async def test_a_broken_pass_of_one_group_is_no_other_groups_business(bench: t.Any) -> None:
    """A10: an exception in one group's task."""
    original = bench.executor.launch

    def launch(job: Job) -> None:
        if job.group == "web":
            raise RuntimeError("defect")
        original(job)

    bench.executor.launch = launch  # type: ignore[method-assign]
    bench.alert("web")
    bench.alert("api")
    await bench.passes(2)
    assert bench.executor.launched == ["api-1-1"]


async def test_an_old_signal_without_prometheus_is_dropped(bench: t.Any) -> None:
    """Invariant 11: nobody can confirm it."""
    bench.alert()
    bench.now += 901
    await bench.passes()
    assert bench.executor.launched == []
    assert bench.row().waiting == {}


class FakeSweep:
    """A Prometheus that says what the test wants."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.down = False
        self.asked = 0

    async def firing(self) -> list[Alert]:
        """Protocol."""
        self.asked += 1
        if self.down:
            raise SweepError("down")
        return self.alerts


def claim_and_die(bench: t.Any, attempts: int) -> None:
    """The receiver claims, perhaps launches, and the machine is gone for hours; no play has opened its row."""
    bench.alert()
    claim = bench.queue.claim("web", "out", node="here")
    for _unused in range(attempts):
        assert claim is not None
        claim = bench.queue.begin_attempt(claim)
        bench.executor.outcomes[f"web-1-{attempts}"] = DEAD
    bench.now += 7200


@pytest.mark.parametrize("attempts", [0, 1])
async def test_a_claim_of_long_ago_is_not_launched(bench: t.Any, attempts: int) -> None:
    """Invariant 11: neither the first attempt nor another; the group is free, what died stays for people to read."""
    claim_and_die(bench, attempts)
    await bench.passes(3)
    assert bench.executor.launched == []
    row = bench.row()
    assert (row.running, dict(row.waiting), row.failures) == (None, {}, 0)
    assert all(not good for _name, good in bench.executor.forgotten)
    bench.alert()
    await bench.passes(3)
    assert bench.executor.launched == ["web-2-1"], "a new delivery is acted on"


async def test_an_attempt_whose_pause_outlasts_its_alert_is_not_made(make_bench: t.Any) -> None:
    """Invariant 11: after a pause, too."""
    bench = make_bench(failure_pause=1000, failure_pause_max=1000)
    bench.alert()
    for number in (1, 2):
        await bench.passes()
        bench.executor.outcomes[f"web-1-{number}"] = DEAD
    await bench.passes()
    assert bench.executor.launched == ["web-1-1", "web-1-2"]
    await bench.passes(2, seconds=600)
    assert bench.executor.launched == ["web-1-1", "web-1-2"]
    assert bench.row().running is None


async def test_an_action_that_has_begun_is_finished_whatever_its_age(bench: t.Any) -> None:
    """What it began must not be left half done."""
    claim_and_die(bench, 1)
    bench.play("web-1")
    await bench.passes()
    assert bench.executor.launched == ["web-1-2"]


@pytest.mark.parametrize("attempts", [0, 1])
async def test_an_old_claim_is_launched_when_prometheus_confirms(bench: t.Any, attempts: int) -> None:
    """Invariant 11: while Prometheus is down it waits, is asked for now and then, and nothing is lost."""
    claim_and_die(bench, attempts)
    sweep = FakeSweep()
    sweep.down = True
    bench.dispatcher = bench.fresh(sweep)
    await bench.passes(14)
    assert (bench.executor.launched, sweep.asked) == ([], 1)
    assert bench.row().running.ident == "web-1"
    sweep.down = False
    sweep.alerts = [Alert("sweep:1", "s", "firing", "web", "out", "r", source="sweep")]
    await bench.passes(3)
    assert bench.executor.launched == [f"web-1-{attempts + 1}"]


async def test_an_old_claim_is_dropped_when_prometheus_knows_of_no_such_alert(bench: t.Any) -> None:
    """Another group's alert and one of the other direction confirm nothing."""
    claim_and_die(bench, 0)
    sweep = FakeSweep()
    sweep.alerts = [Alert("a", "s", "firing", "api", "out", "r"), Alert("b", "s", "firing", "web", "in", "r")]
    bench.dispatcher = bench.fresh(sweep)
    await bench.passes()
    assert bench.executor.launched == []
    assert bench.row().running is None


@pytest.mark.parametrize(
    ("outcome", "state", "verdict"),
    [
        (GOOD, "succeeded", "succeeded"),
        (GOOD, "refused", "refused"),
        (GOOD, "failed", "failed"),
        (GOOD, "lost", "failed"),
        (GOOD, "running", "again"),
        (GOOD, None, "succeeded"),
        (BAD, "succeeded", "succeeded"),
        (BAD, "refused", "refused"),
        (BAD, "failed", "failed"),
        (BAD, "running", "again"),
        (BAD, None, "failed"),
        (DEAD, "succeeded", "succeeded"),
        (DEAD, "failed", "failed"),
        (DEAD, "running", "again"),
        (DEAD, None, "again"),
        (Outcome(State.ABSENT), "running", "again"),
        (Outcome(State.ABSENT), None, "again"),
        (Outcome(State.FINISHED, rc=254, status="canceled"), "running", "failed"),
        (Outcome(State.FINISHED, rc=254, status="canceled"), "succeeded", "succeeded"),
    ],
)
def test_judge(outcome: Outcome, state: str | None, verdict: str) -> None:
    """The action's row counts for more than the process; what is cut off goes on under the same ident."""
    action = None if state is None else {"state": state, "code": "c", "message": "m"}
    assert judge(outcome, action)[0] == verdict
