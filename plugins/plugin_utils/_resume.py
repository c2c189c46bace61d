# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A stored plan met again after a crash (T4): it is carried on, less what no longer fits. Pure.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    GroupSpec,
    Member,
    Observed,
    Plan,
    quarantine_room,
)


def resume(stored: t.Mapping[str, t.Any], spec: GroupSpec, observed: Observed, not_holder: str = "") -> Plan:
    """The plan that action goes on with: never more than it first said, and within the bounds as they are now.

    A launch whose VM exists is always kept, so that it is finished or undone; a victim that is already out of service
    is always kept, so that its removal ends, unless it was protected meanwhile. The others stay as far as the group
    has room (invariants 1 and 2).
    Quarantined members that were to be deleted first still are, and give room as far as they are still there.

    A launch that is dropped keeps its row and its lease, as the interrupted run may have asked for its clone, which
    vCenter need not show yet. The next action of the group gives both up (``scaling_action``, state ``observed``).

    :param not_holder: why this site may not act any more (D6): nothing of the plan is done then, and a reconcile by the
        site that may finds what the interrupted run has left.
    """
    plan = Plan.from_dict(stored)
    if not plan.acts:
        return plan
    if not_holder:
        changed = {"verdict": "refuse", "code": "not_holder", "count": 0, "size_after": plan.size_before}
        changed.update(launches=[], victims=[], evictions=[])
        reason = f"{not_holder}; the action was cut off before and is not carried on ({plan.reason})"
        return Plan.from_dict({**plan.as_dict(), **changed, "reason": reason})
    if plan.direction == "out":
        return _resume_out(plan, spec, observed)
    return _resume_in(plan, spec, observed)


def _resume_out(plan: Plan, spec: GroupSpec, observed: Observed) -> Plan:
    members = {member.name: member for member in observed.members}
    names = {launch.name for launch in plan.launches}
    # A VM that the ledger knows and vCenter does not show was made: its name is asked for again, and no second one.
    made = [launch for launch in plan.launches if launch.name in members and members[launch.name].moid]
    evicted = [row for row in plan.evictions if _still_evicted(members.get(row.name))]
    leaving = {row.name for row in evicted}
    if observed.owned is None or observed.registered is None:
        room = 0
    else:
        others = sum(name not in names and name not in leaving for name in members)
        registered = observed.registered - sum(members[x.name].registered for x in made)
        room = spec.size.max - max(others, registered) - len(made)
    missing = [launch for launch in plan.launches if launch not in made][: max(0, room)]
    kept = tuple(launch for launch in plan.launches if launch in made or launch in missing)
    others_kept = [member for member in observed.members if member.name not in names]
    # The failures of this action that already stand in quarantine are among those that the plan may keep.
    quarantine = min(plan.quarantine, len(kept), quarantine_room(spec, others_kept, leaving))
    plan = dataclasses.replace(plan, evictions=tuple(evicted) if kept else (), quarantine=quarantine)
    return _less(plan, len(kept), 1, launches=kept)


def _still_evicted(member: Member | None) -> bool:
    """Whether its VM or its row is still there and may go. One that is deleted already has to leave the ledger."""
    return member is not None and member.quarantined and not member.protected


def _resume_in(plan: Plan, spec: GroupSpec, observed: Observed) -> Plan:
    members = {member.name: member for member in observed.members}
    if observed.in_service is None or observed.registered is None:
        spare = 0
    else:
        low = spec.size.min if plan.minimum is None else plan.minimum
        spare = min(observed.in_service, observed.registered) - low
    kept = []
    for victim in plan.victims:
        now = members.get(victim.name)
        if now is not None and (now.protected or now.base):
            continue  # somebody protected it meanwhile (invariant 10); a reconcile puts it back
        if now is not None and now.in_service:
            if spare <= 0:
                continue
            spare -= 1
        kept.append(victim)
    return _less(plan, len(kept), -1, victims=tuple(kept))


def _less(plan: Plan, count: int, sign: int, **names: t.Any) -> Plan:
    """*plan* with *count* members; a refusal when none is left."""
    if count == plan.count:
        return plan
    before = plan.size_before
    changed = {**plan.as_dict(), **names, "count": count, "reason": f"{plan.reason} (went on with {count})"}
    changed["size_after"] = None if before is None else before + sign * count
    if not count:
        code = "at_max" if plan.direction == "out" else "at_min"
        changed.update(verdict="refuse", code=code, reason=f"{plan.reason} (interrupted, and no room is left)")
    return Plan.from_dict(changed)
