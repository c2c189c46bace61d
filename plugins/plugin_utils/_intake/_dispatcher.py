# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Turns waiting signals into actions: one a group, as many groups at once as allowed, each group on its own (A10, T3, T4).

Order is everything: the claim is stored before the attempt, the attempt before the launch, and what the play itself
wrote into the ledger counts for more than how its process ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import time
import typing as t

from ...module_utils._common._errors import AutoscaleError
from ...module_utils._ledger._work import WorkQueue
from ...module_utils._ledger._work_rows import Claim, GroupWork
from ._config import Config
from ._executor import Executor, Job, LaunchError, Outcome, State
from ._groups import Groups
from ._metrics import Metrics
from ._sweep import Sweep, SweepError

LOG = logging.getLogger(__name__)
TICK_S = 1.0
_ASK_AGAIN_S = 15.0
_PRUNE_S = 3600.0


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
        self._tasks: dict[str, asyncio.Task[None]] = {}  # group -> what is being done about it right now
        self._ask_again: dict[str, float] = {}
        self._pruned = 0.0
        # Two pools, so that a slow executor never keeps the ledger waiting.
        self._ledger_pool = concurrent.futures.ThreadPoolExecutor(4, "dispatch-ledger")
        self._executor_pool = concurrent.futures.ThreadPoolExecutor(config.executor.max_parallel + 2, "dispatch-run")
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
            for pool in (self._ledger_pool, self._executor_pool):
                pool.shutdown(wait=False, cancel_futures=True)

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
        occupied = set(self._tasks)  # before the read: what these change, the read may not show yet
        known = await self._run(self._executor_pool, self._groups.refresh)
        works = await self._ledger(self._queue.groups)
        self._metrics.show(works)
        self._metrics.groups_broken.set(self._groups.broken)
        now = self._clock()
        free = [work for work in works if work.group not in occupied and work.group not in self._tasks]
        for work in free:
            claim = work.running
            if claim and claim.node == self._config.node and claim.not_before <= now:
                self._spawn(work.group, self._follow(claim))
        mine = {work.group for work in works if work.running and work.running.node == self._config.node}
        slots = self._config.executor.max_parallel - len(mine | set(self._tasks))
        for work in free:
            direction = work.ready(now)
            if slots > 0 and direction and known.get(work.group) and self._ask_again.get(work.group, 0.0) <= now:
                self._spawn(work.group, self._start(work, direction))
                slots -= 1
        await self._prune(works, now)
        self.last_pass = self._clock()
        self._metrics.pass_time.set(self.last_pass)

    def _spawn(self, group: str, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except AutoscaleError as error:
                self._metrics.ledger_errors.labels("dispatcher").inc()
                LOG.error("group %s: %s", group, error)
            except Exception:
                LOG.exception("group %s: left for the next pass", group)

        task = asyncio.create_task(guarded(), name=f"group {group}")
        self._tasks[group] = task
        task.add_done_callback(lambda _task: self._tasks.pop(group, None))

    # -- start -------------------------------------------------------------------------------------------------------

    async def _start(self, work: GroupWork, direction: str) -> None:
        fresh = await self._is_fresh(work.group, direction)
        if fresh is False and await self._ledger(self._queue.withdraw, work.group, direction):
            LOG.warning("group %s: an alert of long ago is not acted on (%s)", work.group, direction)
            self._metrics.dropped.labels(work.group, "too_old").inc()
        if not fresh:
            return
        claim = await self._ledger(self._queue.claim, work.group, direction, node=self._config.node)
        if claim is None:
            return
        LOG.info("group %s: action %s (%s) because of %s", claim.group, claim.ident, direction, claim.reason)
        await self._launch(claim)

    async def _is_fresh(self, group: str, direction: str) -> bool | None:
        """Whether an alert of *direction* may still be believed (invariant 11); ``None`` = ask again in a while."""
        seen = await self._ledger(self._queue.last_seen, group, direction)
        if seen is not None and self._clock() - seen <= self._config.alert_max_age:
            return True
        if self._sweep:
            try:
                alerts = await self._sweep.firing()
            except SweepError as error:
                LOG.warning("group %s: the alert is old and cannot be confirmed, it waits: %s", group, error)
                self._ask_again[group] = self._clock() + _ASK_AGAIN_S
                return None
            return any(alert.group == group and alert.direction == direction for alert in alerts)
        return False

    async def _launch(self, claim: Claim) -> None:
        """Store one more attempt, then launch it."""
        next_claim = await self._ledger(self._queue.begin_attempt, claim)
        if next_claim is None:
            return  # someone else has moved on with this action
        self._metrics.attempts.labels(claim.group).inc()
        job = Job(
            ident=claim.ident,
            attempt=next_claim.attempts,
            group=claim.group,
            direction=claim.direction,
            source=claim.source,
            reason=claim.reason,
            playbook=self._config.playbooks[claim.direction],
        )
        try:
            await self._run(self._executor_pool, self._executor.launch, job)
        except LaunchError as error:
            LOG.error("group %s: %s", claim.group, error)  # the next look finds it absent, and counts

    # -- follow ------------------------------------------------------------------------------------------------------

    async def _follow(self, claim: Claim) -> None:
        """See how the running action is doing; also the first thing after a restart."""
        if claim.attempts == 0 or claim.not_before:
            await self._resume(claim)  # claimed and not launched yet, or its pause is over
            return
        name = f"{claim.ident}-{claim.attempts}"
        outcome = await self._run(self._executor_pool, self._executor.look, name)
        if outcome.state is State.RUNNING:
            return
        action = await self._ledger(self._queue.action_state, claim.ident)
        verdict, why = judge(outcome, action)
        if verdict == "again":
            await self._again(claim, outcome, why)
        else:
            await self._end(claim, verdict, why, code="canceled" if outcome.status == "canceled" else "gave_up")

    async def _again(self, claim: Claim, outcome: Outcome, why: str) -> None:
        """A new attempt of the same action: at once after the first death, then after a growing pause."""
        if claim.attempts >= self._config.executor.max_attempts:
            await self._end(claim, "failed", f"given up after {claim.attempts} attempts: {why}")
            return
        LOG.warning("group %s: action %s was cut off (%s), once more", claim.group, claim.ident, why)
        if claim.attempts == 1 and outcome.state is not State.FINISHED:
            await self._resume(claim)
        else:
            await self._ledger(self._queue.retry_later, claim, self._clock() + self._pause(claim.attempts))

    async def _resume(self, claim: Claim) -> None:
        """Launch an action that was claimed some time ago. One that has opened its row goes on whatever its age.

        While nobody can say whether the alert still holds, the claim waits, and keeps its place.
        """
        if self._ask_again.get(claim.group, 0.0) > self._clock():
            return
        if await self._ledger(self._queue.action_state, claim.ident) is None:
            fresh = await self._is_fresh(claim.group, claim.direction)
            if fresh is False:
                self._metrics.dropped.labels(claim.group, "too_old").inc()
                await self._end(claim, "refused", "the alert is too old", good=False)
            if not fresh:
                return
        await self._launch(claim)

    async def _end(self, claim: Claim, verdict: str, why: str, *, code: str = "gave_up", good: bool = True) -> None:
        """Store the end. *good*: what attempts that did not fail have left behind may be deleted."""
        failed = verdict == "failed"
        attention = await self._ledger(
            self._queue.finish_work,
            claim,
            failed=why if failed else "",
            code=code,
            pause=self._pause,
            limit=self._config.executor.max_failures,
        )
        self._metrics.actions.labels(claim.group, claim.direction, verdict).inc()
        self._metrics.action_seconds.labels(claim.direction).observe(max(0.0, self._clock() - claim.since))
        LOG.log(
            logging.ERROR if failed else logging.INFO,
            "group %s: action %s %s%s%s",
            *(claim.group, claim.ident, verdict, f": {why}" if why else ""),
            ", a person has to look" if attention else "",
        )
        for attempt in range(1, claim.attempts + 1):
            await self._run(
                self._executor_pool,
                functools.partial(self._executor.forget, f"{claim.ident}-{attempt}", good=good and not failed),
            )
        self.wake()

    def _pause(self, count: int) -> float:
        limits = self._config.executor
        return min(limits.failure_pause * 2.0 ** min(count - 1, 30), limits.failure_pause_max)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    async def _prune(self, works: t.Sequence[GroupWork], now: float) -> None:
        if now - self._pruned < _PRUNE_S:
            return
        self._pruned = now
        keep = {f"{c.ident}-{n}" for c in (w.running for w in works) if c for n in range(c.attempts + 2)}
        await self._ledger(self._queue.prune)
        await self._run(self._executor_pool, self._executor.prune, keep)

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
        known = await self._run(self._executor_pool, self._groups.refresh)
        alerts = [alert for alert in await self._sweep.firing() if known.get(alert.group)]
        counts = await self._ledger(self._queue.accept_alerts, alerts) if alerts else {}
        self._metrics.sweeps.labels("succeeded").inc()
        self._metrics.sweep_time.set(self._clock())
        if counts.get("set"):
            LOG.info("sweep: %d signal(s) that no delivery had set", counts["set"])
            self.wake()

    async def _ledger(self, call: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
        return await self._run(self._ledger_pool, functools.partial(call, *args, **kwargs))

    @staticmethod
    async def _run(pool: concurrent.futures.Executor, call: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *args)


def judge(outcome: Outcome, action: t.Mapping[str, str] | None) -> tuple[str, str]:
    """What an attempt that no longer runs means for its action: ``(verdict, why)``.

    The verdict is ``succeeded``, ``refused``, ``failed`` (the action is over) or ``again`` (it is not: same ident, new
    attempt). The action's row in the ledger counts for more than the process: a play killed after its last step
    is done.
    """
    state = action["state"] if action else None
    if state in ("succeeded", "refused"):
        return state, action["code"] or action["message"] if state == "refused" else ""
    if state in ("failed", "lost"):
        return "failed", action["message"] or action["code"] or outcome.message or state
    if outcome.status == "canceled":
        return "failed", "canceled by a person"
    if outcome.state is not State.FINISHED:
        return "again", outcome.message or outcome.state.value
    if state is None:  # the play never opened an action: refused before it began, or it keeps no journal
        return ("succeeded", "it opened no action in this ledger") if outcome.good else ("failed", outcome.message)
    return "again", outcome.message or "it ended without closing its action"
