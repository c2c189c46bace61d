# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile: who is sick is replaced, quarantine ends, the minimum is restored; and what cannot be read stops it."""

from __future__ import annotations

import typing as t

import pytest
from unit.plugins.module_utils._planning.reconcile_scene import NOW, Row, Scene, names

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Breaker, Reconciliation


def member(number: int, state: str = "in_service", how: str = "up", sick: float | None = None, **more: t.Any) -> Row:
    """One member in all sources; *how* it is: up, down, off, away (not in the pool), alone (in no pool, no target)."""
    return {"number": number, "state": state, "how": how, "sick": sick, **more}


def look(
    spec: t.Any, *members: Row, suspended: t.Collection[str] = (), breaker: Breaker | None = None, **sources: t.Any
) -> Reconciliation:
    scene = Scene(spec)
    for row in members:
        number, how = row["number"], row["how"]
        since = None if row["sick"] is None else NOW - row["sick"]
        kept = NOW - row["kept"] if "kept" in row else None
        scene.row(number, row["state"], unhealthy_since=since, quarantined_at=kept)
        scene.vm(number, on=how != "off", **row.get("marks", {}))
        if how not in ("away", "alone"):
            scene.member(number, "available" if how == "up" else "offline")
        if how != "alone":
            scene.target(number)
    return scene.look(suspended=suspended, breaker=breaker, **sources)


def of_kind(found: Reconciliation, kind: str) -> list[t.Any]:
    return [row for row in found.findings if row.kind == kind]


@pytest.mark.parametrize(("how", "kind"), [("down", "vm_unhealthy"), ("off", "vm_powered_off")])
def test_a_sick_member_is_noted_and_given_its_grace(make_spec: t.Any, how: str, kind: str) -> None:
    found = look(make_spec(), member(1, how=how), member(2))
    assert [(row.kind, row.repair) for row in found.findings] == [(kind, "none")]
    assert "longer than 300 s" in found.findings[0].message
    assert [(row["name"], row["unhealthy_since"]) for row in found.states] == [("web-1", NOW)]
    assert not found.repairs
    assert look(make_spec(), member(1, how=how, sick=299), member(2)).states == (), "the first sight stays"


def test_a_member_that_is_well_again_is_no_longer_counted_as_sick(make_spec: t.Any) -> None:
    found = look(make_spec(), member(1, sick=5000))
    assert found.findings == ()
    assert found.states[0]["unhealthy_since"] is None


@pytest.mark.parametrize("how", ["down", "off", "away"])
def test_after_its_grace_it_is_replaced_launch_first(make_spec: t.Any, how: str) -> None:
    """Launch before terminate where max allows; no cooldown is asked for anywhere."""
    found = look(make_spec(), member(1, how=how, sick=300))
    assert names(found.replaced) == ["web-1"]
    assert found.retire == ()
    assert [launch.new for launch in found.launches] == [True]
    assert (found.findings[0].repair, found.findings[0].done_by) == ("replace", "replaced")


def test_at_the_maximum_it_leaves_first(make_spec: t.Any) -> None:
    """Invariant 1; it is not in service, so the minimum does not notice."""
    found = look(make_spec(size__max=2, size__min=2), member(1, how="down", sick=900))
    assert (names(found.retire), found.replaced, len(found.launches)) == (["web-1"], (), 1)
    assert (found.owned, found.room) == (2, 0), "the play may launch only as many as it really deleted"
    found = look(make_spec(size__max=2), member(1, how="down", sick=900), member(2))
    assert (names(found.retire), len(found.launches)) == (["web-1"], 0), "above the maximum it only leaves"


def test_one_at_a_time_and_the_longest_sick_first(make_spec: t.Any) -> None:
    rows = (member(1, how="down", sick=500), member(2, how="off", sick=900), member(3, how="away", sick=700))
    found = look(make_spec(size__max=9), *rows)
    assert names(found.replaced) == ["web-2"]
    assert "web-2 is replaced first" in of_kind(found, "vm_unhealthy")[0].message
    put_back = of_kind(found, "vm_without_member")[0]
    assert (put_back.name, put_back.repair) == ("web-3", "finish"), "the others are put back where they can be"


@pytest.mark.parametrize(
    "held",
    [{"suspended": [process]} for process in ("launch", "terminate", "replace")]
    + [{"breaker": Breaker("open", (), NOW, NOW + 9)}],
)
def test_nobody_is_replaced_while_that_is_held(make_spec: t.Any, held: Row) -> None:
    found = look(make_spec(), member(1, how="down", sick=900), **held)
    assert not found.repairs
    assert found.findings[0].repair == "none"
    assert "suspended" in found.findings[0].message or "breaker is open" in found.findings[0].message


def test_a_disabled_group_is_only_looked_at(make_spec: t.Any) -> None:
    found = look(
        make_spec(enabled=False, size__min=3), member(1, how="down", sick=900), member(2, "launching", "alone")
    )
    assert (found.launches, found.retire, found.replaced) == ((), (), ())
    assert all("disabled" in row.message for row in found.findings)


