# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What recovery_record does: a run is begun or taken up, by one owner at a time; its steps are kept; it is ended.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import ConflictError, InvalidSpecError, NotFoundError
from .._planning._recovery import RecoveryPlan
from .._planning._recovery_run import (
    OUTSIDE,
    Run,
    approved,
    ended,
    new_run,
    report_of,
    taken_up,
    with_facts,
    with_step,
)
from .._planning._recovery_steps import REAL
from ._files import Files
from ._owner import Owner, alive
from ._page import page

#: Whether an owner lives; None when that cannot be told from here.
Liveness = t.Callable[[Owner], t.Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one call did: the run or the report before and after."""

    before: dict[str, t.Any] | None
    after: dict[str, t.Any]

    @property
    def changed(self) -> bool:
        """Whether there is a difference."""
        return self.before != self.after


class Journal:
    """The runs of one plan in one folder, for one owner."""

    def __init__(
        self,
        files: Files,
        owner: Owner,
        *,
        now: float,
        check_mode: bool = False,
        alive: Liveness = alive,
    ) -> None:
        self.files = files
        self.owner = owner
        self.now = now
        self.check_mode = check_mode
        self._alive = alive

    def start(
        self, plan: RecoveryPlan, kind: str, source: str, target: str, *, planned: bool = False,
        approve: t.Sequence[str] = (), takeover: bool = False,
    ) -> Outcome:  # fmt: skip
        """Take up the unfinished run of that kind and direction, or begin one.

        :raises ConflictError: another one lives, or must be finished first.
        """
        mine, wanted = None, {"kind": kind, "source": source, "target": target}
        fresh = new_run(plan, kind, source, target, planned=planned, name=self.files.free_name(self.now), now=self.now)
        for run in self.files.journals():
            if all(run[key] == value for key, value in wanted.items()):
                mine = run
            elif run["kind"] == kind == "backup":
                self._drop(run)
            elif _in_the_way(run, kind):
                self._refuse_living(run, takeover=True)
                raise ConflictError(
                    f"Plan {plan.name}: {_words(run)} is not finished, so no {kind} to {target} can begin",
                    remedy=f"Run the same {run['kind']} to {run['target']} again until it ends, or give it up: "
                    f"recovery_record with state ended, run {run['run']} and takeover.",
                    result={"run": told(run)},
                )
            elif "backup" not in (run["kind"], kind):
                self._refuse_living(run, takeover=takeover)
        if mine is None:
            return self._keep(None, {**approved(fresh, approve), "owner": self.owner.as_dict()})
        ours = mine["owner"] == self.owner.as_dict()
        if not ours:
            self._refuse_living(mine, takeover=takeover)
        new = mine if ours else taken_up(mine, plan, planned=planned)
        return self._keep(mine, {**approved(new, approve), "owner": self.owner.as_dict()})

    def step(
        self, name: str, step: str, state: str, *, detail: str = "", facts: t.Mapping[str, t.Any] | None = None,
        approve: t.Sequence[str] = (),
    ) -> Outcome:  # fmt: skip
        """Keep what became of a step."""
        run = self._own(name)
        new = with_step(approved(run, approve), step, state, now=self.now, detail=detail)
        return self._keep(run, with_facts(new, facts or {}))

    def end(self, name: str, *, facts: t.Mapping[str, t.Any] | None = None, takeover: bool = False) -> Outcome:
        """Write the report and drop the journal; a second time changes nothing.

        :param takeover: give up a run whose owner is gone.
        """
        report = self.files.report(name)
        if report is not None and self.files.journal(name) is None:
            return Outcome(report, report)
        run = self._own(name, takeover=takeover)
        # The end is in the journal first: whoever is killed behind it writes the same report the next time.
        kept = self._keep(run, ended(with_facts(run, facts or {}), now=self.now)).after
        report = report_of(kept)
        if not self.check_mode:
            self.files.finish(report, page(report))
        return Outcome(run, report)

    def observe(self, name: str | None, outside: t.Mapping[str, t.Any]) -> Outcome:
        """Put what was measured from outside into the report of a run, the newest without *name*."""
        reports = [row for row in self.files.reports() if name in (None, row["run"])]
        if not reports:
            raise NotFoundError(
                f"Plan {self.files.plan} has no report{f' of run {name}' if name else ''} in {self.files.folder}",
                remedy="A run has one when it was ended.",
            )
        unknown = sorted(set(outside) - set(OUTSIDE))
        if unknown:
            raise InvalidSpecError(f"outside: value is {unknown[0]!r}; allowed: {', '.join(OUTSIDE)}")
        before = reports[-1]
        after = {**before, **{key: _number(key, value) for key, value in outside.items()}}
        if before != after and not self.check_mode:
            self.files.rewrite(after, page(after))
        return Outcome(before, after)

    def unfinished(self) -> list[dict[str, t.Any]]:
        """Runs without an end, with whether their owner lives (None: cannot be told from here)."""
        rows = []
        for run in self.files.journals():
            owner = Owner.of(run["owner"])
            rows.append({**told(run), "owner": str(owner), "alive": self._alive(owner)})
        return rows

    def _own(self, name: str, *, takeover: bool = False) -> Run:
        run = self.files.journal(name)
        if run is None:
            raise NotFoundError(
                f"Plan {self.files.plan} has no unfinished run {name} in {self.files.folder}",
                remedy="Begin or take up one with state started.",
            )
        if run["owner"] != self.owner.as_dict():
            self._refuse_living(run, takeover=takeover)
            if not takeover:
                raise ConflictError(
                    f"Run {name} of plan {self.files.plan} belongs to {Owner.of(run['owner'])}, not to this play",
                    remedy="Take it up with state started.",
                )
        return run

    def _refuse_living(self, run: Run, *, takeover: bool) -> None:
        owner = Owner.of(run["owner"])
        lives = self._alive(owner) if owner != self.owner else False
        if lives:
            raise ConflictError(
                f"{_words(run)} of plan {self.files.plan} is at work: {owner}",
                remedy="Wait until it ends, or end that process.",
                result={"run": told(run)},
            )
        if lives is None and not takeover:
            raise ConflictError(
                f"{_words(run)} of plan {self.files.plan} belongs to {owner}; whether that lives cannot be told here",
                remedy="Make sure that it does not, then say takeover.",
                result={"run": told(run)},
            )

    def _drop(self, run: Run) -> None:
        """Give up a backup of the other direction: nothing of it is left half done."""
        self._refuse_living(run, takeover=True)
        report = report_of(ended(run, now=self.now))
        if not self.check_mode:
            self.files.finish(report, page(report))

    def _keep(self, before: Run | None, after: Run) -> Outcome:
        if before != after and not self.check_mode:
            self.files.keep(after)
        return Outcome(before, after)


def _in_the_way(run: t.Mapping[str, t.Any], kind: str) -> bool:
    """Of the real ones, one at a time; a backup stands beside all else, a drill is cleaned up by the next one."""
    return (run["kind"] in REAL and kind != "backup") or run["kind"] == kind


def _words(run: t.Mapping[str, t.Any]) -> str:
    return f"The {run['kind']} from {run['source']} to {run['target']} (run {run['run']})"


def told(run: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What a playbook needs of a run."""
    gates = set(run["approved"])
    keys = ("plan", "owner")
    return {
        **{key: value for key, value in run.items() if key not in keys},
        "plan": run["plan"]["name"],
        "name": run["run"],
        "resumed": bool(run["resumed"]),
        "steps": [{**row, "approved": row["gate"] != "manual" or bool({row["name"], row["action"]} & gates)}
                  for row in run["steps"]],
    }  # fmt: skip


def _number(key: str, value: t.Any) -> t.Any:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpecError(f"outside.{key}: value is {value!r}; allowed: a number") from error
    return number if key.endswith("_s") else int(number)
