# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the states share: many members side by side, a row for each, and the 95th percentile.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import typing as t

#: Members beyond this number wait for a free thread; their time starts when they get one.
MAX_THREADS = 64
Member = t.Mapping[str, str]


@dataclasses.dataclass
class Row:
    """What came out for one member; ``more`` is what its state adds."""

    name: str
    address: str
    failed: bool
    msg: str
    seconds: float
    more: dict[str, t.Any]

    def as_dict(self) -> dict[str, t.Any]:
        """A row of the module's result."""
        return {
            "name": self.name,
            "address": self.address,
            "changed": False,
            "failed": self.failed,
            "msg": f"{self.name} ({self.address}): {self.msg}" if self.failed else self.msg,  # as people read it alone
            "seconds": round(self.seconds, 3),
            **self.more,
        }


def side_by_side(members: t.Sequence[Member], work: t.Callable[[Member], t.Any]) -> list[t.Any]:
    """What *work* makes of each member, in their order."""
    if not members:
        return []
    with concurrent.futures.ThreadPoolExecutor(min(len(members), MAX_THREADS)) as pool:
        return list(pool.map(work, members))


def p95(values: t.Sequence[float]) -> float | None:
    """The 95th percentile, a value that was seen; ``None`` of nothing."""
    ordered = sorted(values)
    return round(ordered[math.ceil(0.95 * len(ordered)) - 1], 4) if ordered else None
