# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

All tables of the ledger, their version and the migrations. Times are seconds since the epoch (float, UTC).

``tables`` is ``None`` when SQLAlchemy is missing, so that this file can always be imported.
"""

from __future__ import annotations

import traceback
import typing as t

from ._migrations import MIGRATIONS

try:
    import sqlalchemy as sa
except ImportError:
    HAS_SQLALCHEMY = False
    SQLALCHEMY_ERROR: str | None = traceback.format_exc()
else:
    HAS_SQLALCHEMY = True
    SQLALCHEMY_ERROR = None


class Tables(t.NamedTuple):
    """The tables by attribute: ``tables.actions.c.ident``."""

    metadata: sa.MetaData
    schema_version: sa.Table
    actions: sa.Table
    steps: sa.Table
    members: sa.Table
    leases: sa.Table
    events: sa.Table
    cooldowns: sa.Table
    locks: sa.Table
    inbox: sa.Table
    work: sa.Table
    breakers: sa.Table
    suspensions: sa.Table
    controllers: sa.Table
    reconciliations: sa.Table
    epochs: sa.Table


def build_tables() -> Tables:
    """A fresh ``MetaData`` with every table of the current version."""
    metadata = sa.MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )

    def text(name: str, *, null: bool = False, default: str | None = "", **kwargs: t.Any) -> sa.Column:
        if null or kwargs.get("primary_key"):
            default = None
        return sa.Column(name, sa.Text, nullable=null, server_default=default, **kwargs)

    def seconds(name: str, *, null: bool = False) -> sa.Column:
        return sa.Column(name, sa.Double, nullable=null)

    def number(name: str, *, null: bool = False, **kwargs: t.Any) -> sa.Column:
        return sa.Column(name, sa.Integer, nullable=null, **kwargs)

    def document(name: str) -> sa.Column:
        return sa.Column(name, sa.JSON(none_as_null=True), nullable=True)

    schema_version = sa.Table("schema_version", metadata, number("version", primary_key=True, autoincrement=False))
    actions = sa.Table(
        "actions",
        metadata,
        text("ident", primary_key=True),
        text("group_name"),
        text("direction"),  # out | in | reconcile
        text("state"),  # running | succeeded | refused | failed | lost
        text("source"),
        text("reason"),
        text("owner"),
        text("code"),
        text("message"),
        document("plan"),
        number("count_before", null=True),
        number("count_after", null=True),
        seconds("started_at"),  # first start; kept when the same ident runs again: VM names come from it
        seconds("ended_at", null=True),
        number("attempt", null=True),  # the highest that a dispatcher launched: a lower one comes too late
        sa.Index("ix_actions_group_name_started_at", "group_name", "started_at"),
        # Invariant 6 in the store itself: at most one action of a group is running.
        sa.Index(
            "uq_actions_running",
            "group_name",
            unique=True,
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        ),
    )
    steps = sa.Table(
        "steps",
        metadata,
        sa.Column("action", sa.Text, sa.ForeignKey("actions.ident", ondelete="CASCADE"), primary_key=True),
        number("ordinal", primary_key=True, autoincrement=False),
        text("step"),
        text("state"),  # running | done | failed
        seconds("started_at"),
        seconds("ended_at", null=True),
        document("detail"),
    )
    members = sa.Table(
        "members",
        metadata,
        text("group_name", primary_key=True),
        text("name", primary_key=True),
        text("action"),
        text("address"),
        text("moid"),
        text("state"),  # planned | launching | in_service | draining | removed | failed | quarantined
        seconds("created_at"),
        seconds("updated_at"),
        seconds("unhealthy_since", null=True),  # null: healthy, or nobody knows
        seconds("missing_since", null=True),  # when a look first did not find its VM
        seconds("quarantined_at", null=True),
        text("note"),  # why it failed or stands in quarantine
    )
    # No foreign key from a lease or a member to an action: after a loss both are rebuilt from the marks in vCenter,
    # and the action that made them is gone then.
    leases = sa.Table(
        "leases",
        metadata,
        text("address", primary_key=True),
        text("group_name"),
        text("member"),
        text("action"),
        seconds("leased_at"),
        sa.UniqueConstraint("group_name", "member"),
    )
    events = sa.Table(
        "events",
        metadata,
        # Plain INTEGER on SQLite: only that one is filled in by itself.
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        text("group_name"),
        text("action"),
        text("kind"),  # scale_out | scale_in for actions, else what the writer says
        seconds("at"),
        text("source"),
        text("reason"),
        text("code"),
        text("result"),
        document("members"),
        number("count_before", null=True),
        number("count_after", null=True),
        document("steps"),
        text("message"),
        document("cold_start"),  # [{host, stage, seconds}] of a launch of model endpoints
        sa.Index("ix_events_group_name_id", "group_name", "id"),
        # Few events have one, and the metrics ask for the last of each group all the time.
        sa.Index(
            "ix_events_cold_start",
            "group_name",
            "id",
            sqlite_where=sa.text("cold_start IS NOT NULL"),
            postgresql_where=sa.text("cold_start IS NOT NULL"),
        ),
        sa.Index("ix_events_action", "action"),
    )
    cooldowns = sa.Table(
        "cooldowns",
        metadata,
        text("group_name", primary_key=True),
        text("direction", primary_key=True),
        seconds("started_at"),
        seconds("until"),
    )
    locks = sa.Table(
        "locks",
        metadata,
        text("group_name", primary_key=True),
        text("owner"),
        text("action"),
        seconds("acquired_at"),
        seconds("heartbeat_at"),
        seconds("expires_at"),
        number(
            "attempt", null=True
        ),  # of the play that holds it, counted up by its dispatcher; a higher one takes over
    )
    inbox = sa.Table(
        "inbox",
        metadata,
        text("key", primary_key=True),  # fingerprint|startsAt|status
        text("group_name"),
        text("direction"),
        text("status"),  # firing | resolved
        seconds("starts_at", null=True),
        seconds("received_at"),
        seconds("last_seen_at"),
        number("seen", server_default="1"),
        document("payload"),
        sa.Index("ix_inbox_group_name_last_seen_at", "group_name", "last_seen_at"),
    )
    work = sa.Table(
        "work",
        metadata,
        text("group_name", primary_key=True),
        number("sequence", server_default="0"),  # of the last ident given out: <group>-<sequence>
        seconds("dirty_out", null=True),  # when a look in this direction was asked for; null = nobody asked
        seconds("dirty_in", null=True),
        seconds("dirty_reconcile", null=True),
        seconds("reconciled_at", null=True),  # when the last reconcile of this group was claimed
        document("signal"),
        text("running", null=True),  # ident
        seconds("running_since", null=True),
        number("attempts", server_default="0"),
        seconds("not_before", null=True),
    )
    breakers = sa.Table(
        "breakers",
        metadata,
        text("group_name", primary_key=True),
        text("state"),  # closed | open | probing
        document("failures"),  # [{at, member, reason}] within the window
        seconds("opened_at", null=True),
        seconds("probe_at", null=True),  # from then on one launch may try
        number("probes", server_default="0"),  # that failed since it opened
        seconds("updated_at"),
    )
    suspensions = sa.Table(
        "suspensions",
        metadata,
        text("group_name", primary_key=True),
        text("process", primary_key=True),  # launch | terminate | replace
        seconds("since"),
        text("by"),
        text("reason"),
    )
    # Who dispatches from this ledger: the actions of one whose entry ran out are taken over by another.
    controllers = sa.Table(
        "controllers",
        metadata,
        text("node", primary_key=True),
        seconds("started_at"),
        seconds("heartbeat_at"),
        seconds("expires_at"),
    )
    # What the last reconcile of each group found.
    reconciliations = sa.Table(
        "reconciliations",
        metadata,
        text("group_name", primary_key=True),
        text("action"),
        seconds("at"),
        document("findings"),
        document("leaked"),  # {vms, members, targets, leases}
    )
    # Which site may act on the groups of a scope; the same record stands in the ledgers of the other sites (D6).
    epochs = sa.Table(
        "epochs",
        metadata,
        text("scope", primary_key=True),
        number("epoch"),
        text("holder"),  # name of a site
        sa.Column("alone", sa.Boolean, nullable=False),  # forced, without most of the stores
        seconds("granted_at"),
        text("by"),
        text("reason"),
    )
    return Tables(
        metadata, schema_version, actions, steps, members, leases, events, cooldowns, locks, inbox, work,
        breakers, suspensions, controllers, reconciliations, epochs,
    )  # fmt: skip


tables: Tables | None = build_tables() if HAS_SQLALCHEMY else None


def current_version(migrations: t.Sequence[t.Callable[[t.Any], None]] = MIGRATIONS) -> int:
    """Version that this code writes: the first one is 1, each migration adds one."""
    return 1 + len(migrations)
