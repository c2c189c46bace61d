# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSM emulator drives real PostgreSQL (C3, C4): psycopg, which has its own TLS, is the client.

Two sites with one cluster each; the tests follow each other, from the first instance to a rewind that fails.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml

from lab.dsm.spawn import Dsm
from lab.kit import wait_for
from lab.tls import make_tls

GROUP = "apis/databases.dataservices.vmware.com/v1alpha1/namespaces/default"
CLUSTERS = f"{GROUP}/postgresclusters"
SPEC = {
    "version": "18",
    "replicas": 0,
    "vmClass": {"name": "small"},
    "storageSpace": "20Gi",
    "storagePolicyName": "gold",
    "infrastructurePolicy": {"name": "ai"},
    "databaseName": "docs",
}
ADMIN, REPLICATION = "admin:s\\ecret-of-both", "replication-secret"
pytestmark = pytest.mark.timeout(180)


class Site:
    """One DSM, asked as its administrator."""

    def __init__(self, dsm: Dsm) -> None:
        self.dsm, self.row = dsm, dsm.row
        for name, password in (("admin", ADMIN), ("dr", REPLICATION)):
            body = {"metadata": {"name": name}, "stringData": {"password": password}}
            self.ask("POST", "api/v1/namespaces/default/secrets", body)

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        kubeconfig = yaml.safe_load(Path(self.row["kubeconfig"]).read_text())
        media = "merge-patch+json" if method == "PATCH" else "json"
        headers = {
            "Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}",
            "Content-Type": f"application/{media}",
        }
        url = f"{self.row['url']}/{path}"
        answer = requests.request(method, url, json=body, headers=headers, verify=self.row["ca"], timeout=30)
        assert answer.ok or answer.status_code == 404, answer.text
        return answer.json()

    def create(self, name: str, **spec: Any) -> None:
        self.ask(
            "POST",
            CLUSTERS,
            {
                "apiVersion": "databases.dataservices.vmware.com/v1alpha1",
                "kind": "PostgresCluster",
                "metadata": {"name": name},
                "spec": {**SPEC, "adminPasswordRef": {"name": "admin"}, **spec},
            },
        )

    def change(self, name: str, **spec: Any) -> dict[str, Any]:
        self.ask("PATCH", f"{CLUSTERS}/{name}", {"spec": spec})
        return self.settled(name)

    def status(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"{CLUSTERS}/{name}").get("status") or {}

    def settled(self, name: str, ready: str = "True", reason: str = "") -> dict[str, Any]:
        """The status, once it is that of the newest spec."""

        def read() -> dict[str, Any] | None:
            found = self.ask("GET", f"{CLUSTERS}/{name}")
            row = condition(found.get("status") or {}, "Ready")
            current = row.get("observedGeneration") == found["metadata"]["generation"]
            return found["status"] if current and row["status"] == ready and reason in row["reason"] else None

        try:
            return wait_for(read, 60, f"{name} is Ready {ready}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status(name)}\n{self.dsm.log()[-2000:]}") from None

    def connect(self, name: str = "docs", *, port: int = 0, **options: Any) -> psycopg.Connection[Any]:
        where = self.status(name)["connection"]
        secret = self.ask("GET", f"api/v1/namespaces/default/secrets/{where['passwordRef']['name']}")
        given = {
            "host": "localhost",
            "port": port or where["port"],
            "user": where["username"],
            "dbname": where["dbname"],
            "password": base64.b64decode(secret["data"]["password"]).decode(),
            "sslmode": "verify-full",
            "sslrootcert": self.row["ca"],
            "connect_timeout": 5,
        }
        return psycopg.connect(**{**given, **options}, autocommit=True)

    def control(self, method: str, what: str = "", body: Any = None, name: str = "docs") -> dict[str, Any]:
        return self.dsm.call(method, f"/clusters/default/{name}{what}", body)

    def node(self, role: str, name: str = "docs") -> dict[str, Any]:
        return next(node for node in self.status(name)["labNodes"] if node["role"] == role)

    def source(self, slot: str) -> dict[str, Any]:
        """This site, as a source for the other one."""
        where = self.status("docs")["connection"]
        address = {"host": where["host"], "port": where["port"], "username": "dr", "passwordRef": {"name": "dr"}}
        return {**address, "slot": slot}


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((row for row in status.get("conditions") or [] if row["type"] == kind), {})


