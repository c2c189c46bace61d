# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of the role ``vllm_host`` keep to."""

from __future__ import annotations

import ast
import re
import sys

import pytest
import yaml
from unit.kit.vllm_host import ROLE

PROGRAMS = sorted((ROLE / "files").glob("*.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_for_hosts_are_one_short_file_of_the_standard_library(path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 300
    names = set()
    for node in ast.walk(ast.parse(text, feature_version=(3, 9))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert names - set(sys.stdlib_module_names) <= {"pynvml"}


def test_each_tool_is_pinned_with_its_hash() -> None:
    text = (ROLE / "files" / "tools-requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+ +--hash=sha256:[0-9a-f]{64}", line) for line in lines), lines
    assert {line.partition("=")[0] for line in lines} >= {"nvidia-ml-py", "requests"}


def test_a_vgpu_is_not_asked_for_what_it_does_not_have() -> None:
    vgpu = (ROLE / "files" / "dcgm-vgpu.csv").read_text()
    assert "DCGM_FI_DEV_VGPU_LICENSE_STATUS" in vgpu
    assert "_PROF_" not in vgpu
    assert "_PROF_" in (ROLE / "files" / "dcgm-passthrough.csv").read_text()


def test_secrets_are_not_logged() -> None:
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    for name in ("registry_password", "api_key", "secrets"):
        assert options[f"vllm_host_{name}"]["no_log"] is True, name


def test_what_the_facts_about_vllm_demand_of_the_unit() -> None:
    text = (ROLE / "templates" / "vllm@.service.j2").read_text()
    set_to = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z][A-Za-z]+=", line))
    # Its exit code is 0 when a worker dies; it never says that it is ready; a worker may outlive its parent.
    assert (set_to["Restart"], set_to["Type"], set_to["KillMode"]) == ("always", "exec", "mixed")
    assert not {"PrivateDevices", "ProcSubset", "MemoryDenyWriteExecute"} & set(set_to)
