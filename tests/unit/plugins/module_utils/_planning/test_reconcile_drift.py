# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile, case by case: what has drifted in the pool, in Prometheus, among the addresses."""

from __future__ import annotations

import typing as t

import pytest
from unit.plugins.module_utils._planning.reconcile_scene import NOW, OPEN, Row, Scene, at, kinds

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import names_unseen


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
