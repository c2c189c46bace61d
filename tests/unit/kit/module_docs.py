# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module by its name, and its documentation held against its argument spec."""

from __future__ import annotations

import importlib
import typing as t

#: What both say of an option, and what it is when they do not.
KEYS = {"type": "str", "elements": None, "required": False, "default": None, "choices": None}


def load(name: str) -> t.Any:
    """The module *name* (short name), imported."""
    return importlib.import_module(f"ansible_collections.onprem.autoscale.plugins.modules.{name}")


def compare(documented: dict[str, t.Any], spec: dict[str, t.Any], where: str) -> None:
    """Assert that options and suboptions are the same in both: names, types, defaults, choices, what is required."""
    assert set(documented) == set(spec), where
    for option, text in documented.items():
        for key, plain in KEYS.items():
            assert text.get(key, plain) == spec[option].get(key, plain), f"{where}.{option}.{key}"
        if "options" in spec[option]:
            compare(text["suboptions"], spec[option]["options"], f"{where}.{option}")
