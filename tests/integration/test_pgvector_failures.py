# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgvector modules say and leave behind when something goes wrong (C2): refused, down, full, killed, slow."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import pgvector_kit as kit
from integration.pgvector_kit import HNSW, PASSAGES, Database, Run, finish

from lab.dsm.endpoint import Endpoint
from lab.kit import free_port, wait_for
from lab.postgres import Postgres
from lab.tls import make_tls

server, new_database, database, docs = kit.server, kit.new_database, kit.database, kit.docs
SECRET = "not-the-password-8731"


def refused(result: dict[str, Any], *words: str) -> str:
    assert result["failed"], result
    for word in words:
        assert word in result["msg"]
    assert SECRET not in str(result["msg"])
    return result["msg"]


# ---- no connection ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("module", ["extension", "table", "index", "info"])
def test_a_wrong_password_is_told_with_its_place_and_not_printed(docs: Database, module: str) -> None:
    rows = {"table": {"tables": [PASSAGES]}, "index": {"indexes": [HNSW]}}.get(module, {})
    result = docs(module, passfile=None, password=SECRET, **rows)
    refused(result, f"127.0.0.1:{docs.server.port}/{docs.name}", "password authentication failed", "passfile")
    assert SECRET not in str(result)


def test_a_passfile_wins_over_a_password_in_the_environment(docs: Database, run_module: Run) -> None:
    result = run_module("pgvector_info", docs.args, env={"PGPASSWORD": SECRET})
    assert not result["failed"], result["msg"]


def test_options_come_from_libpq_s_variables(docs: Database, run_module: Run) -> None:
    variables = {
        "PGHOST": "127.0.0.1", "PGPORT": str(docs.server.port), "PGDATABASE": docs.name,
        "PGUSER": docs.args["username"], "PGSSLMODE": "disable", "PGPASSFILE": docs.args["passfile"],
    }  # fmt: skip
    result = run_module("pgvector_info", {"tables": ["passages"]}, env=variables)
    assert result["tables"][0]["rows"] == 2000


def test_a_passfile_that_libpq_would_pass_over_is_refused(docs: Database, tmp_path: Path) -> None:
    refused(docs("info", passfile=str(tmp_path / "none")), "cannot be read: No such file")
    (tmp_path / "open").write_text(f"*:*:*:*:{SECRET}\n")
    (tmp_path / "open").chmod(0o644)
    refused(docs("info", passfile=str(tmp_path / "open")), "only its owner may read", "chmod 0600")


def test_a_missing_database_and_a_missing_role(docs: Database) -> None:
    refused(docs("info", database="nowhere"), 'database "nowhere" does not exist', "Create the database")
    refused(docs("info", username="nobody"), "password authentication failed")


def test_a_server_that_is_away_is_told(docs: Database) -> None:
    port = free_port()
    refused(docs("info", port=port), f"127.0.0.1:{port}/{docs.name}", "Connection refused", "Check that")


def test_the_certificate_is_verified(docs: Database, tmp_path: Path) -> None:
    """With the right authority it works, by sslmode's default; with another, or another name, it does not."""
    tls = make_tls(tmp_path / "right")
    other = make_tls(tmp_path / "other")["ca"]
    with Endpoint.threaded(docs.server.port, tls=tls) as front:
        args = {"port": front.port, "sslmode": None}
        secured = docs("info", **args, ca_path=str(tls["ca"]))
        assert not secured["failed"], secured["msg"]
        refused(docs("info", **args, ca_path=str(other)), f":{front.port}/", "certificate verify failed", "ca_path")
        refused(docs("info", **args), "certificate verify failed", "ca_path")
        refused(docs("info", **args, ca_path=str(tmp_path / "none.pem")), "certificate", "ca_path")
        named = make_tls(tmp_path / "named", names=["db.example.com"])
        with Endpoint.threaded(docs.server.port, tls=named) as elsewhere:
            args["port"] = elsewhere.port
            refused(docs("info", **args, ca_path=str(named["ca"])), "does not match host name", "a name that")
    refused(docs("info", sslmode="require"), "does not support SSL")


# ---- no right, no time -----------------------------------------------------------------------------------------------
def test_a_role_without_rights_is_refused(database: Database) -> None:
    database.filled(5)
    database.server.create_role(f"reader_{database.name}")
    reader = {"username": f"reader_{database.name}"}
    assert database("info", **reader)["tables"] == []  # what it may not read is not in the way
    refused(database("info", tables=["passages"], **reader), "permission denied for table passages", "right")
    refused(database("index", indexes=[HNSW], **reader), "must be owner of table passages")
    assert database.indexes() == {}


