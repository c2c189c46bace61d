# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What must hold before traffic or the right to write moves (D5). What is not known does not hold.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import InvalidSpecError
from ._recovery import RecoveryPlan
from ._value import _Value

RULES = ("one_site_on", "one_writer", "target_ready", "source_fenced")
_CHANGES = ("on", "off", "write")


@dataclasses.dataclass(frozen=True)
class Breach(_Value):
    """A rule that would be broken; ``gives_up`` is what force costs, and empty where there is no force."""

    rule: str
    message: str
    gives_up: str


def safety(plan: RecoveryPlan, change: t.Mapping[str, t.Iterable[str]], facts: t.Mapping[str, t.Any]) -> list[Breach]:
    """The rules that *change* would break; none: it may be made.

    :param change: sites that traffic is led to (``on``, made first), taken from (``off``), and that get the right to
        write (``write``).
    :param facts: ``sites_on`` and ``writers`` (lists, None: not known), ``target_ready``, ``source_fenced``; ``said``:
        rule -> what was seen of it, in words.
    :raises InvalidSpecError: a site that the plan does not have.
    """
    on, off, write = (_sites(plan, f"change.{key}", change.get(key)) or set() for key in _CHANGES)
    unknown = sorted(set(change) - set(_CHANGES))
    if unknown:
        raise InvalidSpecError(f"change: value is {unknown[0]!r}; allowed: {', '.join(_CHANGES)}")
    if on & off:
        raise InvalidSpecError(f"change: site {min(on & off)} is to be both on and off; allowed: one of them")
    sites_on = _sites(plan, "facts.sites_on", facts.get("sites_on"))
    writers = _sites(plan, "facts.writers", facts.get("writers"))
    said = facts.get("said") or {}
    rows = [
        _one_site_on(on, off, sites_on),
        _one_writer(write, writers),
        _target_ready(facts.get("target_ready")),
        _source_fenced(plan, bool(off or write), facts.get("source_fenced")),
    ]
    return [
        dataclasses.replace(row, message=f"{row.message}: {said[row.rule]}") if said.get(row.rule) else row
        for row in rows if row is not None
    ]  # fmt: skip


def _sites(plan: RecoveryPlan, field: str, names: t.Iterable[str] | None) -> set[str] | None:
    if names is None:
        return None
    found = {names} if isinstance(names, str) else {str(name) for name in names}
    known = (plan.sites.primary, plan.sites.secondary)
    for name in sorted(found):
        if name not in known:
            raise InvalidSpecError(f"{field}: value is {name!r}; allowed: {' and '.join(known)} (plan {plan.name})")
    return found


def _one_site_on(on: set[str], off: set[str], sites_on: set[str] | None) -> Breach | None:
    if ((sites_on or set()) | on) - off:
        return None
    if sites_on is None and off:
        return Breach("one_site_on", f"It is not known which sites are on, so {', '.join(sorted(off))} stays on", "")
    return Breach("one_site_on", "No site would be on", "")


def _one_writer(write: set[str], writers: set[str] | None) -> Breach | None:
    cost = "Two sites may accept writes at once: rows of one of them are lost, or merged by hand."
    if writers is None:
        return Breach("one_writer", "It is not known which sites accept writes", cost)
    after = writers | write
    if len(after) > 1:
        return Breach("one_writer", f"The sites {' and '.join(sorted(after))} would both accept writes", cost)
    return None


def _target_ready(ready: t.Any) -> Breach | None:
    if ready is True:
        return None
    words = "The site that is to serve is not ready" if ready is False else "Whether the site is ready is not known"
    return Breach("target_ready", words, "Clients may be led to a site that does not answer.")


def _source_fenced(plan: RecoveryPlan, leaves: bool, fenced: t.Any) -> Breach | None:
    """In active_active a site joins the other one without leaving it, and nobody is to be fenced."""
    if fenced is True or (plan.pattern == "active_active" and not leaves):
        return None
    words = (
        "The site that is left is not fenced"
        if fenced is False
        else "Whether the site that is left is fenced is not known"
    )
    cost = "The site that is left may go on to accept writes and to scale: what it takes from now on is lost."
    return Breach("source_fenced", words, cost)


def verdict(breaches: t.Sequence[Breach], *, force: bool = False) -> dict[str, t.Any]:
    """Whether to go on; with *force*, what that gives up. ``one_site_on`` cannot be forced."""
    final = [row for row in breaches if not force or not row.gives_up]
    forced = [row for row in breaches if row not in final]
    return {
        "allowed": not final,
        "breaches": [row.as_dict() for row in breaches],
        "refused": [f"{row.rule}: {row.message}." for row in final],
        "gives_up": [f"{row.rule}: {row.message}. {row.gives_up}" for row in forced],
    }
