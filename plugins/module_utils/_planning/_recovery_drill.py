# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A drill: what it must not share with production, and its members. The plan is the full form that ``parse_plan`` gives.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

#: The mark of everything that a drill makes, and the beginning of its names.
MARK = "drill"
_LONGEST = 63  # of a host name
_STREAM = ("name", "pid", "state", "sync_state")  # as long as the process that sends is the same one, nothing was cut
_LAG = 16 * 1024 * 1024  # a segment of log

Spec = t.Mapping[str, t.Any]


def drill_refusals(plan: t.Mapping[str, t.Any], specs: t.Mapping[str, t.Sequence[Spec]]) -> list[str]:
    """Why the drill of a plan would touch production; empty when it would not.

    :param specs: by site, the full declarations of the plan's groups there.
    """
    drill = plan.get("drill")
    if not drill:
        return [f"Plan {plan['name']} has no drill: it does not say where a rehearsal is apart from production."]
    pool, vip = _range(drill["pool"]), ipaddress.ip_address(drill["vip"])
    said = []
    if vip in pool:
        said.append(f"drill.vip {vip} lies in drill.pool; take one outside {pool}.")
    groups = {spec["name"] for rows in specs.values() for spec in rows}
    wanted = len(groups) * drill["members"]
    if wanted > len(pool):
        said.append(
            f"drill.pool has {len(pool)} addresses, and {len(groups)} groups of {drill['members']} want {wanted}."
        )
    for site, rows in specs.items():
        for spec in rows:
            said += [f"Group {spec['name']} at site {site}: {text}" for text in _shared(drill, pool, vip, spec)]
    return said


def drill_members(plan: t.Mapping[str, t.Any], groups: t.Sequence[str], run: str) -> list[dict[str, str]]:
    """The VMs of a drill: ``group``, ``name``, ``address``. The run is in each name."""
    pool = iter(_range(plan["drill"]["pool"]))
    tail = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    rows = []
    for group in groups:
        for number in range(1, plan["drill"]["members"] + 1):
            end = f"-{tail}-{number}"
            name = f"{MARK}-{group}"[: _LONGEST - len(end)].rstrip("-") + end
            rows.append({"group": group, "name": name, "address": str(next(pool))})
    return rows


def drill_differences(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> list[str]:
    """What of production is not as it was: who follows which store, and which sites the GSLB sends traffic to.

    A lag moves with the load; it counts from where log that nobody has replayed piles up.
    """
    said = []
    for store, old in before["streams"].items():
        new = {row["slot"]: row for row in after["streams"].get(store) or []}
        for row in old:
            now = new.get(row["slot"]) or {}
            changed = [f"{key} was {row[key]}, is {now.get(key)}" for key in _STREAM if row[key] != now.get(key)]
            if changed:
                said.append(f"Replication of {store} by slot {row['slot']}: {', '.join(changed)}.")
            elif (now.get("lag_bytes") or 0) > max(row["lag_bytes"] or 0, _LAG):
                said.append(f"Replication of {store} by slot {row['slot']} is {now['lag_bytes']} bytes behind.")
        gained = sorted(set(new) - {row["slot"] for row in old})
        said += [f"Store {store} has a new slot {slot}." for slot in gained]
    for site, old in before["gslb"].items():
        now = after["gslb"].get(site) or {}
        for key in ("reached", "on"):
            if old.get(key) != now.get(key):
                said.append(f"GSLB at {site}: {key} was {old.get(key)}, is {now.get(key)}.")
    return said


class _Range:
    """Addresses from one to another, both among them."""

    def __init__(self, start: str, end: str) -> None:
        self.first, self.last = ipaddress.ip_address(start), ipaddress.ip_address(end)

    def __len__(self) -> int:
        return max(0, int(self.last) - int(self.first) + 1)

    def __iter__(self) -> t.Iterator[t.Any]:
        return (self.first + offset for offset in range(len(self)))

    def __contains__(self, address: object) -> bool:
        return getattr(address, "version", 0) == self.first.version and int(self.first) <= int(address) <= int(
            self.last
        )

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"

    def overlaps(self, other: _Range) -> bool:
        return self.first in other or self.last in other or other.first in self


def _range(pool: t.Mapping[str, t.Any]) -> _Range:
    return _Range(pool["start"], pool["end"])


def _shared(drill: t.Mapping[str, t.Any], pool: _Range, vip: t.Any, spec: Spec) -> t.Iterator[str]:
    """What a group and the drill would have in common."""
    network = spec["network"]
    if network["name"] == drill["network"]:
        yield (
            f"drill.network is {drill['network']}, its own production network; a drill's members would answer clients. "
            "Make a port group that leads nowhere."
        )
    own = _range(network)
    if pool.overlaps(own):
        yield f"drill.pool {pool} overlaps its addresses {own}."
    if vip in own:
        yield f"drill.vip {vip} lies in its addresses {own}."
    served = str((spec.get("load_balancer") or {}).get("vip") or "").rpartition(":")[0]
    fixed = {"its virtual server": served, "its gateway": str(network.get("gateway") or "")}
    fixed |= {f"its member {row['name']}": row["address"] for row in spec.get("base_members") or []}
    for what, text in fixed.items():
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if address in pool or address == vip:
            yield f"{address} is {what}, and an address of the drill."
