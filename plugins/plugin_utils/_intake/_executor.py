# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the dispatcher asks of an executor, whatever runs behind it.
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t


class State(enum.Enum):
    """Of one attempt."""

    ABSENT = "absent"  # never launched here
    RUNNING = "running"
    FINISHED = "finished"  # it ended by itself and said how
    DEAD = "dead"  # nothing of it runs any more, and it never said how it ended


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is known of one attempt. ``rc`` is ``None`` while it runs, and where nobody wrote one down."""

    state: State
    rc: int | None = None
    status: str = ""
    message: str = ""

    @property
    def good(self) -> bool:
        """It ended, and said that all went well."""
        return self.state is State.FINISHED and self.rc == 0


@dataclasses.dataclass(frozen=True)
class Job:
    """One attempt of one action. Only ids go in: no value that a play could take for a secret or a template."""

    ident: str
    attempt: int
    group: str
    direction: str
    source: str
    reason: str
    playbook: str

    @property
    def name(self) -> str:
        """Unique for ever: a second attempt never meets the files of the first."""
        return f"{self.ident}-{self.attempt}"


class LaunchError(Exception):
    """The attempt could not be started; nothing of it runs."""


class Executor(t.Protocol):
    """All calls may block; the dispatcher makes them in a thread."""

    def launch(self, job: Job) -> None:
        """Start the attempt and return at once. :raises LaunchError: nothing was started."""

    def look(self, name: str) -> Outcome:
        """What became of the attempt of that name, also one that was started before this process."""

    def knows(self, ident: str) -> bool:
        """Whether an attempt of the action of that ident has left something here, whoever remembers it."""

    def busy(self, group: str) -> list[str]:
        """Names of the attempts of that group of which something still runs."""

    def cancel(self, name: str) -> bool:
        """Ask the attempt to end after the task that it is in; ``False`` when nothing of it runs."""

    def forget(self, name: str, *, good: bool) -> None:
        """The attempt is over and stored as such: what it left behind may be deleted."""

    def prune(self, keep: t.Collection[str]) -> int:
        """Delete what attempts left behind that nobody needs, except those named in *keep*; returns how many."""
