# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

RTO and RPO of a run, from what was seen: never a sum of step times, never a guess. What nobody saw stays None.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import InvalidSpecError
from ._recovery import RecoveryPlan
from ._recovery_steps import REAL
from ._value import _Value

Row = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Measured(_Value):
    """Seconds, and whether they keep the plan's targets; None: not measured."""

    lost_at: float | None
    served_at: float | None
    rto_s: float | None
    rpo_s: float | None
    rpo_basis: str
    rto_met: bool | None
    rpo_met: bool | None


def measure(plan: RecoveryPlan, kind: str, steps: t.Sequence[Row], facts: Row, *, planned: bool = False) -> Measured:
    """What a run took and lost.

    :param steps: rows with name, action, service, state, began_at, ended_at.
    :param facts: ``lost_at`` and ``served_at``, or ``never_lost``, true where somebody looked and the service was there
        all the while; ``rpo_s`` with ``rpo_basis``, or ``committed_at``: data service -> time of the newest commit (or
        of the dump) that the target has. Times are seconds since 1970.
    :param planned: the source takes part: it is closed, and what it has is received first. A loss that the step
        ``served`` did not find did not happen.
    """
    if kind == "backup":
        return Measured(None, None, None, None, "", None, None)
    lost, served = seconds_of(facts, "lost_at"), seconds_of(facts, "served_at")
    if kind == "drill":
        # Nobody lost anything: it is as if the service had been lost when the drill began.
        lost = _first(steps) if lost is None else lost
        served = _ended(steps, "drill_check") if served is None else served
    planned = planned and kind in REAL
    looked = facts.get("never_lost") is True or (planned and _ended(steps, "served") is not None)
    never_lost = lost is None and looked
    rto = None if lost is None or served is None else max(0.0, served - lost)
    rto = 0.0 if never_lost else rto
    at = _ended(steps, "epoch") if never_lost else lost
    rpo, basis = seconds_of(facts, "rpo_s"), str(facts.get("rpo_basis") or "")
    if rpo is None:
        over = {row["service"] for row in steps if row["action"] in ("data", "drill_data") and row["state"] == "done"}
        rpo, basis = _rpo(plan, at, facts.get("committed_at") or {}, over, planned)
    return Measured(
        lost_at=lost,
        served_at=served,
        rto_s=_rounded(rto),
        rpo_s=_rounded(rpo),
        rpo_basis=basis,
        rto_met=None if rto is None else rto <= plan.targets.rto,
        rpo_met=None if rpo is None else rpo <= plan.targets.rpo,
    )


def _rpo(
    plan: RecoveryPlan, lost: float | None, committed: Row, over: t.Collection[str], closed: bool
) -> tuple[float | None, str]:
    """The worst of the data services; one that is not known makes the whole unknown.

    :param over: services that the target has taken over.
    :param closed: the source accepted no more writes before that, and the target received all it had.
    """
    worst: tuple[float, str] = (0.0, "no data")
    for service in plan.of_kind("data"):
        basis = f"{service.replication}{', closed first' if closed else ''}: {service.name}"
        age: float | None
        if service.name not in over:
            age = None
        elif service.replication == "synchronous" or (closed and service.replication == "asynchronous"):
            age = 0.0
        else:
            newest = seconds_of(committed, service.name)
            age = None if lost is None or newest is None else max(0.0, lost - newest)
        if age is None:
            return None, f"{basis}, not measured"
        if worst[1] == "no data" or age > worst[0]:
            worst = (age, basis)
    return worst


def seconds_of(facts: Row, key: str) -> float | None:
    """A number of *facts*; None where there is none."""
    value = facts.get(key)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpecError(f"{key}: value is {value!r}; allowed: a number of seconds") from error


def _first(steps: t.Sequence[Row]) -> float | None:
    began = [row["began_at"] for row in steps if row["began_at"] is not None and row["name"] != "drill_clean:first"]
    return min(began, default=None)


def _ended(steps: t.Sequence[Row], action: str) -> float | None:
    return next((row["ended_at"] for row in steps if row["action"] == action and row["state"] == "done"), None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
