# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

VMware Avi Load Balancer (NSX ALB): GSLB services, and who leads the sites that answer for them.
"""

from __future__ import annotations

from ._apply import Job, Outcome
from ._client import CONNECTION_SPEC, connect
from ._merge import check_wish

__all__ = ["CONNECTION_SPEC", "Job", "Outcome", "check_wish", "connect"]
