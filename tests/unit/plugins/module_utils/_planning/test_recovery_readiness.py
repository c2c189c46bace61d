# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3: readiness is a score with reasons, and what nobody looked at does not count as well."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.kit.recovery import OF_PATTERN, plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Readiness, readiness

NOW = 1_800_000_000.0
FACTS: dict[str, t.Any] = {
    "backends": {"vsphere": {"ok": True}, "f5": {"ok": True}},
    "epoch": {"stores": 3, "reached": 3},
    "services": {
        "database": {"following": True, "lag_s": 0.4, "copied_at": NOW - 30},
        "models": {"copied_at": NOW - 600},
        "settings": {"copied_at": NOW - 600},
        "web": {"members": 2, "room": 4, "template": True},
    },
    "traffic": {"ok": True, "sites_on": ["a"]},
    "resolvers": [{"address": "192.0.2.53", "ok": True}],
    "check": {"b": {"ok": True}},
    "outage": {"series": 1},
    "drill": {"ended_at": NOW - 86400, "result": "done", "rto_s": 120.0},
    "unfinished": [],
}


def seen(pattern: str = "warm_standby", **changes: t.Any) -> Readiness:
    facts = copy.deepcopy(FACTS)
    if pattern == "active_active":
        facts["traffic"]["sites_on"] = ["a", "b"]
    for path, value in changes.items():
        place, keys = facts, path.split("__")
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    return readiness(plan_of(pattern), "a", "b", facts, NOW)


def bad(result: Readiness) -> dict[str, str]:
    return {check.name: check.reason for check in result.checks if not check.ok}


@pytest.mark.parametrize("pattern", OF_PATTERN)
def test_all_well_is_100(pattern: str) -> None:
    result = seen(pattern)
    assert bad(result) == {}
    assert (result.score, result.ready) == (100, True)


@pytest.mark.parametrize(
    ("path", "value", "name", "reason"),
    [
        ("backends__f5", {"ok": False, "said": "refused"}, "backend:f5", "does not answer (refused)"),
        ("epoch", {"stores": 3, "reached": 1}, "epoch", "1 of 3 stores reached"),
        ("services__database", {"following": False, "lag_s": 1}, "data:database", "does not follow"),
        ("services__models", {"copied_at": None}, "models:models", "there is no copy"),
        ("services__web__members", 0, "group:web", "0 members in service at site b, 1 are to stand by"),
        ("services__web__room", 1, "group:web:room", "addresses for 1 members, 2 are to serve"),
        ("services__web__template", False, "group:web:template", "the template is missing"),
        ("traffic__ok", False, "traffic", "www.shop.example cannot be steered"),
        ("check__b", {"ok": False}, "check", "site b itself does not answer"),
        ("unfinished", [{"run": "20260310120000"}], "unfinished", "to be finished first: 20260310120000"),
    ],
)
def test_what_must_be_well_makes_it_not_ready(path: str, value: t.Any, name: str, reason: str) -> None:
    result = seen(**{path: value})
    assert bad(result) == {name: reason}
    assert not result.ready
    assert 0 < result.score < 100


@pytest.mark.parametrize(
    ("path", "value", "name", "reason"),
    [
        ("services__database__lag_s", 61, "data:database:lag", "61 s behind, the target is 60 s"),
        ("services__settings__copied_at", NOW - 90000, "settings:settings:age", "the newest copy is 90000 s old"),
        ("traffic__sites_on", ["b"], "traffic:sites", "on: b; the pattern wants a"),
        ("resolvers", [{"address": "x", "ok": True}, {"address": "y", "ok": False}], "resolvers", "no answer from y"),
        ("outage", {"series": []}, "outage", "no series, so RTO could not be measured"),
        ("drill", {"ended_at": NOW - 100 * 86400, "result": "done", "rto_s": 5}, "drill", "100 days ago"),
        ("drill__rto_s", 400.0, "drill:rto", "the last one took 400 s, the target is 300 s"),
        ("drill", None, "drill", "there was none"),
    ],
)
def test_what_is_only_weak_costs_points(path: str, value: t.Any, name: str, reason: str) -> None:
    result = seen(**{path: value})
    assert list(bad(result)) == [name]
    assert reason in bad(result)[name]
    assert result.ready
    assert result.score < 100


def test_a_drill_or_a_backup_that_was_cut_off_holds_up_nothing() -> None:
    assert seen(unfinished=[{"run": "1", "kind": "drill"}, {"run": "2", "kind": "backup"}]).ready
    assert not seen(unfinished=[{"run": "3", "kind": "failback"}]).ready


def test_numbers_that_a_template_made_texts_are_numbers() -> None:
    assert (
        bad(seen(services__database__lag_s="0.5", services__web__room="4", epoch={"stores": "3", "reached": "2"})) == {}
    )
    with pytest.raises(InvalidSpecError, match="lag_s: value is 'late'"):
        seen(services__database__lag_s="late")


def test_old_dumps_are_held_against_the_rpo() -> None:
    result = seen("pilot_light", services__database__copied_at=NOW - 61)
    assert bad(result) == {"data:database:age": "the newest copy is 61 s old, 60 s are allowed"}


def test_steps_that_are_planned_to_take_longer_than_the_rto() -> None:
    plan = plan_of(steps={"group": {"expected": 500}})
    result = readiness(plan, "a", "b", FACTS, NOW)
    assert "the target is 300 s" in bad(result)["rto"]


def test_nothing_seen_is_not_ready_and_each_reason_says_so() -> None:
    result = readiness(plan_of(), "a", "b", {}, NOW)
    assert not result.ready
    reasons = bad(result)
    assert reasons.pop("drill") == "there was none"
    assert set(reasons.values()) == {"not known"}


def _paths(facts: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    for key in facts if isinstance(facts, dict) else ():
        yield (*path, key)
        yield from _paths(facts[key], (*path, key))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(sorted(_paths(FACTS))), min_size=1, max_size=4), st.sampled_from(sorted(OF_PATTERN)))
def test_knowing_less_never_scores_more(gone: list[tuple[t.Any, ...]], pattern: str) -> None:
    facts, plan = copy.deepcopy(FACTS), plan_of(pattern)
    whole = readiness(plan, "a", "b", facts, NOW)
    for path in gone:
        place: t.Any = facts
        for key in path[:-1]:
            place = place.get(key, {})
        place.pop(path[-1], None)
    less = readiness(plan, "a", "b", facts, NOW)
    assert less.score <= whole.score
    assert whole.ready or not less.ready
    assert less.ready == all(check.ok for check in less.checks if check.must)
