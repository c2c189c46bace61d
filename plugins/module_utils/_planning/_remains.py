# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is left without its VM: rows of the ledger, leases, pool members and targets (invariants 3 and 4).

Nothing is taken for gone because one listing did not show it. It is when vCenter was asked again, by name.
"""

from __future__ import annotations

import typing as t

from ._draft import Draft
from ._observe import Row
from ._survey import Case, described, is_our_target

#: States in which a clone of a play that died may still be on its way.
_UNBORN = ("planned", "launching", "failed")


def check_rows(draft: Draft) -> None:
    """Rows whose VM vCenter does not show: forgotten when they are confirmed gone, else kept."""
    for case in draft.survey.cases:
        if case.vm is None:
            _check_row(draft, case)


def _check_row(draft: Draft, case: Case) -> None:
    survey, row = draft.survey, t.cast(Row, case.row)
    if case.busy:
        draft.absent.add(case.name)
        return
    if survey.again is None or case.name in survey.again:
        draft.absent.add(case.name)
        if survey.again is None:
            if case.state not in _UNBORN and row.get("missing_since") is None:
                draft.note(case, missing_since=draft.now)
            text = "vCenter does not show it and could not be asked again: it counts until that is confirmed"
        else:
            draft.note(case, missing_since=None)
            text = (
                "the first listing of vCenter did not show it and a second look by name did: nothing is changed. If "
                f"this stays, its mark group={draft.spec.name} is gone: set it again with vsphere_mark"
            )
        draft.find("missing_unconfirmed", "vm", case.name, case.address, message=f"{case.name}: {text}")
        return
    if case.state in _UNBORN and _may_still_come(draft, row.get("updated_at") or row.get("created_at")):
        draft.absent.add(case.name)
        draft.find(
            "missing_unconfirmed", "lease", case.name, case.address,
            message=f"{case.name} is {case.state} and there is no VM: its clone may still run, so it keeps its address "
            f"until {draft.spec.timeouts.clone} s after its last entry",
        )  # fmt: skip
        return
    draft.forget.append(case.name)
    renamed = case.address in survey.inhabited
    if case.state in _UNBORN or case.state == "removed":
        draft.find(
            "lease_without_vm", "lease", case.name, case.address, repair="forget", leak=True,
            message=f"{case.name} was {case.state} and never came to be: its row and its address go",
        )  # fmt: skip
        return
    if case.state in ("in_service", "") and not renamed:
        draft.lost.append(case.name)  # whether it is replaced, and so the finding, comes with the launches
    else:
        by = f"another VM has its address {case.address}" if renamed else f"it was {case.state}"
        draft.find(
            "vm_deleted", "vm", case.name, case.address, repair="forget",
            message=f"the VM of {case.name} is gone, and {by}: its row goes, and nobody replaces it",
        )  # fmt: skip
    if case.name in survey.lease_of:
        draft.find(
            "lease_without_vm", "lease", case.name, survey.lease_of[case.name], repair="forget", leak=True,
            message=f"the VM of {case.name} is gone: its address {survey.lease_of[case.name]} is free again",
        )  # fmt: skip


def _may_still_come(draft: Draft, since: float | None) -> bool:
    return since is not None and draft.now - since <= draft.spec.timeouts.clone


def check_leases(draft: Draft) -> None:
    """Leases of members that neither the ledger nor vCenter knows."""
    survey = draft.survey
    shown = {row["name"] for row in survey.vms}
    for lease in survey.leases:
        name, address = lease["member"], lease["address"]
        if name in survey.rows or name in shown:
            continue
        maybe = survey.again is None or name in survey.again
        running = survey.action_state(lease.get("action")) == "running"
        if maybe or running or _may_still_come(draft, lease.get("leased_at")):
            draft.absent.add(name)
            if not running:
                draft.find(
                    "missing_unconfirmed", "lease", name, address,
                    message=f"{address} is leased to {name}, which nobody knows: it stays so until that is confirmed",
                )  # fmt: skip
            continue
        draft.forget.append(name)
        draft.find(
            "lease_without_vm", "lease", name, address, repair="forget", leak=True,
            message=f"{address} is leased to {name}, which does not exist: the lease goes",
        )  # fmt: skip


def check_pool(draft: Draft) -> None:
    """Members of the pool that have no VM; and those that are not ours, which only a person can judge."""
    survey, spec = draft.survey, draft.spec
    owners = _owners(draft)
    for address, row in survey.pool.items():
        if survey.is_base_address(address):
            continue
        name, group = described(row)
        owner = owners.get(address)
        ours = owner is not None or group == spec.name
        if address in survey.inhabited:
            if not ours and all(case.vm is None or case.address != address for case in survey.cases):
                _foreign(draft, row)
            continue
        if not ours:
            _foreign(draft, row)
        elif owner in draft.absent:
            continue  # its VM may exist; the row's own finding says so
        elif _is_there(draft, owner or name):
            draft.find(
                "missing_unconfirmed", "member", owner or name, address,
                message=f"{address} is in the pool for {owner or name}, and a listing of vCenter without it is not "
                "believed before it was asked again by name",
            )  # fmt: skip
        else:
            port = int(row.get("port") or spec.load_balancer.port)
            draft.pool_remove[address] = port
            draft.find(
                "member_without_vm", "member", owner or name, address,
                repair="remove", done_by="pool_remove", leak=True,
                message=f"{address}:{port} is in pool {spec.load_balancer.pool} and has no VM: removed",
            )  # fmt: skip
    for row in survey.other_ports:
        if not survey.is_base_address(str(row["address"])):
            _foreign(draft, row)


def check_targets(draft: Draft) -> None:
    """Targets that we wrote and that have no VM. Those of others in the job are nobody's business here."""
    survey, spec = draft.survey, draft.spec
    for address, row in survey.targets.items():
        if address in survey.inhabited or survey.is_base_address(address) or not is_our_target(spec, row):
            continue
        name = row["labels"]["member"]
        if name in draft.absent:
            continue
        if _is_there(draft, name):
            draft.find(
                "missing_unconfirmed", "target", name, address,
                message=f"{address} is a target for {name}, and a listing of vCenter without it is not believed before "
                "it was asked again by name",
            )  # fmt: skip
            continue
        draft.target_remove[address] = full_target(draft, row)
        draft.find(
            "target_without_vm", "target", name, address, repair="remove", done_by="target_remove", leak=True,
            message=f"{draft.target_remove[address]} is a target of job {spec.monitoring.job} and has no VM: removed",
        )  # fmt: skip


def full_target(draft: Draft, row: Row) -> str:
    """``10.0.0.1:9100``, as it stands in the file of targets."""
    address = str(row["address"]).rpartition("://")[2].partition("/")[0]
    return address if ":" in address else f"{address}:{draft.spec.monitoring.exporter_port}"


def _is_there(draft: Draft, name: str) -> bool:
    """Whether a VM without a row may exist although the listing did not show it."""
    again = draft.survey.again
    return again is None or name in again


def _owners(draft: Draft) -> dict[str, str]:
    """Who has or had each address, as the ledger says."""
    owners = {row["address"]: name for name, row in draft.survey.rows.items() if row.get("address")}
    return {**owners, **{row["address"]: row["member"] for row in draft.survey.leases}}


def _foreign(draft: Draft, row: Row) -> None:
    draft.find(
        "foreign_member", "member", str(row.get("name") or row["address"]), str(row["address"]),
        message=f"{row['address']}:{row.get('port') or draft.spec.load_balancer.port} is in pool "
        f"{draft.spec.load_balancer.pool} and belongs neither to the group nor to its base_members: it gets traffic "
        "that nobody counts; declare it in base_members or remove it",
    )  # fmt: skip
