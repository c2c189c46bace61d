# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recovery_record: options as documented, examples, and the same keys in every state."""

from __future__ import annotations

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.kit.module_docs import compare, load
from unit.kit.recovery import plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_run import OUTSIDE, STEP_STATES
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_steps import KINDS

MODULE = load("recovery_record")


def test_documentation_is_what_the_spec_says() -> None:
    text = yaml.safe_load(MODULE.DOCUMENTATION)
    compare(text["options"], MODULE.SPEC.options, "recovery_record")
    assert set(yaml.safe_load(MODULE.RETURN)) == set(MODULE._result()) - {"changed"}
    assert tuple(MODULE.SPEC.options["kind"]["choices"]) == KINDS
    assert tuple(MODULE.SPEC.options["step_state"]["choices"]) == STEP_STATES
    assert tuple(MODULE.SPEC.options["outside"]["options"]) == OUTSIDE


def test_examples_pass_the_spec() -> None:
    for task in yaml.safe_load(MODULE.EXAMPLES):
        options = {**task["onprem.autoscale.recovery_record"], "plan": plan_of().as_dict()}
        assert not ArgumentSpecValidator(MODULE.SPEC.options).validate(options).error_messages
