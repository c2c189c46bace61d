# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D1: a recovery plan is data; one that cannot hold is refused by file, line, field, value and what is allowed."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.kit.recovery import OF_PATTERN, declared, plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._yaml_lines import load_with_lines
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import RECOVERY_SCHEMA, parse_plan

ROOT = pathlib.Path(__file__).resolve().parents[5]


def refusal(data: t.Any) -> str:
    with pytest.raises(InvalidSpecError) as caught:
        parse_plan(data)
    return str(caught.value)


def example() -> str:
    """The plan of the decision page."""
    page = (ROOT / "docs" / "decisions" / "0010-second-site.md").read_text(encoding="utf-8")
    return re.search(r"```yaml\n(name: shop.*?)```", page, re.DOTALL)[1]  # type: ignore[index]


def test_every_field_of_the_example_is_taken() -> None:
    given_plan = yaml.safe_load(example())
    full = parse_plan(given_plan).as_dict()

    def contained(part: t.Any, whole: t.Any, where: str) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                contained(value, whole[key], f"{where}.{key}")
        elif isinstance(part, list):
            assert len(part) == len(whole), where
            for index, value in enumerate(part):
                contained(value, whole[index], f"{where}[{index}]")
        else:
            assert part == whole, where

    contained(given_plan, full, "")


@pytest.mark.parametrize("pattern", OF_PATTERN)
def test_each_pattern_parses_and_its_full_form_comes_back_as_it_is(pattern: str) -> None:
    plan = plan_of(pattern)
    assert parse_plan(plan.as_dict()) == plan
    assert parse_plan(plan.as_dict()).as_dict() == plan.as_dict()
    assert [service.name for service in plan.in_order()] == ["database", "models", "settings", "web"]
    assert plan.epoch.scope == "shop"
    assert plan.drill is not None
    assert plan.drill.gateway == "10.9.0.1"


def test_errors_come_at_once_each_with_its_line() -> None:
    text = example().replace("rto: 300", "rto: soon").replace("ttl:", "tll:").replace("[database, s", "[databse, s")
    data, lines = load_with_lines(text)
    with pytest.raises(InvalidSpecError) as caught:
        parse_plan(data, origin="plans/shop.yml", lines=lines)
    head, *rows = str(caught.value).splitlines()
    assert head == "The recovery plan is not valid, 3 errors:"
    numbers = {word: 1 + text[: text.index(word)].count("\n") for word in ("soon", "tll", "databse")}
    assert rows == [
        f"plans/shop.yml:{numbers['soon']}: targets.rto: value is 'soon'; allowed: a whole number, 1 to 604800",
        f"plans/shop.yml:{numbers['tll']}: traffic.tll: value is 5 (unknown key, did you mean 'ttl'?); allowed: one"
        " of the keys type, name, f5, avi, resolvers, ttl",
        f"plans/shop.yml:{numbers['databse']}: services[3].needs[0]: value is 'databse' (no such service, did you mean"
        " 'database'?); allowed: one of database, models, settings, web",
    ]
    assert [row["line"] for row in caught.value.result["errors"]] == list(numbers.values())


def test_what_is_missing_is_told_at_what_it_is_missing_from() -> None:
    data, lines = load_with_lines("name: shop\ntargets:\n  rto: 5\n")
    with pytest.raises(InvalidSpecError) as caught:
        parse_plan(data, origin="p.yml", lines=lines)
    assert "p.yml:2: targets.rpo: value is missing" in str(caught.value)
    assert "p.yml:1: services: value is missing" in str(caught.value)


