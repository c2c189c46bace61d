# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Reconcile: a pure function of what the ledger and the three backends say, to findings and repairs.

What it never does: believe a single listing, touch a base member, take away a member that serves, make more than max.
A site that does not hold the group's epoch compares, keeps its ledger true, and changes no backend (D6).
A source that could not be read leads to no repair that would need it (invariant 9).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._check_vms import check_base, check_vms
from ._controls import Controls
from ._decision import quarantine_room
from ._draft import Draft
from ._findings import Finding, Reconciliation
from ._names import unused_names
from ._numbers import replace_sick, restore_numbers
from ._observe import Rows
from ._remains import check_leases, check_pool, check_rows, check_targets
from ._spec import GroupSpec
from ._state import OUT, Launch, Plan
from ._survey import LedgerRows, Survey

_NO_CONTROLS = Controls()
_SOURCES = {
    "vms": ("vCenter", "nothing is adopted, given up, launched or deleted"),
    "ledger": ("the ledger", "nothing is changed"),
    "pool_members": ("the pool", "nobody is launched or deleted"),
    "targets": ("Prometheus", "no target is added or removed"),
}


def reconcile(
    spec: GroupSpec,
    *,
    vms: Rows | None,
    vms_again: Rows | None,
    pool_members: Rows | None,
    targets: Rows | None,
    ledger: LedgerRows | None,
    controls: Controls = _NO_CONTROLS,
    now: float,
) -> Reconciliation:
    """Compare the ledger with the backends. ``None`` for a source means that it could not be read.

    :param vms: as :func:`observe` takes them.
    :param vms_again: rows found when those of :func:`names_unseen` were looked for by name; empty when there was nobody
        to look for. None: nobody looked, so nothing that is missing is taken for gone.
    :param pool_members: rows ``{address, port, name, description, availability, in_service, standing or session}``.
    :param targets: rows ``{address, labels}`` of the group's job.
    :param ledger: ``{"members": rows, "leases": rows {address, member, action,
        leased_at}, "actions": {ident: state}}``.
        A member whose action is ``running`` is left alone, so the action of this reconcile must not be among them.
    :param now: seconds since the epoch; also the time in the names of new VMs.
    """
    sources = {"vms": vms, "ledger": ledger, "pool_members": pool_members, "targets": targets}
    unread = tuple(
        Finding("unread", "group", name, message=f"{label} could not be read: {loss}")
        for name, (label, loss) in _SOURCES.items()
        if sources[name] is None
    )
    if vms is None or ledger is None:
        return Reconciliation(unread)
    survey = Survey(
        spec, vms=vms, vms_again=vms_again, pool_members=pool_members, targets=targets, ledger=ledger
    )  # fmt: skip
    draft = Draft.begin(spec, survey, controls, now)
    draft.findings.extend(unread)
    for part in (
        check_rows, check_leases, check_vms, check_pool, check_targets, check_base, restore_numbers, replace_sick
    ):  # fmt: skip
        part(draft)
    return _answer(draft) if not controls.not_holder else _only_said(_answer(draft), controls.not_holder)


def _answer(draft: Draft) -> Reconciliation:
    launches = _launches(draft)
    return Reconciliation(
        findings=tuple(draft.findings),
        adopt=tuple(draft.adopt.values()),
        forget=tuple(dict.fromkeys(draft.forget)),
        states=tuple(draft.states.values()),
        pool_remove=tuple({"address": address, "port": port} for address, port in draft.pool_remove.items()),
        target_remove=tuple({"address": address} for address in draft.target_remove.values()),
        retire=tuple(draft.retire.values()),
        launches=launches,
        replaced=tuple(draft.replaced),
        plan=_plan(draft, launches),
        owned=draft.owned,
        room=max(0, draft.spec.size.max - draft.owned),
    )


def _only_said(found: Reconciliation, why: str) -> Reconciliation:
    """*found* without what would change a backend."""
    findings = tuple(
        dataclasses.replace(
            row, repair="none", done_by="", message=f"{row.message.removesuffix(': removed')}; not removed, as {why}"
        )
        if row.repair == "remove"
        else row
        for row in found.findings
    )
    return dataclasses.replace(
        found, findings=findings, pool_remove=(), target_remove=(), retire=(), launches=(), replaced=()
    )  # fmt: skip


def _launches(draft: Draft) -> tuple[Launch, ...]:
    """Those to finish come first, then the new ones."""
    spec, survey = draft.spec, draft.survey
    found = [
        (case.name, case.address, {"group": spec.name, "address": case.address, **case.marks}, keep)
        for case, keep in draft.finish.values()
    ]
    used = {row["name"] for row in survey.vms} | survey.rows.keys() | survey.lease_of.keys()
    used |= {member.name for member in spec.base_members}
    names: list[str] = unused_names(spec.vm.prefix, draft.now, draft.new, used) if draft.new else []
    rows: list[tuple[str, str, t.Mapping[str, str], bool]] = [*found, *((name, "", {}, False) for name in names)]
    return tuple(Launch(name, slot, address, marks, keep) for slot, (name, address, marks, keep) in enumerate(rows, 1))


def _plan(draft: Draft, launches: tuple[Launch, ...]) -> Plan:
    """The launches as a plan, for the body of a scale-out."""
    size = draft.owned
    new = sum(launch.new for launch in launches)
    leaving = {*draft.retire, *(member.name for member in draft.replaced)}
    return Plan(
        "act" if launches else "refuse",
        "reconcile",
        OUT,
        f"reconcile: {new} to launch, {len(launches) - new} to put back or to finish, {len(leaving)} to retire",
        count=len(launches),
        size_before=size,
        size_after=size + new - len(leaving),
        launches=launches,
        quarantine=min(
            sum(not launch.keep for launch in launches),
            quarantine_room(draft.spec, draft.survey.observed.members, leaving),
        ),
    )
