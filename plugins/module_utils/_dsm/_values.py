# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

When two values of a spec are the same although they are written differently.
"""

from __future__ import annotations

import re
import typing as t
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from .._common._errors import InvalidSpecError

_UNITS = {
    "": 1, "m": Decimal("0.001"), "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
_QUANTITY = re.compile(r"^([0-9.]+)([A-Za-z]*)$")
_DURATION = re.compile(r"(?P<number>[0-9.]+)(?P<unit>ms|h|m|s)")
_SECONDS = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_TIMESTAMP = re.compile(
    r"^(?P<date>\d{4}-\d\d-\d\d)[Tt](?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9}))?(?P<zone>[Zz]|[+-]\d\d:\d\d)$"
)


def quantity(value: t.Any) -> Decimal | None:
    """A Kubernetes quantity as a number; None when it is none."""
    match = _QUANTITY.match(str(value).strip())
    if not match or match[2] not in _UNITS:
        return None
    try:
        return Decimal(match[1]) * _UNITS[match[2]]
    except InvalidOperation:
        return None


def duration(value: t.Any) -> Decimal | None:
    """A duration such as ``4h0m0s`` in seconds; None when it is none."""
    text = str(value).strip()
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    try:
        return sum((Decimal(part["number"]) * _SECONDS[part["unit"]] for part in parts), Decimal(0))
    except InvalidOperation:
        return None


def instant(value: str) -> datetime:
    """A time of RFC 3339. :raises InvalidSpecError: it is none, or has no zone."""
    match = _TIMESTAMP.match(value)
    try:
        if not match:
            raise ValueError(value)
        plain = datetime.strptime(f"{match['date']}T{match['clock']}", "%Y-%m-%dT%H:%M:%S")
        zone = match["zone"]
        if zone in "Zz":
            offset = timedelta(0)
        else:
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:])) * (-1 if zone[0] == "-" else 1)
    except ValueError:
        raise InvalidSpecError(
            f"timestamp: value is {value!r}; allowed: RFC 3339 with a zone, like 2026-05-01T12:00:00Z"
        ) from None
    micro = int((match["part"] or "0").ljust(6, "0")[:6])
    return (plain - offset).replace(tzinfo=timezone.utc, microsecond=micro)


def same_quantity(one: t.Any, other: t.Any) -> bool:
    """Whether ``1Ti`` and ``1024Gi`` are written."""
    return one == other or (quantity(one) is not None and quantity(one) == quantity(other))


def same_duration(one: t.Any, other: t.Any) -> bool:
    """Whether ``4h`` and ``4h0m0s`` are written."""
    return one == other or (duration(one) is not None and duration(one) == duration(other))


def same_version(live: t.Any, wanted: t.Any) -> bool:
    """Whether the live version is what the server made of the wanted one: ``16.8+vmware.v9`` of ``16``."""
    live, wanted = str(live), str(wanted)
    return live == wanted or live.startswith((f"{wanted}.", f"{wanted}+"))
