# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D5: what is wanted, merged into a GSLB service."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._avi._merge import (
    check_wish,
    label,
    merge,
    monitors,
    normal,
    only_switches,
    serving,
    shown,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError, NotFoundError

OPTIONS = (
    *("domain_names", "enabled", "description", "pool_algorithm", "ttl", "min_members", "controller_health_status"),
    *("health_monitors", "down_response", "groups", "members", "extra"),
)
MEMBER = dict.fromkeys(("ip", "fqdn", "cluster_uuid", "vs_uuid", "group", "state", "ratio", "preference_order"))
GROUP = dict.fromkeys(("name", "state", "priority", "manual_resume"))


def wish(**given: Any) -> dict[str, Any]:
    """The module's options, as ansible-core hands them over."""
    full = {"name": "shop", **dict.fromkeys(OPTIONS), **given}
    full["members"] = None if full["members"] is None else [{**MEMBER, **one} for one in full["members"]]
    full["groups"] = None if full["groups"] is None else [{**GROUP, **one} for one in full["groups"]]
    return full


def service(**more: Any) -> dict[str, Any]:
    """A service as a controller shows it; the member of b is a virtual service."""
    return {
        "uuid": "gslbservice-1",
        "_last_modified": "7",
        "name": "shop",
        "enabled": True,
        "domain_names": ["www.shop.example"],
        "health_monitor_refs": ["https://x/api/healthmonitor/healthmonitor-1#health"],
        "groups": [
            {
                "name": "a",
                "priority": 20,
                "enabled": True,
                "unknown": [1],
                "members": [
                    {"ip": {"addr": "192.0.2.10", "type": "V4"}, "enabled": True, "location": {"source": "X"}},
                    {"fqdn": "a.shop.example", "enabled": False},
                ],
            },
            {
                "name": "b",
                "priority": 10,
                "members": [
                    {"cluster_uuid": "c-1", "vs_uuid": "v-1", "ip": {"addr": "198.51.100.10", "type": "V4"}, "ratio": 2}
                ],
            },
        ],
        **more,
    }


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ({"ip": "192.0.2.10"}, (0, 0)),
        ({"fqdn": "A.shop.example."}, (0, 1)),
        ({"cluster_uuid": "c-1", "vs_uuid": "v-1"}, (1, 0)),
        ({"ip": "198.51.100.10"}, (1, 0)),
        ({"ip": "198.51.100.10", "group": "b"}, (1, 0)),
    ],
)
def test_a_member_is_found_by_what_it_is_known_by(member: dict[str, Any], where: tuple[int, int]) -> None:
    before = service()
    new = merge(before, wish(members=[{**member, "ratio": 7}]))
    expected = copy.deepcopy(before)
    expected["groups"][where[0]]["members"][where[1]]["ratio"] = 7
    assert new == expected
    assert before == service(), "nothing is changed in place"


def test_switches_are_told_from_configuration() -> None:
    before = service()
    off = merge(before, wish(members=[{"ip": "192.0.2.10", "state": "disabled"}]))
    assert serving(before) == ["192.0.2.10", "198.51.100.10"]
    assert serving(off) == ["198.51.100.10"]
    assert only_switches(before, off)
    assert only_switches(before, merge(before, wish(groups=[{"name": "a", "state": "disabled"}])))
    assert not only_switches(before, merge(before, wish(groups=[{"name": "a", "state": "disabled", "priority": 1}])))
    assert not only_switches(before, merge(before, wish(members=[{"ip": "192.0.2.11", "group": "a"}])))
    assert not only_switches(before, merge(before, wish(enabled=False)))
    assert not only_switches(None, off)
    assert serving(merge(before, wish(enabled=False))) == []


def test_new_ones_are_enabled_and_removed_ones_are_gone() -> None:
    new = merge(
        service(),
        wish(
            groups=[{"name": "c", "priority": 5}, {"name": "b", "state": "absent"}],
            members=[
                {"ip": "2001:db8::1", "group": "c"},
                {"fqdn": "a.shop.example", "state": "absent"},
                {"ip": "192.0.2.77", "state": "absent"},
            ],
        ),
    )
    assert [group["name"] for group in new["groups"]] == ["a", "c"]
    assert [label(one) for one in new["groups"][0]["members"]] == ["192.0.2.10"]
    assert new["groups"][1]["members"] == [{"enabled": True, "ip": {"addr": "2001:db8::1", "type": "V6"}}]


