# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_gslb_pool_member``: options as documented, examples that pass, a password that is secret."""

from __future__ import annotations

from unit.kit.module_docs import check_documentation, check_examples, load

NAME = "f5_gslb_pool_member"


def test_documentation_is_what_the_spec_says() -> None:
    check_documentation(NAME)
    assert load(NAME).SPEC.options["password"]["no_log"] is True


def test_examples_pass_the_spec() -> None:
    assert len(check_examples(NAME)) == 3
