# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dispatcher without its event loop: the real Follower, queue and choice, over plays of the fake world.

A node that dies leaves its plays running; only it can see how they are doing. It may come back under its own name.
"""

from __future__ import annotations

import typing as t
from types import SimpleNamespace
from unittest import mock

from unit.world.autoscaler import Autoscaler, Killed, Play

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import RECONCILE, Alert
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Job, Outcome, State
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._follower import Follower
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._schedule import (
    TAKE_OVER,
    Room,
    choose,
    first_reconciles,
)

CONTROLLER_TTL_S = 60.0
ALERT_MAX_AGE_S = 900.0
KINDS = {"out": "scale_out", "in": "scale_in", "reconcile": "reconcile"}


class FakeExecutor:
    """Plays that this node has launched, by the name of the attempt."""

    def __init__(self, world: Autoscaler) -> None:
        self.world = world
        self.plays: dict[str, Play] = {}

    def launch(self, job: Job) -> None:
        self.plays[job.name] = self.world.start(
            KINDS[job.direction],
            action_id=job.ident,
            action_attempt=job.attempt,
            signal_source=job.source,
            signal_reason=job.reason,
        )

    def look(self, name: str) -> Outcome:
        play = self.plays.get(name)
        if play is None:
            return Outcome(State.ABSENT)
        if play.alive:
            return Outcome(State.RUNNING)
        if play.state == "killed":
            return Outcome(State.DEAD, message="killed")
        rc = 0 if play.state == "ended" else 2
        return Outcome(State.FINISHED, rc, "successful" if rc == 0 else "failed", play.error)

    def knows(self, ident: str) -> bool:
        return any(name.rpartition("-")[0] == ident for name in self.plays)

    def busy(self, _group: str) -> list[str]:
        return [name for name, play in self.plays.items() if play.alive]

    def forget(self, name: str, *, good: bool) -> None:
        """Nothing is kept that would have to go."""


class Node(Follower):
    """One dispatcher of the world's ledger.

    :ivar down: it was killed, or its machine is frozen: it does not look.
    """

    def __init__(self, world: Autoscaler, name: str, *, reconcile_period: float = 600.0) -> None:
        limits = SimpleNamespace(
            max_attempts=3, max_failures=5, failure_pause=30.0, failure_pause_max=600.0, max_parallel=4
        )
        self.world = world
        self.name = name
        self.jobs = FakeExecutor(world)
        self.down = False
        self.epoch = -1
        config = SimpleNamespace(
            node=name,
            executor=limits,
            alert_max_age=ALERT_MAX_AGE_S,
            reconcile_period=reconcile_period,
            reconcile_soon=60.0,
            playbooks=dict.fromkeys(KINDS, ""),
        )
        self._reopen()
        super().__init__(
            t.cast(t.Any, config), self.queue, self.jobs, mock.MagicMock(), None, world.site.clock, lambda: None
        )
        self.close()  # the threads; everything here happens at once

    def _reopen(self) -> None:
        self.queue = WorkQueue(self.world.ledger)
        self.epoch = self.world.epoch

    async def ledger(self, call: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
        return call(*args, **kwargs)

    async def executor(self, call: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        return call(*args)

    def accept(self, alerts: t.Sequence[Alert]) -> None:
        """What the receiver does with a delivery."""
        self._refresh()
        self.queue.accept_alerts(alerts)

    def _refresh(self) -> None:
        if self.epoch != self.world.epoch:
            self._reopen()
            self._queue = self.queue

    def look(self) -> None:
        """One pass of the dispatcher, as in ``Dispatcher.look``."""
        self._refresh()
        group, now = self.world.site.spec["name"], self.world.site.clock()
        try:
            self.queue.beat(self.name, CONTROLLER_TTL_S)
            works = self.queue.groups()
            first = first_reconciles([group], works, now=now, period=self._config.reconcile_period)
            if first:
                self.queue.ask_reconciles(first, "the first look")
                works = self.queue.groups()
            for work in works:
                claim = work.running
                if claim and claim.node == self.name and claim.not_before <= now:
                    self._drive(self.follow(claim, work.locked_until))
            free = [work for work in works if not (work.running and work.running.node == self.name)]
            chosen = choose(
                free, Room.left(4, 0, 0), now=now, period=self._config.reconcile_period,
                allowed=lambda name: not self.waits(name),
            )  # fmt: skip
            for work, what in chosen:
                if what == TAKE_OVER and work.running:
                    self.world.count("taken over")
                    self._drive(self.take_over(work.running))
                else:
                    self._drive(self.start(work.group, what))
        except AutoscaleError:
            self.world.count("ledger away from a dispatcher")
        except Killed:
            self.down = True
            self.world.count("dispatcher killed between transactions")

    async def start(self, group: str, direction: str) -> None:
        """Invariant 11: what is claimed still holds as far as was delivered."""
        before = self.queue.running()
        await super().start(group, direction)
        if direction != RECONCILE and not before and self.queue.running():
            self.world.count(f"claimed {direction}")
            self.world.claimed(direction)

    @staticmethod
    def _drive(coroutine: t.Coroutine[t.Any, t.Any, t.Any]) -> None:
        """Nothing in it waits, so one push takes it to its end."""
        try:
            coroutine.send(None)
        except StopIteration:
            return
        coroutine.close()
        raise AssertionError("a dispatcher waited for something")
