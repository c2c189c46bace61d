# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Turns waiting signals into actions: one a group, as many groups at once as allowed, each group on its own (A10, T3, T4).
Looks after reconciles, and after the actions of dispatchers that are gone, in the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import typing as t

from ...module_utils._common._errors import AutoscaleError
from ...module_utils._ledger._work import WorkQueue
from ...module_utils._ledger._work_rows import RECONCILE, GroupWork
from ._config import Config
from ._executor import Executor
from ._follower import Follower
from ._groups import Groups
from ._metrics import Metrics
from ._schedule import TAKE_OVER, Room, choose, first_reconciles
from ._sweep import Sweep, SweepError

LOG = logging.getLogger(__name__)
TICK_S = 1.0
_PRUNE_S = 3600.0
_REVIEW_S = 60.0


class Dispatcher:
    """The loop. ``wake()`` makes it look at once; otherwise it looks every second.

    :param sweep: ``None`` when no ``prometheus_url`` is configured.
    """

    def __init__(
        self,
        config: Config,
        queue: WorkQueue,
        executor: Executor,
        groups: Groups,
        metrics: Metrics,
        sweep: Sweep | None = None,
        *,
        clock: t.Callable[[], float] = time.time,
        tick: float = TICK_S,
    ) -> None:
        self._config = config
        self._queue = queue
        self._executor = executor
        self._groups = groups
        self._metrics = metrics
        self._sweep = sweep
        self._clock = clock
        self._tick = tick
        self._event = asyncio.Event()
        self._stopping = False
        self._tasks: dict[str, asyncio.Task[None]] = {}  # group -> what is, or was since the last read, done about it
        self._reconciles: set[str] = set()  # groups among them for which a reconcile is being started
        self._reviewed: dict[str, float] = {}
        self._beaten = self._pruned = float("-inf")
        self._follower = Follower(config, queue, executor, metrics, sweep, clock, self.wake)
        self.last_pass = 0.0

    def wake(self) -> None:
        """Look now."""
        self._event.set()

    async def run(self) -> None:
        """Dispatch until :meth:`stop`; running plays are left to themselves then."""
        sweeper = asyncio.create_task(self._sweep_forever()) if self._sweep else None
        try:
            while not self._stopping:
                try:
                    await self.look()
                except AutoscaleError as error:
                    self._metrics.ledger_errors.labels("dispatcher").inc()
                    LOG.error("dispatcher: %s", error)
                except Exception:
                    LOG.exception("dispatcher: this pass was cut short")
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._event.wait(), self._tick)
                self._event.clear()
        finally:
            if sweeper:
                sweeper.cancel()
            await self.settle(timeout=5.0)
            self._follower.close()

    def stop(self) -> None:
        """End :meth:`run` after the pass in progress."""
        self._stopping = True
        self._event.set()

    async def settle(self, timeout: float | None = None) -> None:
        """Wait until nothing is being done about any group (plays may run on)."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout)

    async def look(self) -> None:
        """One pass: give each group that needs something a task of its own."""
        await self._beat()
        self._forget_ended()
        known = await self._follower.executor(self._groups.refresh)
        works = await self._follower.ledger(self._queue.groups)
        await self._show(known, works)
        await self._seed_reconciles(known, works)
        now = self._clock()
        free = [work for work in works if work.group not in self._tasks]
        self._follow(free, now)
        self._start(works, free, known, now)
        self._review(free, now)
        await self._prune(works, now)
        self.last_pass = self._clock()
        self._metrics.pass_time.set(self.last_pass)

    def _follow(self, free: t.Iterable[GroupWork], now: float) -> None:
        for work in free:
            claim = work.running
            if claim and claim.node == self._config.node and claim.not_before <= now:
                self._spawn(work.group, self._follower.follow(claim, work.locked_until))

    def _start(
        self, works: t.Sequence[GroupWork], free: t.Iterable[GroupWork], known: t.Mapping[str, bool], now: float
    ) -> None:
        """Start what there is room for. Only this node's own actions count: each has machines of its own."""
        mine = {work.group: work.running for work in works if work.running and work.running.node == self._config.node}
        reconciling = {group for group, claim in mine.items() if claim.direction == RECONCILE} | self._reconciles
        room = Room.left(self._config.executor.max_parallel, len(mine.keys() | self._tasks.keys()), len(reconciling))
        chosen = choose(
            [work for work in free if work.group not in self._tasks],
            room,
            now=now,
            period=self._config.reconcile_period,
            allowed=lambda group: bool(known.get(group)) and not self._follower.waits(group),
        )
        for work, what in chosen:
            if what == TAKE_OVER and work.running:
                self._spawn(work.group, self._follower.take_over(work.running))
            else:
                if what == RECONCILE:
                    self._reconciles.add(work.group)
                self._spawn(work.group, self._follower.start(work.group, what))

    def _review(self, free: t.Iterable[GroupWork], now: float) -> None:
        """Look now and then whether a signal that is held back by hand or by the breaker is still true.

        Else an alert whose end was never delivered would hold back the other direction for as long.
        """
        for work in free:
            if now - self._reviewed.get(work.group, 0.0) <= _REVIEW_S or self._follower.waits(work.group):
                continue
            old = [d for d, since in work.waiting.items() if now - since > self._config.alert_max_age]
            held = [direction for direction in old if work.held(direction, now)]
            if held and work.group not in self._tasks:
                self._reviewed[work.group] = now
                self._spawn(work.group, self._follower.confirm(work.group, held[0]))

    def _spawn(self, group: str, work: t.Coroutine[t.Any, t.Any, t.Any]) -> None:
        async def guarded() -> None:
            try:
                await work
            except AutoscaleError as error:
                self._metrics.ledger_errors.labels("dispatcher").inc()
                LOG.error("group %s: %s", group, error)
            except Exception:
                LOG.exception("group %s: left for the next pass", group)

        self._tasks[group] = asyncio.create_task(guarded(), name=f"group {group}")

    def _forget_ended(self) -> None:
        """Before the ledger is read, and at no other time: what a task has changed since, the read may not show."""
        self._tasks = {group: task for group, task in self._tasks.items() if not task.done()}
        self._reconciles &= self._tasks.keys()

    # -- upkeep ------------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Prolong this node's row in the ledger. It comes before the look: one that was away looks first, then acts."""
        now, ttl = self._clock(), self._config.controller_ttl
        if now - self._beaten < ttl / 3:
            return
        in_time = await self._follower.ledger(self._queue.beat, self._config.node, ttl)
        if not in_time and self._beaten > float("-inf"):
            LOG.warning("not heard of for %.0f s: actions may have been taken over meanwhile", now - self._beaten)
        self._beaten = now

    async def _show(self, known: t.Mapping[str, bool], works: t.Sequence[GroupWork]) -> None:
        overview = await self._follower.ledger(self._queue.overview)
        self._metrics.show(works)
        self._metrics.show_overview(known, overview, self._clock())
        self._metrics.show_sizes(known, self._groups.bounds, overview)
        self._metrics.groups_broken.set(self._groups.broken)

    async def _seed_reconciles(self, known: t.Mapping[str, bool], works: t.Sequence[GroupWork]) -> None:
        if self._config.reconcile_period <= 0:
            return
        enabled = [group for group, is_enabled in known.items() if is_enabled]
        first = first_reconciles(enabled, works, now=self._clock(), period=self._config.reconcile_period)
        if first:
            await self._follower.ledger(self._queue.ask_reconciles, first, "the first look")

    async def _prune(self, works: t.Sequence[GroupWork], now: float) -> None:
        if now - self._pruned < _PRUNE_S:
            return
        self._pruned = now
        keep = {f"{c.ident}-{n}" for c in (w.running for w in works) if c for n in range(c.attempts + 2)}
        await self._follower.ledger(self._queue.prune)
        await self._follower.executor(self._executor.prune, keep)

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except (SweepError, AutoscaleError) as error:
                self._metrics.sweeps.labels("failed").inc()
                LOG.warning("sweep: %s", error)
            except Exception:
                self._metrics.sweeps.labels("failed").inc()
                LOG.exception("sweep: cut short")
            await asyncio.sleep(self._config.sweep_period)

    async def sweep(self) -> None:
        """Feed what Prometheus says fires through the same door as a delivery."""
        if self._sweep is None:
            return
        known = await self._follower.executor(self._groups.refresh)
        alerts = [alert for alert in await self._sweep.firing() if known.get(alert.group)]
        counts = await self._follower.ledger(self._queue.accept_alerts, alerts) if alerts else {}
        self._metrics.sweeps.labels("succeeded").inc()
        self._metrics.sweep_time.set(self._clock())
        if counts.get("set"):
            LOG.info("sweep: %d signal(s) that no delivery had set", counts["set"])
            self.wake()
