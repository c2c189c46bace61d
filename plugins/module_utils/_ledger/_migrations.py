# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Steps from one version of the ledger's schema to the next. A new store is made straight from the tables in ``_schema``.

Never change an entry that was released: append one. That is why they are plain SQL, which both databases understand,
and do not look at the tables as they are today.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    import sqlalchemy as sa


def _to_2(connection: sa.Connection) -> None:
    """Health and quarantine of members, fenced locks, the reconcile's work, breakers, suspensions, controllers."""
    for table, column in (
        ("members", "unhealthy_since DOUBLE PRECISION"),
        ("members", "missing_since DOUBLE PRECISION"),
        ("members", "quarantined_at DOUBLE PRECISION"),
        ("members", "note TEXT DEFAULT '' NOT NULL"),
        ("actions", "attempt INTEGER"),
        ("locks", "attempt INTEGER"),
        ("work", "dirty_reconcile DOUBLE PRECISION"),
        ("work", "reconciled_at DOUBLE PRECISION"),
    ):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    for table in (
        """breakers (group_name TEXT NOT NULL, state TEXT DEFAULT '' NOT NULL, failures JSON,
        opened_at DOUBLE PRECISION, probe_at DOUBLE PRECISION, probes INTEGER DEFAULT 0 NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL, CONSTRAINT pk_breakers PRIMARY KEY (group_name))""",
        """suspensions (group_name TEXT NOT NULL, process TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
        "by" TEXT DEFAULT '' NOT NULL, reason TEXT DEFAULT '' NOT NULL,
        CONSTRAINT pk_suspensions PRIMARY KEY (group_name, process))""",
        """controllers (node TEXT NOT NULL, started_at DOUBLE PRECISION NOT NULL,
        heartbeat_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
        CONSTRAINT pk_controllers PRIMARY KEY (node))""",
        """reconciliations (group_name TEXT NOT NULL, action TEXT DEFAULT '' NOT NULL, at DOUBLE PRECISION NOT NULL,
        findings JSON, leaked JSON, CONSTRAINT pk_reconciliations PRIMARY KEY (group_name))""",
    ):
        connection.exec_driver_sql(f"CREATE TABLE {table}")


def _to_3(connection: sa.Connection) -> None:
    """How long the stages of a launch took, for model endpoints."""
    connection.exec_driver_sql("ALTER TABLE events ADD COLUMN cold_start JSON")
    connection.exec_driver_sql(
        "CREATE INDEX ix_events_cold_start ON events (group_name, id) WHERE cold_start IS NOT NULL"
    )


def _to_4(connection: sa.Connection) -> None:
    """Which site may act on the groups of a scope."""
    connection.exec_driver_sql(
        """CREATE TABLE epochs (scope TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT DEFAULT '' NOT NULL,
        alone BOOLEAN NOT NULL, granted_at DOUBLE PRECISION NOT NULL, "by" TEXT DEFAULT '' NOT NULL,
        reason TEXT DEFAULT '' NOT NULL, CONSTRAINT pk_epochs PRIMARY KEY (scope))"""
    )


#: One function a version step: ``MIGRATIONS[i](connection)`` turns a store of version ``i + 1`` into ``i + 2``.
MIGRATIONS: tuple[t.Callable[[sa.Connection], None], ...] = (_to_2, _to_3, _to_4)
