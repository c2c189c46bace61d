# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path of REST names."""

from __future__ import annotations

import dataclasses

from .names import split_path


@dataclasses.dataclass(frozen=True)
class Target:
    """An object, or a collection when its own path is empty.

    ``parent``: pool or server, type of a monitor. ``kind``: record type of a pool or wide IP of BIG-IP DNS.
    """

    type: str
    path: str = ""
    parent: str = ""
    kind: str = ""

    @property
    def partition(self) -> str | None:
        where = self.path or (self.parent if self.type in {"member", "gtm member"} else "")
        return split_path(where)[0] if where.startswith("/") else None
