# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3: a drill shares neither network nor address with production, and its members cannot be mistaken for others."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan, parse_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_drill import (
    drill_differences,
    drill_members,
    drill_refusals,
)

EXAMPLE = Path(__file__).resolve().parents[5] / "inventories" / "example"
DRILL = {
    "network": "isolated",
    "pool": {"start": "10.9.0.10", "end": "10.9.0.19"},
    "cidr": "10.9.0.0/24",
    "members": 2,
    "vip": "10.9.0.5",
    "port": 80,
}
SPEC = {
    "name": "web",
    "network": {"name": "VLAN 1", "start": "10.8.0.10", "end": "10.8.0.19", "gateway": "10.8.0.1"},
    "load_balancer": {"vip": "10.8.0.5:80"},
    "base_members": [{"name": "web-1", "address": "10.8.0.2"}],
}


def refused(drill: dict[str, t.Any] | None = None, **spec: t.Any) -> list[str]:
    plan = {"name": "shop", "drill": {**DRILL, **(drill or {})}}
    return drill_refusals(plan, {"a": [SPEC], "b": [{**SPEC, **spec}]})


def test_a_drill_apart_from_production_is_not_refused() -> None:
    assert refused() == []


@pytest.mark.parametrize(
    ("drill", "spec", "words"),
    [
        ({}, {"network": {**SPEC["network"], "name": "isolated"}}, "its own production network"),
        ({}, {"network": {**SPEC["network"], "start": "10.9.0.19", "end": "10.9.0.30"}}, "overlaps its addresses"),
        (
            {},
            {"network": {**SPEC["network"], "start": "10.9.0.1", "end": "10.9.0.6"}},
            "drill.vip 10.9.0.5 lies in its",
        ),
        ({}, {"load_balancer": {"vip": "10.9.0.5:443"}}, "10.9.0.5 is its virtual server"),
        ({}, {"base_members": [{"name": "web-1", "address": "10.9.0.12"}]}, "10.9.0.12 is its member web-1"),
        ({}, {"network": {**SPEC["network"], "gateway": "10.9.0.11"}}, "10.9.0.11 is its gateway"),
    ],
)
def test_what_it_would_share_with_production_is_named(
    drill: dict[str, t.Any], spec: dict[str, t.Any], words: str
) -> None:
    (said,) = refused(drill, **spec)
    assert said.startswith("Group web at site b: ")
    assert words in said


def test_a_drill_whose_addresses_do_not_suffice_is_refused() -> None:
    assert refused({"vip": "10.9.0.10"}) == [
        "drill.vip 10.9.0.10 lies in drill.pool; take one outside 10.9.0.10 to 10.9.0.19."
    ]
    assert "want 11" in refused({"members": 11})[0]
    assert "has no drill" in drill_refusals({"name": "shop", "drill": None}, {})[0]


def test_members_have_names_and_addresses_of_their_own() -> None:
    """Names are host names; the run is in each, so that two drills never have the same."""
    long = "a-group-with-thirty-characters"
    rows = drill_members({"drill": DRILL}, ["web", long], "drill-20261122T195302Z_1")
    assert [row["group"] for row in rows] == ["web", "web", long, long]
    assert [row["address"] for row in rows] == ["10.9.0.10", "10.9.0.11", "10.9.0.12", "10.9.0.13"]
    assert rows[0]["name"] == "drill-web-drill-20261122t195302z-1-1"
    assert len({row["name"] for row in rows}) == 4
    assert all(len(row["name"]) <= 63 for row in rows)


ROW = {"slot": "onprem_b", "pid": 7, "name": "b", "state": "streaming", "sync_state": "sync", "lag_bytes": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"lag_bytes": 4096}, ""),
        ({"lag_bytes": 1 << 30}, "1073741824 bytes behind"),
        ({"pid": 8}, "pid was 7, is 8"),
        ({"state": None, "pid": None}, "state was streaming, is None"),
        ({"sync_state": "async"}, "sync_state was sync, is async"),
        ({"slot": "onprem_c"}, "name was b, is None"),
    ],
)
def test_a_stream_that_was_cut_or_piles_up_is_told(change: dict[str, t.Any], words: str) -> None:
    gslb = {"a": {"reached": True, "on": ["a"]}}
    before = {"streams": {"docs": [ROW]}, "gslb": gslb}
    said = drill_differences(before, {"streams": {"docs": [{**ROW, **change}]}, "gslb": gslb})
    assert (words in said[0]) if words else said == []


def test_a_gslb_that_sends_traffic_elsewhere_is_told() -> None:
    before = {"streams": {}, "gslb": {"a": {"reached": True, "on": ["a"]}, "b": {"reached": True, "on": ["a"]}}}
    after = {"streams": {}, "gslb": {"a": {"reached": False, "on": []}, "b": {"reached": True, "on": ["a"]}}}
    assert drill_differences(before, after) == [
        "GSLB at a: reached was True, is False.",
        "GSLB at a: on was ['a'], is [].",
    ]


def test_the_example_plan_is_valid_and_its_drill_apart_from_the_example_group() -> None:
    """D1, D3: what people copy holds."""
    plan = parse_plan(yaml.safe_load((EXAMPLE / "recovery_plans" / "shop.yml").read_text())).as_dict()
    spec = parse_spec(yaml.safe_load((EXAMPLE / "scaling_groups" / "shop.yml").read_text())).as_dict()
    assert drill_refusals(plan, {"north": [spec], "south": [spec]}) == []
