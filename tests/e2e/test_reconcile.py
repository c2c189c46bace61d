# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile against the whole lab: what somebody broke is found, printed, and put right (invariants 1 to 4, 8, 10)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e import by_hand
from e2e.conftest import Site, launched


def converged(site: Site, made: int) -> set[str]:
    """*made* members of ours that vCenter, BIG-IP, the target file and the ledger agree on; their names."""
    names = launched(site)
    vms = {name: site.vms()[name] for name in names}
    addresses = {vm["ip"] for vm in vms.values()}
    assert len(names) == made, names
    assert {vm["power"] for vm in vms.values()} <= {"poweredOn"}
    members = site.members()
    assert set(members) == site.base | addresses
    assert {row["session"] for row in members.values()} == {"monitor-enabled"}
    assert site.targets() - {f"{address}:9100" for address in site.base} == {f"{address}:9100" for address in addresses}
    leases = site.ledger("select member, address from leases")
    assert {(row["member"], row["address"]) for row in leases} == {(name, vm["ip"]) for name, vm in vms.items()}
    assert site.ledger("select * from locks") == []
    assert site.ledger("select * from actions where state = 'running'") == []
    return names


def report(site: Site, tmp_path: Path, *arguments: str, **variables: object) -> dict:
    """A reconcile run's report about group web; the run must succeed."""
    file = tmp_path / "report.json"
    run = site.playbook("reconcile", *arguments, report=str(file), **variables)
    assert run.rc == 0, run.output
    (row,) = json.loads(file.read_text())["groups"]
    return row


@pytest.fixture
def grown(site: Site) -> Site:
    """The group with one member of ours."""
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert run.rc == 0, run.output
    return site


def test_a_healthy_group_has_no_findings_and_leaves_no_event(grown: Site, tmp_path: Path):
    events = grown.ledger("select count(*) as n from events")
    found = report(grown, tmp_path)
    assert (found["findings"], found["error"]) == ([], "")
    assert set(found["leaked"].values()) == {0}
    assert grown.ledger("select count(*) as n from events") == events
    converged(grown, 1)


def test_check_mode_prints_the_findings_and_changes_nothing(grown: Site, tmp_path: Path):
    (name,) = launched(grown)
    by_hand.remove_member(grown.description, grown.vms()[name]["ip"])
    before = grown.snapshot()
    found = report(grown, tmp_path, "--check")
    assert [row["kind"] for row in found["findings"]] == ["vm_without_member"]
    assert grown.snapshot() == before
    report(grown, tmp_path)
    assert converged(grown, 1) == {name}


def test_a_vm_deleted_by_hand_is_cleaned_up_and_replaced(grown: Site, tmp_path: Path):
    """Nothing is left of it in the pool, in Prometheus or in the ledger; who served is launched anew."""
    (name,) = launched(grown)
    by_hand.delete_vm(grown.description, name)
    found = report(grown, tmp_path)
    assert "vm_deleted" in {row["kind"] for row in found["findings"]}
    assert name not in converged(grown, 1)
    assert report(grown, tmp_path)["findings"] == []


def test_a_vm_powered_off_by_hand_is_replaced_after_its_grace(grown: Site, tmp_path: Path):
    """Ignores the cooldown; launches before it terminates, as the maximum allows it."""
    grown.write_group({"cooldown": {"out": 600, "in": 600}})
    (name,) = launched(grown)
    by_hand.power_off(grown.description, name)
    report(grown, tmp_path)
    assert name in launched(grown)  # the grace of 300 s is not over
    grown.write_group({"cooldown": {"out": 600, "in": 600}, "health": {"grace": 0}})
    found = report(grown, tmp_path)
    assert {"vm_powered_off"} <= {row["kind"] for row in found["findings"]}
    assert name not in converged(grown, 1)


def test_targets_and_members_that_nobody_has_are_removed(grown: Site, tmp_path: Path):
    """The leak report counts them; what is not ours stays and is only reported."""
    by_hand.add_target(
        grown.target_file, f"{grown.settings.subnet}.229:9100", group="web", member="web-gone", action="web-0"
    )
    deadline_found = None
    for _attempt in range(10):  # until Prometheus has read the file
        deadline_found = report(grown, tmp_path, "--check")
        if deadline_found["findings"]:
            break
    assert [row["kind"] for row in deadline_found["findings"]] == ["target_without_vm"]
    assert deadline_found["leaked"]["targets"] == 1
    report(grown, tmp_path)
    converged(grown, 1)


def test_a_lost_ledger_is_rebuilt_from_the_backends(grown: Site, tmp_path: Path):
    (name,) = launched(grown)
    before = grown.ledger("select group_name, name, address, moid, state, action from members")
    grown.ledger_file.unlink()
    for tail in ("-wal", "-shm"):
        Path(f"{grown.ledger_file}{tail}").unlink(missing_ok=True)
    found = report(grown, tmp_path)
    assert {row["kind"] for row in found["findings"]} == {"vm_unknown"}
    assert converged(grown, 1) == {name}
    assert grown.ledger("select group_name, name, address, moid, state, action from members") == before
    run = grown.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
    converged(grown, 0)


def test_a_protected_member_is_never_a_victim(grown: Site):
    """Invariant 10, and its way back."""
    (name,) = launched(grown)
    assert grown.playbook("protect", members=name).rc == 0
    run = grown.playbook("scale_in", ignore_cooldown=True)
    assert "no_victim" in run.output, run.output
    assert converged(grown, 1) == {name}
    assert grown.playbook("protect", members=name, protected=False).rc == 0
    assert grown.playbook("scale_in", ignore_cooldown=True).rc == 0
    converged(grown, 0)


def test_suspended_processes_are_refused_until_they_are_resumed(site: Site):
    assert site.playbook("suspend", process="launch", reason="template is rebuilt").rc == 0
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert "suspended" in run.output, run.output
    assert "suspended launch" in site.playbook("status").output
    converged(site, 0)
    assert site.playbook("resume", process="launch").rc == 0
    assert site.playbook("scale_out", ignore_cooldown=True).rc == 0
    converged(site, 1)


def test_launches_that_fail_open_the_breaker(site: Site, tmp_path: Path):
    """Invariant 8: one VM stays in quarantine, the breaker opens, a probe after a look closes it."""
    site.write_group(
        {
            "breaker": {"failures": 2},
            "timeouts": {"gate": 5, "address": 5, "customization": 10},
            "cooldown": {"out": 0, "in": 0},
        }
    )
    site.control("vcenter", "POST", "/faults", {"mode": "unhealthy"})
    for _attempt in range(2):
        assert site.playbook("scale_out", ignore_cooldown=True).rc != 0
    (kept,) = site.ledger("select name, state, note from members")
    assert kept["state"] == "quarantined"
    assert kept["note"]
    assert launched(site) == {kept["name"]}
    assert set(site.members()) == site.base
    run = site.playbook("scale_out", ignore_cooldown=True)
    assert "breaker_open" in run.output, run.output
    assert "breaker open" in site.playbook("status").output
    site.control("vcenter", "DELETE", "/faults")
    assert site.playbook("resume", process="launch").rc == 0
    assert site.playbook("scale_out", ignore_cooldown=True).rc == 0
    site.write_group({"quarantine": {"retention": 0}})
    found = report(site, tmp_path)
    assert "quarantine_over" in {row["kind"] for row in found["findings"]}
    assert kept["name"] not in converged(site, 1)
