# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller without PostgreSQL: every cluster is Ready at once, at an address where nobody listens."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from .api import DATABASES, Api, ApiError


class Controller:
    """Stands in for ``controller.Controller`` where only the API is tested."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self.folder = folder

    async def run(self) -> None:
        """Answer every change of a spec until it is cancelled."""
        async for kind, cluster in self._api.watch(DATABASES, "postgresclusters"):
            meta = cluster["metadata"]
            rows = cluster.get("status", {}).get("conditions", [{}])
            if kind != "DELETED" and rows[0].get("observedGeneration") != meta["generation"]:
                with contextlib.suppress(ApiError):  # it is gone again
                    await self._ready(cluster)

    async def stop(self) -> None:
        """Nothing runs."""

    async def _ready(self, cluster: dict[str, Any]) -> None:
        meta, spec = cluster["metadata"], cluster["spec"]
        secret = spec.get("adminPasswordRef", {}).get("name")
        if secret is None:
            secret = f"{meta['name']}-admin"
            data = {"metadata": {"name": secret}, "stringData": {"password": "not-a-real-one"}}
            await self._api.apply("", "secrets", meta["namespace"], {"apiVersion": "v1", "kind": "Secret", **data})
        row = {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "observedGeneration": meta["generation"],
            "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        connection = {
            "host": "127.0.0.1",
            "port": 9,
            "dbname": spec["databaseName"],
            "username": spec["adminUsername"],
            "passwordRef": {"name": secret},
        }
        status = {"conditions": [row], "connection": connection}
        await self._api.patch_status(DATABASES, "postgresclusters", meta["namespace"], meta["name"], status)
