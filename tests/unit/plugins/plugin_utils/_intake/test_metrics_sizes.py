# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group is allowed and what it has, as metrics: what the dashboards and alert rules stand on (A12)."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._groups import Bounds, Groups

WEB = {
    "name": "web",
    "size": {"min": 2, "max": 6},
    "policies": [{"type": "threshold", "out": {"cpu": 80}, "in": {"cpu": 30}}],
    "vm": {"template": "t", "datacenter": "d", "cluster": "c", "datastore": "s"},
    "network": {
        "name": "n", "start": "10.1.0.10", "end": "10.1.0.19", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1",
    },
    "load_balancer": {"pool": "p", "port": 80, "vip": "10.1.0.15:80", "health_path": "/"},
    "base_members": [{"name": "b1", "address": "10.1.0.2"}, {"name": "b2", "address": "10.1.0.3"}],
}  # fmt: skip


def declare(folder: t.Any, group: t.Mapping[str, t.Any]) -> None:
    (folder / f"{group['name']}.yml").write_text(yaml.safe_dump(dict(group)))


def test_bounds_of_a_declaration(tmp_path: t.Any) -> None:
    """The VIP lies in the pool and is never given out; a declaration with errors is known, and has no bounds."""
    declare(tmp_path, WEB)
    declare(tmp_path, {**WEB, "name": "api", "size": {"min": 3, "max": 2}})
    groups = Groups(tmp_path)
    assert groups.bounds == {}
    assert groups.refresh() == {"web": True, "api": True}
    assert groups.bounds == {"web": Bounds(min=2, max=6, base=2, addresses=9)}
    declare(tmp_path, {**WEB, "size": {"min": 2, "max": 16}, "name": "web", "description": "x"})
    groups.refresh()
    assert groups.bounds == {}, "what was right before is not shown for what is wrong now"


async def test_metrics_of_sizes(bench: t.Any) -> None:
    """Members by state, base members included, and addresses; a group that goes takes its series with it."""
    declare(bench.folder / "groups", WEB)
    with bench.ledger.write() as connection:
        for name, state in (("a", "in_service"), ("b", "in_service"), ("c", "quarantined"), ("d", "removed")):
            values = {"group_name": "web", "name": name, "state": state, "created_at": 1, "updated_at": 1}
            connection.execute(sa.insert(tables.members).values(**values))
        row = {"address": "10.1.0.10", "group_name": "web", "member": "a", "leased_at": 1}
        connection.execute(sa.insert(tables.leases).values(**row))
    await bench.passes()
    assert (bench.metric("group_size_min", group="web"), bench.metric("group_size_max", group="web")) == (2, 6)
    states = ("base", "planned", "launching", "in_service", "draining", "failed", "quarantined", "removed")
    assert [bench.metric("group_members", group="web", state=state) for state in states] == [2, 0, 0, 2, 0, 0, 1, None]
    assert bench.metric("group_addresses", group="web") == 9
    assert bench.metric("group_addresses_leased", group="web") == 1
    assert bench.metric("group_size_min", group="api") is None, "its declaration holds no more than a name"
    declare(bench.folder / "groups", {"name": "db", "enabled": False})
    await bench.passes()
    assert [bench.metric("group_enabled", group=group) for group in ("web", "db", "none")] == [1, 0, None]
    (bench.folder / "groups" / "web.yml").unlink()
    with bench.ledger.write() as connection:
        connection.execute(sa.delete(tables.members))
        connection.execute(sa.delete(tables.leases))
    await bench.passes()
    assert bench.metric("group_size_min", group="web") is None
    assert bench.metric("group_members", group="web", state="in_service") is None
    assert bench.metric("group_addresses_leased", group="web") is None


async def test_metrics_of_a_cold_start(bench: t.Any) -> None:
    """B3: of the last launch, its slowest host."""
    ident = bench.ledger.start_action("gpu", "out", owner="me", ttl=100)
    rows = [{"host": host, "stage": "load", "seconds": seconds} for host, seconds in (("a", 9.5), ("b", 12.0))]
    bench.ledger.finish_action(ident, state="succeeded", cold_start=rows)
    await bench.passes()
    assert bench.metric("cold_start_seconds", group="gpu", stage="load") == 12.0
