# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The steps of a run, in their order. A failback is a failover with the sites swapped, between two reprotects.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import InvalidSpecError
from ._recovery import RecoveryPlan, Service
from ._recovery_schema import ACTIONS
from ._value import _Value

KINDS = ("failover", "failback", "drill", "backup")
#: Kinds of run that change which site serves.
REAL = ("failover", "failback")

_TITLES = {
    "ready": "Site {site} is ready, and nothing has been changed yet",
    "epoch": "Site {site} takes the epoch",
    "data": "Database {service} accepts writes at site {site}",
    "models": "Models {service} are at site {site}",
    "settings": "Settings {service} are as declared at site {site}",
    "group": "Group {service} serves at site {site}",
    "verify": "Site {site} itself answers",
    "traffic_on": "Traffic goes to site {site}",
    "traffic_off": "No traffic goes to site {site}",
    "served": "Clients are served by site {site}",
    "standby": "Group {service} shrinks to its standby size at site {site}",
    "reprotect": "{service} is protected again: site {site} follows",
    "drill_data": "Database {service} comes up apart from production",
    "drill_group": "Group {service} comes up in the isolated network",
    "drill_vip": "A throw-away virtual server leads to it",
    "drill_check": "It answers, and its data is whole",
    "drill_clean": "Nothing is left of the drill",
    "backup_data": "Database {service} is backed up",
    "backup_models": "Models {service} are copied",
    "backup_settings": "Settings {service} are exported",
}


@dataclasses.dataclass(frozen=True)
class Step(_Value):
    """One step; timeout and expected in seconds, service empty where it is none's."""

    name: str
    action: str
    service: str
    site: str
    timeout: int
    expected: int
    gate: str
    title: str


def steps_of(plan: RecoveryPlan, kind: str, source: str, target: str, *, planned: bool = False) -> tuple[Step, ...]:
    """The steps of a run.

    :param kind: failover, failback, drill or backup.
    :param source: the site that serves (or served) until now.
    :param target: the site that is to serve; that of a drill is the one that rehearses.
    :param planned: the source lives and takes part; a failback always is.
    :raises InvalidSpecError: a site that the plan does not have, or a drill that it does not describe.
    """
    sites = (plan.sites.primary, plan.sites.secondary)
    for field, site in (("source", source), ("target", target)):
        if site not in sites:
            raise InvalidSpecError(f"{field}: value is {site!r}; allowed: {' or '.join(sites)} (plan {plan.name})")
    if source == target:
        raise InvalidSpecError(f"target: value is {target!r}; allowed: another site than the source")
    make = _Maker(plan)
    if kind == "failover":
        rows = [make("ready", target), *_switch(make, source, target, planned)]
    elif kind == "failback":
        rows = [
            make("ready", target),
            *(make("reprotect", target, service, at=True) for service in plan.in_order()),
            *_switch(make, source, target, True),
            *(make("reprotect", source, service, at=True) for service in plan.in_order()),
        ]
        if plan.pattern == "active_active":
            rows.append(make("traffic_on", source, at=True))
    elif kind == "drill":
        rows = _drill(make, target)
    elif kind == "backup":
        rows = [make(f"backup_{kind}", source, service) for kind in ("data", "models", "settings")
                for service in plan.of_kind(kind)]  # fmt: skip
        if not rows:
            raise InvalidSpecError(
                f"Plan {plan.name} has nothing to back up: no service of kind data, models or settings"
            )
    else:
        raise InvalidSpecError(f"kind: value is {kind!r}; allowed: one of {', '.join(KINDS)}")
    return tuple(rows)


class _Maker:
    """Makes steps with what the plan says of them."""

    def __init__(self, plan: RecoveryPlan) -> None:
        self.plan = plan

    def __call__(self, action: str, site: str, service: Service | None = None, *, at: bool = False) -> Step:
        """*at* puts the site into the name, where a run has the action at both."""
        name = f"{action}:{service.name}" if service else action
        timeout, expected = ACTIONS[action]
        said: dict[str, t.Any] = {"timeout": timeout, "gate": "none"}
        for key in (action, name):
            said.update((field, value) for field, value in self.plan.steps.get(key, {}).items() if value is not None)
        said.setdefault("expected", min(expected, said["timeout"]))
        return Step(
            name=f"{name}@{site}" if at else name,
            action=action,
            service=service.name if service else "",
            site=site,
            title=_TITLES[action].format(service=service.name if service else "", site=site),
            **said,
        )


def _switch(make: _Maker, source: str, target: str, planned: bool) -> t.Iterator[Step]:
    """What a failover and a failback share: the service moves from *source* to *target*."""
    plan = make.plan
    yield make("epoch", target)
    for service in plan.in_order():
        yield make(service.kind, target, service)
    yield make("verify", target)
    yield make("traffic_on", target)
    yield make("traffic_off", source)
    yield make("served", target)
    if planned and plan.pattern != "active_active":
        for service in reversed(plan.of_kind("group")):
            yield make("standby", source, service)


def _drill(make: _Maker, target: str) -> list[Step]:
    plan = make.plan
    if plan.drill is None:
        raise InvalidSpecError(
            f"Plan {plan.name} has no `drill`", remedy="Say there which isolated network it may use."
        )
    return [
        make("ready", target),
        *(make("drill_data", target, service) for service in plan.of_kind("data")),
        *(make("drill_group", target, service) for service in plan.of_kind("group")),
        make("drill_vip", target),
        make("drill_check", target),
        make("drill_clean", target),
    ]


def cleaning_first(plan: RecoveryPlan, steps: t.Sequence[Step]) -> tuple[Step, ...]:
    """A drill that was cut off is begun anew, and first all that it left is taken away."""
    clean = _Maker(plan)("drill_clean", steps[0].site)
    return (dataclasses.replace(clean, name="drill_clean:first"), *steps)
