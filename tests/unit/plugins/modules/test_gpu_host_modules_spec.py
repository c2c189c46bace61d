# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that run on GPU hosts: options as documented, examples, and what is refused before anybody is asked."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

NAMES = ("gpu_info", "oci_artifact")
ONE = {"reference": "r/m@sha256:1", "path": "/x"}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_what_the_spec_says(name: str) -> None:
    check_documentation(name)


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_the_spec(name: str) -> None:
    check_examples(name)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gpu_info", {"expect": {"mode": "fast"}}, "mode must be one of"),
        ("gpu_info", {"expect": {"memory": 1}}, "memory"),
        ("oci_artifact", {"path": "/x"}, "reference"),
        ("oci_artifact", {**ONE, "jobs": "many"}, "jobs"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, t.Any], words: str) -> None:
    assert words in " ".join(ArgumentSpecValidator(load(name).SPEC.options).validate(options).error_messages)


def test_the_password_is_never_printed() -> None:
    spec = load("oci_artifact").SPEC
    assert spec.options["password"]["no_log"] is True
    assert ("username", "password") in spec.rules["required_together"]
