# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real receiver and dispatcher, which kills itself with SIGKILL once, at a point that CHAOS_POINT names.

The collection has no hook for this: the calls between which a crash matters are wrapped here. The file CHAOS_MARK is
made at the kill, so that the next start runs on.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor_runner import RunnerExecutor
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._main import main

# point: (class, method, whether the kill comes before the call)
POINTS: dict[str, tuple[type, str, bool]] = {
    "before-store": (WorkQueue, "accept_alerts", True),
    "after-store": (WorkQueue, "accept_alerts", False),
    "before-claim": (WorkQueue, "claim", True),
    "after-claim": (WorkQueue, "claim", False),
    "after-attempt": (WorkQueue, "begin_attempt", False),
    "after-launch": (RunnerExecutor, "launch", False),
    "before-end": (WorkQueue, "finish_work", True),
    "after-end": (WorkQueue, "finish_work", False),
}


def is_reconcile(arguments: tuple[Any, ...]) -> bool:
    """Whether a call speaks of a reconcile of the dispatcher's own: only scale actions are killed."""
    return any(value == "reconcile" or getattr(value, "direction", "") == "reconcile" for value in arguments)


def arm(point: str, mark: Path) -> None:
    """Wrap the call of *point*."""
    owner, name, before = POINTS[point]
    call = getattr(owner, name)

    @functools.wraps(call)
    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        armed = not mark.exists() and not is_reconcile(arguments)
        answer = None if armed and before else call(self, *arguments, **named)
        if armed:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    if os.environ.get("CHAOS_POINT"):
        arm(os.environ["CHAOS_POINT"], Path(os.environ["CHAOS_MARK"]))
    sys.exit(main())
