# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile, case by case: VMs that are gone, unknown or half made."""

from __future__ import annotations

import typing as t

import pytest
from unit.plugins.module_utils._planning.reconcile_scene import NOW, OPEN, Row, Scene, at, kinds, names

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Breaker


def test_a_group_in_order_has_no_finding(scene: Scene) -> None:
    scene.serving(1, 2)
    found = scene.look()
    assert (found.findings, found.repairs, found.states, found.owned, found.room) == ((), False, (), 3, 1)
    assert found.leaked == {"vms": 0, "members": 0, "targets": 0, "leases": 0}


# ---- a VM that is gone


def test_a_vm_deleted_by_hand_is_forgotten_and_replaced(scene: Scene) -> None:
    """Its row, lease, pool member and target go, and one new VM comes; confirmed by a second look."""
    scene.serving(1)
    scene.vms.clear()
    found = scene.look()
    assert kinds(found) == [
        ("lease_without_vm", "web-1", "forget"),
        ("member_without_vm", "web-1", "remove"),
        ("target_without_vm", "web-1", "remove"),
        ("vm_deleted", "web-1", "replace"),
    ]
    assert found.forget == ("web-1",)
    assert found.pool_remove == ({"address": at(1), "port": 8080},)
    assert found.target_remove == ({"address": f"{at(1)}:9100"},)
    assert [(launch.name, launch.slot, launch.new) for launch in found.launches] == [("web-20270115080000", 1, True)]
    assert found.leaked == {"vms": 0, "members": 1, "targets": 1, "leases": 1}
    assert (found.plan.verdict, found.plan.count, found.plan.size_before, found.plan.size_after) == ("act", 1, 1, 2)


def test_one_listing_proves_nothing(scene: Scene) -> None:
    """Invariants 3, 9: nobody looked again, or somebody did and found it."""
    scene.serving(1)
    again = scene.vms[:]
    scene.vms.clear()
    found = scene.look(vms_again=None)
    assert kinds(found) == [("missing_unconfirmed", "web-1", "none")]
    assert found.states == ({"name": "web-1", "state": "in_service", "unhealthy_since": None, "missing_since": NOW},)
    assert not found.repairs
    scene.rows[0]["missing_since"] = NOW - 60
    found = scene.look(vms_again=again)
    assert kinds(found) == [("missing_unconfirmed", "web-1", "none")]
    assert found.states[0]["missing_since"] is None
    assert not found.repairs
    scene.vms = again
    assert scene.look().states[0]["missing_since"] is None, "and so when it is back in the listing"


@pytest.mark.parametrize("state", ["planned", "launching", "failed"])
def test_a_launch_that_never_came_is_given_up_after_the_clone_could_end(scene: Scene, state: str) -> None:
    """A clone task of a dead play may still run in vCenter; then its address belongs to it."""
    scene.serving(1)
    scene.row(2, state, age=600)
    found = scene.look()
    assert kinds(found) == [("missing_unconfirmed", "web-2", "none")]
    assert (found.repairs, found.states) == (False, ())
    scene.rows[-1]["updated_at"] = NOW - 601
    found = scene.look()
    assert kinds(found) == [("lease_without_vm", "web-2", "forget")]
    assert not found.launches, "it never served, so nobody replaces it"


def test_a_lease_of_nobody_goes(scene: Scene) -> None:
    scene.serving(1)
    scene.row(2, age=9000)
    del scene.rows[-1]
    assert kinds(scene.look()) == [("lease_without_vm", "web-2", "forget")]
    assert kinds(scene.look(vms_again=None)) == [("missing_unconfirmed", "web-2", "none")]
    scene.leases[-1]["leased_at"] = NOW - 10
    assert kinds(scene.look()) == [("missing_unconfirmed", "web-2", "none")]


@pytest.mark.parametrize("state", ["draining", "quarantined"])
def test_who_was_leaving_is_not_replaced(scene: Scene, state: str) -> None:
    scene.serving(1)
    scene.row(2, state)
    found = scene.look()
    assert ("vm_deleted", "web-2", "forget") in kinds(found)
    assert not found.launches


def test_a_renamed_vm_keeps_its_address_and_is_no_loss(scene: Scene) -> None:
    scene.serving(1)
    scene.vms[0]["name"] = "renamed"
    found = scene.look()
    assert found.forget == ("web-1",)
    assert [(row["name"], row["address"], row["state"]) for row in found.adopt] == [("renamed", at(1), "in_service")]
    assert (found.pool_remove, found.target_remove, found.launches, found.retire) == ((), (), (), ())


def test_losses_are_replaced_within_what_is_allowed(scene_of: t.Any) -> None:
    """Room, breaker, suspended processes (invariants 1, 8)."""
    scene = scene_of(size={"min": 1, "max": 3})
    scene.serving(1, 2)
    scene.vms.clear()
    assert len(scene.look().launches) == 2
    assert len(scene.look(breaker=Breaker("open", (), NOW - 9, NOW - 1)).launches) == 1, "the probe"
    for held in ({"suspended": ["launch"]}, {"suspended": ["replace"]}, {"breaker": OPEN}):
        found = scene.look(**held)
        assert not found.launches
        assert [row.repair for row in found.findings if row.kind == "vm_deleted"] == ["forget", "forget"]
        assert found.forget == ("web-1", "web-2"), "what is gone is gone all the same"
    scene.row(3, "launching", action="busy")
    scene.actions["busy"] = "running"
    assert len(scene.look().launches) == 1, "the other slot belongs to an action that runs"


