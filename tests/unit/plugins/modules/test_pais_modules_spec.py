# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pais_settings: options as documented, examples, secrets, and what belongs together."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

GIVEN = {"url": "https://x", "state": "exported", "folder": "/x"}


def test_documentation_is_what_the_spec_says_and_examples_pass_it() -> None:
    check_documentation("pais_settings")
    assert {task["state"] for task in check_examples("pais_settings")} == {"exported", "imported"}


def test_secrets_are_secret() -> None:
    options = load("pais_settings").SPEC.options
    assert [name for name in ("token", "client_secret", "password", "secrets") if not options[name].get("no_log")] == []
    assert options["update_secrets"]["no_log"] is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one of the following is required: token, issuer"),
        ({"token": "t", "issuer": "https://i", "client_id": "c"}, "mutually exclusive: token|issuer"),
        ({"issuer": "https://i"}, "missing parameter(s) required by 'issuer': client_id"),
        ({"token": "t", "username": "u"}, "parameters are required together: username, password"),
        ({"token": "t", "kinds": ["pods"]}, "must be one or more of"),
        ({"token": "t"}, ""),
    ],
)
def test_what_belongs_together(given: dict[str, t.Any], words: str) -> None:
    spec = load("pais_settings").SPEC
    checked = ModuleArgumentSpecValidator(spec.options, required_by=spec.required_by, **spec.rules).validate(
        {**GIVEN, **given}
    )
    assert words in json.dumps(checked.error_messages)
    assert bool(words) == bool(checked.error_messages)
