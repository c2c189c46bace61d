# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

How many: who was lost is replaced, who is sick is replaced, the minimum is restored; nothing else ever makes a group
grow here. All of it within max, the breaker and what is suspended (invariants 1, 8).
"""

from __future__ import annotations

from ._check_vms import put_back
from ._controls import REPLACE
from ._draft import Draft
from ._survey import Case


def restore_numbers(draft: Draft) -> None:
    """New launches for those who were lost and for the minimum."""
    spec = draft.spec
    why_lost_stay = draft.held_text(REPLACE)
    lost = 0 if why_lost_stay else len(draft.lost)
    standing = len(spec.base_members) + sum(_counts(draft, case) for case in draft.survey.cases)
    short = spec.size.min - standing
    need = max(lost, short, 0)
    why_not = draft.cannot_launch()
    if need and not why_not:
        need = need if draft.permit is None else min(need, draft.permit)
        _give_room(draft, need)
        draft.new = max(0, min(need, draft.room))
        draft.use_permit(draft.new)
        why_not = "" if draft.new else f"the group owns {draft.owned} of at most {spec.size.max}"
    for index, name in enumerate(draft.lost):
        address = str(draft.survey.rows[name].get("address") or "")
        if index < min(lost, draft.new):
            draft.find(
                "vm_deleted", "vm", name, address, repair="replace",
                message=f"the VM of {name}, which served, is gone: another one is launched",
            )  # fmt: skip
        else:
            reason = why_lost_stay or why_not or "there is room for fewer"
            draft.find(
                "vm_deleted", "vm", name, address, repair="forget",
                message=f"the VM of {name}, which served, is gone: its row goes, and nobody replaces it, as {reason}",
            )  # fmt: skip
    if short > lost or (short > 0 and short > draft.new):
        text = f"{standing} members are there and the minimum is {spec.size.min}"
        if draft.new:
            draft.find("below_min", "group", spec.name, repair="launch", message=f"{text}: {draft.new} are launched")
        else:
            draft.find("below_min", "group", spec.name, message=f"{text}; nothing is launched: {why_not}")
    if draft.owned > spec.size.max:
        draft.find(
            "above_max", "group", spec.name,
            message=f"the group owns {draft.owned} and its maximum is {spec.size.max}: scale in, or raise size.max",
        )  # fmt: skip


def _counts(draft: Draft, case: Case) -> bool:
    """Whether it serves, or will when this reconcile is through. Doubt counts as yes: nobody is made on a guess."""
    if case.vm is None:
        return case.name in draft.absent and case.state in ("", "in_service", "planned", "launching")
    if case.member.quarantined or case.name in draft.retire:
        return False
    if case.conflict or case.busy or case.name in draft.finish or case.serves:
        return True
    return case.state in ("", "in_service") and case.row is not None


def _give_room(draft: Draft, need: int) -> None:
    """Diagnosis never costs capacity: who stands in quarantine longest leaves for a launch that lacks room."""
    for _since, case in draft.kept:
        if draft.room >= need or draft.cannot_retire():
            return
        if case.name not in draft.retire and not case.member.protected:
            text = f"{case.name} stands in quarantine and a launch needs its room"
            draft.retire_case(case, "quarantine_over", text, leak=False)


def replace_sick(draft: Draft) -> None:
    """One at a time, the longest sick first: launched before it leaves where there is room, else after.

    It is not in service, so its leaving never touches the minimum (invariant 2).
    """
    grace, chosen = draft.spec.health.grace, ""
    for since, case, kind in sorted(draft.sick, key=lambda entry: (entry[0], entry[1].name)):
        text = f"{case.name} {_what(case, kind)}"
        if draft.now - since < grace:
            why_not = f"it is replaced when that lasts longer than {grace} s"
        elif case.member.protected:
            draft.find(
                "protected", "vm", case.name, case.address,
                message=f"{text} for {draft.now - since:.0f} s and is protected, so it is not replaced: look after it",
            )  # fmt: skip
            why_not = "it is protected"
            if kind != "vm_without_member":
                continue
        elif chosen:
            why_not = f"{chosen} is replaced first"
        else:
            why_not = draft.cannot_replace()
        if not why_not:
            chosen = case.name
            _replace(draft, case, kind, f"{text} for {draft.now - since:.0f} s")
        elif kind == "vm_without_member":
            put_back(draft, case, kind, _what(case, kind))
        else:
            draft.find(kind, "vm", case.name, case.address, message=f"{text}: {why_not}")


def _what(case: Case, kind: str) -> str:
    if kind == "vm_powered_off":
        return "is powered off"
    if kind == "vm_unhealthy":
        return "does not serve, as its monitor or its node says"
    return "runs and is not in the pool" if case.pool is None else "runs and is disabled in the pool"


def _replace(draft: Draft, case: Case, kind: str, text: str) -> None:
    if draft.room >= 1:
        draft.replaced.append(case.member)
        how, done_by = "another one is launched, then it leaves", "replaced"
        draft.new += 1
    else:
        draft.retire[case.name] = case.member
        how, done_by = "it leaves, as there is room for no more", "retire"
        if draft.room >= 1:
            how, done_by = "it leaves, then another one is launched", "retire"
            draft.new += 1
    draft.use_permit()
    draft.find(kind, "vm", case.name, case.address, repair="replace", done_by=done_by, message=f"{text}: {how}")
