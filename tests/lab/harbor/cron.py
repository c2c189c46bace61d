# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron with six fields, seconds first."""

from __future__ import annotations

import re

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = {**{name: number for number, name in enumerate(_DAYS)}, **{name: n for n, name in enumerate(_MONTHS, 1)}}
_PART = re.compile(r"^(?:(\*|\?)|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/([0-9]+))?$")


def valid(text: str) -> bool:
    """Whether *text* has six fields within their bounds."""
    fields = text.split()
    return len(fields) == len(_BOUNDS) and all(
        _valid(part, *bounds) for field, bounds in zip(fields, _BOUNDS, strict=True) for part in field.split(",")
    )


def _valid(part: str, low: int, high: int) -> bool:
    found = _PART.match(part.lower())
    if not found:
        return False
    _star, first, last, step = found.groups()
    numbers = [_NAMES.get(word, -1) if not word.isdigit() else int(word) for word in (first, last) if word]
    return all(low <= number <= high for number in numbers) and numbers == sorted(numbers) and step != "0"
