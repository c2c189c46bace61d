# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Collects what is wrong with a declaration, so that a person reads all of it at once.
"""

from __future__ import annotations

import typing as t

from .._common._errors import InvalidSpecError

MISSING: t.Any = object()


class Problems:
    """A growing list of ``field: value is ...; allowed: ...``."""

    def __init__(self, origin: str = "") -> None:
        self._origin = origin
        self._rows: list[dict[str, t.Any]] = []

    def add(self, field: str, value: t.Any, allowed: str, note: str = "") -> None:
        """*value* of *field* is wrong; ``MISSING`` when it is not there at all. The same field and text count once."""
        shown = "missing" if value is MISSING else _short(value)
        text = f"{field or 'group'}: value is {shown}{f' ({note})' if note else ''}; allowed: {allowed}"
        row = {"field": field, "value": None if value is MISSING else value, "allowed": allowed, "message": text}
        if all(text != known["message"] for known in self._rows):
            self._rows.append(row)

    def touch(self, field: str) -> bool:
        """Whether *field*, something in it or something around it is already known to be wrong."""
        return any(_related(field, row["field"]) for row in self._rows)

    def give_up_if_any(self) -> None:
        """Raise :class:`InvalidSpecError` when something was added."""
        if not self._rows:
            return
        prefix = f"{self._origin}: " if self._origin else ""
        count = len(self._rows)
        head = f"The scaling group is not valid, {count} error{'s' if count > 1 else ''}"
        lines = "\n".join(prefix + row["message"] for row in self._rows)
        errors = [{**row, "origin": self._origin} for row in self._rows]
        raise InvalidSpecError(f"{head}:\n{lines}", result={"errors": errors})

    def give_up_unless(self, possible: bool) -> None:
        """Raise when nothing more can be checked."""
        if not possible:
            self.give_up_if_any()


def _related(one: str, other: str) -> bool:
    if one == other or not other or not one:
        return True
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and long[len(short)] in ".["


def _short(value: t.Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
