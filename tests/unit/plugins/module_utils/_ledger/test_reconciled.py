# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconcile writes: adopted, forgotten, health, findings; all of it under the lock or nothing."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError

LEAKED = {"vms": 0, "members": 0, "targets": 0, "leases": 0}


def vm(name, address, **kwargs):
    """A row of what vCenter shows, as the planner hands it over."""
    row = {
        "name": name,
        "address": address,
        "moid": f"vm-{name}",
        "state": "in_service",
        "action": "",
        "created_at": 9.0,
    }
    return {**row, **kwargs}


@pytest.fixture
def ident(ledger):
    return ledger.start_action("web", "reconcile", owner="me", ttl=100)


def known(ledger, group="web"):
    state = ledger.group_state(group)
    leases = {row["member"]: row["address"] for row in state["leases"]}
    return {row["name"]: (row["state"], row["address"], leases.get(row["name"])) for row in state["members"]}


def test_a_lost_ledger_is_rebuilt_and_gives_out_no_ident_twice(ledger, ident, clock):
    """The marks in vCenter say what is ours (design, ownership)."""
    rows = [vm("web-a", "10.0.0.1", action="web-41", created_at=5.0), vm("web-b", "10.0.0.2", action="other-99")]
    found = ledger.reconciled(ident, owner="me", adopt=rows, findings=[{"kind": "vm_unknown"}], leaked=LEAKED)
    assert found == {"adopted": ["web-a", "web-b"], "forgotten": [], "conflicts": []}
    assert known(ledger) == {
        "web-a": ("in_service", "10.0.0.1", "10.0.0.1"),
        "web-b": ("in_service", "10.0.0.2", "10.0.0.2"),
    }
    row = ledger.members("web")[0]
    assert (row["action"], row["moid"], row["created_at"], row["note"]) == (
        "web-41",
        "vm-web-a",
        5.0,
        f"adopted by {ident}",
    )
    reconciled = {"action": ident, "at": clock.now, "findings": [{"kind": "vm_unknown"}], "leaked": LEAKED}
    assert ledger.group_state("web")["reconciled"] == reconciled
    ledger.finish_action(ident, state="succeeded")
    assert ledger.start_action("web", "out", owner="me") == "web-42"


def test_the_sequence_is_only_ever_raised(ledger):
    for _number in range(3):
        ledger.finish_action(ledger.start_action("web", "out", owner="me"), state="succeeded")
    ident = ledger.start_action("web", "reconcile", owner="me")
    odd = ["web-2", "web-3x", "web-", "x-web-9", "webb-9", "web--7"]
    rows = [vm(f"web-{action}", f"10.0.1.{number}", action=action) for number, action in enumerate(odd)]
    ledger.reconciled(ident, adopt=rows)
    ledger.finish_action(ident, state="succeeded")
    assert ledger.start_action("web", "out", owner="me") == "web-5"


def test_again_with_the_same_changes_nothing(ledger, ident, clock):
    """Invariant 7."""
    what = {
        "adopt": [vm("web-a", "10.0.0.1")],
        "forget": ["web-z"],
        "states": [{"name": "web-a", "missing_since": 3.0}],
    }
    assert ledger.reconciled(ident, **what)["adopted"] == ["web-a"]
    before = ledger.members("web"), ledger.group_state("web")["leases"]
    clock.tick(5)
    assert ledger.reconciled(ident, **what) == {"adopted": [], "forgotten": [], "conflicts": []}
    assert before == (ledger.members("web"), ledger.group_state("web")["leases"])


def test_a_row_that_was_wrong_is_put_right_without_a_note(ledger, ident):
    ledger.update_members(
        "web", [{"name": "web-a", "state": "launching", "note": "x", "moid": "old", "action": "web-0"}]
    )
    assert ledger.reconciled(ident, adopt=[vm("web-a", "10.0.0.1")])["adopted"] == ["web-a"]
    row = ledger.members("web")[0]
    assert (row["state"], row["moid"], row["created_at"], row["action"]) == ("in_service", "vm-web-a", 9.0, "web-0")
    assert known(ledger)["web-a"] == ("in_service", "10.0.0.1", "10.0.0.1")
    assert "adopted" not in row["note"]


