# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The third-party libraries of the receiver, imported in one place: without them every file here can still be imported
(Ansible's own tests demand that), and the program says which one is missing before it does anything.
"""

from __future__ import annotations

MISSING = ""

try:
    import aiohttp
    import jsonschema
    import prometheus_client
    import tenacity
    from aiohttp import web
except ImportError as error:
    MISSING = error.name or str(error)
    aiohttp = jsonschema = prometheus_client = tenacity = web = None  # type: ignore[assignment]

__all__ = ["MISSING", "aiohttp", "jsonschema", "prometheus_client", "tenacity", "web"]