# ---- a VM that nobody knows, or half of one


@pytest.mark.parametrize(
    ("pooled", "marks", "state"),
    [(True, {}, "in_service"), (False, {}, "launching"), (False, {"quarantined": "act-1"}, "quarantined")],
)
def test_an_unknown_vm_is_adopted_by_its_marks(scene: Scene, pooled: bool, marks: Row, state: str) -> None:
    """Design 5: the ledger is a cache; with it deleted, the marks say whose a VM is."""
    scene.vm(1, **marks)
    if pooled:
        scene.member(1)
        scene.target(1)
    found = scene.look()
    expected = {
        "name": "web-1",
        "address": at(1),
        "moid": "vm-1",
        "state": state,
        "action": "act-1",
        "created_at": None,
    }
    assert found.adopt == (expected,)
    assert found.leaked["vms"] == 1
    assert names(found.launches) == (["web-1"] if state == "launching" else [])


def test_a_half_made_vm_is_finished_under_its_own_name(scene: Scene) -> None:
    """Invariant 7: the same name, address and marks; counted by the breaker, and not kept when it fails."""
    scene.row(1, "launching")
    vm = scene.vm(1, slot="1")
    (launch,) = scene.look().launches
    assert (launch.name, launch.address, launch.marks, launch.keep, launch.new) == (
        "web-1",
        at(1),
        vm["marks"],
        False,
        False,
    )


@pytest.mark.parametrize(
    ("state", "action"), [("failed", "lost"), ("launching", "failed"), ("planned", "succeeded"), ("removed", "")]
)
def test_what_an_action_wanted_to_undo_is_undone(scene: Scene, state: str, action: str) -> None:
    scene.row(1, state)
    scene.vm(1)
    scene.actions["act-1"] = action
    found = scene.look()
    assert kinds(found) == [("vm_half_made", "web-1", "retire")]
    assert names(found.retire) == ["web-1"]


@pytest.mark.parametrize("held", [{"breaker": OPEN}, {"suspended": ["launch"]}], ids=["breaker", "suspended"])
def test_a_half_made_vm_that_cannot_go_on_is_taken_back(scene: Scene, held: Row) -> None:
    scene.row(1, "launching")
    scene.vm(1)
    assert names(scene.look(**held).retire) == ["web-1"]
    stuck = scene.look(suspended=["launch", "terminate"])
    assert kinds(stuck) == [("vm_half_made", "web-1", "none")]
    assert not stuck.repairs


def test_above_the_maximum_the_newest_half_made_leave(scene: Scene) -> None:
    """Invariant 1, after somebody lowered size.max or a listing was late."""
    scene.serving(1, 2)
    for number in (3, 4):
        scene.row(number, "launching", created_at=NOW - 5000 + number)
        scene.vm(number)["created"] = NOW - 5000 + number
    found = scene.look()
    assert (names(found.retire), names(found.launches)) == (["web-4"], ["web-3"])


def test_a_launch_whose_last_entry_is_missing_is_only_entered(scene: Scene) -> None:
    """Killed after the target and before the end: it serves, so nothing is launched and nobody leaves."""
    scene.serving(1)
    scene.rows[0]["state"] = "launching"
    scene.actions["act-1"] = "failed"
    found = scene.look()
    assert kinds(found) == [("vm_half_made", "web-1", "restore")]
    assert found.states[0]["state"] == "in_service"
    assert not found.repairs


def test_what_a_running_action_works_on_is_left_alone(scene: Scene) -> None:
    scene.serving(1)
    scene.row(2, "launching")
    scene.vm(2)
    scene.row(3, "planned")
    scene.actions.update({"act-2": "running", "act-3": "running"})
    assert scene.look().findings == ()


def test_a_site_that_does_not_hold_the_epoch_compares_and_changes_no_backend(make_spec: t.Any) -> None:
    """D6: what it would launch, retire and remove is said; what only its ledger has to learn is learnt."""
    scene = Scene(make_spec(size__min=3))
    scene.serving(1)
    scene.row(2)  # its VM is gone, its pool member and its target are not
    scene.member(2)
    scene.target(2)
    scene.row(3, "launching")
    scene.vm(3)
    scene.vm(4)
    free = scene.look()
    assert free.launches
    assert free.pool_remove
    assert free.target_remove
    found = scene.look(not_holder="epoch 2 of shop is held by b, not by a")
    repairs = (found.launches, found.retire, found.replaced, found.pool_remove, found.target_remove)
    assert repairs == ((),) * 5
    assert (found.forget, [row["name"] for row in found.adopt]) == (free.forget, [row["name"] for row in free.adopt])
    assert all(row.repair in ("none", "adopt", "forget", "restore") for row in found.findings)
    said = {row.kind: row.message for row in found.findings}
    assert said["member_without_vm"].endswith("has no VM; not removed, as epoch 2 of shop is held by b, not by a")
    assert said["below_min"].endswith("nothing is launched: epoch 2 of shop is held by b, not by a")
    assert said["vm_half_made"].endswith("held by b, not by a")