def ids(connection: psycopg.Connection[Any]) -> set[int]:
    return {row[0] for row in connection.execute("SELECT id FROM rows")}


def answered(read: Callable[[], Any]) -> Callable[[], Any]:
    """*read*, for waiting: what a server refuses meanwhile is no answer yet."""

    def asked() -> Any:
        try:
            return read()
        except psycopg.OperationalError:
            return None

    return asked


@pytest.fixture(scope="module")
def a() -> Iterator[Site]:
    with Dsm.temporary(name="a") as dsm:
        yield Site(dsm)


@pytest.fixture(scope="module")
def b() -> Iterator[Site]:
    with Dsm.temporary(name="b") as dsm:
        yield Site(dsm)


def test_a_cluster_has_an_address_when_it_is_ready_and_answers_there_over_tls(a):
    a.create("docs", backupLocation={"name": "s3-a"})
    seen = [wait_for(lambda: a.status("docs"), what="a status")]
    while condition(seen[-1], "Ready")["status"] != "True":
        assert seen[-1]["connection"]["host"] == ""
        assert seen[-1]["connection"]["port"] == 0
        seen.append(a.status("docs"))
    assert [node["role"] for node in seen[-1]["labNodes"]] == ["primary"]
    with a.connect() as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE rows (id int PRIMARY KEY, v vector(3))")
        connection.execute("INSERT INTO rows SELECT n, '[1,2,3]' FROM generate_series(1, 1000) n")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        a.connect(sslrootcert=str(make_tls(a.dsm.folder / "other-tls")["ca"]))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        a.connect(password="wrong")


def test_a_cluster_grows_while_a_session_goes_on(a):
    with a.connect() as connection:
        a.change("docs", replicas=1)
        assert len(ids(connection)) == 1000
        connection.execute("INSERT INTO rows VALUES (1001, '[1,2,3]')")
    with a.connect(port=a.node("replica")["port"]) as replica:
        wait_for(lambda: len(ids(replica)) == 1001, what="the row is there")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            replica.execute("INSERT INTO rows VALUES (1002, '[1,2,3]')")


def test_parameters_come_from_a_database_config_and_wrong_ones_are_named(a):
    config = {
        "apiVersion": "databases.dataservices.vmware.com/v1alpha1",
        "kind": "DatabaseConfig",
        "metadata": {"name": "docs-config"},
        "spec": {"params": {"work_mem": "5MB", "max_connections": "77", "synchronous_standby_names": "ANY 1 (*)"}},
    }
    a.ask("POST", f"{GROUP}/databaseconfigs", config)
    status = a.change("docs", databaseConfig={"name": "docs-config"})
    assert condition(status, "CustomConfigStatus")["status"] == "True"
    with a.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert connection.execute("SHOW max_connections").fetchone() == ("77",)
    a.ask("PATCH", f"{GROUP}/databaseconfigs/docs-config", {"spec": {"params": {"work_mem": "much"}}})
    row = wait_for(lambda: [_wrong(a)] if _wrong(a)["status"] == "False" else None, what="it is refused")[0]
    assert "work_mem" in row["message"]
    with a.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
    a.ask("PATCH", f"{GROUP}/databaseconfigs/docs-config", {"spec": {"params": {"work_mem": "5MB"}}})
    wait_for(lambda: _wrong(a)["status"] == "True", what="it is taken")


def _wrong(site: Site) -> dict[str, Any]:
    return condition(site.status("docs"), "CustomConfigStatus")


def test_no_acknowledged_row_is_lost_when_a_synchronous_primary_is_killed(a):
    acknowledged, stop = [], threading.Event()
    with a.connect() as connection:
        query = "SELECT sync_state FROM pg_stat_replication"
        wait_for(lambda: connection.execute(query).fetchall() == [("quorum",)], what="commits wait for the replica")

    def write() -> None:
        with a.connect() as connection:
            for number in range(2000, 100_000):
                connection.execute("INSERT INTO rows VALUES (%s, '[1,2,3]')", [number])
                acknowledged.append(number)
                if stop.is_set():
                    return

    def run() -> None:
        try:
            write()
        except psycopg.OperationalError:
            return

    writer = threading.Thread(target=run)
    writer.start()
    wait_for(lambda: len(acknowledged) > 50, what="rows are written")
    before = a.node("primary")["name"]
    assert a.control("POST", "/kill", {"scope": "primary"})["killed"] == [before]
    writer.join(20)
    stop.set()

    def leads() -> set[int] | None:
        with a.connect() as connection:
            return ids(connection) if connection.execute("SELECT NOT pg_is_in_recovery()").fetchone()[0] else None

    found = wait_for(answered(leads), what="another one leads")
    assert set(acknowledged) <= found
    status = a.settled("docs")
    assert {node["name"]: node["role"] for node in status["labNodes"]}[before] == "replica"
    with a.connect() as connection:
        query = "SELECT application_name, state FROM pg_stat_replication"
        wait_for(lambda: connection.execute(query).fetchall() == [(before, "streaming")], what="the old one follows")


