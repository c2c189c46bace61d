# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of each released version becomes the same as a fresh one, and keeps its rows."""

from __future__ import annotations

import multiprocessing

import pytest
import sqlalchemy as sa

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import current_version, tables

#: The tables as version 1 made them (``{identity}`` is the key that counts up by itself). Never change it.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, CONSTRAINT pk_schema_version PRIMARY KEY (version));
CREATE TABLE actions (ident TEXT NOT NULL, group_name TEXT DEFAULT '' NOT NULL, direction TEXT DEFAULT '' NOT NULL,
  state TEXT DEFAULT '' NOT NULL, source TEXT DEFAULT '' NOT NULL, reason TEXT DEFAULT '' NOT NULL,
  owner TEXT DEFAULT '' NOT NULL, code TEXT DEFAULT '' NOT NULL, message TEXT DEFAULT '' NOT NULL, plan JSON,
  count_before INTEGER, count_after INTEGER, started_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION,
  CONSTRAINT pk_actions PRIMARY KEY (ident));
CREATE INDEX ix_actions_group_name_started_at ON actions (group_name, started_at);
CREATE UNIQUE INDEX uq_actions_running ON actions (group_name) WHERE state = 'running';
CREATE TABLE steps (action TEXT NOT NULL, ordinal INTEGER NOT NULL, step TEXT DEFAULT '' NOT NULL,
  state TEXT DEFAULT '' NOT NULL, started_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION, detail JSON,
  CONSTRAINT pk_steps PRIMARY KEY (action, ordinal),
  CONSTRAINT fk_steps_action FOREIGN KEY(action) REFERENCES actions (ident) ON DELETE CASCADE);
CREATE TABLE members (group_name TEXT NOT NULL, name TEXT NOT NULL, action TEXT DEFAULT '' NOT NULL,
  address TEXT DEFAULT '' NOT NULL, moid TEXT DEFAULT '' NOT NULL, state TEXT DEFAULT '' NOT NULL,
  created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL,
  CONSTRAINT pk_members PRIMARY KEY (group_name, name));
CREATE TABLE leases (address TEXT NOT NULL, group_name TEXT DEFAULT '' NOT NULL, member TEXT DEFAULT '' NOT NULL,
  action TEXT DEFAULT '' NOT NULL, leased_at DOUBLE PRECISION NOT NULL, CONSTRAINT pk_leases PRIMARY KEY (address),
  CONSTRAINT uq_leases_group_name_member UNIQUE (group_name, member));
CREATE TABLE events (id {identity} NOT NULL, group_name TEXT DEFAULT '' NOT NULL, action TEXT DEFAULT '' NOT NULL,
  kind TEXT DEFAULT '' NOT NULL, at DOUBLE PRECISION NOT NULL, source TEXT DEFAULT '' NOT NULL,
  reason TEXT DEFAULT '' NOT NULL, code TEXT DEFAULT '' NOT NULL, result TEXT DEFAULT '' NOT NULL, members JSON,
  count_before INTEGER, count_after INTEGER, steps JSON, message TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_events PRIMARY KEY (id));
CREATE INDEX ix_events_action ON events (action);
CREATE INDEX ix_events_group_name_id ON events (group_name, id);
CREATE TABLE cooldowns (group_name TEXT NOT NULL, direction TEXT NOT NULL, started_at DOUBLE PRECISION NOT NULL,
  until DOUBLE PRECISION NOT NULL, CONSTRAINT pk_cooldowns PRIMARY KEY (group_name, direction));
CREATE TABLE locks (group_name TEXT NOT NULL, owner TEXT DEFAULT '' NOT NULL, action TEXT DEFAULT '' NOT NULL,
  acquired_at DOUBLE PRECISION NOT NULL, heartbeat_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
  CONSTRAINT pk_locks PRIMARY KEY (group_name));
CREATE TABLE inbox ("key" TEXT NOT NULL, group_name TEXT DEFAULT '' NOT NULL, direction TEXT DEFAULT '' NOT NULL,
  status TEXT DEFAULT '' NOT NULL, starts_at DOUBLE PRECISION, received_at DOUBLE PRECISION NOT NULL,
  last_seen_at DOUBLE PRECISION NOT NULL, seen INTEGER DEFAULT '1' NOT NULL, payload JSON,
  CONSTRAINT pk_inbox PRIMARY KEY ("key"));
CREATE INDEX ix_inbox_group_name_last_seen_at ON inbox (group_name, last_seen_at);
CREATE TABLE work (group_name TEXT NOT NULL, sequence INTEGER DEFAULT '0' NOT NULL, dirty_out DOUBLE PRECISION,
  dirty_in DOUBLE PRECISION, signal JSON, running TEXT, running_since DOUBLE PRECISION,
  attempts INTEGER DEFAULT '0' NOT NULL, not_before DOUBLE PRECISION, CONSTRAINT pk_work PRIMARY KEY (group_name));
