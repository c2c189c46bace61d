# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

PyYAML, if it is there: ansible-core brings it on the controller, a monitoring host may lack it.
"""

from __future__ import annotations

import traceback

__all__ = ["HAS_YAML", "YAML_IMPORT_ERROR", "yaml"]

try:
    import yaml

    HAS_YAML = True
    YAML_IMPORT_ERROR: str | None = None
except ImportError:
    yaml = None  # type: ignore[assignment]
    HAS_YAML = False
    YAML_IMPORT_ERROR = traceback.format_exc()
