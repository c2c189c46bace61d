# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What may be done with a group at all: processes that a person suspended, the breaker, and the site's right to act.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._breaker import Breaker
from ._state import _Row

LAUNCH, TERMINATE, REPLACE = "launch", "terminate", "replace"
PROCESSES = (LAUNCH, TERMINATE, REPLACE)


@dataclasses.dataclass(frozen=True)
class Controls(_Row):
    """Bounds that do not come from the declaration.

    :param suspended: of ``launch``, ``terminate``, ``replace``; ``all`` stands for the three.
    :param not_holder: why this site may not act on the group, as another one holds its epoch (D6); empty: it may.
    """

    suspended: frozenset[str] = frozenset()
    breaker: Breaker = dataclasses.field(default_factory=Breaker)
    not_holder: str = ""

    def __post_init__(self) -> None:
        given = frozenset(self.suspended or ())
        object.__setattr__(self, "suspended", frozenset(PROCESSES) if "all" in given else given)
        breaker = self.breaker
        if not isinstance(breaker, Breaker):
            object.__setattr__(self, "breaker", Breaker.from_dict(breaker or {}))

    def as_dict(self) -> dict[str, t.Any]:
        """Plain data: ``{suspended: [..], breaker: {..}, not_holder: ..}``."""
        return {
            "suspended": sorted(self.suspended),
            "breaker": self.breaker.as_dict(),
            "not_holder": self.not_holder,
        }