INSERT INTO schema_version (version) VALUES (1)
"""

ROWS_1 = """
INSERT INTO actions (ident, group_name, direction, state, source, owner, started_at)
  VALUES ('web-4', 'web', 'out', 'running', 'alert', 'old/1', 1699999990.0);
INSERT INTO steps (action, ordinal, step, state, started_at) VALUES ('web-4', 1, 'clone', 'running', 1699999991.0);
INSERT INTO members (group_name, name, action, address, moid, state, created_at, updated_at)
  VALUES ('web', 'web-a', 'web-4', '10.0.0.1', 'vm-1', 'launching', 1699999990.0, 1699999990.0);
INSERT INTO leases (address, group_name, member, action, leased_at)
  VALUES ('10.0.0.1', 'web', 'web-a', 'web-4', 1699999990.0);
INSERT INTO locks (group_name, owner, action, acquired_at, heartbeat_at, expires_at)
  VALUES ('web', 'old/1', 'web-4', 1699999990.0, 1699999990.0, 1700000090.0);
INSERT INTO work (group_name, sequence, dirty_out) VALUES ('web', 4, 1699999999.0)
"""


def make_version_1(url):
    """A store as the first release left it."""
    engine = sa.create_engine(url)
    identity = "BIGSERIAL" if engine.dialect.name == "postgresql" else "INTEGER"
    with engine.begin() as connection:
        for statement in f"{VERSION_1.replace('{identity}', identity)};{ROWS_1}".split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()


def shape(ledger):
    """Each table: its columns (type, null, default), key, foreign keys, unique rules and indexes."""

    def column(row):
        kind = str(row["type"]).upper().replace("_", " ").removesuffix(" PRECISION")
        if look.dialect.name == "sqlite" and kind == "REAL":
            kind = "DOUBLE"  # how SQLAlchemy reads DOUBLE PRECISION back; to SQLite both are the same
        default = str(row["default"] or "").split("::", maxsplit=1)[0].strip("'")
        return kind, row["nullable"], default

    with ledger.read() as connection:
        look = sa.inspect(connection)
        return {
            name: {
                "columns": {row["name"]: column(row) for row in look.get_columns(name)},
                "key": look.get_pk_constraint(name)["constrained_columns"],
                "foreign": sorted(str(row["referred_table"]) for row in look.get_foreign_keys(name)),
                "unique": sorted(row["column_names"] for row in look.get_unique_constraints(name)),
                "indexes": sorted((row["name"], row["unique"]) for row in look.get_indexes(name)),
            }
            for name in sorted(look.get_table_names())
        }


@pytest.fixture
def version_1_url(url, tmp_path):
    """A store of version 1 with an action that runs."""
    (tmp_path / "ledger").mkdir(exist_ok=True)
    make_version_1(url)
    return url


def test_version_1_becomes_what_a_fresh_store_is(version_1_url):
    with Ledger.open(version_1_url) as migrated:
        found = shape(migrated)
        with migrated.write() as connection:
            tables.metadata.drop_all(connection)
    with Ledger.open(version_1_url) as fresh:
        assert shape(fresh) == found
    assert {"breakers", "suspensions", "controllers", "reconciliations"} <= found.keys()


def test_version_1_keeps_its_rows_and_its_running_action_goes_on(version_1_url, clock):
    """Invariant 7: an update of the collection in the middle of an action loses nothing."""
    with pytest.raises(LedgerError, match=f"has schema version 1, this release reads {current_version()}"):
        Ledger.open(version_1_url, look_only=True)
    with Ledger.open(version_1_url, clock=clock) as ledger:
        ledger.begin_step("web-4", "gate", owner="old/1")
        state = ledger.group_state("web")
        member = state["members"][0]
        assert (member["name"], member["address"], member["note"]) == ("web-a", "10.0.0.1", "")
        assert member["unhealthy_since"] is member["missing_since"] is member["quarantined_at"] is None
        assert (state["lock"]["action"], state["lock"]["attempt"]) == ("web-4", None)
        assert (state["work"]["sequence"], state["work"]["dirty_reconcile"]) == (4, None)
        assert [row["address"] for row in state["leases"]] == ["10.0.0.1"]
    with Ledger.open(version_1_url, look_only=True) as again:
        assert again.groups() == ["web"]


def open_at_once(url, gate, answers):
    gate.wait(60)
    with Ledger.open(url) as mine:
        answers.put((mine.groups(), mine.group_state("web")["work"]["sequence"]))


def test_several_processes_migrate_one_store_at_once(version_1_url):
    """After an update the receiver and a play may both be the first; one migrates, the others wait for it."""
    fresh = multiprocessing.get_context("forkserver")
    gate, answers = fresh.Barrier(3), fresh.Queue()
    racers = [fresh.Process(target=open_at_once, args=(version_1_url, gate, answers)) for _racer in range(3)]
    for racer in racers:
        racer.start()
    assert [answers.get(timeout=90) for _racer in racers] == [(["web"], 4)] * 3
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    with Ledger.open(version_1_url) as ledger, ledger.read() as connection:
        assert connection.scalars(sa.select(tables.schema_version.c.version)).all() == [current_version()]
