# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

When a schedule of five fields is due next, in UTC. DSM also writes ``1/1`` for "each, from the first".
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAMES: tuple[dict[str, int], ...] = (
    {}, {}, {},
    {name: number for number, name in enumerate(_MONTHS, 1)},
    {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))},
)  # fmt: skip
#: 29 February on a certain day of the week comes back within this.
_DAYS = 366 * 12 + 1


def following(schedule: str, now: datetime) -> str:
    """The next time after *now*, like ``2026-05-01T01:00:00Z``; empty when there is none, or it cannot be read."""
    fields = schedule.split()
    try:
        if len(fields) != len(_RANGES):
            return ""
        minutes, hours, days, months, weekdays = (_values(text, number) for number, text in enumerate(fields))
    except ValueError:
        return ""
    weekdays = {day % 7 for day in weekdays}
    every_day, every_weekday = days == set(range(1, 32)), weekdays == set(range(7))
    start = now.astimezone(timezone.utc).replace(second=0, microsecond=0) + timedelta(minutes=1)
    for offset in range(_DAYS):
        day = (start + timedelta(days=offset)).replace(hour=0, minute=0) if offset else start
        if day.month not in months:
            continue
        by_date, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        # Cron's rule: where both are restricted, either is enough.
        fits = by_date and by_weekday if every_day or every_weekday else by_date or by_weekday
        if not fits:
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                if (hour, minute) >= (day.hour, day.minute):
                    return day.replace(hour=hour, minute=minute).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ""


def _values(text: str, number: int) -> set[int]:
    """The numbers that one field stands for. :raises ValueError: it cannot be read."""
    low, high = _RANGES[number]
    found: set[int] = set()
    for part in text.upper().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            begin = _number(first, number)
            end = _number(last, number) if dash else high if slash else begin
        every = int(step) if slash else 1
        if every < 1 or not low <= begin <= end <= high:
            raise ValueError(text)
        found.update(range(begin, end + 1, every))
    return found


def _number(text: str, field: int) -> int:
    names = _NAMES[field]
    return names[text] if text in names else int(text)
