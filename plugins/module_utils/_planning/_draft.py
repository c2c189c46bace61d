# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A reconcile in the making: the bounds that hold for it, and the lists that its parts fill.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._controls import LAUNCH, PROCESSES, REPLACE, TERMINATE, Controls
from ._findings import Finding
from ._spec import GroupSpec
from ._state import Member
from ._survey import Case, Survey

#: repair -> the list that holds it
DONE_BY = {
    "adopt": "adopt",
    "forget": "forget",
    "finish": "launches",
    "retire": "retire",
    "replace": "launches",
    "launch": "launches",
    "restore": "states",
}


@dataclasses.dataclass
class Draft:
    """What one reconcile found so far. Each part reads what the parts before it left here.

    :param held: processes that may not run: suspended ones, and all of a group that is disabled or another site's.
    :param not_holder: why this site may not act on the group at all; empty: it may.
    :param permit: VMs that the breaker still lets launch; None is no bound.
    :param lost: names that served and whose VM is gone.
    :param absent: names whose VM was not shown and may exist all the same; they keep what they have.
    :param finish: cases to carry through gate, pool and Prometheus, and whether they stay when that fails.
    :param sick: since when, who, and the kind of the finding.
    :param kept: since when, and who stands in quarantine.
    """

    spec: GroupSpec
    survey: Survey
    now: float
    held: frozenset[str]
    permit: int | None
    not_holder: str = ""
    findings: list[Finding] = dataclasses.field(default_factory=list)
    adopt: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    forget: list[str] = dataclasses.field(default_factory=list)
    states: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    pool_remove: dict[str, int] = dataclasses.field(default_factory=dict)
    target_remove: dict[str, str] = dataclasses.field(default_factory=dict)
    retire: dict[str, Member] = dataclasses.field(default_factory=dict)
    replaced: list[Member] = dataclasses.field(default_factory=list)
    finish: dict[str, tuple[Case, bool]] = dataclasses.field(default_factory=dict)
    sick: list[tuple[float, Case, str]] = dataclasses.field(default_factory=list)
    kept: list[tuple[float, Case]] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    absent: set[str] = dataclasses.field(default_factory=set)
    new: int = 0

    @classmethod
    def begin(cls, spec: GroupSpec, survey: Survey, controls: Controls, now: float) -> Draft:
        """Nothing found yet."""
        free = spec.enabled and not controls.not_holder
        held = controls.suspended if free else frozenset(PROCESSES)
        return cls(spec, survey, now, held, controls.breaker.permit(now), controls.not_holder)

    # ---- bounds

    def held_text(self, *processes: str) -> str:
        """Why one of *processes* may not run; empty when all may."""
        if not self.spec.enabled:
            return "the group is disabled"
        if self.not_holder:
            return self.not_holder
        stopped = [process for process in processes if process in self.held]
        return f"{' and '.join(stopped)} {'is' if len(stopped) == 1 else 'are'} suspended" if stopped else ""

    def cannot_launch(self, *, breaker: bool = True) -> str:
        """Why nothing may be launched or finished now; empty when it may."""
        if self.held_text(LAUNCH):
            return self.held_text(LAUNCH)
        if not self.survey.pool_read:
            return "the pool could not be read"
        return "the breaker is open" if breaker and self.permit == 0 else ""

    def cannot_retire(self) -> str:
        """Why nobody may be retired now; empty when somebody may."""
        return self.held_text(TERMINATE) or ("" if self.survey.pool_read else "the pool could not be read")

    def cannot_replace(self) -> str:
        """Why nobody who is sick may be replaced now; empty when somebody may."""
        return self.held_text(REPLACE, LAUNCH, TERMINATE) or self.cannot_launch()

    def use_permit(self, count: int = 1) -> None:
        """*count* VMs more are launched."""
        self.permit = None if self.permit is None else max(0, self.permit - count)

    @property
    def owned(self) -> int:
        """Members in any state after ``forget``: who is only on paper, and known to be gone, does not count."""
        return len(self.survey.observed.members) - sum(
            name in self.survey.rows and self.survey.rows[name].get("state") != "removed" for name in self.forget
        )

    @property
    def room(self) -> int:
        """New members that still fit when ``retire`` is done (invariant 1)."""
        return self.spec.size.max - self.owned + len(self.retire) - self.new

    # ---- entries

    def find(
        self,
        kind: str,
        what: str,
        name: str = "",
        address: str = "",
        *,
        repair: str = "none",
        done_by: str = "",
        leak: bool = False,
        message: str,
    ) -> None:
        """Add a finding."""
        done_by = done_by or DONE_BY.get(repair, "")
        self.findings.append(Finding(kind, what, name, address, repair, done_by, leak, message))

    def note(self, case: Case, **changes: t.Any) -> None:
        """Set fields of the ledger's row; what it holds already is no change."""
        row = self.states.get(case.name) or {
            "name": case.name,
            "state": self.adopt[case.name]["state"] if case.name in self.adopt else case.state,
            "unhealthy_since": (case.row or {}).get("unhealthy_since"),
            "missing_since": (case.row or {}).get("missing_since"),
        }
        changed = {**row, **changes}
        if changed != row:
            self.states[case.name] = changed

    def adopt_case(self, case: Case, state: str) -> None:
        """Write row and lease of a VM."""
        row = case.row or {}
        self.adopt[case.name] = {
            "name": case.name,
            "address": case.address,
            "moid": case.member.moid,
            "state": state,
            "action": row.get("action") or case.marks.get("action") or "",
            "created_at": row.get("created_at") or case.member.created,
        }

    def retire_case(self, case: Case, kind: str, message: str, *, leak: bool = True) -> bool:
        """Let it leave now, where that is allowed; else say why not."""
        why_not = self.cannot_retire()
        if case.member.protected:
            self.find(
                "protected", "vm", case.name, case.address,
                message=f"{message}, but it is protected: remove its mark protected with vsphere_mark",
            )  # fmt: skip
        elif why_not:
            self.find(kind, "vm", case.name, case.address, message=f"{message}, but {why_not}")
        else:
            self.retire[case.name] = case.member
            self.find(kind, "vm", case.name, case.address, repair="retire", leak=leak, message=f"{message}: retired")
        return case.name in self.retire

    def finish_case(self, case: Case, kind: str, message: str, *, keep: bool, leak: bool = False) -> None:
        """Carry it through gate, pool and Prometheus. With *keep* it stays when that fails."""
        self.finish[case.name] = (case, keep)
        self.find(kind, "vm", case.name, case.address, repair="finish", leak=leak, message=f"{message}: put back")
