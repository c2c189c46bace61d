# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The circuit breaker of a group (invariant 8): launches that fail again and again stop, and a single probe tries later.

``closed``: launches run, failures within the window are counted. ``open``: no launch until ``probe_at``; from then on
one VM may try. ``probing``: that one is on its way; ``probe_at`` is then when a probe whose action died is given up.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ._state import _Row

if t.TYPE_CHECKING:
    from ._spec import BreakerRule

CLOSED, OPEN, PROBING = "closed", "open", "probing"
LONGEST_WAIT_S = 86400
#: Failures that are kept at most; more say nothing new.
_KEPT = 100


@dataclasses.dataclass(frozen=True)
class Breaker(_Row):
    """What is known about launches that failed.

    :param failures: ``{at, member, reason}`` of each VM that failed within the window.
    :param opened_at: when launches were stopped; None while it is closed.
    :param probe_at: from when on one launch may try.
    :param probes: probes that failed since it opened; each doubles the wait for the next, up to a day.
    """

    state: str = CLOSED
    failures: tuple[dict[str, t.Any], ...] = dataclasses.field(default=(), hash=False)
    opened_at: float | None = None
    probe_at: float | None = None
    probes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "failures", tuple(dict(row) for row in self.failures or ()))

    def note(
        self,
        rule: BreakerRule,
        now: float,
        failed: t.Iterable[t.Mapping[str, t.Any]] = (),
        succeeded: int = 0,
    ) -> Breaker:
        """The breaker after a launch.

        :param failed: ``{member, reason}`` of each VM that failed; a launch that was refused before there was a VM has
            none.
        :param succeeded: VMs of that launch that serve. A launch in which one succeeded and none failed closes it.
        """
        new = [{"at": now, "member": row.get("member", ""), "reason": row.get("reason", "")} for row in failed]
        if succeeded and not new:
            return Breaker()
        recent = [row for row in self.failures if row["at"] > now - rule.window]
        known = dataclasses.replace(self, failures=tuple([*recent, *new][-_KEPT:]))
        if self.state == PROBING and new:
            wait = min(rule.probe_after * 2 ** min(self.probes + 1, 32), LONGEST_WAIT_S)
            return dataclasses.replace(known, state=OPEN, probe_at=now + wait, probes=self.probes + 1)
        if self.state == PROBING:
            # It was refused or given up before it made a VM: it says nothing, and the next launch is the probe.
            return dataclasses.replace(known, state=OPEN, probe_at=now)
        if self.state == CLOSED and len(known.failures) >= rule.failures:
            return dataclasses.replace(known, state=OPEN, opened_at=now, probe_at=now + rule.probe_after, probes=0)
        return known

    def opened(self, before: Breaker) -> bool:
        """Whether this is the moment to tell people: it was closed and is not any more. A failed probe is no news."""
        return self.state != CLOSED and before.state == CLOSED

    def permit(self, now: float) -> int | None:
        """VMs that may be launched: None is no bound, 0 none, 1 the probe."""
        if self.state == CLOSED:
            return None
        return 1 if self.probe_at is None or now >= self.probe_at else 0

    def begin_probe(self, rule: BreakerRule, now: float) -> Breaker:
        """The breaker while the probe runs. A probe that nobody ends is given up after ``probe_after`` seconds."""
        if self.permit(now) != 1:
            return self
        return dataclasses.replace(self, state=PROBING, probe_at=now + rule.probe_after)

    def why(self) -> str:
        """For people: how many failed, the last reason, and what comes next; empty while it is closed."""
        if self.state == CLOSED:
            return ""
        count = len(self.failures)
        last = f", the last, {self.failures[-1]['member']}: {self.failures[-1]['reason']}" if count else ""
        text = f"the breaker is open after {count} failed launch{'' if count == 1 else 'es'}{last}"
        if self.probe_at is None:
            return text
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.probe_at))
        if self.state == PROBING:
            return f"{text}; a probe is on its way, another may try at {moment}"
        return f"{text}; one launch of one VM may try at {moment}, or a person resumes launch"