def test_monitors_are_compared_by_name_and_in_any_order() -> None:
    refs = ["https://x/api/healthmonitor/1#one", "https://x/api/healthmonitor/2#two"]
    before = service(health_monitor_refs=refs)
    assert merge(before, wish(health_monitors=["two", "one"])) == before
    new = merge(before, wish(health_monitors=["three"]))
    assert monitors(new) == {"three"}
    assert monitors(merge(before, wish(health_monitors=[]))) == set()


def test_an_answer_keeps_what_the_server_added() -> None:
    fallback = {"type": "fallback_ip", "fallback_ip": "192.0.2.99"}
    there = {
        "type": "GSLB_SERVICE_DOWN_RESPONSE_FALLBACK_IP",
        "fallback_ip": {"addr": "192.0.2.99", "type": "V4"},
        "x": 1,
    }
    before = service(down_response=there)
    assert merge(before, wish(down_response=fallback)) == before
    plain = merge(before, wish(down_response={"type": "empty", "fallback_ip": None}))
    assert plain["down_response"] == {"type": "GSLB_SERVICE_DOWN_RESPONSE_EMPTY", "x": 1}


def test_other_fields_are_overlaid() -> None:
    before = service(markers=[1], site={"x": 1, "y": 2})
    new = merge(before, wish(extra={"markers": [2], "site": {"y": None, "z": 3}}))
    assert (new["markers"], new["site"]) == ([2], {"x": 1, "z": 3})


def test_lists_that_were_left_out_are_empty() -> None:
    bare = {"name": "shop", "uuid": "u"}
    assert normal(bare) == {**bare, "groups": []}
    assert normal({**bare, "groups": [{"name": "a"}]})["groups"] == [{"name": "a", "members": []}]
    assert shown(None) == {}
    assert "uuid" not in shown(bare)


@pytest.mark.parametrize(
    ("there", "given", "words"),
    [
        (None, {}, "There is no GSLB service shop"),
        (service(), {"members": [{"ip": "192.0.2.9", "state": "disabled"}]}, "is no member"),
        (service(), {"members": [{"ip": "192.0.2.9", "group": "z"}]}, "has no group z"),
    ],
)
def test_what_is_not_there_is_named(there: dict[str, Any] | None, given: dict[str, Any], words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        merge(there, wish(**given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"groups": [{"name": "a"}, {"name": "a"}]}, "'a' stands there more than once"),
        ({"members": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}]}, "192.0.2.1 stands there more than once"),
        ({"members": [{"state": "enabled"}]}, "nothing says which one is meant"),
        ({"members": [{"vs_uuid": "virtualservice-1"}]}, "belong together"),
        ({"down_response": {"type": "fallback_ip"}}, "fallback_ip has to be given"),
        ({"down_response": {"type": "empty", "fallback_ip": "192.0.2.1"}}, "and with no other"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_before_anything_is_asked(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        check_wish(wish(**given))


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"ip": "192.0.2.77"}, "which group it belongs to. Give group; there are a, b"),
        ({"ip": "192.0.2.10", "group": "b", "state": "enabled"}, "is in the group a of shop, not in b"),
    ],
)
def test_a_member_has_one_group(member: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        merge(service(), wish(members=[member]))
    assert words in str(caught.value)


STATES = st.sampled_from([None, "enabled", "disabled", "absent"])
KNOWN = st.sampled_from([{"ip": "192.0.2.10"}, {"fqdn": "a.shop.example"}, {"cluster_uuid": "c-1", "vs_uuid": "v-1"}])
NEW = {"ip": "192.0.2.50", "group": "a", "state": "enabled"}


@given(
    members=st.lists(st.builds(lambda one, state: {**one, "state": state}, KNOWN, STATES), max_size=3),
    state=STATES,
    new=st.booleans(),
)
def test_a_merge_of_its_own_result_changes_nothing(members: list[Any], state: str | None, new: bool) -> None:
    """What idempotence rests on; a member that the wish takes away cannot be disabled again, so it stands alone."""
    seen: dict[str, Any] = {label(one): one for one in members}
    members = [
        one for one in seen.values() if not (state == "absent" and one["state"] in (None, "disabled", "enabled"))
    ]
    given_now = wish(
        members=[*members, *([NEW] if new and state != "absent" else [])], groups=[{"name": "a", "state": state}]
    )
    once = merge(service(), given_now)
    assert merge(once, given_now) == once
