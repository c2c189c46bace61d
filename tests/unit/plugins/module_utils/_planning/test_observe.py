# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backends show, merged (A5)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import GroupSpec, Member, Observed, observe
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._observe import bare_address, seconds

NOW = 1_800_000_000.0
BASE = {"address": "10.255.48.11", "port": 8080, "availability": "available", "in_service": True}


def vm(name: str, address: str = "", **more: t.Any) -> dict[str, t.Any]:
    row = {"name": name, "moid": f"moid-{name}", "address": address, "power_state": "poweredOn"}
    # `template` is the name of what it was cloned from: every member has one.
    row |= {"template": "web-template", "is_template": False}
    return {**row, "marks": {"group": "web", "action": "web-1"}, **more}


def pooled(address: str, in_service: bool = True, **more: t.Any) -> dict[str, t.Any]:
    availability = "available" if in_service else "offline"
    return {"address": address, "port": 8080, "availability": availability, "in_service": in_service, **more}


def look(spec: GroupSpec, **sources: t.Any) -> Observed:
    empty: dict[str, t.Any] = {"vms": [], "pool_members": [], "targets": [], "ledger_members": []}
    return observe(spec, **{**empty, **sources})


def by_name(observed: Observed) -> dict[str, Member]:
    return {member.name: member for member in observed.members}


def test_one_member_from_four_sources(make_spec: t.Any) -> None:
    """A VM that carries the mark, in the pool, scraped, and in the ledger is one member."""
    observed = look(
        make_spec(),
        vms=[vm("web-1", "10.255.48.220", created="2027-01-15T08:00:00Z")],
        pool_members=[BASE, pooled("10.255.48.220")],
        targets=[{"address": "10.255.48.220:9100", "health": "up", "labels": {"job": "web"}}],
        ledger_members=[{"name": "web-1", "group_name": "web", "state": "in_service", "address": "10.255.48.220"}],
    )
    assert (observed.owned, observed.registered, observed.in_service, observed.unread) == (2, 1, 2, ())
    assert by_name(observed)["web-1"] == Member(
        "web-1", "10.255.48.220", "moid-web-1", NOW, healthy=True, in_service=True, registered=True, state="in_service"
    )


def test_owned_counts_every_power_state_and_every_row_of_the_ledger_once(make_spec: t.Any) -> None:
    """A5, invariants 1 and 9: base members, marked VMs in any power state, and rows that vCenter does not show.

    A row in service counts too: a listing that is late would otherwise make room, and the group would grow past max.
    """
    observed = look(
        make_spec(),
        vms=[vm("web-1"), vm("web-2", power_state="poweredOff"), vm("web-3", power_state="suspended")],
        ledger_members=[
            {"name": "web-1", "state": "launching"},
            {"name": "web-4", "state": "launching", "created_at": NOW},
            {"name": "web-5", "state": "planned"},
            {"name": "web-6", "state": "removed"},
            {"name": "web-7", "state": "in_service"},
            {"name": "web-8", "group_name": "shop", "state": "planned"},
        ],
    )
    members = by_name(observed)
    assert sorted(members) == ["web-1", "web-2", "web-3", "web-4", "web-5", "web-7", "web-base-1"]
    assert observed.owned == 7
    assert [name for name in sorted(members) if members[name].missing] == ["web-4", "web-5", "web-7"]
    assert [members[name].healthy for name in ("web-1", "web-2", "web-3", "web-4")] == [None, False, False, None]
    assert (members["web-1"].in_flight, members["web-4"].in_flight) == (False, True)


def test_only_the_group_s_own_mark_counts(make_spec: t.Any) -> None:
    """A10: neither the VMs of another group, nor unmarked ones with our prefix, nor the template."""
    strangers = [
        vm("web-1", marks={"group": "shop"}),
        vm("web-2", marks={}),
        vm("web-3", marks=None),
        vm("web-template", is_template=True),
    ]
    assert by_name(look(make_spec(), vms=strangers)).keys() == {"web-base-1"}


def test_two_vms_of_one_name_are_two(make_spec: t.Any) -> None:
    """In two folders; counting them once could exceed max."""
    assert look(make_spec(), vms=[vm("web-1"), vm("web-1", moid="other")]).owned == 3


@pytest.mark.parametrize("state", ["planned", "launching", "in_service", "draining", "failed", "quarantined"])
def test_a_row_without_a_vm_is_missing_and_serves_nobody(make_spec: t.Any, state: str) -> None:
    """Invariants 1, 2, 9: it is owned, and though the pool shows it in service it does not hold up the minimum."""
    rows = [{"name": "web-1", "state": state, "address": "10.255.48.220", "moid": "vm-1", "missing_since": NOW}]
    observed = look(make_spec(), pool_members=[BASE, pooled("10.255.48.220")], ledger_members=rows)
    member = by_name(observed)["web-1"]
    assert (observed.owned, observed.in_service) == (2, 1)
    assert (member.missing, member.in_service, member.missing_since) == (True, False, NOW)
    assert not by_name(look(make_spec(), vms=None, ledger_members=rows))["web-1"].missing, "nobody looked"


