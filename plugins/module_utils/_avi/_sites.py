# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The sites of a GSLB federation as one controller sees them: who leads, and whether that one is reached.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import AutoscaleError, NotFoundError, RefusedError

if t.TYPE_CHECKING:
    from ._client import Controller


@dataclasses.dataclass(frozen=True)
class Federation:
    """``reached`` and ``is_local`` are None where the controller does not tell."""

    leader: str
    leader_address: str
    local: str
    cluster_uuid: str
    is_local: bool | None
    reached: bool | None
    by_members: bool
    maintenance: bool
    leader_change: bool

    @property
    def accepts(self) -> str:
        """What this controller takes now: ``all``, ``switches`` of groups and members, ``nothing``, or ``unknown``."""
        if self.maintenance:
            return "nothing"
        if self.is_local is None:
            return "unknown"
        return "all" if self.is_local else "switches" if self.by_members else "nothing"

    def row(self) -> dict[str, t.Any]:
        """What modules return as ``leader``."""
        return {"name": self.leader, "reached": self.reached, "is_local": self.is_local}


def read_federation(controller: Controller) -> Federation:
    """:raises NotFoundError: GSLB is not set up there."""
    found = list(controller.objects("gslb"))
    if not found:
        raise NotFoundError(
            f"GSLB is not set up on {controller.name}",
            remedy="Give the controller of a site that belongs to the federation; followers have the object, too.",
        )
    gslb = found[0]
    try:
        own = str(controller.get("cluster").get("uuid", ""))
    except RefusedError:  # a role for GSLB need not see the cluster; whether it leads, its answer to a write tells
        own = ""
    sites = {site.get("cluster_uuid"): site for site in gslb.get("sites") or []}
    leading = gslb.get("leader_cluster_uuid", "")
    leader = sites.get(leading, {})
    addresses = [one.get("addr") for one in leader.get("ip_addresses") or []]
    is_local = leading == own if own else None
    return Federation(
        leader=leader.get("name") or leading,
        leader_address=next(filter(None, [leader.get("address"), *addresses]), ""),
        local=sites.get(own, {}).get("name") or own,
        cluster_uuid=own,
        is_local=is_local,
        reached=True if is_local else _reached(controller, gslb, leading),
        by_members=bool(gslb.get("enable_config_by_members")),
        maintenance=bool(gslb.get("maintenance_mode")),
        leader_change=bool((gslb.get("leader_change_info") or {}).get("enabled", True)),
    )


def _reached(controller: Controller, gslb: t.Mapping[str, t.Any], leading: str) -> bool | None:
    """What this controller knows of the leader; how that is nested differs between releases, so it is looked for."""
    try:
        runtime = controller.get(f"gslb/{gslb['uuid']}/runtime")
    except AutoscaleError:
        return None
    for row in _walk(runtime):
        if row.get("cluster_uuid") != leading:
            continue
        for name in ("oper_status", "status_info"):
            state = (row.get(name) or {}).get("state") if isinstance(row.get(name), dict) else None
            if state:
                return state == "OPER_UP"
    return None


def _walk(value: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _walk(one)


def take_over(controller: Controller, federation: Federation) -> None:
    """Make the site of *controller* the leader."""
    controller.call("POST", "gslbsiteops/changeleader", {"new_leader": federation.cluster_uuid})
