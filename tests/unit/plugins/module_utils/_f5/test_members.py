# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure plan: what is sent so that members become what is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._members import (
    Goal,
    Wanted,
    changes_for,
    described,
    expected,
    parse_members,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._names import Key
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._pools import Member, Node, Pool

KEY = Key("10.0.0.1", 80)


def member(**fields: Any) -> Member:
    return Member("10.0.0.1:80", "Common", *KEY, **{"session": "monitor-enabled", "state": "up", **fields})


def pool(*members: Member) -> Pool:
    return Pool("web-pool", "Common", "/Common/http", "round-robin", "none", {one.key: one for one in members})


def want(name: str = "web-1", **attributes: Any) -> Wanted:
    return Wanted(KEY, name, attributes)


@pytest.mark.parametrize(
    ("session", "state", "standing"),
    [
        ("monitor-enabled", "up", "enabled"),
        ("user-enabled", "unchecked", "enabled"),
        ("monitor-enabled", "down", "enabled"),
        ("user-disabled", "up", "disabled"),
        ("user-disabled", "down", "disabled"),
        ("user-disabled", "user-down", "forced_offline"),
        ("user-enabled", "user-down", "down"),
    ],
)
def test_session_and_state_are_two_fields(session: str, state: str, standing: str) -> None:
    assert member(session=session, state=state).standing == standing


@pytest.mark.parametrize("session", ["monitor-enabled", "user-disabled"])
@pytest.mark.parametrize("state", ["up", "down", "user-down"])
@pytest.mark.parametrize(
    ("standing", "body"),
    [
        ("enabled", {"session": "user-enabled", "state": "user-up"}),
        ("disabled", {"session": "user-disabled", "state": "user-up"}),
        ("forced_offline", {"session": "user-disabled", "state": "user-down"}),
    ],
)
def test_both_fields_are_always_written(session: str, state: str, standing: str, body: dict[str, str]) -> None:
    """The complaint to beat: forced_offline that lands as disabled, since only one of the fields was sent."""
    now = member(session=session, state=state)
    changes = changes_for(pool(now), [Goal(want(), standing=standing)], {})
    if now.standing == standing:
        assert changes == []
    else:
        assert [(change.method, change.body) for change in changes] == [("PATCH", body)]
        assert changes[0].path == "/mgmt/tm/ltm/pool/~Common~web-pool/members/~Common~10.0.0.1:80"


@pytest.mark.parametrize("standing", [None, "enabled", "disabled", "forced_offline"])
def test_a_member_is_born_disabled_whatever_is_wanted(standing: str | None) -> None:
    """Invariant 5: a BIG-IP sends traffic to an enabled member whose monitor has not answered yet."""
    (change,) = changes_for(pool(), [Goal(want(ratio=3), standing=standing)], {})
    assert (change.method, change.path) == ("POST", "/mgmt/tm/ltm/pool/~Common~web-pool/members")
    assert change.body == {
        "name": "10.0.0.1:80",
        "partition": "Common",
        "address": "10.0.0.1",
        "session": "user-disabled",
        "state": "user-up",
        "description": "web-1",
        "ratio": 3,
    }


def test_one_that_vanished_is_not_brought_back_without_its_gate() -> None:
    """Invariant 5."""
    assert changes_for(pool(), [Goal(want(), standing="enabled", create=False)], {}) == []


def test_a_node_with_a_name_of_its_own_is_used() -> None:
    (change,) = changes_for(pool(), [Goal(want())], {"10.0.0.1": Node("web1", "Common", "10.0.0.1")})
    assert change.body["name"] == "web1:80"
    assert change.body["address"] == "10.0.0.1"


def test_the_same_member_under_the_name_of_its_node_is_found() -> None:
    named = Member("web1:80", "Common", *KEY, session="user-disabled", state="up")
    (change,) = changes_for(pool(named), [Goal(want(), present=False)], {})
    assert (change.method, change.path) == ("DELETE", "/mgmt/tm/ltm/pool/~Common~web-pool/members/~Common~web1:80")


def test_present_leaves_session_and_state_of_existing_members_alone() -> None:
    for now in (member(), member(session="user-disabled", state="user-down")):
        assert changes_for(pool(now), [Goal(want())], {}) == []
        (change,) = changes_for(pool(now), [Goal(want(connection_limit=9))], {})
        assert change.body == {"connectionLimit": 9}


def test_attributes_that_are_not_given_or_already_so_are_not_sent() -> None:
    now = member(ratio=2, priority_group=5, description="made by hand")
    (change,) = changes_for(pool(now), [Goal(want(ratio=2, priority_group=6))], {})
    assert change.body == {"priorityGroup": 6}


def test_other_members_are_never_touched() -> None:
    """The complaint to beat: replace-all that empties the pool first."""
    other = Member("10.0.0.2:80", "Common", "10.0.0.2", 80, session="monitor-enabled", state="up")
    for goal in (Goal(want()), Goal(want(), present=False), Goal(want(), standing="disabled")):
        assert all(change.key == KEY for change in changes_for(pool(other, member()), [goal], {}))


def test_what_check_mode_shows_is_what_the_device_shows_afterwards() -> None:
    goal = Goal(want(ratio=3), standing="enabled")
    after = member(ratio=3, description="web-1")
    assert expected(None, goal) == described(after)
    assert expected(member(session="user-disabled", description="web-1"), goal) == described(after)
    assert expected(member(), Goal(want(), present=False)) is None


@pytest.mark.parametrize(
    ("enabled_state", "monitored", "availability", "standing", "in_service"),
    [
        ("enabled", True, "available", "enabled", True),
        ("enabled", True, "unknown", "enabled", False),  # takes traffic, but nobody knows whether it should
        ("enabled", True, "offline", "enabled", False),
        ("enabled", False, "unknown", "enabled", True),
        ("enabled", False, "offline", "enabled", False),
        ("disabled", True, "available", "disabled", False),
        ("disabled-by-parent", True, "available", "enabled", False),
    ],
)
def test_in_service(enabled_state: str, monitored: bool, availability: str, standing: str, in_service: bool) -> None:
    """Invariant 2 counts members in service; one that is not known to be healthy does not count."""
    session = "user-disabled" if standing == "disabled" else "monitor-enabled"
    one = member(session=session, enabled_state=enabled_state, monitored=monitored, availability=availability)
    assert one.in_service is in_service


def test_rows_become_members() -> None:
    rows = [
        {"address": "FD00::1", "port": 80, "name": None, "ratio": None},
        {"address": "10.0.0.1", "port": 80, "name": "web-1", "ratio": 2},
    ]
    first, second = parse_members(rows)
    assert (first.key, first.name, first.label, first.attributes) == (("fd00::1", 80), "fd00::1.80", "fd00::1.80", {})
    assert (second.label, second.attributes) == ("web-1 (10.0.0.1:80)", {"ratio": 2})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"address": "10.0.0.1", "port": 0}], "port 0 of 10.0.0.1"),
        ([{"address": "10.0.0.1", "port": 65536}], "between 1 and 65535"),
        ([{"address": "10.0.0", "port": 80}], "'10.0.0' is not an IP address"),
        ([{"address": "fd00::1", "port": 80}, {"address": "fd00:0::1", "port": 80}], "more than once"),
    ],
)
def test_bad_rows_are_refused_with_the_field_and_the_value(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        parse_members(rows)
