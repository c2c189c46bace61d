# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

VMware Private AI Services: its settings as files, and back.
"""

from __future__ import annotations

from ._client import CONNECTION_SPEC, connect
from ._export import export
from ._import import restore
from ._kinds import ORDER
from ._site import Site

__all__ = ["CONNECTION_SPEC", "ORDER", "Site", "connect", "export", "restore"]
