# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Merges what vCenter, the load balancer, Prometheus and the ledger say about a group into one :class:`Observed`.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ._names import time_of_name
from ._spec import GroupSpec
from ._state import Member, Observed

Row = t.Mapping[str, t.Any]
Rows = t.Iterable[Row]

#: States of the ledger in which a member counts though vCenter may not show its VM yet.
_IN_FLIGHT = ("planned", "launching")
_TRUE = ("true", "yes", "1", "on")


def observe(
    spec: GroupSpec,
    *,
    vms: Rows | None,
    pool_members: Rows | None,
    targets: Rows | None,
    ledger_members: Rows | None,
) -> Observed:
    """One group as its backends show it. ``None`` for a source means that it could not be read.

    :param vms: rows ``{name, moid, address, power_state, marks, created, is_template}``; only those with the group's
        mark and base members count.
    :param pool_members: rows ``{address, port, availability, in_service}`` of the group's pool.
    :param targets: rows ``{address, labels}`` of the group's Prometheus job; each counts, whatever its health (A5).
    :param ledger_members: rows ``{name, address, moid, state, created_at}``.
    """
    members = {row.name: Member(row.name, row.address, base=True, healthy=None) for row in spec.base_members}
    base_names = {member.address: member.name for member in members.values()}
    _add_vms(spec, members, base_names, vms or ())
    _add_ledger(spec, members, ledger_members or ())
    served = _add_pool(spec, members, pool_members or ())
    registered = _add_targets(spec, members, targets or ())
    unread = [name for name, rows in (("vms", vms), ("ledger", ledger_members)) if rows is None]
    return Observed(
        members=tuple(members.values()),
        registered=None if targets is None else registered,
        in_service=None if pool_members is None else served,
        unread=tuple(unread),
    )


def seconds(value: t.Any) -> float | None:
    """Seconds since the epoch from a number or an ISO 8601 text (UTC where it names no zone); None for neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.timezone.utc)
    return parsed.timestamp()


def bare_address(value: t.Any) -> str:
    """``10.0.0.1`` from ``10.0.0.1:9100``, ``http://10.0.0.1:9100/metrics`` or ``10.0.0.1%2``."""
    text = str(value or "").rpartition("://")[2].partition("/")[0].partition("%")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _is_on(row: Row) -> bool | None:
    """Whether a VM runs; None when its row does not say."""
    state = str(row.get("power_state") or "").lower()
    return state.endswith("on") if state else None


def _add_vms(
    spec: GroupSpec, members: dict[str, Member], base_names: t.Mapping[str, str], rows: t.Iterable[Row]
) -> None:
    for row in rows:
        if row.get("is_template"):
            continue
        address, marks = bare_address(row.get("address")), row.get("marks") or {}
        running = _is_on(row)
        healthy = False if running is False else None
        base = row["name"] if row["name"] in members and members[row["name"]].base else base_names.get(address)
        if base:
            members[base] = dataclasses.replace(members[base], moid=row.get("moid") or "", healthy=healthy)
        elif marks.get("group") == spec.name:
            members[_key(members, row)] = Member(
                row["name"],
                address,
                row.get("moid") or "",
                created=seconds(row.get("created")) or time_of_name(row["name"]),
                protected=str(marks.get("protected", "")).lower() in _TRUE,
                healthy=healthy,
            )


def _key(members: t.Mapping[str, Member], row: Row) -> str:
    """The name; two VMs of one name (in two folders) are two members."""
    return row["name"] if row["name"] not in members else f"{row['name']} {row.get('moid') or len(members)}"


def _add_ledger(spec: GroupSpec, members: dict[str, Member], rows: Rows) -> None:
    for row in rows:
        if row.get("group_name", spec.name) != spec.name:
            continue
        name, state = row["name"], row.get("state") or ""
        known = members.get(name)
        if known is None:
            if state in _IN_FLIGHT:
                created = seconds(row.get("created_at")) or time_of_name(name)
                members[name] = Member(
                    name, row.get("address") or "", row.get("moid") or "", created, healthy=None, state=state
                )
        elif not known.base:
            members[name] = dataclasses.replace(
                known,
                address=known.address or row.get("address") or "",
                healthy=False if state == "failed" else known.healthy,
                state=state,
            )


def _by_address(members: t.Mapping[str, Member]) -> dict[str, str]:
    return {member.address: key for key, member in members.items() if member.address}


def _add_pool(spec: GroupSpec, members: dict[str, Member], rows: Rows) -> int:
    """Mark who is in service, and count them; pool members that are nobody of the group do not count (invariant 9)."""
    keys = _by_address(members)
    for row in rows:
        key = keys.get(bare_address(row.get("address")))
        if key is None or int(row.get("port") or spec.load_balancer.port) != spec.load_balancer.port:
            continue
        member = members[key]
        healthy = member.healthy
        if healthy is None:
            healthy = {"available": True, "offline": False}.get(str(row.get("availability") or ""))
        serves = bool(row.get("in_service")) and member.healthy is not False
        members[key] = dataclasses.replace(member, healthy=healthy, in_service=serves)
    return sum(member.in_service for member in members.values())


def _add_targets(spec: GroupSpec, members: dict[str, Member], rows: Rows) -> int:
    """Mark who is registered, and count the job's targets, each address once."""
    keys = _by_address(members)
    seen = set()
    for row in rows:
        labels = row.get("labels") or {}
        if labels.get("job", spec.monitoring.job) != spec.monitoring.job:
            continue
        address = bare_address(row.get("address"))
        seen.add(address)
        if address in keys:
            members[keys[address]] = dataclasses.replace(members[keys[address]], registered=True)
    return len(seen)
