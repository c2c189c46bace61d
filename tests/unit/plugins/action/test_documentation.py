# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of an action plugin and its options say the same: nobody else checks that."""

from __future__ import annotations

import importlib

import pytest
import yaml

PLUGINS = "ansible_collections.onprem.autoscale.plugins"
NAMES = ("scaling_action", "scaling_group_info", "scaling_plan", "site_epoch")


def compare(documented, options, where):
    assert documented.keys() == options.keys(), where
    for name, option in options.items():
        text, path = documented[name], f"{where}.{name}"
        assert text["type"] == option["type"], path
        assert text.get("required", False) == option.get("required", False), path
        for key in ("elements", "choices", "default", "aliases"):
            assert text.get(key) == option.get(key), f"{path}: {key}"
        compare(text.get("suboptions", {}), option.get("options", {}), path)


@pytest.mark.parametrize("name", NAMES)
def test_documented_options_are_those_of_the_plugin(name):
    action = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    compare(yaml.safe_load(module.DOCUMENTATION)["options"], action.OPTIONS, name)


@pytest.mark.parametrize("name", NAMES)
def test_examples_and_returns_are_yaml_and_complete(name):
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    action = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    for task in yaml.safe_load(module.EXAMPLES):
        args = task.get(f"onprem.autoscale.{name}")
        assert args is None or args.keys() <= {"ledger", *action.OPTIONS}
    for value in yaml.safe_load(module.RETURN).values():
        assert {"description", "returned", "type"} <= value.keys()
