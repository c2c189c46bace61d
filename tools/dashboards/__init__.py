# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Grafana dashboards (A12), as typed Python; their JSON is kept in roles/group_monitoring/files/dashboards.

`make dashboards` writes the JSON; a test fails when it differs from what the code here says.
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from .fleet import fleet
from .group import group
from .model import model

FOLDER = Path(__file__).resolve().parents[2] / "roles" / "group_monitoring" / "files" / "dashboards"
PAGES = {"group.json": group, "fleet.json": fleet, "model.json": model}


def render(page: Dashboard) -> str:
    """The JSON as it is kept in the repository."""
    return json.dumps(page, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
