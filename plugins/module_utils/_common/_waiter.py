# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The one way to wait: a deadline, a jittered interval of at most five seconds, a clock that a test can turn.
"""

from __future__ import annotations

import random
import time
import typing as t

from ._errors import WaitTimeoutError

T = t.TypeVar("T")
MAX_INTERVAL_S = 5.0


class Waiter:
    """Poll until something is true or the deadline passes.

    :param timeout: seconds from now until :class:`WaitTimeoutError`.
    :param interval: seconds between two looks (capped at five, jittered by a fifth so that many waiters spread out).
    """

    def __init__(
        self,
        timeout: float,
        interval: float = 1.0,
        *,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.timeout = float(timeout)
        self.interval = min(float(interval), MAX_INTERVAL_S)
        self._clock = clock
        self._sleep = sleep
        self.started = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the waiter was made."""
        return self._clock() - self.started

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; zero once it has passed."""
        return max(0.0, self.timeout - self.elapsed)

    def pause(self) -> bool:
        """Sleep for one interval; ``False`` when the deadline has passed and there is no point in looking again."""
        left = self.remaining
        if left <= 0:
            return False
        self._sleep(min(left, self.interval * random.uniform(0.8, 1.2)))  # noqa: S311 - jitter, not a secret
        return True

    def until(
        self,
        look: t.Callable[[], T],
        done: t.Callable[[T], bool],
        what: str,
        *,
        remedy: str = "",
        result: t.Callable[[T], t.Mapping[str, t.Any]] | None = None,
    ) -> T:
        """Call *look* until *done* says yes about its answer; the last look always happens at or after the deadline.

        :raises WaitTimeoutError: with *what*, the seconds waited, and ``result(last answer)``.
        """
        while True:
            seen = look()
            if done(seen):
                return seen
            if not self.pause():
                raise WaitTimeoutError(
                    f"{what} did not happen within {self.timeout:g} s",
                    remedy=remedy,
                    result=result(seen) if result else None,
                )
