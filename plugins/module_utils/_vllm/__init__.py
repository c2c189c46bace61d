# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Model endpoints: does one serve (by tokens, not by its health page), is it warm, is nobody served any more.
"""

from __future__ import annotations

from ._client import Connection, check_members, connection_spec, members_spec
from ._drain import drain_many
from ._info import info_many
from ._ready import ready_many
from ._warm import warm_many

__all__ = [
    "Connection",
    "check_members",
    "connection_spec",
    "drain_many",
    "info_many",
    "members_spec",
    "ready_many",
    "warm_many",
]
