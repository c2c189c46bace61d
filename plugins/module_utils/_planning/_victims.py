# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Who leaves (A7): unhealthy members first, then the newest or the oldest; base and protected members never
(invariant 10). Nor does who is in quarantine, which has its own end, or whose VM vCenter does not show.
"""

from __future__ import annotations

import re
import typing as t

from ._names import time_of_name
from ._state import Member

_DIGITS = re.compile(r"(\d+)")


def may_leave(member: Member) -> bool:
    """Whether *member* can be a victim at all: ours, not protected, and with a VM that can go."""
    return not (member.base or member.protected or member.in_flight or member.quarantined or member.missing)


def may_be_evicted(member: Member) -> bool:
    """Whether *member* stands in quarantine and its VM can be deleted to make room."""
    return member.quarantined and not (member.base or member.protected or member.missing)


def left_over(member: Member) -> bool:
    """Whether an earlier scale-in drained *member* and failed before its VM was gone. Only a scale-in can end that."""
    return may_leave(member) and member.state == "draining" and not member.in_service


def _age_key(member: Member) -> tuple[float, list[t.Any]]:
    """Older first. The name decides between VMs of one action: -2 is younger than -1, and -10 than -9."""
    created = member.created if member.created is not None else time_of_name(member.name)
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(member.name) if part]
    return (created if created is not None else 0.0, parts)


def oldest_quarantined(members: t.Iterable[Member]) -> list[Member]:
    """Those in quarantine that may be deleted, the one that stands there longest first."""

    def since(member: Member) -> float:
        return member.quarantined_at if member.quarantined_at is not None else (member.created or 0.0)

    return sorted(filter(may_be_evicted, members), key=lambda member: (since(member), _age_key(member)))


def choose_victims(members: t.Iterable[Member], count: int, order: str) -> list[Member]:
    """At most *count* members to remove.

    :param order: ``newest`` or ``oldest`` first; a member that is known to be unhealthy always goes before.
        Unknown health is read as healthy (invariant 9).
    """
    by_age = sorted(filter(may_leave, members), key=_age_key, reverse=order == "newest")
    by_age.sort(key=lambda member: member.healthy is not False)
    return by_age[: max(0, count)]
