# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Harbor: registries, replication policies, and what came of their runs.
"""

from __future__ import annotations

from ._client import CONNECTION_SPEC, connect
from ._info import describe
from ._policy import POLICY_OPTIONS, Policies
from ._registry import REGISTRY_OPTIONS, Registries
from ._run import Runs, last_success

__all__ = [
    "CONNECTION_SPEC",
    "POLICY_OPTIONS",
    "REGISTRY_OPTIONS",
    "Policies",
    "Registries",
    "Runs",
    "connect",
    "describe",
    "last_success",
]
