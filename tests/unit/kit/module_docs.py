# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module by its name, and its documentation held against its argument spec."""

from __future__ import annotations

import importlib
import typing as t

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

COLLECTION = "onprem.autoscale"
PLUGINS = "ansible_collections.onprem.autoscale.plugins"

#: What both say of an option, and what it is when they do not.
KEYS = {"type": "str", "elements": None, "required": False, "default": None, "choices": None}


def load(name: str) -> t.Any:
    """The module *name* (short name), imported."""
    return importlib.import_module(f"{PLUGINS}.modules.{name}")


def compare(documented: dict[str, t.Any], spec: dict[str, t.Any], where: str) -> None:
    """Assert that options and suboptions are the same in both: names, types, defaults, choices, what is required."""
    assert set(documented) == set(spec), where
    for option, text in documented.items():
        for key, plain in KEYS.items():
            assert text.get(key, plain) == spec[option].get(key, plain), f"{where}.{option}.{key}"
        if "options" in spec[option]:
            compare(text["suboptions"], spec[option]["options"], f"{where}.{option}")


def documented(name: str) -> dict[str, t.Any]:
    """Options of the documentation, those of its fragments among them; what the module says itself goes first."""
    text = yaml.safe_load(load(name).DOCUMENTATION)
    found: dict[str, t.Any] = {}
    for fragment in text.get("extends_documentation_fragment", ()):
        home, _dot, part = fragment.removeprefix(f"{COLLECTION}.").partition(".")
        fragments = importlib.import_module(f"{PLUGINS}.doc_fragments.{home}").ModuleDocFragment
        found.update(yaml.safe_load(getattr(fragments, (part or "documentation").upper())).get("options", {}))
    for option, words in text["options"].items():
        found[option] = {**found.get(option, {}), **words}
    return found


def check_documentation(name: str) -> None:
    """Assert that the documentation is what the spec says, and that what is returned says when."""
    module = load(name)
    compare(documented(name), module.SPEC.options, name)
    assert yaml.safe_load(module.DOCUMENTATION)["module"] == name
    for key, value in yaml.safe_load(module.RETURN).items():
        assert value["returned"], key


def check_examples(name: str) -> list[dict[str, t.Any]]:
    """Assert that examples pass the spec; the options of each."""
    module = load(name)
    tasks = yaml.safe_load(module.EXAMPLES)
    rows = [task[f"{COLLECTION}.{name}"] or {} for task in tasks if f"{COLLECTION}.{name}" in task]
    assert rows
    for options in rows:
        assert not ArgumentSpecValidator(module.SPEC.options).validate(options).error_messages
    return rows