def test_a_lease_is_never_taken_from_another_member(ledger, ident):
    """Invariant 3: two VMs with one address is a finding for people; the VM still counts as owned."""
    other = ledger.start_action("db", "out", owner="me")
    ledger.lease_addresses(other, "db", ["db-a"], ["10.0.0.1"])
    ledger.lease_addresses(ident, "web", ["web-b", "web-c"], ["10.0.0.2", "10.0.0.3"])
    rows = [vm("web-a", "10.0.0.1"), vm("web-x", "10.0.0.2"), vm("web-c", "10.0.0.9")]
    found = ledger.reconciled(ident, adopt=rows)
    assert found["conflicts"] == [
        {"name": "web-a", "address": "10.0.0.1", "group": "db", "member": "db-a", "holds": None},
        {"name": "web-x", "address": "10.0.0.2", "group": "web", "member": "web-b", "holds": None},
        {"name": "web-c", "address": "10.0.0.9", "group": "", "member": "", "holds": "10.0.0.3"},
    ]
    assert known(ledger) == {
        "web-a": ("in_service", "10.0.0.1", None),
        "web-b": ("planned", "10.0.0.2", "10.0.0.2"),
        "web-c": ("in_service", "10.0.0.9", "10.0.0.3"),
        "web-x": ("in_service", "10.0.0.2", None),
    }
    assert known(ledger, "db") == {"db-a": ("planned", "10.0.0.1", "10.0.0.1")}
    ledger.reconciled(ident, forget=["web-a", "web-x"])
    assert ledger.leased_addresses() == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "who had no lease frees none"


def test_two_adopted_vms_with_one_address(ledger, ident):
    found = ledger.reconciled(ident, adopt=[vm("web-a", "10.0.0.1"), vm("web-b", "10.0.0.1")])
    assert found["adopted"] == ["web-a", "web-b"]
    assert [(row["name"], row["member"]) for row in found["conflicts"]] == [("web-b", "web-a")]


def test_a_vm_without_an_address_gets_a_row_only(ledger, ident):
    assert ledger.reconciled(ident, adopt=[{"name": "web-a", "state": "launching"}])["conflicts"] == []
    assert known(ledger) == {"web-a": ("launching", "", None)}


def test_what_is_gone_is_forgotten_before_its_address_is_adopted(ledger, ident):
    """Invariant 3: a lease ends when its VM is confirmed gone, and not before."""
    ledger.lease_addresses(ident, "web", ["web-a", "web-b"], ["10.0.0.1", "10.0.0.2"])
    found = ledger.reconciled(ident, adopt=[vm("web-c", "10.0.0.1")], forget=["web-a", "nobody"])
    assert found == {"adopted": ["web-c"], "forgotten": ["web-a"], "conflicts": []}
    assert known(ledger) == {
        "web-b": ("planned", "10.0.0.2", "10.0.0.2"),
        "web-c": ("in_service", "10.0.0.1", "10.0.0.1"),
    }


def test_a_lease_without_a_row_is_forgotten_too(ledger, ident):
    ledger.lease_addresses(ident, "web", ["web-a"], ["10.0.0.1"])
    with ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM members")
    assert ledger.reconciled(ident, forget=["web-a"])["forgotten"] == ["web-a"]
    assert ledger.leased_addresses() == set()


def test_health_is_set_and_cleared_as_given(ledger, ident, clock):
    ledger.update_members("web", [{"name": "web-a", "state": "in_service"}])
    ledger.reconciled(ident, states=[{"name": "web-a", "unhealthy_since": 5.0, "missing_since": 6.0, "note": "sick"}])
    row = ledger.members("web")[0]
    assert (row["unhealthy_since"], row["missing_since"], row["note"], row["state"]) == (5.0, 6.0, "sick", "in_service")
    ledger.reconciled(ident, states=[{"name": "web-a", "unhealthy_since": None, "state": "failed"}, {"name": "nobody"}])
    row = ledger.members("web")[0]
    assert (row["unhealthy_since"], row["missing_since"], row["note"], row["state"]) == (None, 6.0, "sick", "failed")
    ledger.reconciled(ident, states=[{"name": "web-a", "state": "quarantined", "note": None}])
    row = ledger.members("web")[0]
    assert (row["quarantined_at"], row["note"]) == (clock.now, "")
    assert [row["name"] for row in ledger.members("web")] == ["web-a"]


def test_nothing_is_written_without_the_lock(ledger, ident, clock):
    """Invariant 6: what was seen may be old by now."""
    clock.tick(100)
    ledger.start_action("web", "out", owner="other")
    for owner in ("me", None):
        with pytest.raises(ConflictError, match="no longer runs"):
            ledger.reconciled(ident, owner=owner, adopt=[vm("web-a", "10.0.0.1")])
    assert (known(ledger), ledger.group_state("web")["reconciled"]) == ({}, None)


def test_an_error_in_the_middle_stores_nothing(ledger, ident):
    ledger.lease_addresses(ident, "web", ["web-a"], ["10.0.0.1"])
    with pytest.raises(ValueError, match="state of member web-b"):
        ledger.reconciled(ident, forget=["web-a"], adopt=[vm("web-b", "10.0.0.2", state="odd")])
    assert known(ledger) == {"web-a": ("planned", "10.0.0.1", "10.0.0.1")}
