# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the group dsm: options as documented, examples, secrets, and how they are told where DSM is."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ModuleArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

NAMES = ("dsm_postgres_cluster", "dsm_postgres_cluster_info", "dsm_postgres_restore", "dsm_backup_info")


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_what_the_spec_says(name: str) -> None:
    check_documentation(name)


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_the_spec(name: str) -> None:
    check_examples(name)


@pytest.mark.parametrize("name", NAMES)
def test_passwords_are_secret_and_names_of_secrets_are_not(name: str) -> None:
    options = load(name).SPEC.options
    assert options["password"]["no_log"] is True
    assert options.get("admin_password", {"no_log": True})["no_log"] is True
    for public in ("admin_password_secret", "passfile", "passfile_database"):
        assert options.get(public, {"no_log": False})["no_log"] is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one of the following is required: url, kubeconfig"),
        ({"url": "https://x", "kubeconfig": "/k", "email": "a", "password": "b"}, "mutually exclusive: url|kubeconfig"),
        ({"url": "https://x"}, "missing parameter(s) required by 'url': email, password"),
        ({"kubeconfig": "/k", "name": "x", "passfile": ""}, ""),
        ({"kubeconfig": "/k", "passfile": "/x"}, "missing parameter(s) required by 'passfile': name"),
    ],
)
def test_what_belongs_together(given: dict[str, t.Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DSM_URL", "DSM_EMAIL", "DSM_PASSWORD", "DSM_KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)
    spec = load("dsm_postgres_cluster_info").SPEC
    checked = ModuleArgumentSpecValidator(spec.options, required_by=spec.required_by, **spec.rules).validate(given)
    assert words in " ".join(checked.error_messages)
    assert bool(words) == bool(checked.error_messages)


def test_the_environment_tells_where_dsm_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", "https://x"), ("EMAIL", "a"), ("PASSWORD", "b"), ("CA_PATH", "/ca")):
        monkeypatch.setenv(f"DSM_{name}", value)
    checked = ModuleArgumentSpecValidator(load("dsm_backup_info").SPEC.options).validate({})
    found = {key: checked.validated_parameters[key] for key in ("url", "email", "password", "ca_path")}
    assert found == {"url": "https://x", "email": "a", "password": "b", "ca_path": "/ca"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"replicas": 2}, "replicas must be one of: 0, 1, 3"),
        ({"backup": {"schedules": [{"name": "x"}]}}, "missing required arguments: schedule, type"),
        ({"lock": "open"}, "lock must be one of"),
    ],
)
def test_bad_options_are_refused(given: dict[str, t.Any], words: str) -> None:
    options = {"name": "docs", "kubeconfig": "/k", **given}
    checked = ArgumentSpecValidator(load("dsm_postgres_cluster").SPEC.options).validate(options)
    assert words in json.dumps(checked.error_messages)
