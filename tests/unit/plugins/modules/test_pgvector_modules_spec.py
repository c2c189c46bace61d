# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of pgvector: options as documented, examples, what is refused before a server is asked."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.kit.module_docs import check_documentation, check_examples, load

NAMES = ("pgvector_extension", "pgvector_index", "pgvector_info", "pgvector_table")
SERVER = {"host": "db", "database": "docs", "username": "app"}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_what_the_spec_says(name: str) -> None:
    check_documentation(name)


@pytest.mark.parametrize("name", NAMES)
def test_examples_pass_the_spec(name: str) -> None:
    check_examples(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_password_is_never_printed_and_excludes_a_passfile(name: str) -> None:
    spec = load(name).SPEC
    assert spec.options["password"]["no_log"] is True
    assert ("password", "passfile") in spec.rules["mutually_exclusive"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("pgvector_index", {"indexes": [{"name": "i"}]}, "table"),
        ("pgvector_index", {"indexes": [{"name": "i", "table": "t", "method": "flat"}]}, "method must be one of"),
        ("pgvector_table", {"tables": [{"name": "t", "vector": {"column": "v"}}]}, "dimension"),
        ("pgvector_table", {"tables": [{"name": "t", "vector": {"dimension": 3, "distance": "near"}}]}, "distance"),
        ("pgvector_info", {"recall": {"ef": 3}}, "ef"),
        ("pgvector_extension", {"state": "newest"}, "state must be one of"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, t.Any], words: str) -> None:
    checked = ArgumentSpecValidator(load(name).SPEC.options).validate({**SERVER, **options})
    assert words in " ".join(checked.error_messages)
