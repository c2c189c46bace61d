# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a lab several times a second while a play runs, and notes what must never be seen."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from .site_kit import Site

INTERVAL_S = 0.25


class Watch:
    """Use as a context manager around a play; then read ``seen``.

    :param size: the bounds of the group, ``min`` and ``max``; base members count.
    """

    def __init__(self, site: Site, size: Mapping[str, int]) -> None:
        self.site = site
        self.size = size
        self.samples = 0
        self.seen: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, ValueError, KeyError):
                # VMs first: a member that is there later than its VM was seen must have one.
                self.look(self.site.vm_rows(), self.site.member_rows())
            self._stop.wait(INTERVAL_S)

    def look(self, vms: list[dict[str, Any]], members: list[dict[str, Any]]) -> None:
        """Compare one sample with invariants 1, 2 and 4."""
        self.samples += 1
        vms = [vm for vm in vms if vm["name"] != "web-golden"]
        if len(vms) > self.size["max"]:
            self._note(f"{len(vms)} VMs, the maximum is {self.size['max']}: {sorted(vm['name'] for vm in vms)}")
        enabled = [row for row in members if row["session"] in ("monitor-enabled", "user-enabled")]
        if len(enabled) < self.size["min"]:
            self._note(f"{len(enabled)} members enabled, the minimum is {self.size['min']}")
        running = {vm["address"] for vm in vms if vm["power"] == "poweredOn"}
        for row in enabled:
            if row["address"] not in running:
                self._note(f"member {row['address']} is enabled without a running VM")

    def _note(self, text: str) -> None:
        if text not in self.seen:
            self.seen.append(text)
