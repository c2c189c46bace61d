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

#: The only state of a ledger's row that says that there is no VM any more.
_GONE = "removed"
_TRUE = ("true", "yes", "1", "on")
_FALSE = ("", "false", "no", "0", "off")


def observe(
    spec: GroupSpec,
    *,
    vms: Rows | None,
    pool_members: Rows | None,
    targets: Rows | None,
    ledger_members: Rows | None,
) -> Observed:
    """One group as its backends show it. ``None`` for a source means that it could not be read.

    A row of the ledger that vCenter does not show counts as a member that is *missing*, whatever its state: a listing
    that is late or wrong never makes room (invariants 1, 9). Only a reconcile that looked again by name takes it away.
    Such a member does not count as in service, even where the load balancer still says so: without its VM it cannot
    serve, and counting it would let a scale-in take one that can (invariants 2, 9).

    :param vms: rows ``{name, moid, address, power_state, marks, created, is_template}``; only those with the group's
        mark and base members count.
    :param pool_members: rows ``{address, port, availability, in_service}`` of the group's pool.
    :param targets: rows ``{address, labels}`` of the group's Prometheus job; each counts, whatever its health (A5).
    :param ledger_members: rows ``{name, address, moid, state, created_at, unhealthy_since, missing_since,
        quarantined_at, note}``.
    """
    members = {row.name: Member(row.name, row.address, base=True, healthy=None) for row in spec.base_members}
    base_names = {member.address: member.name for member in members.values()}
    _add_vms(spec, members, base_names, vms or ())
    _add_ledger(spec, members, ledger_members or (), shown=vms is not None)
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


def is_quarantined(marks: t.Mapping[str, t.Any]) -> bool:
    """Whether the marks of a VM say so; the value may be the time at which it began."""
    return str(marks.get("quarantined") or "").lower() not in _FALSE


def is_protected(marks: t.Mapping[str, t.Any]) -> bool:
    """Whether the marks of a VM protect it from scale-in and from being replaced."""
    return str(marks.get("protected", "")).lower() in _TRUE


def is_on(row: Row) -> bool | None:
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
        running = is_on(row)
        healthy = False if running is False else None
        base = row["name"] if row["name"] in members and members[row["name"]].base else base_names.get(address)
        if base:
            members[base] = dataclasses.replace(members[base], moid=row.get("moid") or "", healthy=healthy)
        elif marks.get("group") == spec.name:
            quarantined = is_quarantined(marks)
            members[_key(members, row)] = Member(
                row["name"],
                address,
                row.get("moid") or "",
                created=seconds(row.get("created")) or time_of_name(row["name"]),
                protected=is_protected(marks),
                healthy=False if quarantined else healthy,
                quarantined=quarantined,
                quarantined_at=seconds(marks.get("quarantined")) if quarantined else None,
            )


def _key(members: t.Mapping[str, Member], row: Row) -> str:
    """The name; two VMs of one name (in two folders) are two members."""
    return row["name"] if row["name"] not in members else f"{row['name']} {row.get('moid') or len(members)}"


def _add_ledger(spec: GroupSpec, members: dict[str, Member], rows: Rows, *, shown: bool) -> None:
    for row in rows:
        if row.get("group_name", spec.name) != spec.name or row.get("state") == _GONE:
            continue
        name, state = row["name"], row.get("state") or ""
        known = members.get(name)
        if known is None:
            created = seconds(row.get("created_at")) or time_of_name(name)
            known = Member(name, moid=row.get("moid") or "", created=created, healthy=None, missing=shown)
        elif known.base:
            continue
        quarantined = known.quarantined or state == "quarantined"
        members[name] = dataclasses.replace(
            known,
            address=known.address or row.get("address") or "",
            healthy=False if quarantined or state == "failed" else known.healthy,
            state=state,
            quarantined=quarantined,
            unhealthy_since=row.get("unhealthy_since"),
            missing_since=row.get("missing_since"),
            quarantined_at=row.get("quarantined_at") or known.quarantined_at,
            note=row.get("note") or "",
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
        serves = bool(row.get("in_service")) and member.healthy is not False and not member.missing
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
