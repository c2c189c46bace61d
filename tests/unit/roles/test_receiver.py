# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ``receiver`` knows what the receiver knows, and pins what the tests pin."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import SCHEMA

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "receiver"
OPTIONS = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
TYPES = {"integer": "int", "number": "float", "boolean": "bool", "object": "dict", "string": ("str", "path")}

#: Fields that have an option of their own, or that the role fills in.
OF_THEIR_OWN = {
    "listen": "receiver_listen",
    "insecure_http": "receiver_insecure_http",
    "tls": "receiver_tls",
    "tokens": "receiver_tokens",
    "ledger": "receiver_ledger",
    "inventory": "receiver_inventory",
    "scaling_groups_dir": "receiver_scaling_groups_dir",
    "playbooks": "receiver_playbooks",
    "executor": "receiver_executor",
    "prometheus_url": "receiver_prometheus.url",
    "prometheus_ca": "receiver_prometheus.ca",
    "prometheus_token_file": "receiver_prometheus.token",
}


def option(name: str) -> dict[str, t.Any]:
    """By its name, with a dot before an option of an option."""
    top, _dot, inner = name.partition(".")
    return OPTIONS[top]["options"][inner] if inner else OPTIONS[top]


def pins(path: Path) -> dict[str, set[str]]:
    """Package (lower case, without extras) -> the versions that the file pins."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line)
        if match:
            found.setdefault(match[1].lower(), set()).add(match[2])
    return found


@pytest.mark.parametrize("field", sorted(SCHEMA["properties"]))
def test_each_field_of_the_configuration_can_be_set(field: str) -> None:
    assert option(OF_THEIR_OWN.get(field, f"receiver_settings.{field}"))


@pytest.mark.parametrize(
    ("options", "schema", "filled_in"),
    [
        ("receiver_settings", SCHEMA, set(OF_THEIR_OWN)),
        ("receiver_executor", SCHEMA["properties"]["executor"], {"type", "private_data_root"}),
        ("receiver_playbooks", SCHEMA["properties"]["playbooks"], set()),
    ],
)
def test_dictionaries_have_the_fields_that_the_receiver_takes_and_their_types(
    options: str, schema: dict[str, t.Any], filled_in: set[str]
) -> None:
    fields = {name: field for name, field in schema["properties"].items() if name not in filled_in}
    declared = OPTIONS[options]["options"]
    assert set(declared) == set(fields)
    for name, field in fields.items():
        assert declared[name]["type"] in TYPES[field["type"]], name


def test_callers_have_the_fields_that_the_receiver_takes() -> None:
    tokens = SCHEMA["properties"]["tokens"]["items"]["properties"]
    assert set(OPTIONS["receiver_tokens"]["options"]) - {"token"} == set(tokens) - {"token_file"}
    tls = SCHEMA["properties"]["tls"]["properties"]
    assert set(OPTIONS["receiver_tls"]["options"]) - {"on_host"} == set(tls)
    clients = tls["clients"]["items"]["properties"]
    assert set(OPTIONS["receiver_tls"]["options"]["clients"]["options"]) == set(clients)


def test_what_is_secret_is_not_logged() -> None:
    for name in ("receiver_tokens.token", "receiver_prometheus.token", "receiver_environment"):
        assert option(name)["no_log"] is True, name


def test_versions_are_those_that_the_tests_pin() -> None:
    ours, tested = pins(ROLE / "files" / "constraints.txt"), pins(ROOT / "tests" / "requirements.txt")
    cores = {version.rpartition(".")[0] for version in ours.pop("ansible-core")}
    assert cores == {"2.19", "2.21"}, "what ansible 12 and 14 bring, the releases that the tests use"
    ours.pop("psycopg-binary")  # the extra of psycopg, with psycopg's own version
    assert ours == {name: tested[name] for name in ours}


def test_everything_that_the_collection_needs_is_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    needed = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in lines if line and not line.startswith("#")}
    assert needed <= set(pins(ROLE / "files" / "constraints.txt"))


def test_a_restart_leaves_running_actions_alone() -> None:
    unit = (ROLE / "templates" / "receiver.service.j2").read_text()
    directives = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z][A-Za-z]+=", line))
    assert directives["KillMode"] == "process"
    cleaned_at_a_stop = {"PrivateTmp", "RuntimeDirectory", "RemoveIPC", "DynamicUser"}
    assert not cleaned_at_a_stop & set(directives)


def test_no_name_is_both_registered_and_set() -> None:
    """What was registered wins over what a task sets: a second run of the role in one play would read the wrong one."""
    text = "\n".join(path.read_text() for path in [*ROLE.glob("tasks/*.yml"), *ROLE.glob("vars/*.yml")])
    registered = set(re.findall(r"register: (__receiver_\w+)", text))
    assert len(registered) > 5
    assert not registered & set(re.findall(r"^\s*(__receiver_\w+):", text, flags=re.MULTILINE))
