# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Names of VMs, made from the stored time of an action, never from the clock at the clone: a repeated step makes the same
names.
"""

from __future__ import annotations

import calendar
import re
import time
import typing as t

_STAMP = re.compile(r"-(\d{14})(?:-\d+)?$")


def member_names(prefix: str, stored_time: float, count: int) -> list[str]:
    """``<prefix>-YYYYMMDDHHMMSS`` for one member; with ``-1``, ``-2``, ... for several (A6).

    :param stored_time: seconds since the epoch; the names show UTC.
    """
    stem = f"{prefix}-{time.strftime('%Y%m%d%H%M%S', time.gmtime(stored_time))}"
    return [stem] if count == 1 else [f"{stem}-{slot}" for slot in range(1, count + 1)]


def unused_names(prefix: str, stored_time: float, count: int, used: t.Collection[str]) -> list[str]:
    """As :func:`member_names`, moved on by whole seconds until none is in *used* (two actions within one second)."""
    names = member_names(prefix, stored_time, count)
    while not set(used).isdisjoint(names):
        stored_time += 1
        names = member_names(prefix, stored_time, count)
    return names


def time_of_name(name: str) -> float | None:
    """When a VM of this name was planned, seconds since the epoch; None when the name does not say."""
    match = _STAMP.search(name)
    if not match:
        return None
    try:
        return float(calendar.timegm(time.strptime(match[1], "%Y%m%d%H%M%S")))
    except ValueError:
        return None