def test_a_lock_that_somebody_holds_is_waited_for_and_told(database: Database) -> None:
    database.filled(5)
    more = {**PASSAGES, "columns": [*PASSAGES["columns"], {"name": "lang", "type": "text"}]}
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE passages")
        words = ("lock timeout", "pg_stat_activity", "change table public.passages (column lang text added)")
        refused(database("table", tables=[more], statement_timeout=1), *words)
        other.rollback()
    assert database.ok("table", tables=[more])["changed"]


def test_a_frozen_server_is_given_up(docs: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps none of its own limits, so the client has one too."""
    from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError
    from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _connection

    monkeypatch.setattr(_connection, "SILENCE_S", 0.5)
    address = {key: docs.args[key] for key in ("host", "port", "database", "username", "passfile", "sslmode")}
    with _connection.Server(**address, statement_timeout=1).open("test") as session:
        docs.server.pause()
        try:
            with pytest.raises(BackendDownError, match=r"did not answer for 1\.5 s"):
                session.value("SELECT 1")
        finally:
            docs.server.resume()
        assert session.connection.closed


# ---- builds that do not end well -------------------------------------------------------------------------------------
@pytest.fixture
def held(database: Database) -> Iterator[Any]:
    """500 rows, and a transaction that is older than any build: one waits for it, as long as it is there."""
    database.filled(500)
    with contextlib.closing(database.connect(autocommit=False)) as older:
        older.execute("UPDATE passages SET body = body WHERE id = 1")
        yield older


def test_a_build_that_takes_too_long_is_cancelled_and_the_next_call_builds(database: Database, held: Any) -> None:
    """What holds the build up holds its removal up too; that is told, and not waited for as long again."""
    result = database("index", indexes=[HNSW], wait_timeout=1)
    words = "was not built within 1 s, and the build was cancelled; what it left (passages_hnsw, invalid) is removed by"
    refused(result, words)
    row = result["indexes"][0]
    assert (row["valid"], row["changed"], result["changed"]) == (False, False, False)
    assert any("waiting" in step["phase"] for step in row["progress"])
    assert database.ok("info")["builds"] == []
    held.rollback()
    assert database.ok("index", indexes=[HNSW])["indexes"][0]["action"] == "created"
    assert database.indexes() == {"passages_hnsw": True}


def test_a_killed_build_ends_on_the_server_and_the_next_call_finishes_it(
    database: Database, held: Any, start_module: Any
) -> None:
    """kill -9 of the module in the middle of CREATE INDEX CONCURRENTLY."""
    building = start_module("pgvector_index", {**database.args, "indexes": [HNSW]})
    wait_for(lambda: database.indexes().get("passages_hnsw") is False, what="a build")
    building.kill()
    building.communicate()
    wait_for(lambda: not database.ok("info")["builds"], what="the end of what nobody waits for")
    held.rollback()
    assert database.indexes() == {"passages_hnsw": False}  # what the kill left
    assert database.ok("info")["tables"][0]["indexes"][0]["valid"] is False
    assert database.ok("index", indexes=[HNSW], check=True)["indexes"][0]["action"] == "created"
    result = database.ok("index", indexes=[HNSW])
    assert (result["indexes"][0]["action"], database.indexes()) == ("created", {"passages_hnsw": True})
    assert not database.ok("index", indexes=[HNSW])["changed"]


def test_a_killed_rebuild_is_finished_and_searches_never_lack_an_index(
    database: Database, held: Any, start_module: Any
) -> None:
    held.rollback()
    database.ok("index", indexes=[HNSW])
    held.execute("UPDATE passages SET body = body WHERE id = 1")
    wish = {**HNSW, "m": 8}
    building = start_module("pgvector_index", {**database.args, "indexes": [wish]})
    wait_for(lambda: database.indexes().get("passages_hnsw_new") is False, what="a build")
    building.kill()
    building.communicate()
    wait_for(lambda: not database.ok("info")["builds"], what="the end of what nobody waits for")
    held.rollback()
    assert database.indexes() == {"passages_hnsw": True, "passages_hnsw_new": False}
    row = database.ok("index", indexes=[wish])["indexes"][0]
    assert (row["action"], row["parameters"]["m"]) == ("rebuilt", 8)
    assert database.indexes() == {"passages_hnsw": True}


@pytest.mark.parametrize("swapped", [False, True])
def test_a_rebuild_that_died_around_the_swap_is_carried_on_without_building_again(
    database: Database, swapped: bool
) -> None:
    database.filled(200)
    build = "CREATE INDEX {} ON passages USING hnsw (embedding vector_cosine_ops) WITH (m = {})"
    names = ("passages_hnsw_old", "passages_hnsw") if swapped else ("passages_hnsw", "passages_hnsw_new")
    database.do(build.format(names[0], 16), build.format(names[1], 8))
    finished = database.value(f"SELECT '{names[1]}'::regclass::oid")
    wish = {**HNSW, "m": 8}
    if not swapped:
        assert database.ok("index", indexes=[wish], check=True)["indexes"][0]["action"] == "finished"
    result = database.ok("index", indexes=[wish])["indexes"][0]
    assert (result["action"], result["seconds"], result["parameters"]["m"]) == ("finished", 0, 8)
    assert database.value("SELECT 'passages_hnsw'::regclass::oid") == finished
    assert database.indexes() == {"passages_hnsw": True}
    assert not database.ok("index", indexes=[wish])["changed"]


def test_somebody_else_s_index_in_the_way_is_not_touched(database: Database) -> None:
    database.filled(10)
    database.ok("index", indexes=[HNSW])
    database.do("CREATE TABLE other (id int PRIMARY KEY)", "CREATE INDEX passages_hnsw_old ON other (id)")
    assert not database.ok("index", indexes=[HNSW])["changed"]
    refused(database("index", indexes=[{**HNSW, "m": 8}]), "in the way of index public.passages_hnsw", "Rename it")
    refused(
        database("index", indexes=[{"name": "other_pkey", "table": "passages", "state": "absent"}]), "in the way of"
    )
    gone = database.ok("index", indexes=[{**HNSW, "state": "absent"}])
    assert gone["changed"]
    assert database.value("SELECT to_regclass('passages_hnsw_old') IS NOT NULL")
    assert database.indexes() == {}


def test_two_runs_build_an_index_once(database: Database, held: Any, start_module: Any) -> None:
    """One builds, the other waits for it, and neither stops the other by its waiting."""
    runs = [start_module("pgvector_index", {**database.args, "indexes": [HNSW]}) for _run in range(2)]
    wait_for(database.indexes, what="a build")
    held.rollback()
    results = [finish(run)["indexes"][0] for run in runs]
    assert sorted(row["action"] for row in results) == ["created", "none"]
    assert all(row["valid"] for row in results)


@pytest.fixture
def small_disk(server: Postgres, tmp_path: Path) -> Iterator[str]:
    """A tablespace of 256 kB."""
    # Not below tmp_path: the server's user cannot get there.
    folder = Path(f"/var/tmp/onprem-autoscale-disk-{os.getpid()}")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    try:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        with server.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            yield "small"
            connection.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("concurrently", [True, False])
def test_a_full_disk_during_a_build_leaves_nothing_and_the_old_index_serves(
    database: Database, small_disk: str, concurrently: bool
) -> None:
    database.filled(1500)
    wish = {**HNSW, "tablespace": small_disk}
    words = ("No space left on device", "what it left was removed", "Free or add space", "tablespace")
    assert "still serves" not in refused(database("index", indexes=[wish], concurrently=concurrently), *words)
    assert database.indexes() == {}
    database.ok("index", indexes=[HNSW])
    refused(database("index", indexes=[wish], concurrently=concurrently), *words, "the old index still serves")
    assert database.indexes() == {"passages_hnsw": True}
    assert database.ok("info", recall={"sample": 3})["tables"][0]["recall"]["index"] == "passages_hnsw"


def test_a_server_that_dies_during_a_build_is_told_and_the_next_call_builds(run_module: Run, start_module: Any) -> None:
    with Postgres.temporary(durable=True) as mortal:
        made = Database(mortal, "docs", run_module).filled(200)
        with contextlib.closing(made.connect(autocommit=False)) as older:
            older.execute("UPDATE passages SET body = body WHERE id = 1")
            building = start_module("pgvector_index", {**made.args, "indexes": [HNSW]})
            wait_for(made.indexes, what="a build")
            mortal.kill()
        result = finish(building)
        refused(result, f"build index public.passages_hnsw on 127.0.0.1:{mortal.port}/docs", "by the next call")
        mortal.start()
        assert made.indexes() == {"passages_hnsw": False}
        assert made.ok("index", indexes=[HNSW])["indexes"][0]["valid"]
