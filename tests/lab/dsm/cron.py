# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a schedule of five fields (minute, hour, day, month, weekday) means a minute; ``1/2`` is 1, 3, 5 ..."""

from __future__ import annotations

from datetime import datetime

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES: tuple[dict[str, int], ...] = (
    {},
    {},
    {},
    {name: number for number, name in enumerate(_MONTHS, 1)},
    {name: number for number, name in enumerate(_DAYS)},
)


def parse(schedule: str) -> list[set[int]]:
    """The values that each field allows; ``ValueError`` when it is no schedule."""
    fields = schedule.split()
    if len(fields) != len(_RANGES):
        raise ValueError(f"{schedule!r} has {len(fields)} fields, not 5")
    return [_values(field, index) for index, field in enumerate(fields)]


def matches(schedule: str, moment: datetime) -> bool:
    """Whether *moment*'s minute is meant; as in cron, one of day and weekday is enough where both are given."""
    minute, hour, day, month, weekday = parse(schedule)
    weekday = {number % 7 for number in weekday}
    if moment.minute not in minute or moment.hour not in hour or moment.month not in month:
        return False
    fields = schedule.split()
    days = [moment.day in day, moment.isoweekday() % 7 in weekday]
    return any(days) if fields[2] != "*" and fields[4] != "*" else all(days)


def _values(field: str, index: int) -> set[int]:
    low, high = _RANGES[index]
    found: set[int] = set()
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in {"*", "?"}:
            begin, end = low, high
        else:
            begin = _number(first, index)
            end = _number(last, index) if dash else high if slash else begin
        if not low <= begin <= end <= high or (slash and (not step.isdigit() or int(step) < 1)):
            raise ValueError(f"{field!r} is not a range from {low} to {high}")
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _number(text: str, index: int) -> int:
    if text in _NAMES[index]:
        return _NAMES[index][text]
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)