def test_the_protected_stay(make_spec: t.Any) -> None:
    """Invariant 10: sick, half made or left over."""
    kept = {"marks": {"protected": "true"}}
    found = look(make_spec(), member(1, how="down", sick=900, **kept), member(2, "failed", "alone", **kept))
    assert not found.repairs
    assert [row.kind for row in found.findings] == ["protected", "protected"]
    found = look(make_spec(), member(1, "draining", "away", **kept))
    assert (names(found.launches), found.retire) == (["web-1"], ())


def test_the_minimum_is_restored(make_spec: t.Any) -> None:
    """A new group as well as one whose members are all in doubt."""
    found = look(make_spec(size__min=3), member(1))
    assert len(found.launches) == 1
    assert [(row.kind, row.repair) for row in found.findings] == [("below_min", "launch")]
    sick = look(make_spec(size__min=3), member(1, how="down"), member(2, how="down"))
    assert not sick.launches, "who is in its grace may come back"
    held = look(make_spec(size__min=3), member(1), suspended=["launch"])
    assert [(row.kind, row.repair) for row in held.findings] == [("below_min", "none")]
    assert look(make_spec(size__min=3), member(1), suspended=["replace"]).launches


def test_a_late_listing_launches_nobody(make_spec: t.Any) -> None:
    """Invariant 9: the minimum looks broken and is not."""
    rows = [member(1), member(2)]
    for again in (None, [{"name": "web-1"}, {"name": "web-2"}]):
        found = look(make_spec(size__min=3), *rows, vms=[], vms_again=again)
        assert not found.repairs


def test_above_the_maximum_is_said(make_spec: t.Any) -> None:
    found = look(make_spec(size__max=2), member(1), member(2))
    assert [(row.kind, row.repair) for row in found.findings] == [("above_max", "none")]


# ---- quarantine


def test_quarantine_ends_after_its_time(make_spec: t.Any) -> None:
    """Invariant 8: its address is reclaimed when it is destroyed."""
    kept = member(1, "quarantined", "alone", kept=86399)
    assert look(make_spec(), kept).findings == ()
    found = look(make_spec(), {**kept, "kept": 86400})
    assert (names(found.retire), of_kind(found, "quarantine_over")[0].repair) == (["web-1"], "retire")
    assert found.leaked["vms"] == 0


def test_no_more_are_kept_than_may_be(make_spec: t.Any) -> None:
    rows = [member(number, "quarantined", "alone", kept=100 + number) for number in (1, 2, 3)]
    assert names(look(make_spec(), *rows).retire) == ["web-3", "web-2"]
    assert names(look(make_spec(quarantine__keep=0), rows[0]).retire) == ["web-1"]
    assert look(make_spec(quarantine__keep=0), rows[0], suspended=["terminate"]).retire == ()


def test_who_stands_in_quarantine_gets_no_traffic_and_counts_for_nothing_but_room(make_spec: t.Any) -> None:
    found = look(make_spec(size__min=2), member(1, "launching", "up", marks={"quarantined": "act-1"}))
    assert [(row.what, row.repair) for row in found.findings] == [
        ("vm", "restore"), ("member", "remove"), ("target", "remove"), ("group", "launch"),
    ]  # fmt: skip
    assert found.states[0]["state"] == "quarantined"
    assert (len(found.pool_remove), len(found.target_remove), len(found.launches)) == (1, 1, 1)


def test_diagnosis_never_costs_capacity(make_spec: t.Any) -> None:
    """A launch that lacks room takes that of the oldest in quarantine."""
    spec = make_spec(size__min=2, size__max=2)
    found = look(spec, member(1, "quarantined", "alone", kept=10))
    assert (names(found.retire), len(found.launches), found.room) == (["web-1"], 1, 0)
    held = look(spec, member(1, "quarantined", "alone", kept=10), suspended=["terminate"])
    assert not held.repairs
    assert "owns 2 of at most 2" in of_kind(held, "below_min")[0].message


def test_the_plan_says_how_many_failures_may_be_kept(make_spec: t.Any) -> None:
    spec = make_spec(size__min=4, size__max=6, quarantine__keep=2)
    assert look(spec, member(1)).plan.quarantine == 2
    assert look(spec, member(1, "quarantined", "alone", kept=10)).plan.quarantine == 1
    put_back = look(make_spec(quarantine__keep=2), member(1, how="away"))
    assert (put_back.plan.count, put_back.plan.quarantine) == (1, 0), "who served is never put into quarantine"


# ---- what could not be read


@pytest.mark.parametrize("source", ["vms", "ledger", "pool_members", "targets"])
def test_a_source_that_could_not_be_read_is_said_and_leads_to_nothing(make_spec: t.Any, source: str) -> None:
    """Invariant 9."""
    members = (member(1, how="away", sick=900), member(2, "failed", "alone"), member(3, "draining", "away"))
    found = look(make_spec(size__min=3), *members, **{source: None})
    assert [row.name for row in of_kind(found, "unread")] == [source]
    if source in ("vms", "ledger"):
        assert found == Reconciliation(found.findings)
    elif source == "pool_members":
        assert not found.repairs
    else:
        assert not found.target_remove
        assert found.retire
