# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgvector modules on a primary and its standby: the same answers, writes refused, a promotion seen (C4, C5)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from integration.pgvector_kit import HNSW, PASSAGES, Database, Run
from psycopg import sql

from lab.dsm.instances import Instance
from lab.dsm.store import make_store
from lab.kit import free_port, wait_for
from lab.pgserver import write_private
from lab.postgres import ROLE

FINGERPRINT = {"checksum": True, "neighbours": {"k": 5, "probes": 5}}


class Pair:
    """A primary and a standby that follows it; the kit's database is on the primary."""

    def __init__(self, folder: Path) -> None:
        store = make_store(folder)
        self.primary, self.standby = (
            Instance(store.root, name, free_port(), store.sockets) for name in ("first", "second")
        )
        self.password = secrets.token_hex(8)
        self.passfile = folder / "pgpass"
        write_private(self.passfile, f"*:*:*:*:{self.password}\n")

    @property
    def port(self) -> int:
        return self.primary.port

    def create_role(self, name: str, rights: str) -> None:
        words = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
        self.primary.execute(words.format(sql.Identifier(name), sql.SQL(rights), sql.Literal(self.password)))

    def create_database(self, name: str) -> None:
        self.primary.execute(f"CREATE DATABASE {name} OWNER {ROLE}")

    def connect(self, database: str, **options: Any) -> psycopg.Connection:
        return self.primary.connect(database, user=ROLE, host="127.0.0.1", passfile=str(self.passfile), **options)

    def caught_up(self) -> bool:
        return self.standby.received() >= self.primary.value("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    made.primary.initialise()
    made.primary.start()
    try:
        made.create_role(ROLE, "SUPERUSER")
        made.primary.execute("SELECT pg_create_physical_replication_slot('to_second')")
        source = made.primary.source("second", "to_second")
        made.standby.copy(source)
        made.standby.start(source)
        yield made
    finally:
        for instance in (made.standby, made.primary):
            instance.remove()


@pytest.fixture(scope="module")
def docs(pair: Pair, run_module: Run) -> Database:
    made = Database(pair, "docs", run_module).filled(1000)  # type: ignore[arg-type]
    made.ok("index", indexes=[HNSW])
    wait_for(pair.caught_up, what="a standby that has all")
    return made


def test_a_standby_gives_the_same_answers(docs: Database, pair: Pair) -> None:
    wait_for(pair.caught_up, what="a standby that has all")
    here, there = docs.ok("info", **FINGERPRINT), docs.ok("info", port=pair.standby.port, **FINGERPRINT)
    for key in ("rows", "checksum", "neighbours", "vector"):
        assert here["tables"][0][key] == there["tables"][0][key]
    assert here["server"]["system_identifier"] == there["server"]["system_identifier"]
    seen = docs.ok("info", port=pair.standby.port, recall={"sample": 20})["tables"][0]["recall"]
    assert (seen["index"], seen["index_used"]) == ("passages_hnsw", True)
    assert seen["recall"] >= 0.95


def test_both_sides_of_replication_are_told(docs: Database, pair: Pair) -> None:
    here = docs.ok("info")["server"]
    assert (here["in_recovery"], here["receiver"], here["timeline"]) == (False, None, 1)
    (replica,) = here["replicas"]
    assert (replica["name"], replica["state"], replica["sync_state"]) == ("second", "streaming", "async")
    assert replica["lag_bytes"] >= 0
    (slot,) = here["slots"]
    assert (slot["name"], slot["active"]) == ("to_second", True)
    there = docs.ok("info", port=pair.standby.port)["server"]
    assert (there["in_recovery"], there["timeline"]) == (True, 1)
    receiver = there["receiver"]
    assert (receiver["status"], receiver["slot"]) == ("streaming", "to_second")
    assert receiver["lag_bytes"] >= 0
    assert receiver["received_lsn"]
    assert receiver["replayed_lsn"]


def test_a_role_without_rights_of_a_monitor_sees_what_it_may(docs: Database, pair: Pair) -> None:
    pair.create_role("plain", "")
    wait_for(pair.caught_up, what="a standby that has all")
    for port in (pair.primary.port, pair.standby.port):
        seen = docs.ok("info", port=port, username="plain")
        assert (seen["server"]["timeline"], seen["tables"]) == (1, [])
        assert seen["server"]["system_identifier"]


def test_what_is_there_is_unchanged_on_a_standby_and_writes_are_refused(docs: Database, pair: Pair) -> None:
    there = {"port": pair.standby.port}
    assert not docs.ok("extension", **there)["changed"]
    assert not docs.ok("table", tables=[PASSAGES], **there)["changed"]
    assert not docs.ok("index", indexes=[HNSW], **there)["changed"]
    for module, options in (
        ("extension", {"state": "absent", "cascade": True}),
        ("table", {"tables": [{"name": "other", "vector": {"dimension": 3}}]}),
        ("table", {"tables": [{"name": "passages", "state": "absent", "allow_drop": True}]}),
        ("index", {"indexes": [{**HNSW, "m": 8}]}),
        ("index", {"indexes": [{**HNSW, "state": "absent"}]}),
    ):
        refused = docs(module, **there, **options)
        assert refused["failed"], module
        assert f"127.0.0.1:{pair.standby.port}/docs" in refused["msg"]
        assert "standby" in refused["msg"]
        assert "oint host and port to the primary" in refused["msg"]


def test_a_promotion_is_seen_at_once_and_the_answers_stay(docs: Database, pair: Pair) -> None:
    """C4: the timeline comes from the log; the control file still has the one before."""
    wait_for(pair.caught_up, what="a standby that has all")
    before = docs.ok("info", **FINGERPRINT)["tables"][0]
    pair.primary.kill()
    pair.standby.promote()
    after = docs.ok("info", port=pair.standby.port, **FINGERPRINT)
    assert (after["server"]["in_recovery"], after["server"]["timeline"]) == (False, 2)
    for key in ("rows", "checksum", "neighbours"):
        assert after["tables"][0][key] == before[key]
    assert docs.ok("index", port=pair.standby.port, indexes=[{**HNSW, "m": 8}])["changed"]
