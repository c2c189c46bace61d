# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery plans for tests."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import RecoveryPlan, parse_plan

PLAN: dict[str, t.Any] = {
    "name": "shop",
    "pattern": "warm_standby",
    "sites": {"primary": "a", "secondary": "b"},
    "targets": {"rto": 300, "rpo": 60},
    "services": [
        {"name": "web", "kind": "group", "group": "web", "serving": 2, "standby": 1, "needs": ["database", "settings"]},
        {"name": "database", "kind": "data", "store": "demo", "replication": "synchronous"},
        {"name": "models", "kind": "models", "project": "models"},
        {"name": "settings", "kind": "settings", "folder": "settings/shop"},
    ],
    "traffic": {
        "type": "f5",
        "name": "www.shop.example",
        "f5": {"pool": "shop", "members": {"a": "site-a:shop-vip", "b": "site-b:shop-vip"}},
        "resolvers": [{"address": "192.0.2.53"}],
        "ttl": 5,
    },
    "check": {"hosts": {"a": "192.0.2.10", "b": "198.51.100.10"}},
    "outage": {"selector": 'probe_success{job="shop"}'},
    "drill": {
        "network": "isolated",
        "pool": {"start": "10.9.0.10", "end": "10.9.0.19"},
        "cidr": "10.9.0.0/24",
        "vip": "10.9.0.5",
    },
}
#: What makes the same plan one of each pattern: replication, standby.
OF_PATTERN = {"pilot_light": ("dump", 0), "warm_standby": ("synchronous", 1), "active_active": ("synchronous", 2)}


def declared(pattern: str = "warm_standby", **changes: t.Any) -> dict[str, t.Any]:
    """The plan of that pattern; *changes* replace whole fields."""
    data = copy.deepcopy(PLAN)
    data["pattern"] = pattern
    data["services"][1]["replication"], data["services"][0]["standby"] = OF_PATTERN[pattern]
    return {**data, **changes}


def plan_of(pattern: str = "warm_standby", **changes: t.Any) -> RecoveryPlan:
    """The same, parsed."""
    return parse_plan(declared(pattern, **changes))
