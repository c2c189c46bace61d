# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated Avi's rules: stores of two sites merge, a follower's writes, who answers."""

from __future__ import annotations

from typing import Any

import pytest

from lab.avi import schema
from lab.avi.answers import Answers
from lab.avi.errors import ApiError
from lab.avi.store import Store, cluster_uuid

GSLB = {"uuid": "gslb-1", "leader_cluster_uuid": cluster_uuid("a"), "view_id": 0}


def body(name: str = "shop", **more: Any) -> dict[str, Any]:
    groups = [
        {"name": "a", "priority": 20, "members": [{"ip": {"addr": "192.0.2.10"}}]},
        {"name": "b", "priority": 10, "members": [{"ip": {"addr": "198.51.100.10"}}]},
    ]
    return {"name": name, "domain_names": ["www.shop.example"], "groups": groups, **more}


def whole(**more: Any) -> dict[str, Any]:
    return {**schema.service(body(**more), ["shop.example"]), "uuid": "gslbservice-1"}


def test_stores_merge_to_the_same_whatever_the_order() -> None:
    one, two = Store(None, GSLB), Store(None, GSLB)
    made = one.add("gslbservice", whole())
    two.merge(one.as_dict())
    two.put("gslbservice", {**two.find("gslbservice", made["uuid"]), "ttl": 9})
    kept = one.add("gslbservice", {**whole(), "name": "other"})
    one.merge(two.as_dict())
    two.merge(one.as_dict())
    assert one.as_dict() == two.as_dict()
    assert one.find("gslbservice", made["uuid"])["ttl"] == 9
    two.remove("gslbservice", made["uuid"])
    one.merge(two.as_dict())
    assert [found["uuid"] for found in one.all("gslbservice")] == [kept["uuid"]]
    assert not two.merge(one.as_dict())


def test_a_leader_that_was_away_learns_that_it_was_replaced() -> None:
    old, new = Store(None, GSLB), Store(None, GSLB)
    new.set_gslb({**new.gslb, "leader_cluster_uuid": cluster_uuid("b"), "view_id": 1})
    old.set_gslb({**old.gslb, "description": "later, but of the view before"})
    old.add("gslbservice", whole())
    old.merge(new.as_dict())
    new.merge(old.as_dict())
    assert old.as_dict() == new.as_dict()
    assert old.all("gslbservice") == []
    assert old.gslb["leader_cluster_uuid"] == cluster_uuid("b")


def test_objects_are_on_disk(tmp_path: Any) -> None:
    made = Store(tmp_path / "store.json", GSLB).add("gslbservice", whole())
    assert Store(tmp_path / "store.json", GSLB).find("gslbservice", made["uuid"]) == made


def test_a_follower_may_switch_and_nothing_else() -> None:
    old = whole()
    switched = whole()
    switched["groups"][0]["enabled"] = switched["groups"][1]["members"][0]["enabled"] = False
    assert schema.only_switched(old, switched)
    assert not schema.only_switched(old, {**switched, "ttl": 1})
    switched["groups"][0]["priority"] = 1
    assert not schema.only_switched(old, switched)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"groups": [{"name": "a"}, {"name": "a"}]}, "unique"),
        ({"groups": [{"name": "a", "members": [{}]}]}, "needs an IP"),
        ({"groups": [{"name": "a", "members": [{"ip": {"addr": "x"}}]}]}, "Invalid IP address x"),
        ({"groups": [{"name": "a", "priority": 101}]}, "out of range"),
        ({"enabled": "yes"}, "boolean"),
        ({"down_response": {"type": "NO"}}, "Invalid value for type"),
    ],
)
def test_bad_bodies_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        schema.service(body(**given), ["shop.example"])


def test_the_highest_group_in_service_answers() -> None:
    down: set[str] = set()
    answers = Answers(lambda _service, member: member["ip"]["addr"] not in down)
    service = whole(ttl=3)
    assert answers.lookup([service], "www.shop.example") == (["192.0.2.10"], 3)
    assert answers.lookup([service], "other.shop.example") is None
    down.add("192.0.2.10")
    assert answers.lookup([service], "www.shop.example") == (["198.51.100.10"], 3)
    assert answers.lookup([whole(min_members=2)], "www.shop.example") == ([], 30)
    both = whole(pool_algorithm=schema.GEO, num_dns_ip=0)
    down.clear()
    assert sorted(answers.lookup([both], "www.shop.example")[0]) == ["192.0.2.10", "198.51.100.10"]
    service["enabled"] = False
    assert answers.lookup([service], "www.shop.example") is None
