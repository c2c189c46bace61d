# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A YAML file that a person wrote, with the line of each field, so that an error can name it.
"""

from __future__ import annotations

import typing as t

from ._errors import AutoscaleError, InvalidSpecError
from ._yaml import HAS_YAML, yaml


def load_with_lines(text: str, *, origin: str = "") -> tuple[t.Any, dict[str, int]]:
    """What *text* holds, and the line of each field by its path, such as ``services[0].name``; ``""`` is the first.

    :raises InvalidSpecError: no YAML, or a key that is there twice (YAML takes the last one without a word).
    """
    if not HAS_YAML:
        raise AutoscaleError("The Python library PyYAML is missing", remedy="pip install PyYAML")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[str, int] = {}
        if root is not None:
            _walk(root, "", lines, origin)
        return yaml.safe_load(text), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise InvalidSpecError(f"{_place(origin, mark.line + 1 if mark else 1)} this is no YAML: {reason}") from error
    except RecursionError as error:
        raise InvalidSpecError(f"{_place(origin, 1)} an alias holds itself") from error


def _walk(node: t.Any, path: str, lines: dict[str, int], origin: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise InvalidSpecError(
                    f"{_place(origin, line)} the key {name!r} stands in line {seen[name]}, too; allowed: each key once"
                )
            seen[name] = line
            field = f"{path}.{name}" if path else name
            lines[field] = line
            _walk(value, field, lines, origin)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{path}[{index}]", lines, origin)


def _place(origin: str, line: int) -> str:
    return f"{origin}:{line}:" if origin else f"line {line}:"
