# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The base of the declaration's values: frozen, hashable, and plain data again.
"""

from __future__ import annotations

import dataclasses
import typing as t


class _Value:
    """Turns itself into plain data; ``in_`` and ``for_`` stand for the fields ``in`` and ``for``."""

    def as_dict(self) -> dict[str, t.Any]:
        """Plain dicts and lists, with every field."""
        return {f.name.rstrip("_"): _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, _Value):
        return value.as_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _build(kind: type, data: t.Mapping[str, t.Any], **extra: t.Any) -> t.Any:
    """*kind* from *data*; lists become tuples, ``extra`` wins."""
    values = dict(extra)
    for field in dataclasses.fields(kind):
        key = field.name.rstrip("_")
        if field.name not in values and key in data:
            value = data[key]
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _optional(kind: type, data: t.Mapping[str, t.Any] | None) -> t.Any:
    return None if data is None else _build(kind, data)
