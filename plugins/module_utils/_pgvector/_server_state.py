# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

A server's version, place in its log, replicas, slots and receiver; and the index builds that run now.
"""

from __future__ import annotations

import typing as t

from ._build import percent
from ._connection import Session

_WHOLE = (
    "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,"
    " (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,"
    " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn,"
    # The control file's timeline is that of the last checkpoint: behind, just after a promotion.
    " CASE WHEN pg_is_in_recovery() THEN"
    "  coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline"
)
_REPLICAS = (
    "SELECT application_name AS name, host(client_addr) AS address, state, sync_state,"
    " pg_wal_lsn_diff(%s::pg_lsn, replay_lsn)::bigint AS lag_bytes FROM pg_stat_replication ORDER BY 1, 2, pid"
)
_SLOTS = (
    "SELECT slot_name AS name, active, pg_wal_lsn_diff(%s::pg_lsn, restart_lsn)::bigint AS retained_bytes"
    " FROM pg_replication_slots ORDER BY 1"
)
_RECEIVER = (
    "SELECT r.status, r.slot_name AS slot, pg_last_wal_receive_lsn()::text AS received_lsn,"
    " pg_last_wal_replay_lsn()::text AS replayed_lsn,"
    " pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint AS lag_bytes"
    " FROM (SELECT 1) AS one LEFT JOIN pg_stat_wal_receiver r ON true"
)


def read_server(session: Session) -> dict[str, t.Any]:
    """Of a primary or a standby. What only ``pg_monitor`` may see of replicas is null for others."""
    server = session.row(_WHOLE)
    return {
        **server,
        "replicas": session.rows(_REPLICAS, [server["lsn"]]),
        "slots": session.rows(_SLOTS, [server["lsn"]]),
        "receiver": session.row(_RECEIVER) if server["in_recovery"] else None,
    }


def read_builds(session: Session) -> list[dict[str, t.Any]]:
    """The indexes that are built in this database now."""
    rows = session.rows(
        "SELECT p.*, n.nspname || '.' || c.relname AS index FROM pg_stat_progress_create_index p"
        " LEFT JOIN pg_class c ON c.oid = p.index_relid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE p.datname = current_database() ORDER BY p.pid"
    )
    return [{"index": row["index"], "phase": row["phase"], "percent": percent(row)} for row in rows]
