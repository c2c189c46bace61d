# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""role_options: a misspelt option is refused by name, whatever else the host's variables are called."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader

from ansible_collections.onprem.autoscale.plugins.action.role_options import ActionModule

SPEC = """
argument_specs:
  main: {options: {web_port: {type: int}, web_names: {type: list}}}
  remove: {options: {web_purge: {type: bool}}}
"""


@pytest.fixture
def look(tmp_path: Path):
    """``look({"web_port": 1})``: the result in a role ``web`` with SPEC; ``spec=""`` leaves the file out."""

    def look(variables, spec=SPEC, role=True):
        (tmp_path / "meta").mkdir(exist_ok=True)
        if spec:
            (tmp_path / "meta" / "argument_specs.yml").write_text(spec)
        known = types.SimpleNamespace(get_name=lambda include_role_fqcn: "web", _role_path=str(tmp_path))
        task = types.SimpleNamespace(_role=known if role else None, args={}, async_val=0, check_mode=False, diff=False)
        connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir="none"))
        action = ActionModule(task, connection, types.SimpleNamespace(), DataLoader(), None, None)
        return action.run(None, variables)

    return look


def test_options_of_all_entry_points_are_known(look):
    result = look({"web_port": 1, "web_purge": True, "__web_state": 1, "website": 1, "ansible_host": "x"})
    assert result["options"] == ["web_names", "web_port", "web_purge"]
    assert not result["changed"]


def test_others_are_refused_with_the_likely_name(look):
    with pytest.raises(
        AnsibleActionFail, match=r"role web has no such option: web_name \(did you mean web_names\?\); web_x"
    ):
        look({"web_name": [], "web_x": 1})


def test_without_a_specification_or_a_role_it_says_so(look):
    with pytest.raises(AnsibleActionFail, match=r"has no meta/argument_specs\.yml"):
        look({}, spec="")
    with pytest.raises(AnsibleActionFail, match="belongs into a role's tasks"):
        look({}, role=False)
