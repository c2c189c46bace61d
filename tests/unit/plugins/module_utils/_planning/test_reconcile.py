# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile, case by case: what is found, what is repaired, and what is only said."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Breaker,
    Controls,
    Reconciliation,
    names_unseen,
    reconcile,
)

NOW = 1_800_000_000.0
Row = dict[str, t.Any]


def at(number: int) -> str:
    return f"10.255.48.{220 + number}"


class Scene:
    """A group of min 1 and max 4 with one base member that serves; members are added by number."""

    def __init__(self, spec: t.Any) -> None:
        self.spec = spec
        self.vms: list[Row] = []
        self.pool: list[Row] = [
            {"address": base.address, "port": 8080, "availability": "available", "in_service": True}
            for base in spec.base_members
        ]
        self.targets: list[Row] = []
        self.rows: list[Row] = []
        self.leases: list[Row] = []
        self.actions: dict[str, str] = {}

    def row(
        self, number: int, state: str = "in_service", *, age: float = 9000, lease: bool = True, **more: t.Any
    ) -> Row:
        name = f"web-{number}"
        row = {"name": name, "address": at(number), "state": state, "action": f"act-{number}"}
        row |= {
            "created_at": NOW - age,
            "updated_at": NOW - age,
            "unhealthy_since": None,
            "missing_since": None,
            **more,
        }
        self.rows.append(row)
        if lease:
            self.leases.append(
                {"member": name, "address": at(number), "action": f"act-{number}", "leased_at": NOW - age}
            )
        return row

    def vm(self, number: int, *, on: bool = True, **marks: str) -> Row:
        marks = {"group": "web", "action": f"act-{number}", "address": at(number), **marks}
        row = {"name": f"web-{number}", "moid": f"vm-{number}", "address": at(number) if on else "", "marks": marks}
        self.vms.append({**row, "power_state": "poweredOn" if on else "poweredOff"})
        return self.vms[-1]

    def member(self, number: int, how: str = "available", **more: t.Any) -> Row:
        description = f"web-{number}, onprem.autoscale group web, action act-{number}"
        row = {"address": at(number), "port": 8080, "description": description, "availability": how}
        self.pool.append({**row, "session": "monitor-enabled", "in_service": how == "available", **more})
        return self.pool[-1]

    def target(self, number: int, **labels: str) -> None:
        found = {"job": "web", "group": "web", "member": f"web-{number}", **labels}
        self.targets.append({"address": f"{at(number)}:9100", "labels": found})

    def serving(self, *numbers: int, **marks: str) -> None:
        for number in numbers:
            self.row(number)
            self.vm(number, **marks)
            self.member(number)
            self.target(number)

    def look(
        self, *, suspended: t.Collection[str] = (), breaker: Breaker | None = None, **sources: t.Any
    ) -> Reconciliation:
        ledger = {"members": self.rows, "leases": self.leases, "actions": self.actions}
        shown: Row = {"vms": self.vms, "pool_members": self.pool, "targets": self.targets, "ledger": ledger}
        controls = Controls(frozenset(suspended), breaker or Breaker())
        return reconcile(self.spec, **{**shown, "vms_again": [], **sources}, controls=controls, now=NOW)


@pytest.fixture
def scene(make_spec: t.Any) -> Scene:
    return Scene(make_spec())


@pytest.fixture
def scene_of(make_spec: t.Any) -> t.Callable[..., Scene]:
    return lambda **changes: Scene(make_spec(**changes))


def kinds(found: Reconciliation) -> list[tuple[str, str, str]]:
    return [(row.kind, row.name, row.repair) for row in found.findings]


def names(rows: t.Iterable[t.Any]) -> list[str]:
    return [row["name"] if isinstance(row, dict) else row.name for row in rows]


OPEN = Breaker("open", ({"at": NOW, "member": "x", "reason": "y"},), NOW - 5, NOW + 60)


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


# ---- drift


def test_a_lost_pool_member_or_target_is_put_back(scene: Scene) -> None:
    """It is kept when that fails, and the breaker has no say: it is no new VM."""
    scene.serving(1, 2, 3)
    del scene.pool[1]
    scene.pool[1].update(session="user-disabled", in_service=False)
    del scene.targets[2]
    found = scene.look(breaker=OPEN)
    assert [(row.kind, row.name) for row in found.findings if row.repair == "finish"] == [
        ("vm_without_target", "web-3"), ("vm_without_member", "web-1"), ("vm_without_member", "web-2"),
    ]  # fmt: skip
    assert all(launch.keep and launch.address for launch in found.launches)
    assert {row["name"]: row["unhealthy_since"] for row in found.states} == {"web-1": NOW, "web-2": NOW}
    assert not scene.look(suspended=["launch"]).launches


def test_members_and_targets_of_nobody(scene: Scene) -> None:
    """Ours go; those of others are the site's, and are only reported (or not even that, in Prometheus)."""
    scene.member(1)
    scene.target(2)
    scene.member(3, description="put here by hand")
    scene.member(4, description="x, onprem.autoscale group web-two, action y")
    scene.target(5, group="web-two")
    scene.pool.append({"address": scene.spec.base_members[0].address, "port": 9999, "in_service": True})
    found = scene.look()
    assert kinds(found) == [
        ("member_without_vm", "web-1", "remove"), ("foreign_member", at(3), "none"), ("foreign_member", at(4), "none"),
        ("target_without_vm", "web-2", "remove"),
    ]  # fmt: skip
    assert (found.pool_remove, found.target_remove) == (
        ({"address": at(1), "port": 8080},), ({"address": f"{at(2)}:9100"},),
    )  # fmt: skip
    assert kinds(scene.look(vms_again=None))[0] == ("missing_unconfirmed", "web-1", "none")


