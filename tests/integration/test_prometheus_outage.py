# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An outage, as a real Prometheus has sampled it (D4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration import prometheus_fixtures as kit

from lab.kit import wait_for

CONFIG = """\
scrape_configs:
  - job_name: shop
    scrape_interval: 100ms
    scrape_timeout: 100ms
    static_configs: [{{targets: ["{address}"]}}]
"""
SELECTOR = 'up{job="shop"}'


def test_an_outage_is_read_from_raw_samples(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """D4: lost, while it lasts, and served again; a selector that is none is refused with Prometheus' words."""
    exporter = kit.Exporter()
    with contextlib.ExitStack() as stack:
        stack.callback(exporter.close)
        server = stack.enter_context(kit.prometheus(tmp_path, CONFIG.format(address=exporter.address)))

        def ask(**changes: Any) -> dict[str, Any]:
            return run_module("prometheus_outage_info", {"url": server.url, "selector": SELECTOR, **changes})

        up = wait_for(lambda: (seen := ask()) and len(seen["series"]) == 1 and seen["sample_s"] and seen)
        assert not up["changed"]
        assert (up["lost_at"], up["blind"]) == (None, False)
        exporter.close()
        lost = wait_for(lambda: (seen := ask()) and seen["failing"] and seen)
        assert lost["served_at"] is None

        port = int(exporter.address.rpartition(":")[2])
        again = kit.Exporter(port)
        stack.callback(again.close)
        served = wait_for(lambda: (seen := ask(since=lost["lost_at"])) and seen["served_at"] and seen)
        assert served["lost_at"] == lost["lost_at"] < served["outages"][0]["failed_at"] < served["served_at"]
        assert ask(since=served["served_at"] + 1)["outages"] == []

        refused = ask(selector="up - 1")
        assert refused["failed"]
        assert "does not take the selector up - 1" in refused["msg"]
        assert run_module("prometheus_outage_info", {"url": server.url, "selector": SELECTOR, "lookback": 0})["failed"]
