# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dispatcher's judgement, with an executor that does what the test says (T3, T4, A10)."""

from __future__ import annotations

import collections
import dataclasses
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import Config, ExecutorConfig
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._dispatcher import Dispatcher, judge
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import (
    Job,
    LaunchError,
    Outcome,
    State,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Groups
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._sweep import SweepError

GOOD = Outcome(State.FINISHED, rc=0, status="successful")
BAD = Outcome(State.FINISHED, rc=2, status="failed", message="failed with rc 2")
DEAD = Outcome(State.DEAD, message="vanished")
CANCELED = Outcome(State.FINISHED, rc=254, status="canceled", message="canceled with rc 254")


class FakeExecutor:
    """Notes what is asked of it; attempts run until the test says otherwise."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.outcomes: dict[str, Outcome] = collections.defaultdict(lambda: Outcome(State.ABSENT))
        self.forgotten: list[tuple[str, bool]] = []
        self.refuse = False
        self.hang: dict[str, threading.Event] = {}

    def launch(self, job: Job) -> None:
        """Protocol."""
        if job.group in self.hang:
            self.hang[job.group].wait(10)
        if self.refuse:
            raise LaunchError("no")
        self.launched.append(job.name)
        self.jobs[job.name] = job
        self.outcomes[job.name] = Outcome(State.RUNNING)

    def look(self, name: str) -> Outcome:
        """Protocol."""
        return self.outcomes[name]

    def cancel(self, name: str) -> bool:
        """Protocol."""
        return name in self.launched

    def forget(self, name: str, *, good: bool) -> None:
        """Protocol."""
        self.forgotten.append((name, good))

    def prune(self, keep: t.Collection[str]) -> int:
        """Protocol."""
        return 0


class Bench:
    """A dispatcher whose passes the test makes, and whose clock it turns."""

    def __init__(self, folder: Path, **executor: t.Any) -> None:
        self.now = 1_000_000.0
        (folder / "groups").mkdir()
        for group in ("web", "api", "db"):
            (folder / "groups" / f"{group}.yml").write_text(f"name: {group}\n")
        self.folder = folder
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", clock=lambda: self.now)
        self.queue = WorkQueue(self.ledger)
        self.executor = FakeExecutor()
        limits = {"max_attempts": 3, "max_failures": 2, "failure_pause": 10, "failure_pause_max": 15, **executor}
        self.config = Config(
            ledger="",
            scaling_groups_dir=folder / "groups",
            executor=ExecutorConfig("runner", folder / "runs", **limits),
            node="here",
        )
        self.dispatcher = self.fresh()

    def fresh(self, sweep: t.Any = None, **config: t.Any) -> Dispatcher:
        """A dispatcher as after a restart."""
        settings = dataclasses.replace(self.config, **config)
        return Dispatcher(
            settings,
            self.queue,
            self.executor,
            Groups(self.folder / "groups"),
            Metrics(),
            sweep,
            clock=lambda: self.now,
        )

    def alert(self, group: str = "web", fingerprint: str = "f", status: str = "firing", direction: str = "out") -> None:
        """Deliver one."""
        values = {"start": "s", "status": status, "group": group, "direction": direction, "reason": "r"}
        self.queue.accept_alerts([Alert(fingerprint=f"{fingerprint}{group}{direction}", **values)])

    async def passes(self, count: int = 1, seconds: float = 1.0) -> None:
        """Look *count* times."""
        for _unused in range(count):
            self.now += seconds
            await self.dispatcher.look()
            await self.dispatcher.settle()

    def play(self, ident: str, state: str | None = None) -> None:
        """What the play writes into the ledger."""
        if self.ledger.action(ident) is None:
            self.ledger.start_action(ident.rpartition("-")[0], "out", ident=ident, owner=ident, ttl=3600)
        if state:
            self.ledger.finish_action(ident, state=state, message=f"it {state}")

    def row(self, group: str = "web") -> t.Any:
        """What the group has."""
        return next(work for work in self.queue.groups() if work.group == group)


@pytest.fixture
def bench(tmp_path: Path) -> t.Iterator[Bench]:
    """One for each test."""
    bench = Bench(tmp_path)
    yield bench
    bench.ledger.close()


async def test_one_action_and_its_end(bench: Bench) -> None:
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


async def test_a_restart_follows_and_does_not_launch(bench: Bench) -> None:
    """T4: every pass of a fresh dispatcher finds what runs."""
    bench.alert()
    await bench.passes()
    bench.dispatcher = bench.fresh()
    await bench.passes(3)
    assert bench.executor.launched == ["web-1-1"]


async def test_a_claim_without_a_launch_is_launched_after_a_restart(bench: Bench) -> None:
    """T4: killed between the claim and the attempt."""
    bench.alert()
    bench.queue.claim("web", "out", node="here")
    await bench.passes()
    assert bench.executor.launched == ["web-1-1"]


async def test_an_attempt_that_never_came_to_be_is_made_again(bench: Bench) -> None:
    """T4: killed between the stored attempt and the launch."""
    bench.alert()
    claim = bench.queue.claim("web", "out", node="here")
    assert claim is not None
    bench.queue.begin_attempt(claim)
    await bench.passes()
    assert bench.executor.launched == ["web-1-2"]


async def test_a_dead_attempt_is_followed_by_another_of_the_same_action(bench: Bench) -> None:
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
    tmp_path: Path, outcome: Outcome, code: str
) -> None:
    """Invariant 6, A9: canceled or given up, the group is free at once and an event says why."""
    bench = Bench(tmp_path, max_attempts=1)
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
    bench.ledger.close()


async def test_a_launch_that_is_refused_counts(bench: Bench) -> None:
    """No endless loop where nothing can be started."""
    bench.executor.refuse = True
    bench.alert()
    await bench.passes(60)
    assert bench.executor.launched == []
    assert bench.row().failures >= 1


async def test_groups_do_not_wait_for_each_other(bench: Bench) -> None:
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


async def test_no_more_than_allowed_run_at_once(tmp_path: Path) -> None:
    """max_parallel; the slot goes to the one that waits longest."""
    bench = Bench(tmp_path, max_parallel=1)
    bench.alert("db")
    bench.now += 5
    bench.alert("api")
    await bench.passes(3)
    assert bench.executor.launched == ["db-1-1"]
    bench.play("db-1", "succeeded")
    bench.executor.outcomes["db-1-1"] = GOOD
    await bench.passes(3)
    assert bench.executor.launched == ["db-1-1", "api-1-1"]
    bench.ledger.close()


async def test_actions_of_another_node_are_left_alone(bench: Bench) -> None:
    """What does not run here may run there."""
    bench.alert()
    bench.queue.claim("web", "out", node="there")
    await bench.passes(5)
    assert bench.executor.launched == []
    assert bench.row().running.ident == "web-1"


async def test_a_disabled_group_waits(bench: Bench) -> None:
    """Its file says no; the signal is kept and shown."""
    bench.alert()
    (bench.folder / "groups" / "web.yml").write_text("name: web\nenabled: false\n")
    await bench.passes(3)
    assert bench.executor.launched == []
    assert bench.row().waiting


async def test_a_broken_pass_of_one_group_is_no_other_groups_business(bench: Bench) -> None:
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


async def test_an_old_signal_without_prometheus_is_dropped(bench: Bench) -> None:
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


def claim_and_die(bench: Bench, attempts: int) -> None:
    """The receiver claims, perhaps launches, and the machine is gone for hours; no play has opened its row."""
    bench.alert()
    claim = bench.queue.claim("web", "out", node="here")
    for _unused in range(attempts):
        assert claim is not None
        claim = bench.queue.begin_attempt(claim)
        bench.executor.outcomes[f"web-1-{attempts}"] = DEAD
    bench.now += 7200


@pytest.mark.parametrize("attempts", [0, 1])
async def test_a_claim_of_long_ago_is_not_launched(bench: Bench, attempts: int) -> None:
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


async def test_an_attempt_whose_pause_outlasts_its_alert_is_not_made(tmp_path: Path) -> None:
    """Invariant 11: after a pause, too."""
    bench = Bench(tmp_path, failure_pause=1000, failure_pause_max=1000)
    bench.alert()
    for number in (1, 2):
        await bench.passes()
        bench.executor.outcomes[f"web-1-{number}"] = DEAD
    await bench.passes()
    assert bench.executor.launched == ["web-1-1", "web-1-2"]
    await bench.passes(2, seconds=600)
    assert bench.executor.launched == ["web-1-1", "web-1-2"]
    assert bench.row().running is None
    bench.ledger.close()


async def test_an_action_that_has_begun_is_finished_whatever_its_age(bench: Bench) -> None:
    """What it began must not be left half done."""
    claim_and_die(bench, 1)
    bench.play("web-1")
    await bench.passes()
    assert bench.executor.launched == ["web-1-2"]


@pytest.mark.parametrize("attempts", [0, 1])
async def test_an_old_claim_is_launched_when_prometheus_confirms(bench: Bench, attempts: int) -> None:
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


async def test_an_old_claim_is_dropped_when_prometheus_knows_of_no_such_alert(bench: Bench) -> None:
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
