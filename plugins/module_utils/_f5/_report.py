# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What came of each member: the rows, the diff, and the error that names those who did not get there.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import AutoscaleError, NotFoundError, RefusedError, WaitTimeoutError
from ._members import Wanted, described
from ._names import Key
from ._pools import DISABLED, FORCED_OFFLINE, Pool

PRESENT, ABSENT, DRAINED = "present", "absent", "drained"

if t.TYPE_CHECKING:
    Shown = "dict[str, t.Any] | None"


@dataclasses.dataclass
class Note:
    """What happened to one member on the way."""

    failed: bool = False
    timed_out: bool = False
    msg: str = ""
    seconds: float | None = None
    connections_left: int | None = None
    drained: bool | None = None
    node: str | None = None


class Report:
    """Compares the pool as it was found (*before*) with the pool as it was read last (*now*).

    In check mode ``predicted`` stands in for the latter.
    """

    def __init__(self, wanted: t.Sequence[Wanted], state: str, before: Pool) -> None:
        self.wanted = list(wanted)
        self.state = state
        self.before = before
        self.now = before
        self.notes = {want.key: Note() for want in self.wanted}
        self.predicted: dict[Key, Shown] | None = None
        self.warnings: list[str] = []

    def _states(self) -> t.Iterator[tuple[Wanted, Shown, Shown]]:
        for want in self.wanted:
            before = described(self.before.members.get(want.key))
            if self.predicted is not None:
                yield want, before, self.predicted[want.key]
            else:
                yield want, before, described(self.now.members.get(want.key))

    def changed(self) -> bool:
        """Whether anything is, or would be, different."""
        return any(self._row_changed(*states) for states in self._states())

    def _row_changed(self, want: Wanted, before: Shown, after: Shown) -> bool:
        return before != after or self.notes[want.key].node == "removed"

    def diff(self) -> dict[str, t.Any]:
        """Before and after of the listed members, as Ansible shows them."""
        rows = list(self._states())
        return {
            "before": {
                "pool": self.now.full_name,
                "members": {str(want.key): before for want, before, _after in rows},
            },
            "after": {"pool": self.now.full_name, "members": {str(want.key): after for want, _before, after in rows}},
        }

    def result(self, done: t.Sequence[str]) -> dict[str, t.Any]:
        """The module's result."""
        rows = [self._row(*states) for states in self._states()]
        return {
            "changed": any(row["changed"] for row in rows),
            "pool": self.now.full_name,
            "members": rows,
            "failed_members": [row["name"] for row in rows if row["failed"]],
            "synced": "synced" in done,
            "saved": "saved" in done,
        }

    def _row(self, want: Wanted, before: Shown, after: Shown) -> dict[str, t.Any]:
        note = self.notes[want.key]
        member = self.now.members.get(want.key)
        changed = self._row_changed(want, before, after)
        was = before["standing"] if before else ABSENT
        now = after["standing"] if after else ABSENT
        msg = note.msg or (f"{was} -> {now}" if was != now else "changed" if changed else f"is {now}")
        return {
            "name": want.name,
            "address": want.key.address,
            "port": want.key.port,
            "changed": changed,
            "failed": note.failed,
            "msg": msg,
            "session": member.session if member else None,
            "state": member.state if member else None,
            "availability": member.availability if member else None,
            "in_service": bool(member and member.in_service),
            "connections": member.connections if member else 0,
            "connections_left": note.connections_left,
            "drained": note.drained,
            "node": note.node,
            "seconds": round(note.seconds or 0.0, 2),
        }

    def failure(self, allow_partial: bool, done: t.Sequence[str] = ()) -> AutoscaleError | None:
        """The error to raise, or none: with *allow_partial* one good member is enough."""
        failed = [want for want in self.wanted if self.notes[want.key].failed]
        if not failed or (allow_partial and len(failed) < len(self.wanted)):
            return None
        notes = [self.notes[want.key] for want in failed]
        kind: type[RefusedError | WaitTimeoutError | NotFoundError] = RefusedError
        remedy = "Look at the member and at its node."
        if all(note.timed_out for note in notes):
            kind = WaitTimeoutError
            remedy = (
                "Look at what still holds its connections, raise drain_timeout, or set drain_deadline=force."
                if self.state == DRAINED
                else "Look at the monitor's answer from the member's service, or raise wait_timeout."
            )
        elif self.state in (DISABLED, FORCED_OFFLINE):
            kind, remedy = NotFoundError, "Check address and port, or add it with state=present first."
        said = "; ".join(f"{want.label} {self.notes[want.key].msg}" for want in failed)
        return kind(
            f"{len(failed)} of {len(self.wanted)} members of {self.now.full_name}: {said}",
            remedy=remedy,
            result={**self.result(done), "diff": self.diff()},
        )
