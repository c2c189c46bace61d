# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's state as its parts show it, never through the collection's own code."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any


def get_text(url: str) -> str:
    """The body that a GET answers."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def get_json(url: str) -> Any:
    """The JSON that a GET answers."""
    return json.loads(get_text(url))


class Outside:
    """What vCenter, BIG-IP, the target file and the ledger's file hold now.

    :param lab: what lab.json says.
    :param group: whose pool and target file are looked at.
    """

    def __init__(self, lab: dict[str, Any], group: str = "web") -> None:
        self.lab = lab
        self.group = group
        self.target_file = Path(lab["prometheus"]["file_sd_dir"]) / f"{group}.json"
        self.ledger_file = Path(lab["ledger"].removeprefix("sqlite:///"))

    def vm_rows(self) -> list[dict[str, Any]]:
        """VMs of vCenter's inventory, templates left out."""
        return [row for row in get_json(self.lab["vcenter"]["control"] + "/vms") if not row.get("template")]

    def member_rows(self) -> list[dict[str, Any]]:
        """Members of the group's pool."""
        pools = get_json(self.lab["bigip"]["control"] + "/state")["pools"]
        return list(next(pool for pool in pools if pool["name"].endswith(f"/{self.group}-pool"))["members"])

    def target_addresses(self) -> list[str]:
        """Addresses in the group's file_sd file, which must exist."""
        return [target for entry in json.loads(self.target_file.read_text()) for target in entry["targets"]]

    def is_told(self) -> bool:
        """Whether Prometheus has read the group's file as it is now; it looks at most every 5 s."""
        rows = get_json(f"{self.lab['prometheus']['url']}/api/v1/targets?state=active")["data"]["activeTargets"]
        seen = {row["discoveredLabels"]["__address__"] for row in rows if row["scrapePool"] == self.group}
        base = {f"{address}:9100" for address in self.lab["base_members"].values()}
        return seen - base == set(self.target_addresses()) - base

    def ledger(self, query: str) -> list[dict[str, Any]]:
        """Rows of the ledger's file, opened to read."""
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger_file}?mode=ro", uri=True, timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]