def test_who_is_blocked_is_told_and_cut_and_replication_goes_on(a):
    with a.connect() as session:
        a.change("docs", blockDatabaseConnections=True)
        with pytest.raises(psycopg.OperationalError):
            session.execute("INSERT INTO rows VALUES (-1, '[1,2,3]')")
        for port in (0, a.node("primary")["port"], a.node("replica")["port"]):
            with pytest.raises(psycopg.OperationalError, match="blocked by its administrator"):
                a.connect(port=port)
        replication = {"replication": "database", "port": a.node("primary")["port"]}
        with a.connect(**replication) as sender:
            assert len(sender.execute("IDENTIFY_SYSTEM").fetchone()) == 4
    a.change("docs", blockDatabaseConnections=False)
    with a.connect() as connection:
        assert -1 not in ids(connection)


def test_a_restore_has_the_rows_that_were_committed_by_then(a):
    with a.connect() as connection:
        rows = ids(connection)
        then = connection.execute("SELECT clock_timestamp()").fetchone()[0]
        connection.execute("DELETE FROM rows WHERE id > 10")
    origin = {"name": "docs", "timestamp": then.isoformat()}
    a.create("past", basedOn={"cluster": origin})
    early = (then - timedelta(days=1)).isoformat()
    a.create("early", basedOn={"cluster": {**origin, "timestamp": early}})
    late = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
    a.create("late", basedOn={"cluster": {**origin, "timestamp": late}})
    a.settled("past")
    with a.connect("past") as connection:
        assert ids(connection) == rows
        connection.execute("INSERT INTO rows VALUES (-5, '[1,2,3]')")
    message = condition(a.settled("early", "False", "RestoreFailed"), "Ready")["message"]
    assert "the first backup ended at" in message
    assert "in the future" in condition(a.settled("late", "False", "RestoreFailed"), "Ready")["message"]
    with a.connect() as connection:
        assert len(ids(connection)) == 10
    for name in ("early", "late"):
        a.ask("DELETE", f"{CLUSTERS}/{name}")
        wait_for(lambda name=name: "spec" not in a.ask("GET", f"{CLUSTERS}/{name}"), what=f"{name} is gone")


def test_a_deleted_cluster_with_backups_is_archived_and_may_be_restored(a):
    a.change("past", backupLocation={"name": "s3-a"})
    with a.connect("past") as connection:
        connection.execute("INSERT INTO rows VALUES (-6, '[1,2,3]')")
        rows = ids(connection)
    data = Path(a.control("GET", name="past")["instances"][0]["data"])
    a.ask("DELETE", f"{CLUSTERS}/past")
    wait_for(lambda: "spec" not in a.ask("GET", f"{CLUSTERS}/past"), what="it is gone")
    assert not data.exists()
    assert a.ask("GET", f"{GROUP}/archivedpostgresclusters/past")["status"]["labBackups"]
    a.create("again", basedOn={"cluster": {"name": "past"}})
    a.settled("again")
    with a.connect("again") as connection:
        assert ids(connection) == rows
    a.ask("DELETE", f"{CLUSTERS}/again")


def test_the_emulator_comes_back_after_a_kill_with_the_same_addresses_and_roles(a):
    before = a.status("docs")
    with a.connect() as connection:
        rows = ids(connection)
    a.dsm.kill()
    a.row = a.dsm.up()
    wait_for(answered(lambda: ids(a.connect()) == rows), what="the address answers again")
    after = a.settled("docs")
    assert after["connection"] == before["connection"]
    assert after["labNodes"] == before["labNodes"]


