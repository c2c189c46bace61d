# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""avi_gslb_service: options as documented, examples, secrets, and how it is told where the controller is."""

from __future__ import annotations

import pytest
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

NAME = "avi_gslb_service"


def test_documentation_is_what_the_spec_says() -> None:
    check_documentation(NAME)
    assert load(NAME).SPEC.options["password"]["no_log"] is True


def test_examples_pass_the_spec() -> None:
    assert len(check_examples(NAME)) == 3


def test_the_environment_tells_where_the_controller_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CONTROLLER", "avi"), ("PORT", "8443"), ("USERNAME", "u"), ("PASSWORD", "p"), ("TENANT", "t")):
        monkeypatch.setenv(f"AVI_{name}", value)
    checked = ModuleArgumentSpecValidator(load(NAME).SPEC.options).validate({"name": "shop"})
    found = {key: checked.validated_parameters[key] for key in ("hostname", "port", "username", "password", "tenant")}
    assert found == {"hostname": "avi", "port": 8443, "username": "u", "password": "p", "tenant": "t"}
