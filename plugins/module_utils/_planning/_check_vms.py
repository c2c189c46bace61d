# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The VMs of a group, one after another: who is unknown, half made, left over, out of service, in quarantine.
"""

from __future__ import annotations

from ._draft import Draft
from ._names import time_of_name
from ._remains import full_target
from ._survey import Case

#: States of somebody whose launch was to be taken back.
_UNDO_BEGAN = ("failed", "removed")
#: An action that ended so had decided to undo what it left behind.
_UNDONE = ("failed", "succeeded")


def check_vms(draft: Draft) -> None:
    """Every VM with the group's mark."""
    halves = []
    for case in draft.survey.cases:
        if case.vm is None or case.busy:
            continue
        if case.conflict:
            draft.find(
                "address_conflict", "vm", case.name, case.address,
                message=f"{case.conflict}: nothing is changed at either; find out which serves, delete the other",
            )  # fmt: skip
            continue
        if (case.row or {}).get("missing_since") is not None:
            draft.note(case, missing_since=None)
        if case.row is not None and case.address and case.name not in draft.survey.lease_of:
            draft.adopt_case(case, case.state)
            draft.find(
                "vm_unknown", "vm", case.name, case.address, repair="adopt",
                message=f"{case.name} has address {case.address} and the ledger holds no lease of it: leased again",
            )  # fmt: skip
        if case.member.quarantined:
            _check_quarantined(draft, case)
        elif _is_half_made(draft, case):
            halves.append(case)
    _settle_half_made(draft, halves)
    _end_quarantine(draft)


def _is_half_made(draft: Draft, case: Case) -> bool:
    """Whether somebody has to decide about its launch; all else about it is decided here."""
    if case.row is None:
        state = "in_service" if case.serves or case.pooled else "launching"
        draft.adopt_case(case, state)
        draft.find(
            "vm_unknown", "vm", case.name, case.address, repair="adopt", leak=True,
            message=f"{case.name} carries the group's mark and the ledger does not know it: adopted as {state}",
        )  # fmt: skip
    else:
        state = case.state or "in_service"
    if state == "in_service":
        _check_serving(draft, case)
    elif state == "draining":
        _check_draining(draft, case)
    elif case.serves:
        _serves_again(draft, case, "vm_half_made", f"{case.name} is {state} in the ledger and serves")
    elif case.pooled and state not in _UNDO_BEGAN:
        # It was enabled, so it has passed its gate: should it be sick by now, it has its grace like everybody.
        _serves_again(draft, case, "vm_half_made", f"{case.name} is {state} in the ledger and enabled in the pool")
    else:
        return True
    return False


def _serves_again(draft: Draft, case: Case, kind: str, message: str) -> None:
    draft.note(case, state="in_service")
    draft.find(kind, "vm", case.name, case.address, repair="restore", message=f"{message}: in service")
    _check_serving(draft, case)


def _check_serving(draft: Draft, case: Case) -> None:
    """Somebody who should serve: put back what was lost, and count how long it has been sick."""
    survey = draft.survey
    if not survey.pool_read and not case.off:
        return
    out = survey.pool_read and not case.pooled
    sick = True if out else case.unhealthy
    if sick is False:
        if (case.row or {}).get("unhealthy_since") is not None:
            draft.note(case, unhealthy_since=None)
        if survey.targets_read and case.target is None:
            put_back(draft, case, "vm_without_target", "serves and Prometheus does not watch it")
    elif sick:
        kind = "vm_powered_off" if case.off else "vm_without_member" if out else "vm_unhealthy"
        since = (case.row or {}).get("unhealthy_since")
        if since is None:
            since = draft.now
            draft.note(case, unhealthy_since=since)
        draft.sick.append((since, case, kind))


def put_back(draft: Draft, case: Case, kind: str, message: str) -> None:
    """Through gate, pool and Prometheus again, where that is allowed; else say why not."""
    why_not = draft.cannot_launch(breaker=False) or ("" if case.address else "nobody knows its address")
    if why_not:
        draft.find(kind, "vm", case.name, case.address, message=f"{case.name} {message}; not put back: {why_not}")
    else:
        draft.finish_case(case, kind, f"{case.name} {message}", keep=True)


def _check_draining(draft: Draft, case: Case) -> None:
    """What a scale-in began and nobody ended."""
    if not draft.survey.pool_read:
        draft.find(
            "vm_left_over", "vm", case.name, case.address,
            message=f"{case.name} was being drained; nothing is done: the pool could not be read",
        )  # fmt: skip
        return
    if case.serves:
        _serves_again(draft, case, "vm_left_over", f"{case.name} was to be drained and serves")
        return
    serving, low = draft.survey.observed.in_service or 0, draft.spec.size.min
    since = (case.row or {}).get("unhealthy_since")
    # One that cannot be put back keeps the room of one that could serve, so it is tried for its grace and not for ever.
    tried = since is not None and draft.now - since >= draft.spec.health.grace
    if (serving >= low or tried) and not case.member.protected:
        text = "" if serving >= low else f", and could not be put back for {draft.now - since:.0f} s"
        draft.retire_case(case, "vm_left_over", f"{case.name} was drained and not deleted{text}")
        return
    if since is None:
        draft.note(case, unhealthy_since=draft.now)
    why = "it is protected" if case.member.protected else f"only {serving} of {low} serve"
    put_back(draft, case, "vm_left_over", f"was drained and not deleted, and {why}")


