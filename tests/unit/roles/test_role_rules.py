# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role keeps to (docs/decisions/0007-roles.md), and what its molecule scenarios consist of."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent.name for path in REPO.glob("roles/*/tasks/main.yml"))
SCENARIOS = ("default", "options")
STEPS = ("molecule", "converge", "verify", "side_effect")
#: Hosts of each scenario; those of vllm_host are dear, as each builds two virtual environments and starts a model.
#: vector_store runs where the databases are reached: here.
HOSTS = {"vllm_host": {"default": 2, "options": 1}, "vector_store": {"default": 1, "options": 1}}
role = pytest.mark.parametrize("name", ROLES)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def specs(name: str) -> dict[str, Any]:
    """Options of all entry points."""
    entries = read(REPO / "roles" / name / "meta" / "argument_specs.yml")["argument_specs"]
    return {option: text for entry in entries.values() for option, text in (entry.get("options") or {}).items()}


def tasks(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task and handler of the role, also those in blocks, with the file it stands in."""

    def inside(rows: Any) -> Iterator[dict[str, Any]]:
        for row in rows or []:
            yield row
            for part in ("block", "rescue", "always"):
                yield from inside(row.get(part))

    for folder in ("tasks", "handlers"):
        for path in sorted((REPO / "roles" / name / folder).rglob("*.yml")):
            yield from ((path.name, row) for row in inside(read(path)))


def test_there_are_roles():
    assert {"node_exporter", "log_agent", "group_monitoring", "receiver", "vector_store", "vllm_host"} <= set(ROLES)


@role
def test_defaults_are_those_of_the_specification(name):
    documented = {option: text["default"] for option, text in specs(name).items() if "default" in text}
    assert read(REPO / "roles" / name / "defaults" / "main.yml") == documented


@role
def test_options_are_documented_and_carry_the_roles_name(name):
    readme = (REPO / "roles" / name / "README.md").read_text()
    for option, text in specs(name).items():
        assert option.startswith(f"{name}_"), option
        assert f"`{option}`" in readme, option
        assert text.get("description"), option


@role
def test_what_is_no_option_begins_with_two_underscores(name):
    inner = re.compile(rf"^__{name}(_|$)")
    for path in (REPO / "roles" / name / "vars").glob("*.yml"):
        for key in read(path) or {}:
            assert inner.match(key), f"{path.name}: {key}"
    for file, task in tasks(name):
        made = [task["register"]] if "register" in task else []
        made += [key for key in task.get("ansible.builtin.set_fact", {}) if key != "cacheable"]
        for key in made:
            assert inner.match(key), f"{file}: {task.get('name')}: {key}"


@role
def test_a_misspelt_option_is_refused_first(name):
    first = read(REPO / "roles" / name / "tasks" / "main.yml")[0]
    assert "onprem.autoscale.role_options" in first
    assert first["tags"] == ["always"]


@role
def test_nothing_hides_a_failure(name):
    for file, task in tasks(name):
        assert "ignore_errors" not in task, f"{file}: {task.get('name')}"
        assert "ansible.builtin.shell" not in task, f"{file}: {task.get('name')}"


@role
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenarios_are_complete(name, scenario):
    """molecule itself takes a missing playbook for a success."""
    folder = REPO / "extensions" / "molecule" / f"{name}_{scenario}"
    for step in STEPS:
        assert (folder / f"{step}.yml").is_file(), step
    platforms = read(folder / "molecule.yml")["platforms"]
    assert len(platforms) == HOSTS.get(name, {}).get(scenario, 3)
    if len(platforms) > 1:
        assert {row.get("suite", "bookworm") for row in platforms} == {"bookworm", "trixie"}


def test_a_scenario_that_is_left_out_by_day_is_complete_and_runs_at_night():
    spec = importlib.util.spec_from_file_location("molecule_tool", REPO / "tools" / "molecule.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    daily = {f"{name}_{scenario}" for name in ROLES for scenario in SCENARIOS}
    assert set(tool.known()) - daily == tool.NIGHTLY
    for name in tool.NIGHTLY:
        assert all((REPO / "extensions" / "molecule" / name / f"{step}.yml").is_file() for step in STEPS), name
    assert "tools/molecule.py --nightly" in (REPO / "Makefile").read_text()


def test_no_two_scenarios_share_a_host():
    """They run side by side."""
    files = sorted(REPO.glob("extensions/molecule/*/molecule.yml"))
    platforms = [row for path in files for row in read(path)["platforms"]]
    assert len({row["name"] for row in platforms}) == len(platforms)
    booted = [row["number"] for row in platforms if "number" in row]
    assert len(set(booted)) == len(booted) > 20
