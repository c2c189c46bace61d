# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

VMware Data Services Manager: PostgreSQL clusters as objects of its Kubernetes API.
"""

from __future__ import annotations

from ._apply import Outcome, absent, present
from ._client import CONNECTION_SPEC, HAS_KUBERNETES, KUBERNETES_IMPORT_ERROR, connect
from ._info import HAS_JMESPATH, JMESPATH_IMPORT_ERROR, backups, clusters, write_passfile
from ._objects import Objects
from ._restore import restore

__all__ = [
    "CONNECTION_SPEC",
    "HAS_JMESPATH",
    "HAS_KUBERNETES",
    "JMESPATH_IMPORT_ERROR",
    "KUBERNETES_IMPORT_ERROR",
    "Objects",
    "Outcome",
    "absent",
    "backups",
    "clusters",
    "connect",
    "present",
    "restore",
    "write_passfile",
]