def test_a_secondary_follows_and_what_it_had_not_received_is_lost_when_it_is_promoted(a, b):
    # As in real life, the two sites need the same parameters: a standby does not start with fewer connections.
    params = {"synchronous_standby_names": None, "max_connections": None}
    a.ask("PATCH", f"{GROUP}/databaseconfigs/docs-config", {"spec": {"params": params}})

    def plain() -> bool:
        with a.connect() as connection:
            query = "SELECT current_setting('synchronous_standby_names'), current_setting('max_connections')"
            return connection.execute(query).fetchone() == ("", "100")

    wait_for(answered(plain), what="the parameters are taken")
    with a.connect() as connection:
        connection.execute(f"CREATE ROLE dr REPLICATION LOGIN PASSWORD '{REPLICATION}'")
        connection.execute("SELECT pg_create_physical_replication_slot('to_b', true)")
    b.create("docs", labReplication={"role": "secondary", "source": a.source("to_b")})
    b.settled("docs")
    with a.connect() as primary, b.connect() as standby:
        assert ids(standby) == ids(primary)
        b.control("POST", "/pause")
        primary.execute("INSERT INTO rows SELECT n, '[1,2,3]' FROM generate_series(5001, 5100) n")
        assert not [
            row for row in primary.execute("SELECT application_name FROM pg_stat_replication") if row == ("to_b",)
        ]
        b.control("POST", "/resume")
        wait_for(lambda: ids(standby) == ids(primary), what="it has caught up")
        b.control("POST", "/pause")
        primary.execute("INSERT INTO rows SELECT n, '[1,2,3]' FROM generate_series(6001, 6050) n")
    a.control("POST", "/kill", {"scope": "all"})
    a.settled("docs", "False", "PrimaryDown")
    b.change("docs", labReplication={"role": "primary", "source": None})
    with b.connect() as primary:
        found = ids(primary)
        assert 5100 in found
        assert 6001 not in found
        primary.execute("INSERT INTO rows SELECT n, '[1,2,3]' FROM generate_series(7001, 7010) n")
        primary.execute("SELECT pg_create_physical_replication_slot('to_a', true)")


def test_an_old_primary_stays_dead_until_it_may_come_back_and_is_rewound(a, b):
    assert not any(node["running"] for node in a.control("GET")["instances"])
    a.change("docs", labReplication={"role": "secondary", "source": b.source("to_a")})
    with a.connect() as standby, b.connect() as primary:
        wait_for(lambda: ids(standby) == ids(primary), what="it has what the other site has")
        assert 6001 not in ids(standby)
        assert standby.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    assert a.node("standby")["name"] != a.node("replica")["name"]


def test_a_rewind_that_fails_leaves_no_second_writer_and_a_copy_needs_leave(a, b):
    a.change("docs", labReplication={"role": "primary", "source": None})
    with a.connect() as first, b.connect() as second:
        first.execute("INSERT INTO rows VALUES (8001, '[1,2,3]')")
        first.execute("SELECT pg_create_physical_replication_slot('back', true)")
        for number in range(9001, 9004):
            second.execute("INSERT INTO rows VALUES (%s, '[1,2,3]')", [number])
            second.execute("SELECT pg_switch_wal()")
        second.execute("CHECKPOINT")
    # As if it had been recycled: the WAL from before the fork, which a rewind reads.
    wal = Path(b.control("GET")["instances"][0]["data"]) / "pg_wal"
    for segment in sorted(wal.glob("0000000?0000*"))[:-2]:
        segment.unlink()
    b.ask("PATCH", f"{CLUSTERS}/docs", {"spec": {"labReplication": {"role": "secondary", "source": a.source("back")}}})
    message = condition(b.settled("docs", "False", "RewindFailed"), "Ready")["message"]
    assert "pg_rewind" in message
    assert not any(node["running"] for node in b.control("GET")["instances"])
    b.change("docs", labReplication={"allowFullCopy": True})
    with a.connect() as primary, b.connect() as standby:
        wait_for(lambda: ids(standby) == ids(primary), what="the copy has what the other site has")
        assert {8001} <= ids(standby)
        assert 9001 not in ids(standby)


def test_no_password_is_in_arguments_logs_or_configuration(a, b):
    for site in (a, b):
        texts = {"log": site.dsm.log(), "status": str(site.status("docs"))}
        for node in site.control("GET")["instances"]:
            data = Path(node["data"])
            texts[f"{data}"] = Path(f"/proc/{node['pid']}/cmdline").read_text()
            for file in (*data.glob("*.conf"), data / "postmaster.opts", *data.parent.glob("run/*.log")):
                texts[str(file)] = file.read_text(errors="replace")
        for where, text in texts.items():
            assert not [word for word in (ADMIN, REPLICATION) if word in text], where
