# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``/mgmt/tm/gtm``: what a path names, changing it, showing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import gtm_schema as schema
from .errors import unknown_path
from .gtm_model import Gtm
from .gtm_view import GtmView
from .names import from_uri
from .target import Target


def locate(parts: list[str]) -> Target:
    """The target of a path below ``/mgmt/tm/gtm``, without ``stats`` at its end.

    :raises ApiError: 404 for a path that names nothing.
    """
    kind, rest = (parts[1], parts[2:]) if len(parts) > 1 else ("", [])
    if kind in {"datacenter", "server"} and len(rest) <= 1:
        return Target(f"gtm {kind}", from_uri(rest[0]) if rest else "")
    if kind == "server" and rest[1] == "virtual-servers" and len(rest) <= 3:
        # A virtual server is named in its server; where its own name is a path it is one here, too.
        name = rest[2].replace("~", "/") if len(rest) == 3 else ""
        return Target("gtm virtual", name, from_uri(rest[0]))
    if kind in {"pool", "wideip"} and 1 <= len(rest) <= 2 and rest[0] in schema.TYPES:
        return Target(f"gtm {kind}", from_uri(rest[1]) if len(rest) == 2 else "", kind=rest[0])
    if kind == "pool" and 3 <= len(rest) <= 4 and rest[0] in schema.TYPES and rest[2] == "members":
        return Target("gtm member", from_uri(rest[3]) if len(rest) == 4 else "", from_uri(rest[1]), rest[0])
    if kind == "monitor" and 1 <= len(rest) <= 2 and rest[0] in schema.MONITORS:
        return Target("gtm monitor", from_uri(rest[1]) if len(rest) == 2 else "", kind=rest[0])
    raise unknown_path(f"/mgmt/tm/{'/'.join(parts)}")


def where(target: Target) -> tuple[str, ...]:
    """What stands before the name in the calls of the model: type of record, server or pool."""
    return tuple(filter(None, (target.kind, target.parent)))


def create(gtm: Gtm, target: Target, body: Mapping[str, Any]) -> str:
    """POST; the path of the new object."""
    return getattr(gtm, f"create_{target.type[4:]}")(*where(target), body)


def modify(gtm: Gtm, target: Target, body: Mapping[str, Any]) -> None:
    """PATCH and PUT."""
    getattr(gtm, f"modify_{target.type[4:]}")(*where(target), target.path, body)


def delete(gtm: Gtm, target: Target) -> None:
    """DELETE."""
    getattr(gtm, f"delete_{target.type[4:]}")(*where(target), target.path)


def show(view: GtmView, target: Target, *, expand: bool = False) -> dict[str, Any]:
    """The body of a target, object or collection."""
    more = {"expand": expand} if target.type in {"gtm server", "gtm pool"} else {}
    name = target.type[4:]
    if target.path:
        return getattr(view, name)(*where(target), target.path, **more)
    return getattr(view, f"{name}s")(*where(target), **more)


def show_stats(view: GtmView, target: Target) -> dict[str, Any]:
    """The stats of a target: of members one or all, of anything else one."""
    if target.type == "gtm member":
        return view.member_stats(target.kind, target.parent, [target.path] if target.path else None)
    if target.path and target.type == "gtm pool":
        return view.pool_stats(target.kind, target.path)
    if target.path and target.type == "gtm wideip":
        return view.wideip_stats(target.kind, target.path)
    if target.path and target.type == "gtm virtual":
        return view.virtual_stats(target.parent, target.path)
    raise unknown_path(f"/mgmt/tm/{target.type.replace(' ', '/')}/stats")