def test_base_members_are_only_reported(scene: Scene) -> None:
    """Invariant 10."""
    scene.pool[0].update(availability="offline", in_service=False)
    assert kinds(scene.look()) == [("base_member_unhealthy", "web-base-1", "none")]
    scene.pool.clear()
    found = scene.look()
    assert kinds(found) == [("base_member_unhealthy", "web-base-1", "none")]
    assert not found.repairs


@pytest.mark.parametrize("in_service", [True, False])
def test_a_drain_that_was_cut_off(scene: Scene, in_service: bool) -> None:
    """Ended, or taken back where it never took effect."""
    scene.serving(1)
    scene.rows[0]["state"] = "draining"
    scene.pool[1]["in_service"] = in_service
    scene.pool[1]["session"] = "monitor-enabled" if in_service else "user-disabled"
    found = scene.look()
    assert kinds(found) == [("vm_left_over", "web-1", "restore" if in_service else "retire")]
    assert [row["state"] for row in found.states] == (["in_service"] if in_service else [])


def test_a_drained_member_is_put_back_when_the_minimum_needs_it(scene_of: t.Any) -> None:
    """Invariant 2: the minimum is looked at before anybody leaves."""
    scene = scene_of(size__min=2)
    scene.serving(1)
    scene.rows[0]["state"] = "draining"
    scene.pool[1].update(session="user-disabled", in_service=False)
    found = scene.look()
    assert kinds(found) == [("vm_left_over", "web-1", "finish")]
    assert found.launches[0].keep
    assert [(row["state"], row["unhealthy_since"]) for row in found.states] == [("draining", NOW)]


def test_a_drained_member_that_cannot_be_put_back_leaves_after_its_grace(scene_of: t.Any) -> None:
    """Else a group that is full of them stays below its minimum for ever (invariant 7)."""
    scene = scene_of(size__min=2)
    scene.serving(1)
    scene.rows[0].update(state="draining", unhealthy_since=NOW - 299)
    scene.pool[1].update(session="user-disabled", in_service=False)
    assert kinds(scene.look()) == [("vm_left_over", "web-1", "finish")]
    scene.rows[0]["unhealthy_since"] = NOW - 300
    found = scene.look()
    assert ("vm_left_over", "web-1", "retire") in kinds(found)
    assert not any(launch.name == "web-1" for launch in found.launches)


@pytest.mark.parametrize("known", [True, False], ids=["cut off", "ledger lost"])
def test_who_is_enabled_in_the_pool_has_passed_its_gate_and_is_not_taken_back(scene: Scene, known: bool) -> None:
    """A fleet that is sick for a moment, met with a ledger that says little, is not undone at once (invariant 2)."""
    scene.serving(1, 2)
    for row in scene.pool[-2:]:
        row.update(availability="offline", in_service=False)
    for row in scene.rows:
        row["state"] = "launching"
    if not known:
        scene.rows.clear()
        scene.leases.clear()
    found = scene.look()
    assert (found.launches, found.retire) == ((), ())
    states = {row["name"]: (row["state"], row["unhealthy_since"]) for row in found.states}
    assert states == {"web-1": ("in_service", NOW), "web-2": ("in_service", NOW)}
    assert known or [row["state"] for row in found.adopt] == ["in_service", "in_service"]


def test_addresses_that_two_have_are_for_people(scene: Scene) -> None:
    """Invariant 3: whoever is taken away could be the one that serves."""
    scene.serving(1)
    scene.vm(2)["marks"]["address"] = at(1)
    found = scene.look()
    assert kinds(found) == [("address_conflict", "web-1", "none"), ("address_conflict", "web-2", "none")]
    scene.vms[1]["marks"]["address"] = at(5)
    scene.leases[0]["address"] = at(5)
    assert {row.kind for row in scene.look().findings} == {"address_conflict"}
    scene.vms[1].update(name="web-1", marks=scene.vms[0]["marks"])
    assert "two VMs of the group are called web-1" in scene.look().findings[0].message


def test_a_lost_lease_is_taken_again(scene: Scene) -> None:
    """Else the next launch could get an address that a VM has."""
    scene.serving(1)
    scene.leases.clear()
    found = scene.look()
    assert [(row["name"], row["address"], row["state"]) for row in found.adopt] == [("web-1", at(1), "in_service")]


def test_names_to_look_for_again(scene: Scene) -> None:
    scene.serving(1)
    scene.row(2, lease=False)
    scene.row(3)
    del scene.rows[-1]
    scene.member(4)
    scene.target(5)
    ledger = {"members": scene.rows, "leases": scene.leases}
    sources: Row = {"ledger": ledger, "pool_members": scene.pool, "targets": scene.targets}
    assert names_unseen(scene.spec, vms=scene.vms, **sources) == ["web-2", "web-3", "web-4", "web-5"]
    assert names_unseen(scene.spec, vms=None, **sources) == []
    assert names_unseen(scene.spec, vms=[], ledger=None) == []
