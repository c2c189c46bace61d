# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_requirements_name_tests_that_exist() -> None:
    named = set(re.findall(r"tests/[\w/]+\.py", (ROOT / "docs" / "requirements.md").read_text()))
    assert len(named) > 5
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("**/*.md")
    if not {"build", ".venv", "dist", ".cache"} & set(path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_every_module_is_in_the_readme_and_in_one_action_group() -> None:
    import yaml

    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    readme = (ROOT / "README.md").read_text()
    assert sorted(name for name in modules if f"`{name}`" not in readme) == []
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    grouped = [name for names in groups.values() for name in names]
    assert len(grouped) == len(set(grouped))
    # They have no connection to set once, or are called once a host.
    assert modules - set(grouped) == {"gpu_info", "health_gate", "oci_artifact", "role_options"}
