# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the group harbor: options as documented, examples, secrets."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ModuleArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

NAMES = ("harbor_replication", "harbor_replication_info")
SITE = {"url": "https://x", "username": "admin", "password": "p"}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_what_the_spec_says(name: str) -> None:
    check_documentation(name)


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_the_spec(name: str) -> None:
    check_examples(name)


def test_secrets_are_secret_and_when_they_are_written_is_not() -> None:
    options = load("harbor_replication").SPEC.options
    assert options["password"]["no_log"] is True
    assert options["registry"]["options"]["password"]["no_log"] is True
    assert options["registry"]["options"]["update_password"]["no_log"] is False


def test_a_site_s_own_connection_is_a_registry() -> None:
    """The inventory says once how a Harbor is reached; a name is all that a registry wants beside it."""
    options = load("harbor_replication").SPEC.options
    connection = set(load("harbor_replication_info").SPEC.options) - {"names", "ping"}
    assert connection <= set(options["registry"]["options"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one of the following is required: registry, policy"),
        (
            {"registry": {"name": "x"}, "state": "executed"},
            "state is executed but all of the following are missing: policy",
        ),
        ({"policy": {"name": "x", "filters": [{"type": "size", "value": 1}]}}, "must be one of: name, tag, label"),
        ({"policy": {"name": "x", "trigger": {"cron": "0"}}}, "missing required arguments: type"),
    ],
)
def test_bad_options_are_refused(given: dict[str, t.Any], words: str) -> None:
    spec = load("harbor_replication").SPEC
    checked = ModuleArgumentSpecValidator(spec.options, required_by=spec.required_by, **spec.rules).validate(
        {**SITE, **given}
    )
    assert words in json.dumps(checked.error_messages)


def test_the_environment_tells_where_harbor_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", "https://x"), ("USERNAME", "a"), ("PASSWORD", "b"), ("CA_PATH", "/ca")):
        monkeypatch.setenv(f"HARBOR_{name}", value)
    checked = ModuleArgumentSpecValidator(load("harbor_replication_info").SPEC.options).validate({})
    found = {key: checked.validated_parameters[key] for key in ("url", "username", "password", "ca_path")}
    assert found == {"url": "https://x", "username": "a", "password": "b", "ca_path": "/ca"}
