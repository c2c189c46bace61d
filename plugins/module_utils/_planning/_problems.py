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

    def __init__(
        self, origin: str = "", *, what: str = "scaling group", lines: t.Mapping[str, int] | None = None
    ) -> None:
        """*lines* tells the line of a field; what is missing is told at what it is missing from."""
        self._origin = origin
        self._what = what
        self._lines = lines or {}
        self._rows: list[dict[str, t.Any]] = []

    def add(self, field: str, value: t.Any, allowed: str, note: str = "") -> None:
        """*value* of *field* is wrong; ``MISSING`` when it is not there at all. The same field and text count once."""
        shown = "missing" if value is MISSING else _short(value)
        name = field or self._what.rpartition(" ")[2]
        text = f"{name}: value is {shown}{f' ({note})' if note else ''}; allowed: {allowed}"
        row = {"field": field, "value": None if value is MISSING else value, "allowed": allowed, "message": text}
        if self._lines:
            row["line"] = self._line(field)
        if all(text != known["message"] for known in self._rows):
            self._rows.append(row)

    def touch(self, field: str) -> bool:
        """Whether *field*, something in it or something around it is already known to be wrong."""
        return any(_related(field, row["field"]) for row in self._rows)

    def give_up_if_any(self) -> None:
        """Raise :class:`InvalidSpecError` when something was added."""
        if not self._rows:
            return
        count = len(self._rows)
        head = f"The {self._what} is not valid, {count} error{'s' if count > 1 else ''}"
        lines = "\n".join(self._place(row) + row["message"] for row in self._rows)
        errors = [{**row, "origin": self._origin} for row in self._rows]
        raise InvalidSpecError(f"{head}:\n{lines}", result={"errors": errors})

    def _line(self, field: str) -> int:
        while field and field not in self._lines:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return self._lines.get(field, 1)

    def _place(self, row: t.Mapping[str, t.Any]) -> str:
        place = f"{self._origin}:" if self._origin else ""
        if "line" in row:
            place += f"{row['line']}:" if self._origin else f"line {row['line']}:"
        return f"{place} " if place else ""

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
