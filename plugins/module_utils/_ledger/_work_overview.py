# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What stands around the groups' ``work`` rows, of all groups at once: one query a table, inside the caller's transaction.
"""

from __future__ import annotations

import collections
import typing as t

from ._schema import HAS_SQLALCHEMY, tables
from ._work_rows import Around, Overview, Reconciled

if HAS_SQLALCHEMY:
    import sqlalchemy as sa


def living_nodes(connection: sa.Connection, now: float) -> frozenset[str]:
    """Dispatchers that were heard of within their ttl."""
    controllers = tables.controllers
    return frozenset(connection.scalars(sa.select(controllers.c.node).where(controllers.c.expires_at > now)))


def _suspended(connection: sa.Connection) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = collections.defaultdict(set)
    for row in connection.execute(sa.select(tables.suspensions.c["group_name", "process"])):
        found[row.group_name].add(row.process)
    return {group: frozenset(processes) for group, processes in found.items()}


def around(connection: sa.Connection, now: float) -> Around:
    """What decides about starting and following, at *now*."""
    cooldowns, locks, breakers = tables.cooldowns, tables.locks, tables.breakers
    cooling: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for row in connection.execute(sa.select(cooldowns).where(cooldowns.c.until > now)):
        cooling[row.group_name][row.direction] = row.until
    held = connection.execute(sa.select(locks).where(locks.c.expires_at > now))
    is_open = (breakers.c.state == "open", breakers.c.probe_at > now)
    return Around(
        cooling=cooling,
        locks={row.group_name: (row.action or row.owner, row.expires_at) for row in held},
        suspended=_suspended(connection),
        probes={row.group_name: row.probe_at for row in connection.execute(sa.select(breakers).where(*is_open))},
        nodes=living_nodes(connection, now),
    )


def overview(connection: sa.Connection, now: float) -> Overview:
    """What the metrics show, at *now*."""
    locks, breakers, leases = tables.locks, tables.breakers, tables.leases
    count = sa.func.count().label("count")
    members = _members(connection)
    leased = connection.execute(sa.select(leases.c.group_name, count).group_by(leases.c.group_name))
    return Overview(
        controllers=tuple(sorted(living_nodes(connection, now))),
        locks={row.group_name: row.expires_at for row in connection.execute(sa.select(locks))},
        breakers={row.group_name: row.state for row in connection.execute(sa.select(breakers))},
        suspended=_suspended(connection),
        quarantined={group: states["quarantined"] for group, states in members.items() if "quarantined" in states},
        reconciled={
            row.group_name: Reconciled(row.at, _kinds(row.findings), _numbers(row.leaked))
            for row in connection.execute(sa.select(tables.reconciliations))
        },
        members=members,
        leases={row.group_name: row.count for row in leased},
        cold_starts=_cold_starts(connection),
    )


def _cold_starts(connection: sa.Connection) -> dict[str, dict[str, float]]:
    """Of each group's last launch that recorded one."""
    events = tables.events.c
    last = sa.select(sa.func.max(events.id)).where(events.cold_start.is_not(None)).group_by(events.group_name)
    found: dict[str, dict[str, float]] = {}
    for row in connection.execute(sa.select(events.group_name, events.cold_start).where(events.id.in_(last))):
        stages = found.setdefault(row.group_name, {})
        for entry in row.cold_start:
            stages[entry["stage"]] = max(stages.get(entry["stage"], 0.0), entry["seconds"])
    return found


def _members(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """How many of each group are in each state."""
    columns = tables.members.c["group_name", "state"]
    found: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for row in connection.execute(sa.select(*columns, sa.func.count().label("count")).group_by(*columns)):
        found[row.group_name][row.state] = row.count
    return dict(found)


def _kinds(findings: t.Iterable[t.Mapping[str, t.Any]] | None) -> dict[str, int]:
    return dict(collections.Counter(str(finding.get("kind", "")) for finding in findings or ()))


def _numbers(leaked: t.Mapping[str, t.Any] | None) -> dict[str, int]:
    """How many of each; a writer may give their names instead."""
    return {what: found if isinstance(found, int) else len(found or ()) for what, found in (leaked or {}).items()}
