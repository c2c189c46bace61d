# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One action from its claim to its end: launched, followed, launched again, taken over, ended.

Order is everything: the claim is stored before the attempt, the attempt before the launch, and what the play itself
wrote into the ledger counts for more than how its process ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import typing as t

from ...module_utils._ledger._work import WorkQueue
from ...module_utils._ledger._work_rows import RECONCILE, Claim
from ._config import Config
from ._executor import Executor, Job, LaunchError, Outcome, State
from ._metrics import Metrics
from ._sweep import Sweep, SweepError

LOG = logging.getLogger(__name__)
ASK_AGAIN_S = 15.0
_STRAY_S = 2.0
#: The planner's code for a site that may not act, and how long its alerts wait then. A cooldown in the ledger would
#: hold up the first action after a takeover, too.
NOT_HOLDER = "not_holder"
NOT_HOLDER_REST_S = 120.0


class Follower:
    """What may be done about one group; the dispatcher calls at most one of these a group at a time.

    :param wake: called when an action has ended.
    """

    def __init__(
        self,
        config: Config,
        queue: WorkQueue,
        executor: Executor,
        metrics: Metrics,
        sweep: Sweep | None,
        clock: t.Callable[[], float],
        wake: t.Callable[[], None],
    ) -> None:
        self._config = config
        self._queue = queue
        self._executor = executor
        self._metrics = metrics
        self._sweep = sweep
        self._clock = clock
        self._wake = wake
        self._not_before: dict[str, float] = {}  # group -> when to ask again what could not be answered
        # Two pools, so that a slow executor never keeps the ledger waiting.
        self._ledger_pool = concurrent.futures.ThreadPoolExecutor(4, "dispatch-ledger")
        self._executor_pool = concurrent.futures.ThreadPoolExecutor(config.executor.max_parallel + 2, "dispatch-run")

    def close(self) -> None:
        """Let go of the threads."""
        for pool in (self._ledger_pool, self._executor_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def waits(self, group: str) -> bool:
        """Whether a question about *group* could not be answered just now."""
        return self._not_before.get(group, 0.0) > self._clock()

    # -- start -------------------------------------------------------------------------------------------------------

    async def start(self, group: str, direction: str) -> None:
        """Claim what waits in *direction*, and launch it."""
        if direction != RECONCILE and not await self.confirm(group, direction):
            return
        strays = await self._strays(group)
        if strays:
            LOG.warning("group %s: waits for %s, of which this ledger does not know", group, ", ".join(strays))
            self._not_before[group] = self._clock() + _STRAY_S
            return
        claim = await self.ledger(
            self._queue.claim,
            group,
            direction,
            node=self._config.node,
            period=self._config.reconcile_period,
            taken=self._executor.knows,
        )
        if claim is None:
            return
        LOG.info("group %s: action %s (%s) because of %s", claim.group, claim.ident, direction, claim.reason)
        await self._launch(claim)

    async def confirm(self, group: str, direction: str) -> bool:
        """Whether the waiting signal may still be believed (invariant 11); one that may not is dropped."""
        fresh = await self._is_fresh(group, direction)
        if fresh is False and await self.ledger(self._queue.withdraw, group, direction):
            LOG.warning("group %s: an alert of long ago is not acted on (%s)", group, direction)
            self._metrics.dropped.labels(group, "too_old").inc()
        return bool(fresh)

    async def _is_fresh(self, group: str, direction: str) -> bool | None:
        """Whether an alert of *direction* may still be believed; ``None`` = ask again in a while."""
        seen = await self.ledger(self._queue.last_seen, group, direction)
        if seen is not None and self._clock() - seen <= self._config.alert_max_age:
            return True
        if self._sweep:
            try:
                alerts = await self._sweep.firing()
            except SweepError as error:
                LOG.warning("group %s: the alert is old and cannot be confirmed, it waits: %s", group, error)
                self._not_before[group] = self._clock() + ASK_AGAIN_S
                return None
            return any(alert.group == group and alert.direction == direction for alert in alerts)
        return False

    async def _strays(self, group: str) -> list[str]:
        """Attempts of the group that run here though the ledger does not know them: it was lost, or put back."""
        found = []
        for name in await self.executor(self._executor.busy, group):
            action = await self.ledger(self._queue.action_state, name.rpartition("-")[0])
            if action is None or action["state"] == "running":
                found.append(name)
        return found

    async def _launch(self, claim: Claim) -> None:
        """Store one more attempt, then launch it."""
        next_claim = await self.ledger(self._queue.begin_attempt, claim)
        if next_claim is None:
            LOG.info("group %s: action %s has moved on, or runs where it was launched", claim.group, claim.ident)
            return
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
            await self.executor(self._executor.launch, job)
        except LaunchError as error:
            LOG.error("group %s: %s", claim.group, error)  # the next look finds it absent, and counts

    # -- follow ------------------------------------------------------------------------------------------------------

    async def take_over(self, claim: Claim) -> None:
        """Follow an action of a dispatcher that is no longer heard of."""
        mine = await self.ledger(self._queue.take_over, claim, self._config.node)
        if mine is None:
            return
        LOG.warning("group %s: action %s is taken over from %s", claim.group, claim.ident, claim.node or "nobody")
        self._metrics.taken_over.labels(claim.group).inc()
        await self.follow(mine)

    async def follow(self, claim: Claim, locked_until: float = 0.0) -> None:
        """See how the running action is doing; also the first thing after a restart.

        :param locked_until: when the group's lock runs out.
        """
        if claim.attempts == 0 or claim.not_before:
            await self._resume(claim)  # claimed and not launched yet, or its pause is over
            return
        name = f"{claim.ident}-{claim.attempts}"
        outcome = await self.executor(self._executor.look, name)
        if outcome.state is State.RUNNING:
            return
        action = await self.ledger(self._queue.action_state, claim.ident)
        verdict, why = judge(outcome, action)
        if verdict != "again":
            await self._end(claim, verdict, why, code="canceled" if outcome.status == "canceled" else "gave_up")
        elif claim.foreign and outcome.state is State.ABSENT and locked_until > self._clock():
            LOG.debug("group %s: action %s may still run where it was launched", claim.group, claim.ident)
        else:
            await self._again(claim, outcome, why)

    async def _again(self, claim: Claim, outcome: Outcome, why: str) -> None:
        """A new attempt of the same action: at once after the first death, then after a growing pause."""
        if claim.attempts >= self._config.executor.max_attempts:
            await self._end(claim, "failed", f"given up after {claim.attempts} attempts: {why}")
            return
        LOG.warning("group %s: action %s was cut off (%s), once more", claim.group, claim.ident, why)
        if claim.foreign or (claim.attempts == 1 and outcome.state is not State.FINISHED):
            await self._resume(claim)
        else:
            await self.ledger(self._queue.retry_later, claim, self._clock() + self._pause(claim.attempts))

    async def _resume(self, claim: Claim) -> None:
        """Launch an action that was claimed some time ago. One that has opened its row goes on whatever its age.

        While nobody can say whether the alert still holds, the claim waits, and keeps its place.
        """
        if self.waits(claim.group):
            return
        if claim.direction != RECONCILE and await self.ledger(self._queue.action_state, claim.ident) is None:
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
        attention = await self.ledger(
            self._queue.finish_work,
            claim,
            failed=why if failed else "",
            code=code,
            pause=self._pause,
            limit=self._config.executor.max_failures,
            soon=self._config.reconcile_soon if self._config.reconcile_period else None,
            rest=NOT_HOLDER_REST_S if (verdict, why) == ("refused", NOT_HOLDER) else 0.0,
        )
        if attention is None:
            LOG.info("group %s: action %s has moved on without this node", claim.group, claim.ident)
            return
        self._metrics.actions.labels(claim.group, claim.direction, verdict).inc()
        self._metrics.action_seconds.labels(claim.direction).observe(max(0.0, self._clock() - claim.since))
        LOG.log(
            logging.ERROR if failed else logging.INFO,
            "group %s: action %s %s%s%s",
            *(claim.group, claim.ident, verdict, f": {why}" if why else ""),
            ", a person has to look" if attention else "",
        )
        for attempt in range(1, claim.attempts + 1):
            await self.executor(
                functools.partial(self._executor.forget, f"{claim.ident}-{attempt}", good=good and not failed)
            )
        self._wake()

    def _pause(self, count: int) -> float:
        limits = self._config.executor
        return min(limits.failure_pause * 2.0 ** min(count - 1, 30), limits.failure_pause_max)

    # -- threads -----------------------------------------------------------------------------------------------------

    async def ledger(self, call: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call the ledger in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._ledger_pool, functools.partial(call, *args, **kwargs))

    async def executor(self, call: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        """Call the executor, or whatever else may block, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor_pool, call, *args)


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
