# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a group (A1)."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import jsonschema
import pytest
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError, InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import SCHEMA, _shape, parse_spec

ROOT = pathlib.Path(__file__).resolve().parents[5]

# what changes, field that is named, what the line says about the value, what it says is allowed
BAD = {
    "min above max (A1)": ({"size__min": 5}, "size.min", "5", "1 to size.max, which is 4"),
    "min of zero": ({"size__min": 0}, "size.min", "0", "a whole number, 1 to 1000"),
    "step of zero": ({"size__step_out": 0}, "size.step_out", "0", "a whole number, 1 to 100"),
    "true is no number": ({"size__max": True}, "size.max", "True", "a whole number"),
    "text for a number": ({"size__max": "4"}, "size.max", "'4'", "a whole number"),
    "unknown key": ({"size__step_uot": 1}, "size.step_uot", "did you mean 'step_out'?", "min, max, step_out, step_in"),
    "unknown key at the top": ({"cool_down": 1}, "cool_down", "did you mean 'cooldown'?", "one of the keys"),
    "unknown key like no other": ({"xyzzy": 1}, "xyzzy", "1 (unknown key)", "one of the keys"),
    "no name": ({"name": ...}, "name", "missing", "matching ^[a-z]"),
    "no template": ({"vm": {}}, "vm.template", "missing", "text"),
    "no policy": ({"policies": []}, "policies", "[]", "a list of at least 1"),
    "bad name": ({"name": "Web_1"}, "name", "'Web_1'", "matching ^[a-z]"),
    "long name": ({"name": "a" * 31}, "name", "'aaa", "at most 30 characters"),
    "prefix too long for a host name": ({"vm__prefix": "a" * 45}, "vm.prefix", "'aaa", "at most 44 characters"),
    "prefix no host name": ({"vm__prefix": "web_1"}, "vm.prefix", "'web_1'", "matching"),
    "pool outside the CIDR": ({"network__end": "10.255.49.5"}, "network.end", "outside the subnet", "10.255.48.1 to"),
    "pool upside down": ({"network__start": "10.255.48.231"}, "network.start", "10.255.48.231", "at most network.end"),
    "pool with broadcast": ({"network__end": "10.255.48.255"}, "network.end", "the broadcast address", "10.255.48.254"),
    "pool with network": ({"network__start": "10.255.48.0"}, "network.start", "the network address", "10.255.48.1 to"),
    "pool too small": ({"network__end": "10.255.48.221"}, "network.end", "2 addresses", "at least 3 addresses"),
    "gateway outside": ({"network__gateway": "10.255.47.1"}, "network.gateway", "outside the subnet", "10.255.48.1 to"),
    "gateway in the pool": ({"network__gateway": "10.255.48.225"}, "network.gateway", "225", "outside the pool"),
    "gateway is broadcast": ({"network__gateway": "10.255.48.255"}, "network.gateway", "broadcast", "10.255.48.254"),
    "no address": ({"network__start": "10.255.48"}, "network.start", "'10.255.48'", "an IPv4 address"),
    "IPv6": ({"network__start": "fd00::1"}, "network.start", "IPv6 is reserved for a later version", "an IPv4 address"),
    "host bits": ({"network__cidr": "10.255.48.1/24"}, "network.cidr", "has host bits set", "without host bits"),
    "no CIDR": ({"network__cidr": "lan"}, "network.cidr", "'lan'", "an IPv4 subnet"),
    "tiny CIDR": ({"network__cidr": "10.255.48.220/31"}, "network.cidr", "/31", "at most 30"),
    "DNS server in the pool": (
        {"network__dns_servers": ["10.255.48.226"]}, "network.dns_servers[0]", "226", "outside the pool"),
    "base member in the pool": (
        {"base_members__0__address": "10.255.48.221"}, "base_members[0].address", "221", "outside the pool"),
    "base member twice": (
        {"base_members": [{"name": "a", "address": "10.1.1.1"}, {"name": "a", "address": "10.1.1.2"}]},
        "base_members[1].name", "a duplicate", "each name once"),
    "base address twice": (
        {"base_members": [{"name": "a", "address": "10.1.1.1"}, {"name": "b", "address": "10.1.1.1"}]},
        "base_members[1].address", "a duplicate", "each address once"),
    "base name that vSphere refuses": ({"base_members__0__name": "a/b"}, "base_members[0].name", "'a/b'", "matching"),
    "base name too long": ({"base_members__0__name": "a" * 81}, "base_members[0].name", "'aaa", "at most 80"),
    "more base members than max": (
        {"size__max": 1, "base_members": [{"name": n, "address": f"10.1.1.{i}"} for i, n in enumerate("ab", 1)]},
        "base_members", "['a', 'b']", "at most size.max members, which is 1"),
    "in above out": ({"policies__0__in__cpu": 80}, "policies[0].in.cpu", "80", "less than policies[0].out.cpu"),
    "in without what out has": ({"policies__0__in__memory": ...}, "policies[0].in.memory", "missing", "less than 85"),
    "thresholds of nothing": ({"policies__0__out": {"for": 5}}, "policies[0].out", "{'for': 5", "cpu, memory or both"),
    "policy of nothing": (
        {"policies": [{"type": "threshold"}]}, "policies[0]", "asks for nothing", "out, in or both"),
    "percent above 100": ({"policies__0__out__cpu": 101}, "policies[0].out.cpu", "101", "a number or null, 0 to 100"),
    "window of one scrape": ({"policies__0__window": 20}, "policies[0].window", "20", "a rate needs two samples"),
    "a policy of later": (
        {"policies__0__type": "forecast"}, "policies[0].type", "reserved for a later version", "threshold"),
    "a policy of never": (
        {"policies__0__type": "mood"}, "policies[0].type", "'mood'", "one of threshold, model_signals, schedule"),
    "a kind of never": ({"kind": "vm"}, "kind", "'vm'", "one of service, model_endpoint"),
    "a service with a model": ({"model": {"name": "m"}}, "model", "a service has none", "kind: model_endpoint"),
    "a service with a model's signals": (
        {"policies": [{"type": "model_signals"}]}, "policies[0].type", "a service has none", "threshold"),
    "a service that is warmed up": (
        {"timeouts": {"warmup": 60}}, "timeouts.warmup", "no such phase", "kind: model_endpoint"),
    "a service that is prepared": (
        {"timeouts": {"prepare": 60}}, "timeouts.prepare", "no such phase", "kind: model_endpoint"),
    "no gate": ({"gates": []}, "gates", "[]", "a list of at least 1"),
    "path on a tcp gate": (
        {"gates": [{"type": "tcp", "port": 1, "path": "/"}]}, "gates[0].path", "'/'", "nothing for a tcp gate"),
    "certs without TLS": (
        {"gates": [{"type": "http", "port": 1, "validate_certs": False}]}, "gates[0].validate_certs", "False", "https"),
    "bad regex": (
        {"gates": [{"type": "http", "port": 1, "regex": "("}]}, "gates[0].regex", "unterminated", "regular expression"),
    "bad VIP": ({"load_balancer__vip": "web:80"}, "load_balancer.vip", "'web:80'", "address:port"),
    "bad VIP port": ({"load_balancer__vip": "10.1.1.1:99999"}, "load_balancer.vip", "99999", "address:port"),
    "bad VIP address": ({"load_balancer__vip": "10.1.1.900:80"}, "load_balancer.vip", "900", "an IPv4 address"),
    "negative cooldown": ({"cooldown__in": -1}, "cooldown.in", "-1", "0 to 86400"),
    "a scrape job of its own name": (
        {"monitoring__scrape": {"job_name": "x"}}, "monitoring.scrape.job_name", "'x'", "any other key"),
    "breaker of nothing": ({"breaker": {"failures": 0}}, "breaker.failures", "0", "a whole number, 1 to 20"),
    "breaker that never opens": (
        {"breaker": {"window": 600}}, "breaker.window", "600", "more than 600, in which cooldown.out lets"),
    "quarantine of fewer than none": ({"quarantine": {"keep": -1}}, "quarantine.keep", "-1", "0 to 100"),
    "quarantine without an end": ({"quarantine": {"retention": None}}, "quarantine.retention", "None", "0 to 31536000"),
    "no grace": ({"health": {"grace": "soon"}}, "health.grace", "'soon'", "0 to 86400"),
    "empty group": ({"vm": None}, "vm", "None", "a mapping with template"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "shown", "allowed"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_refused_with_field_value_and_what_is_allowed(
    make_group: t.Any, changes: dict[str, t.Any], field: str, shown: str, allowed: str
) -> None:
    """A1: the line names the field, the value and what is allowed; nothing else is reported besides."""
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec(make_group(**changes), origin="web.yml")
    rows = caught.value.result["errors"]
    assert [row["field"] for row in rows] == [field]
    assert rows[0]["message"] in str(caught.value)
    value_part, allowed_part = rows[0]["message"].removeprefix(f"{field}: value is ").split("; allowed: ")
    assert shown in value_part
    assert allowed in allowed_part
    assert f"web.yml: {field}: value is" in str(caught.value)


def test_all_errors_come_at_once(make_group: t.Any) -> None:
    """A1: shape and cross-field errors of different parts stand in one message, each once."""
    data = make_group(size__min=9, network__gateway="1.2.3.4", vm__tempalte="x", cooldown__out="soon", kind="vm")
    with pytest.raises(InvalidSpecError) as caught:
        parse_spec(data, origin="web.yml")
    lines = str(caught.value).splitlines()
    assert "5 errors" in lines[0]
    assert len(lines) == 6
    assert all(re.match(r"^web\.yml: [a-z_.]+: value is .+; allowed: .+", line) for line in lines[1:])


@pytest.mark.parametrize("data", [None, [], "web", 5])
def test_what_is_no_mapping_is_refused(data: t.Any) -> None:
    with pytest.raises(InvalidSpecError, match=r"group: value is .*; allowed: a mapping with name"):
        parse_spec(data)


def test_defaults(make_spec: t.Any) -> None:
    """What is not declared has the value that the interfaces promise."""
    spec = make_spec()
    assert (spec.kind, spec.enabled, spec.tenant, spec.site) == ("service", True, "default", "main")
    assert (spec.vm.prefix, spec.monitoring.job, spec.monitoring.exporter_port) == ("web", "web", 9100)
    assert (spec.load_balancer.partition, spec.load_balancer.health_path) == ("Common", "/health")
    assert (spec.scale_in.victim, spec.scale_in.drain_timeout, spec.scale_in.shutdown_timeout) == ("newest", 120, 60)
    assert spec.timeouts.as_dict() == {
        "clone": 600, "customization": 600, "address": 300, "gate": 300, "pool": 120, "target": 60
    }  # fmt: skip
    assert spec.network.probe.as_dict() == {
        "methods": ["tcp_open", "tcp_refused", "ping"], "ports": [22, 80, 443], "timeout": 1
    }  # fmt: skip
    assert spec.ssh is None


def test_cooldown_default_is_300_seconds_each(make_spec: t.Any) -> None:
    """A4: independent cooldowns of 300 s by default."""
    assert make_spec(cooldown=...).cooldown.as_dict() == {"out": 300, "in": 300}
    assert make_spec(cooldown={"in": 5}).cooldown.as_dict() == {"out": 300, "in": 5}


def test_without_gates_the_health_path_is_one(make_spec: t.Any) -> None:
    """Invariant 5: there is no group whose members join unseen."""
    (gate,) = make_spec(load_balancer__health_path="/alive").gates
    assert (gate.type, gate.port, gate.path, gate.status) == ("http", 8080, "/alive", 200)


def test_the_full_form_is_valid_and_the_same(make_spec: t.Any) -> None:
    """Filters hand the full form from one to the next; it survives JSON and YAML."""
    spec = make_spec(ssh={"user": "ubuntu"}, gates=[{"type": "tcp", "port": 9100}])
    full = spec.as_dict()
    assert parse_spec(full) == spec
    assert parse_spec(json.loads(json.dumps(full))) == spec
    assert parse_spec(yaml.safe_load(yaml.safe_dump(full))) == spec


def test_a_vip_within_the_pool_is_accepted_but_is_no_room(make_spec: t.Any, make_group: t.Any) -> None:
    """S1's own example has its VIP inside the IP pool: it is never leased (see test_addresses) and not counted."""
    assert make_spec(load_balancer__vip="10.255.48.229:80")
    with pytest.raises(InvalidSpecError, match="2 addresses that can be given out"):
        parse_spec(make_group(load_balancer__vip="10.255.48.221:80", network__end="10.255.48.222"))


def test_the_input_is_not_changed(make_group: t.Any) -> None:
    data, same = make_group(), make_group()
    parse_spec(data)
    assert data == same


def test_the_group_of_the_interfaces_document_is_valid() -> None:
    """Documentation and parser agree, and every value of the example is a default or an example of the schema."""
    document = (ROOT / "docs" / "decisions" / "0002-interfaces.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", document, re.DOTALL)
    assert example
    assert parse_spec(yaml.safe_load(example[1])).network.vlan is None


@pytest.mark.parametrize("path", sorted((ROOT / "inventories").glob("*/scaling_groups/*.yml")), ids=str)
def test_groups_that_come_with_the_collection_are_valid(path: pathlib.Path) -> None:
    assert parse_spec(yaml.safe_load(path.read_text(encoding="utf-8")), origin=path.name).name == path.stem


def test_schema_is_valid_and_its_file_is_up_to_date() -> None:
    """`tools/dump_schema.py` writes the file."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    stored = json.loads((ROOT / "docs" / "schemas" / "scaling_group.schema.json").read_text(encoding="utf-8"))
    assert stored == SCHEMA


def _fields(schema: dict[str, t.Any], path: str = "") -> t.Iterator[tuple[str, dict[str, t.Any], bool]]:
    for name, field in schema.get("properties", {}).items():
        required = name in schema.get("required", [])
        yield f"{path}.{name}", field, required
        yield from _fields(field, f"{path}.{name}")
        items = field.get("items", {})
        for branch in (items.get("then"), items.get("else")) if "if" in items else (items,):
            yield from _fields(branch, f"{path}.{name}[]")


def test_every_field_is_described_with_a_default_or_is_required() -> None:
    """Editors show title, description, default and examples; the examples and defaults themselves are valid."""
    fields = list(_fields(SCHEMA))
    assert len(fields) > 80
    for path, field, required in fields:
        assert field["title"], path
        assert field["description"].endswith("."), path
        assert field["examples"], path
        # `gates` has a default that depends on the load balancer.
        assert required or "default" in field or path == ".gates", path
        values = [*field["examples"], *([field["default"]] if "default" in field else [])]
        for value in values:
            jsonschema.Draft202012Validator(field).validate(value)
    parse_spec(SCHEMA["examples"][0])


def test_without_jsonschema_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, make_group: t.Any) -> None:
    monkeypatch.setattr(_shape, "HAS_JSONSCHEMA", False)
    with pytest.raises(AutoscaleError, match="pip install jsonschema"):
        parse_spec(make_group())


def test_breaker_quarantine_and_health_have_defaults(make_spec: t.Any) -> None:
    spec = make_spec()
    assert spec.breaker.as_dict() == {"failures": 3, "window": 3600, "probe_after": 1800}
    assert spec.quarantine.as_dict() == {"keep": 1, "retention": 86400}
    assert spec.health.as_dict() == {"grace": 300}
    assert parse_spec(spec.as_dict()) == spec


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({}, 3600),
        ({"cooldown__out": 1800}, 2 * 2 * (1800 + 600)),
        ({"cooldown__out": 1800, "size__step_out": 3}, 3600),
        ({"cooldown__out": 1800, "breaker": {"failures": 1}}, 3600),
        ({"timeouts": {"clone": 3600}}, 2 * 2 * (300 + 3600)),
        ({"cooldown__out": 1800, "breaker": {"window": 5000}}, 5000),
    ],
)
def test_the_default_window_is_long_enough_to_ever_open(make_spec: t.Any, changes: t.Any, window: int) -> None:
    """Invariant 8: launches that fail one after another, each with its cooldown and a timeout, fit into it."""
    spec = make_spec(**changes)
    assert spec.breaker.window == window
    assert parse_spec(spec.as_dict()) == spec, "the full form is valid"
