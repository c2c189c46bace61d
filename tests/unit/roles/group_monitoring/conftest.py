# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's rules as it renders them, and promtool."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml
from unit.kit import rules as rules_kit

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "group_monitoring"


@pytest.fixture(scope="session")
def defaults() -> dict[str, t.Any]:
    """The role's options as they are when nobody sets them."""
    return yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def render(defaults: dict[str, t.Any]) -> t.Callable[..., list[dict[str, t.Any]]]:
    """``render(group_monitoring_x=...)``: the alert rules for the autoscaler, as the role's template says them."""
    marks = {"variable_start_string": "<@", "variable_end_string": "@>"}
    environment = jinja2.Environment(**marks, trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 (no HTML)
    environment.filters["combine"] = lambda first, second: {**first, **second}
    environment.filters["to_json"] = json.dumps
    template = environment.from_string((ROLE / "templates" / "autoscaler_rules.yml.j2").read_text(encoding="utf-8"))
    return lambda **options: yaml.safe_load(template.render({**defaults, **options}))


@pytest.fixture(scope="session")
def rules(render: t.Callable[..., list[dict[str, t.Any]]]) -> list[dict[str, t.Any]]:
    """The same with the defaults."""
    return render()


@pytest.fixture
def promtool(tmp_path: Path) -> t.Callable[..., None]:
    """``promtool(rules, tests)``: promtool's own unit tests over a rule file; what it says is the error."""
    return functools.partial(rules_kit.promtool, tmp_path)
