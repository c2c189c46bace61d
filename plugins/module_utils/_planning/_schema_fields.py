# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Makers of the schema's fields: each has a type, a title, a description, an example, and a default where it is optional.
"""

from __future__ import annotations

import typing as t

_NONE: t.Any = object()


def _field(
    kind: t.Any, title: str, description: str, default: t.Any, examples: t.Any, **rules: t.Any
) -> dict[str, t.Any]:
    field: dict[str, t.Any] = {"type": kind, "title": title, "description": description, **rules}
    if default is not _NONE:
        field["default"] = default
    field["examples"] = examples
    return field


def _text(title: str, description: str, example: str, default: t.Any = _NONE, **rules: t.Any) -> dict[str, t.Any]:
    """Text; a default of None makes it optional (null means "not given")."""
    kind: t.Any = ["string", "null"] if default is None else "string"
    if default != "":
        rules.setdefault("minLength", 1)
    return _field(kind, title, description, default, [example], **rules)


def _whole(title: str, description: str, example: int, low: int, high: int, default: t.Any = _NONE) -> dict[str, t.Any]:
    kind: t.Any = ["integer", "null"] if default is None else "integer"
    return _field(kind, title, description, default, [example], minimum=low, maximum=high)


def _number(
    title: str, description: str, default: float | None, example: float, *, nullable: bool = True, **rules: t.Any
) -> dict[str, t.Any]:
    return _field(["number", "null"] if nullable else "number", title, description, default, [example], **rules)


def _percent(title: str, description: str, example: float, default: float | None = None) -> dict[str, t.Any]:
    return _number(title, description, default, example, minimum=0, maximum=100)


def _choice(title: str, description: str, choices: list[str], default: t.Any = _NONE) -> dict[str, t.Any]:
    return _field("string", title, description, default, [choices[0]], enum=choices)


def _flag(title: str, description: str, default: bool) -> dict[str, t.Any]:
    return _field("boolean", title, description, default, [default])


def _list(title: str, description: str, items: dict[str, t.Any], example: t.Any, **rules: t.Any) -> dict[str, t.Any]:
    default = rules.pop("default", _NONE)
    return _field("array", title, description, default, [example], items=items, **rules)


def _object(
    title: str, description: str, properties: dict[str, t.Any], example: t.Any, *, default: t.Any = _NONE,
    required: tuple[str, ...] = (), nullable: bool = False,
) -> dict[str, t.Any]:  # fmt: skip
    rules: dict[str, t.Any] = {"properties": properties, "additionalProperties": False}
    if required:
        rules["required"] = list(required)
    return _field(["object", "null"] if nullable else "object", title, description, default, [example], **rules)


def _seconds(title: str, description: str, default: t.Any, low: int = 1, high: int = 86400) -> dict[str, t.Any]:
    return _whole(title, f"{description} In seconds.", default or 60, low, high, default)


def _port(title: str, description: str, example: int, default: t.Any = _NONE) -> dict[str, t.Any]:
    return _whole(title, description, example, 1, 65535, default)