def _settle_half_made(draft: Draft, halves: list[Case]) -> None:
    """Launches that were cut off: finished where the group may grow, else taken back. The oldest are finished first."""
    halves.sort(key=lambda case: (case.member.created or time_of_name(case.name) or 0.0, case.name))
    undone = [case for case in halves if _is_undone(draft, case)]
    for case in undone:
        draft.retire_case(case, "vm_half_made", f"the launch of {case.name} failed and its VM was left")
    rest = [case for case in halves if case not in undone]
    for case in rest[::-1]:
        if draft.room < 0:
            draft.retire_case(
                case, "vm_half_made", f"the launch of {case.name} was cut off and the group is above its maximum"
            )
    for case in rest:
        if case.name in draft.retire:
            continue
        why_not = draft.cannot_launch() or ("" if case.address else "nobody knows its address")
        if draft.room < 0:
            continue  # protected, or held: said above
        text = f"the launch of {case.name} was cut off"
        if not why_not:
            draft.use_permit()
            draft.finish_case(case, "vm_half_made", text, keep=False, leak=True)
        else:
            draft.retire_case(case, "vm_half_made", f"{text} and cannot go on, as {why_not}")


def _is_undone(draft: Draft, case: Case) -> bool:
    ident = (case.row or {}).get("action") or case.marks.get("action")
    return case.state in _UNDO_BEGAN or draft.survey.action_state(ident) in _UNDONE


def _check_quarantined(draft: Draft, case: Case) -> None:
    row = case.row or {}
    if case.row is None:
        draft.adopt_case(case, "quarantined")
        draft.find(
            "vm_unknown", "vm", case.name, case.address, repair="adopt", leak=True,
            message=f"{case.name} carries the marks of the group and of its quarantine, and the ledger does not know "
            "it: adopted",
        )  # fmt: skip
    elif case.state != "quarantined":
        draft.note(case, state="quarantined")
        draft.find(
            "vm_half_made", "vm", case.name, case.address, repair="restore",
            message=f"{case.name} is {case.state} in the ledger and marked as quarantined: in quarantine",
        )  # fmt: skip
    if case.pool is not None:
        port = int(case.pool.get("port") or draft.spec.load_balancer.port)
        draft.pool_remove[case.address] = port
        draft.find(
            "vm_left_over", "member", case.name, case.address, repair="remove", done_by="pool_remove", leak=True,
            message=f"{case.name} stands in quarantine and is in pool {draft.spec.load_balancer.pool}: removed",
        )  # fmt: skip
    if case.target is not None:
        draft.target_remove[case.address] = full_target(draft, case.target)
        draft.find(
            "vm_left_over", "target", case.name, case.address, repair="remove", done_by="target_remove", leak=True,
            message=f"{case.name} stands in quarantine and is a target of job {draft.spec.monitoring.job}: removed",
        )  # fmt: skip
    known = [row.get("quarantined_at"), case.member.quarantined_at]
    if case.state == "quarantined":
        known.append(row.get("updated_at"))
    draft.kept.append((next((moment for moment in known if moment is not None), draft.now), case))


def _end_quarantine(draft: Draft) -> None:
    """Over after its time, and for the oldest when there are more than may be kept."""
    rule = draft.spec.quarantine
    draft.kept.sort(key=lambda entry: (entry[0], entry[1].name))
    over = len(draft.kept) - rule.keep
    for index, (since, case) in enumerate(list(draft.kept)):
        if index < over:
            text = f"{case.name} stands in quarantine, where {rule.keep} of a group may stay"
        elif draft.now - since >= rule.retention:
            text = f"{case.name} has been in quarantine for {draft.now - since:.0f} s"
        else:
            continue
        draft.retire_case(case, "quarantine_over", text, leak=False)


def check_base(draft: Draft) -> None:
    """Base members are the site's: what is wrong with them is said and never changed (invariant 10)."""
    survey, pool = draft.survey, draft.spec.load_balancer.pool
    for base in draft.spec.base_members if survey.pool_read else ():
        row = survey.pool.get(base.address)
        wrong = "is not in" if row is None else "is offline in" if row.get("availability") == "offline" else ""
        if wrong:
            draft.find(
                "base_member_unhealthy", "member", base.name, base.address,
                message=f"base member {base.name} ({base.address}) {wrong} pool {pool}: it is the site's, see to it",
            )  # fmt: skip