@pytest.mark.parametrize("mark", ["true", "web-17", "2027-01-15T08:00:00Z"])
def test_quarantined_by_row_or_by_mark(make_spec: t.Any, mark: str) -> None:
    """Either one is enough: the mark is set before the ledger knows, and stays when the ledger is lost."""
    marked = vm("web-1", "10.255.48.220", marks={"group": "web", "quarantined": mark})
    rows = [{"name": "web-2", "state": "quarantined", "quarantined_at": NOW - 5, "note": "no address"}]
    members = by_name(
        look(
            make_spec(),
            vms=[marked, vm("web-2"), vm("web-3", marks={"group": "web", "quarantined": "false"})],
            pool_members=[BASE, pooled("10.255.48.220")],
            ledger_members=rows,
        )
    )
    assert [members[f"web-{number}"].quarantined for number in (1, 2, 3)] == [True, True, False]
    assert (members["web-1"].in_service, members["web-1"].healthy) == (False, False)
    assert members["web-1"].quarantined_at == (NOW if mark.startswith("2027") else None)
    assert (members["web-2"].quarantined_at, members["web-2"].note) == (NOW - 5, "no address")


@pytest.mark.parametrize("row", [vm("web-base-1"), vm("renamed", "10.255.48.11")])
def test_a_base_member_stays_one_whatever_marks_it_carries(make_spec: t.Any, row: dict[str, t.Any]) -> None:
    """Invariant 10: found by name or by address, a mark does not make it ours."""
    observed = look(make_spec(), vms=[row], ledger_members=[{"name": "web-base-1", "state": "failed"}])
    (member,) = observed.members
    assert (member.name, member.base, member.moid) == ("web-base-1", True, row["moid"])


def test_protected_by_mark(make_spec: t.Any) -> None:
    rows = [
        vm("web-1", marks={"group": "web", "protected": "True"}),
        vm("web-2", marks={"group": "web", "protected": ""}),
    ]
    members = by_name(look(make_spec(), vms=rows))
    assert (members["web-1"].protected, members["web-2"].protected) == (True, False)


def test_in_service_counts_members_of_the_group_only(make_spec: t.Any) -> None:
    """Invariant 2: an address of nobody, another port, a VM that is off do not hold up the minimum."""
    observed = look(
        make_spec(),
        vms=[vm("web-1", "10.255.48.220"), vm("web-2", "10.255.48.221", power_state="poweredOff")],
        pool_members=[
            BASE,
            pooled("10.255.48.99"),
            pooled("10.255.48.220", port=9999),
            pooled("10.255.48.221"),
        ],
    )
    assert observed.in_service == 1
    assert not by_name(observed)["web-2"].in_service


def test_the_monitor_s_verdict_is_the_health(make_spec: t.Any) -> None:
    observed = look(
        make_spec(),
        vms=[vm("web-1", "10.255.48.220"), vm("web-2", "10.255.48.221"), vm("web-3", "10.255.48.222")],
        pool_members=[
            pooled("10.255.48.220", in_service=False),
            pooled("10.255.48.221", in_service=False, availability="unknown"),
        ],
        ledger_members=[{"name": "web-3", "state": "failed"}],
    )
    members = by_name(observed)
    assert [members[name].healthy for name in ("web-1", "web-2", "web-3")] == [False, None, False]


def test_registered_counts_each_address_of_the_job_whatever_its_health(make_spec: t.Any) -> None:
    """A5: targets registered in the group's job, also those of nobody."""
    rows = [
        {"address": "10.255.48.11:9100", "health": "down", "labels": {"job": "web"}},
        {"address": "10.255.48.11:9200", "labels": {"job": "web"}},
        {"address": "http://10.255.48.99:9100/metrics"},
        {"address": "10.255.48.98:9100", "labels": {"job": "shop"}},
    ]
    observed = look(make_spec(), targets=rows)
    assert observed.registered == 2
    assert by_name(observed)["web-base-1"].registered


@pytest.mark.parametrize(
    ("source", "registered", "in_service", "owned"),
    [("targets", None, 0, 1), ("pool_members", 0, None, 1), ("vms", 0, 0, None), ("ledger_members", 0, 0, None)],
)
def test_what_could_not_be_read_is_unknown_and_not_zero(
    make_spec: t.Any, source: str, registered: int | None, in_service: int | None, owned: int | None
) -> None:
    """Invariant 9."""
    observed = look(make_spec(), **{source: None})
    assert (observed.registered, observed.in_service, observed.owned) == (registered, in_service, owned)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"), ("10.0.0.1:80", "10.0.0.1"), ("10.0.0.1%2", "10.0.0.1"),
        ("10.0.0.1%2:80", "10.0.0.1"),
        ("https://10.0.0.1:9100/metrics", "10.0.0.1"), ("web.example.org:9100", "web.example.org"), (None, ""),
    ],
)  # fmt: skip
def test_bare_address(value: str | None, expected: str) -> None:
    assert bare_address(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0), (True, None), ("soon", None), (None, None), ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00", 60.0), ("1970-01-01T01:01:00+01:00", 60.0), ("1970-01-01T00:01:00.500+00:00", 60.5),
    ],
)  # fmt: skip
def test_seconds(value: t.Any, expected: float | None) -> None:
    assert seconds(value) == expected
