# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Rows as readers get them: steps, events, breaker and suspended processes.
"""

from __future__ import annotations

import typing as t

from ._locks import Row, one
from ._schema import HAS_SQLALCHEMY, tables

if HAS_SQLALCHEMY:
    import sqlalchemy as sa

BREAKER_KEYS = ("state", "failures", "opened_at", "probe_at", "probes")


def rows_of(connection: sa.Connection, query: sa.Select) -> list[Row]:
    """All rows as dicts."""
    return [dict(row) for row in connection.execute(query).mappings()]


def step_rows(connection: sa.Connection, ident: str) -> list[Row]:
    """Steps of an action in order: ``step, state, started_at, ended_at, seconds, detail``; ``seconds`` is null while
    it runs."""
    steps = tables.steps.c
    query = sa.select(steps.ordinal, steps.step, steps.state, steps.started_at, steps.ended_at, steps.detail)
    found = rows_of(connection, query.where(steps.action == ident).order_by(steps.ordinal))
    for row in found:
        row["seconds"] = None if row["ended_at"] is None else round(row["ended_at"] - row["started_at"], 3)
    return found


def event_rows(connection: sa.Connection, *where: t.Any, limit: int | None = None) -> list[Row]:
    """Events, the newest first, with ``direction``, ``owner`` and ``started_at`` of their action where it is known."""
    events, actions = tables.events, tables.actions
    query = (
        sa.select(events, actions.c.direction, actions.c.owner, actions.c.started_at)
        .join_from(events, actions, events.c.action == actions.c.ident, isouter=True)
        .where(*where)
        .order_by(events.c.id.desc())
    )
    found = rows_of(connection, query if limit is None else query.limit(limit))
    for row in found:
        row["group"] = row.pop("group_name")
        row["cold_start"] = row["cold_start"] or []
        row["seconds"] = None if row["started_at"] is None else round(row["at"] - row["started_at"], 3)
    return found


def event_kind(direction: str) -> str:
    """``scale_out``, ``scale_in`` or ``reconcile``."""
    return direction if direction == "reconcile" else f"scale_{direction}"


def unwritten_event(action: Row) -> Row:
    """What the event of an ended *action* would say, had one been written; its ``id`` is ``None``."""
    told = ("source", "reason", "code", "message", "count_before", "count_after", "direction", "owner", "started_at")
    return {
        "id": None,
        "group": action["group_name"],
        "action": action["ident"],
        "kind": event_kind(action["direction"]),
        "at": action["ended_at"],
        "result": action["state"],
        "members": [],
        "steps": [],
        "cold_start": [],
        "seconds": round(action["ended_at"] - action["started_at"], 3),
        **{key: action[key] for key in told},
    }


def breaker_row(connection: sa.Connection, group: str) -> Row | None:
    """``state, failures, opened_at, probe_at, probes``; ``None`` when nothing was ever counted."""
    stored = one(connection, tables.breakers, tables.breakers.c.group_name == group)
    return {key: stored[key] for key in BREAKER_KEYS} | {"failures": stored["failures"] or []} if stored else None


def suspended_rows(connection: sa.Connection, group: str) -> list[Row]:
    """``process, since, by, reason`` of each suspended process."""
    rows = tables.suspensions.c
    query = sa.select(rows.process, rows.since, rows.by, rows.reason).where(rows.group_name == group)
    return [dict(row) for row in connection.execute(query.order_by(rows.process)).mappings()]
