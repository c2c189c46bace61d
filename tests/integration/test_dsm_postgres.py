# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSM modules against the emulator with real PostgreSQL (C1): what is declared can be logged in to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from integration.dsm_kit import PASSWORD, SIZE, Run, Site, site

from lab.kit import wait_for

BACKUP = {"location": "s3-a", "schedules": [{"name": "full", "type": "full", "schedule": "0 1 * * 6"}]}


@pytest.fixture(scope="module")
def dsm(run_module: Run) -> Iterator[Site]:
    with site(run_module, True) as found:
        yield found


@pytest.fixture(scope="module")
def docs(dsm: Site) -> dict[str, Any]:
    """A cluster with a table of one row."""
    options = {**SIZE, "name": "docs", "admin_password": PASSWORD, "backup": BACKUP, "parameters": {"work_mem": "5MB"}}
    made = dsm.cluster(**options)
    assert made["changed"]
    assert not dsm.cluster(**options)["changed"]
    return made["cluster"]


def login(dsm: Site, row: dict[str, Any], passfile: Path, node: dict[str, Any] | None = None) -> psycopg.Connection:
    """A connection whose password comes from the password file alone, with TLS verified."""
    where = {**row["connection"], **(node or {})}
    return psycopg.connect(
        host=where["host"],
        port=where["port"],
        dbname=row["connection"]["database"],
        user=row["connection"]["username"],
        passfile=str(passfile),
        sslmode="verify-full",
        sslrootcert=dsm.row["ca"],
        connect_timeout=10,
        autocommit=True,
    )


def opens(dsm: Site, row: dict[str, Any], passfile: Path) -> bool:
    """Whether the file's password is the cluster's."""
    try:
        login(dsm, row, passfile).close()
    except psycopg.OperationalError:
        return False
    return True


def info(dsm: Site, name: str, passfile: Path) -> dict[str, Any]:
    result = dsm.run("dsm_postgres_cluster_info", name=name, passfile=str(passfile), nodes_query="labNodes")
    assert not result["failed"], result
    return result["clusters"][0]


def test_the_password_file_opens_the_cluster(dsm: Site, docs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    row = info(dsm, "docs", path)
    assert row["connection"] == docs["connection"]
    with login(dsm, row, path) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("pgadmin", "docs")
    again = dsm.run("dsm_postgres_cluster_info", name="docs", passfile=str(path), nodes_query="labNodes")
    assert not again["changed"]
    path.write_text(path.read_text().replace("S3cret", "other"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        login(dsm, row, path)


def test_another_password_is_in_the_cluster_and_in_the_file(dsm: Site, docs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    info(dsm, "docs", path)
    old = path.read_text()
    assert dsm.cluster(name="docs", admin_password=f"{PASSWORD}2")["changed"]
    row = info(dsm, "docs", path)
    assert path.read_text() != old
    wait_for(lambda: opens(dsm, row, path), what="the new password to be in the cluster")
    assert dsm.cluster(name="docs", admin_password=PASSWORD)["changed"]
    info(dsm, "docs", path)
    assert path.read_text() == old
    wait_for(lambda: opens(dsm, row, path), what="the old password to be back")


def test_a_restore_has_what_was_there_at_its_time(dsm: Site, docs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    row = info(dsm, "docs", path)
    with login(dsm, row, path) as connection:
        connection.execute("CREATE TABLE seen (id int PRIMARY KEY)")
        connection.execute("INSERT INTO seen VALUES (1)")
        at = connection.execute("SELECT clock_timestamp()").fetchone()[0].isoformat()
        connection.execute("INSERT INTO seen VALUES (2)")
    options = {"name": "noon", "source": "docs", "timestamp": at}
    made = dsm.run("dsm_postgres_restore", **options)
    assert not made["failed"], made
    assert made["changed"]
    assert made["cluster"]["connection"]["database"] == "docs"
    assert not dsm.run("dsm_postgres_restore", **options)["changed"]
    with login(dsm, info(dsm, "noon", path), path) as connection:
        assert connection.execute("SELECT id FROM seen").fetchall() == [(1,)]
    with login(dsm, row, path) as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (2,)
    assert len(path.read_text().splitlines()) >= 2


def test_a_cluster_grows_by_a_replica_that_the_password_file_opens(
    dsm: Site, docs: dict[str, Any], tmp_path: Path
) -> None:
    result = dsm.cluster(name="docs", replicas=1)
    assert result["changed"]
    assert (result["cluster"]["ready"], result["cluster"]["replicas"]) == (True, 1)
    path = tmp_path / "pgpass"
    row = info(dsm, "docs", path)
    (replica,) = [node for node in row["nodes"] if node["role"] == "replica"]
    with login(dsm, row, path, replica) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_blocked_connections_are_a_fence(dsm: Site, docs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    row = info(dsm, "docs", path)
    assert dsm.cluster(name="docs", block_connections=True)["changed"]
    with pytest.raises(psycopg.OperationalError):
        login(dsm, row, path)
    assert dsm.cluster(name="docs", block_connections=False)["changed"]
    login(dsm, row, path).close()


def test_a_deleted_cluster_comes_back_from_its_backups(dsm: Site) -> None:
    dsm.cluster(**SIZE, name="brief", backup=BACKUP)
    assert dsm.cluster(name="brief", state="absent", confirm_delete="brief")["cluster"] is None
    (row,) = dsm.run("dsm_backup_info", name="brief")["backups"]
    assert (row["archived"], row["restorable"]) == (True, True)
    lacking = dsm.run("dsm_postgres_restore", name="back", source="brief")
    assert "There is no PostgresCluster brief to restore back from" in lacking["msg"]
    back = dsm.run("dsm_postgres_restore", name="back", source="brief", **SIZE)
    assert (back["changed"], back["cluster"]["ready"]) == (True, True)
    assert not dsm.cluster(name="brief", state="absent", confirm_delete="brief")["changed"]
