# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dispatcher on a bench: its passes are made by the test, its plays do what the test says."""

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
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._dispatcher import Dispatcher
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import (
    Job,
    LaunchError,
    Outcome,
    State,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Groups
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._metrics import Metrics


class FakeExecutor:
    """Notes what is asked of it; attempts run until the test says otherwise."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.outcomes: dict[str, Outcome] = collections.defaultdict(lambda: Outcome(State.ABSENT))
        self.forgotten: list[tuple[str, bool]] = []
        self.refuse = False
        self.left_behind: list[str] = []  # attempts of a ledger that is gone
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

    def knows(self, ident: str) -> bool:
        """Protocol."""
        return any(name.rpartition("-")[0] == ident for name in self.left_behind)

    def busy(self, group: str) -> list[str]:
        """Protocol."""
        names = [*self.left_behind, *self.launched]
        return [n for n in names if n.rsplit("-", 2)[0] == group and self.outcomes[n].state is State.RUNNING]

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
    """A dispatcher whose passes the test makes, and whose clock it turns.

    :param config: of the whole receiver; *executor*: of the executor.
    """

    def __init__(self, folder: Path, config: t.Mapping[str, t.Any] | None = None, **executor: t.Any) -> None:
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
            **{"node": "here", "reconcile_period": 0, **(config or {})},
        )
        self.metrics = Metrics()
        self.dispatcher = self.fresh()

    def fresh(self, sweep: t.Any = None, **config: t.Any) -> Dispatcher:
        """A dispatcher as after a restart."""
        return Dispatcher(
            dataclasses.replace(self.config, **config),
            self.queue,
            self.executor,
            Groups(self.folder / "groups"),
            self.metrics,
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

    def play(
        self, ident: str, state: str | None = None, *, direction: str = "out", ttl: float = 3600, code: str = ""
    ) -> None:
        """What the play writes into the ledger."""
        if self.ledger.action(ident) is None:
            self.ledger.start_action(ident.rpartition("-")[0], direction, ident=ident, owner=ident, ttl=ttl)
        if state:
            self.ledger.finish_action(ident, state=state, message=f"it {state}", code=code)

    def end(self, name: str, state: str = "succeeded", *, direction: str = "out", code: str = "") -> None:
        """The attempt *name* runs to its end: in the ledger, and as a process."""
        self.play(name.rpartition("-")[0], state, direction=direction, code=code)
        self.executor.outcomes[name] = Outcome(State.FINISHED, rc=0, status="successful")

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a sample."""
        return self.metrics.registry.get_sample_value(f"onprem_autoscale_{name}", labels)

    def row(self, group: str = "web") -> t.Any:
        """What the group has."""
        return next(work for work in self.queue.groups() if work.group == group)


@pytest.fixture
def make_bench(tmp_path: Path) -> t.Iterator[t.Callable[..., Bench]]:
    """``make_bench({config}, **executor)``, once a test."""
    made: list[Bench] = []

    def make(config: t.Mapping[str, t.Any] | None = None, **executor: t.Any) -> Bench:
        made.append(Bench(tmp_path, config, **executor))
        return made[-1]

    yield make
    for bench in made:
        bench.ledger.close()


@pytest.fixture
def bench(make_bench: t.Callable[..., Bench]) -> Bench:
    """One with the settings of most tests: no reconcile."""
    return make_bench()
