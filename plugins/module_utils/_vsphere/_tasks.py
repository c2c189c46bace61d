# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Looking at many tasks with one call. Polling, and not WaitForUpdatesEx, because nothing is left on the server between
two looks: a lost connection or a new login in the middle of a ten-minute clone changes nothing.
"""

from __future__ import annotations

import random
import time
import typing as t
from dataclasses import dataclass

from .._common._errors import WaitTimeoutError
from .._common._waiter import MAX_INTERVAL_S
from ._client import Client, FaultError, describe_fault, vim
from ._inventory import Inventory

#: The first looks come this soon (seconds), so that what is quick is seen quickly.
FIRST_INTERVAL_S = 0.1
TASK_PROPERTIES = ("info.state", "info.progress", "info.error", "info.result", "info.descriptionId")
EVENT_LIMIT = 1000
CUSTOMIZATION_EVENTS = (
    "CustomizationSucceeded",
    "CustomizationFailed",
    "CustomizationUnknownFailure",
    "CustomizationSysprepFailed",
    "CustomizationLinuxIdentityFailed",
    "CustomizationNetworkSetupFailed",
)


@dataclass(frozen=True)
class TaskState:
    """A task as seen by one look; ``state`` is queued, running, success, error, or gone (vCenter forgot it)."""

    moid: str
    state: str
    progress: int | None = None
    operation: str = ""
    result: t.Any = None
    fault: t.Any = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("success", "error", "gone")

    @property
    def error(self) -> tuple[str, str]:
        """What went wrong and the remedy."""
        return describe_fault(self.fault) if self.fault is not None else ("vCenter gave no reason", "")

    def as_dict(self) -> dict[str, t.Any]:
        """What a module returns as ``last_task``."""
        return {
            "moid": self.moid,
            "operation": self.operation,
            "state": self.state,
            "progress": 100 if self.state == "success" else self.progress,
            "error": self.error[0] if self.state == "error" else "",
        }


def read_tasks(inventory: Inventory, tasks: t.Sequence[t.Any]) -> dict[str, TaskState]:
    """All *tasks* by managed object id, in one call."""
    if not tasks:
        return {}
    seen = inventory.read(tasks, {vim.Task: TASK_PROPERTIES})
    return {moid: to_task_state(moid, seen.get(moid)) for moid in (task._GetMoId() for task in tasks)}


def to_task_state(moid: str, found: t.Mapping[str, t.Any] | None) -> TaskState:
    """A :class:`TaskState` from what a property call returned; None means that vCenter no longer knows the task."""
    if found is None:
        return TaskState(moid, "gone")
    return TaskState(
        moid=moid,
        state=str(found.get("info.state", "queued")),
        progress=found.get("info.progress"),
        operation=str(found.get("info.descriptionId", "")),
        result=found.get("info.result"),
        fault=found.get("info.error"),
    )


class Pace:
    """How long to sleep between two looks: a twentieth of the time waited so far, between 0.1 s and the interval.

    So a wait costs at most about five percent more than what it waits for, and a long one few calls.
    """

    def __init__(
        self,
        interval: float,
        *,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.longest = max(FIRST_INTERVAL_S, min(interval, MAX_INTERVAL_S))
        self.clock = clock
        self._sleep = sleep
        self.restart()

    def restart(self) -> None:
        """Something happened: look often again."""
        self._since = self.clock()

    def pause(self, at_most: float | None = None) -> None:
        """Sleep."""
        wanted = min(self.longest, max(FIRST_INTERVAL_S, (self.clock() - self._since) / 20))
        wanted *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
        self._sleep(max(0.0, wanted if at_most is None else min(wanted, at_most)))


def wait_for_task(inventory: Inventory, task: t.Any, *, what: str, timeout: float, pace: Pace) -> TaskState:
    """Wait for one task.

    :param what: completes "could not ...".
    :raises FaultError: it failed.
    :raises WaitTimeoutError: ``result`` holds ``last_task``.
    """
    deadline = pace.clock() + timeout
    while True:
        state = read_tasks(inventory, [task])[task._GetMoId()]
        if state.state == "error":
            said, remedy = state.error
            error = FaultError(f"Could not {what}: {said}", state.fault, remedy=remedy)
            error.result["last_task"] = state.as_dict()
            raise error
        if state.ended:
            return state
        if pace.clock() >= deadline:
            raise WaitTimeoutError(
                f"Could not {what} within {timeout:g} s: task {state.moid} is {state.state}"
                + (f" at {state.progress} %" if state.progress is not None else ""),
                remedy="It goes on in vCenter; run again to continue, or raise the timeout",
                result={"last_task": state.as_dict()},
            )
        pace.pause(deadline - pace.clock())


def customization_events(client: Client, since: t.Any) -> dict[str, tuple[bool, str]]:
    """VM id to (succeeded, message) of all customizations that ended since then, in one call; a failure wins.

    :param since: a time stamp of vCenter's own clock.
    """
    query = vim.event.EventFilterSpec(
        time=vim.event.EventFilterSpec.ByTime(beginTime=since),
        eventTypeId=list(CUSTOMIZATION_EVENTS),
        maxCount=EVENT_LIMIT,
    )
    ended: dict[str, tuple[bool, str]] = {}
    for event in client.call("read the customization events", client.content.eventManager.QueryEvents, query) or ():
        if event.vm is None:
            continue
        moid = event.vm.vm._GetMoId()
        succeeded = isinstance(event, vim.event.CustomizationSucceeded)
        if succeeded:
            ended.setdefault(moid, (True, ""))
        else:
            text = (event.fullFormattedMessage or "").strip() or type(event).__name__.rsplit(".", 1)[-1]
            ended[moid] = (False, text)
    return ended
