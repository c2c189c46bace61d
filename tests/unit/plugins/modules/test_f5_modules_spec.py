# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``f5_gslb_pool_member``: options as documented, examples that pass, a password that is secret."""

from __future__ import annotations

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from unit.kit.module_docs import compare, load

from ansible_collections.onprem.autoscale.plugins.doc_fragments._f5 import ModuleDocFragment
from ansible_collections.onprem.autoscale.plugins.doc_fragments._wait import ModuleDocFragment as WaitFragment

NAME = "f5_gslb_pool_member"


def test_documentation_is_what_the_spec_says() -> None:
    module = load(NAME)
    text = yaml.safe_load(module.DOCUMENTATION)
    documented = dict(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"])
    documented.update(yaml.safe_load(WaitFragment.DOCUMENTATION)["options"])
    for option, words in text["options"].items():
        documented[option] = {**documented.get(option, {}), **words}
    compare(documented, module.SPEC.options, NAME)
    assert module.SPEC.options["password"]["no_log"] is True


def test_examples_pass_the_spec() -> None:
    module = load(NAME)
    tasks = [task[f"onprem.autoscale.{NAME}"] for task in yaml.safe_load(module.EXAMPLES)]
    assert len(tasks) == 3
    for options in tasks:
        assert not ArgumentSpecValidator(module.SPEC.options).validate(options).error_messages