BAD: list[tuple[str, str, t.Callable[[dict[str, t.Any]], t.Any]]] = [
    ("one site", "sites.secondary: value is 'a'; allowed: another site", lambda p: p["sites"].update(secondary="a")),
    ("a third site", "check.hosts.c: value is 'x' (no such site)", lambda p: p["check"]["hosts"].update(c="x")),
    ("a site without host", "check.hosts.b: value is missing", lambda p: p["check"]["hosts"].pop("b")),
    ("one host for both", "check.hosts.b: value is '192.0.2.10'; allowed: another one than that of a",
     lambda p: p["check"]["hosts"].update(b="192.0.2.10")),
    ("one member for both", "traffic.f5.members.b",
     lambda p: p["traffic"]["f5"]["members"].update(b="site-a:shop-vip")),
    ("avi without avi", "traffic.avi: value is missing; allowed: given for traffic.type avi",
     lambda p: p["traffic"].update(type="avi")),
    ("no resolver", "traffic.resolvers: value is []", lambda p: p["traffic"].update(resolvers=[])),
    ("answers kept too long", "traffic.ttl: value is 300; allowed: less than targets.rto",
     lambda p: p["traffic"].update(ttl=300)),
    ("pilot light that replicates", "services[1].replication: value is 'synchronous'; allowed: dump or asynchronous",
     lambda p: p.update(pattern="pilot_light")),
    ("warm standby from dumps", "services[1].replication: value is 'dump'; allowed: synchronous or asynchronous",
     lambda p: p["services"][1].update(replication="dump")),
    ("warm standby without a standby", "services[0].standby: value is 0; allowed: 1 to 2 for the pattern warm_standby",
     lambda p: p["services"][0].update(standby=0)),
    ("more at standby than serving", "services[0].standby: value is 3; allowed: 1 to 2",
     lambda p: p["services"][0].update(standby=3)),
    ("active-active that is smaller", "services[0].standby: value is 1; allowed: 2 for the pattern active_active",
     lambda p: p.update(pattern="active_active")),
    ("nothing may be lost", "targets.rpo: value is 0; allowed: more than 0, as the replication of database",
     lambda p: (p["targets"].update(rpo=0), p["services"][1].update(replication="asynchronous"))),
    ("a field of another kind", "services[1].group: value is 'web' (not of a service of kind data)",
     lambda p: p["services"][1].update(group="web")),
    ("a kind's field is missing", "services[1].store: value is missing; allowed: given for a service of kind data",
     lambda p: p["services"][1].pop("store")),
    ("a name twice", "services[2].name: value is 'database'; allowed: another name, services[1]",
     lambda p: p["services"][2].update(name="database")),
    ("a circle", "services[0].needs: value is ['database'] (a circle: web needs database needs web)",
     lambda p: (p["services"][0].update(needs=["database"]), p["services"][1].update(needs=["web"]))),
    ("itself", "(a circle: web needs web)", lambda p: p["services"][0].update(needs=["web"])),
    ("an unknown step", "steps.trafic_on: value is {} (no such action, did you mean 'traffic_on'?)",
     lambda p: p.update(steps={"trafic_on": {}})),
    ("a step of no service", "steps.data:db: value is {} (no such service)", lambda p: p.update(steps={"data:db": {}})),
    ("an unknown gate", "steps.data.gate: value is 'maybe'; allowed: one of none, manual, null",
     lambda p: p.update(steps={"data": {"gate": "maybe"}})),
    ("no subnet", "drill.cidr: value is 'x'; allowed: an IPv4 subnet", lambda p: p["drill"].update(cidr="x")),
    ("a pool elsewhere", "drill.pool.start: value is '10.8.0.1'; allowed: an address of 10.9.0.0/24",
     lambda p: p["drill"]["pool"].update(start="10.8.0.1")),
    ("a pool backwards", "drill.pool.end: value is '10.9.0.2'; allowed: 10.9.0.10 or a later address",
     lambda p: p["drill"]["pool"].update(end="10.9.0.2")),
    ("the VIP in the pool", "drill.vip: value is '10.9.0.12'; allowed: an address outside drill.pool",
     lambda p: p["drill"].update(vip="10.9.0.12")),
    ("a small pool", "room for 20 members (1 groups), there is room for 10", lambda p: p["drill"].update(members=20)),
    ("a name with a slash", "name: value is '../x'", lambda p: p.update(name="../x")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "change"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_plan_that_cannot_hold_is_refused(words: str, change: t.Callable[[dict[str, t.Any]], t.Any]) -> None:
    data = declared()
    change(data)
    assert words in refusal(data)


def test_what_is_no_mapping_is_refused() -> None:
    assert "plan: value is ['x']; allowed: a mapping with name, pattern" in refusal(["x"])


def test_the_schema_is_dumped_and_valid_and_each_field_explains_itself() -> None:
    """`tools/dump_schema.py` writes the file."""
    jsonschema.Draft202012Validator.check_schema(RECOVERY_SCHEMA)
    stored = json.loads((ROOT / "docs" / "schemas" / "recovery_plan.schema.json").read_text(encoding="utf-8"))
    assert stored == RECOVERY_SCHEMA
    parse_plan(RECOVERY_SCHEMA["examples"][0])

    def fields(schema: dict[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
        yield schema
        for inner in [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]:
            if isinstance(inner, dict):
                yield from fields(inner)

    for field in fields(RECOVERY_SCHEMA):
        assert field["title"]
        assert field["description"].endswith((".", "one of none, manual"))
        for shown in field["examples"]:
            jsonschema.Draft202012Validator(field).validate(shown)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_services_stand_behind_what_they_need_and_circles_are_refused(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    needs = {name: data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) for name in names}
    rows = [{"name": n, "kind": "settings", "folder": n, "needs": needs[n]} for n in names]

    def reached(name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        for wanted in needs[name]:
            if wanted not in seen:
                seen = reached(wanted, seen | {wanted})
        return seen

    if any(name in reached(name) for name in names):
        assert "a circle: " in refusal(declared(services=rows))
        return
    order = [service.name for service in parse_plan(declared(services=rows)).in_order()]
    assert sorted(order) == sorted(names)
    assert all(order.index(wanted) < order.index(name) for name in names for wanted in needs[name])


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_field_is_taken_or_refused_never_a_crash(data: st.DataObject) -> None:
    plan: t.Any = declared()
    place, depth = plan, data.draw(st.integers(0, 4))
    for _step in range(depth):
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        deeper = [key for key in keys if isinstance(place[key], (dict, list)) and place[key]]
        if not deeper:
            break
        place = place[data.draw(st.sampled_from(deeper))]
    key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
    place[key] = data.draw(_JUNK)
    full: t.Any = None
    refused: list[t.Any] = []
    try:
        full = parse_plan(plan).as_dict()
    except InvalidSpecError as error:
        refused = error.result["errors"]
    assert parse_plan(full).as_dict() == full if full else refused
