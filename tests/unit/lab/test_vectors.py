# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's vectors, its client and its count of lost rows: what they say must be true of a real server."""

from __future__ import annotations

import os

import numpy as np
import pytest

from lab.kit import wait_for
from lab.postgres import Postgres
from lab.process import LabError
from lab.vectors import Cloud, Journal, Writer, binary, load, missing, neighbours, text

ROWS, DIMENSION = 400, 16
CLOUD = Cloud(DIMENSION, centres=20)
FAR = Cloud(DIMENSION, centres=20, seed=2)


@pytest.fixture(scope="module")
def server():
    """A server that is killed keeps what it has acknowledged."""
    with Postgres.temporary(durable=True) as started:
        yield started


@pytest.fixture
def connection(server):
    """On a database with an empty table ``docs`` and its index."""
    server.create_database("vectors")
    with server.connect("vectors") as opened:
        opened.execute("CREATE EXTENSION vector")
        opened.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, title text, embedding vector({DIMENSION}))")
        opened.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
        yield opened
    server.drop_database("vectors")


@pytest.fixture
def writer(server, connection, tmp_path):
    """Not started."""
    target = {"host": "127.0.0.1", "port": server.port, "user": "autoscale", "passfile": str(server.passfile)}
    return Writer({**target, "dbname": "vectors"}, "docs", tmp_path / "journal", FAR, first=1000)


def test_a_row_is_the_same_in_every_run_and_a_unit_vector():
    assert np.array_equal(CLOUD.row(7), Cloud(DIMENSION, centres=20).row(7))
    assert not np.array_equal(CLOUD.row(7), CLOUD.row(27)), "the same centre, other noise"
    assert np.linalg.norm(CLOUD.row(7)) == pytest.approx(1, abs=1e-6)


def test_rows_are_near_those_of_their_centre_and_far_from_others():
    cloud, far = Cloud(), Cloud(seed=2)
    assert cloud.row(3) @ cloud.row(203) > 0.75
    assert max(abs(float(cloud.row(3) @ other.row(n))) for other in (cloud, far) for n in (1, 2, 4, 5)) < 0.3


def test_what_is_loaded_is_what_was_made(connection):
    load(connection, "public.docs", CLOUD, ROWS)
    rows = connection.execute("SELECT id, embedding::text FROM docs ORDER BY id").fetchall()
    assert [row[0] for row in rows] == list(range(ROWS))
    for number in (0, 1, ROWS - 1):
        stored = np.array(rows[number][1].strip("[]").split(","), dtype=np.float32)
        assert np.array_equal(stored, CLOUD.row(number))


def test_the_binary_form_is_what_the_text_form_means(connection):
    vector = CLOUD.row(5)
    query = "SELECT vector_send(%s::vector)"
    assert bytes(connection.execute(query, (text(vector),)).fetchone()[0]) == binary(vector)


def test_neighbours_by_the_index_and_by_every_row_agree_with_numpy(connection):
    load(connection, "docs", CLOUD, ROWS)
    probes = [CLOUD.probe(number) for number in range(5)]
    matrix = np.array([CLOUD.row(number) for number in range(ROWS)])
    expected = [[int(row) for row in np.argsort(-(matrix @ probe))[:10]] for probe in probes]
    assert neighbours(connection, "docs", probes, exact=True) == expected
    assert neighbours(connection, "docs", probes) == expected


def test_an_index_that_is_not_there_is_not_taken_for_one_that_answers(connection):
    load(connection, "docs", CLOUD, ROWS)
    connection.execute("DROP INDEX docs_embedding_idx")
    with pytest.raises(LabError, match="asked for the index"):
        neighbours(connection, "docs", [CLOUD.probe(0)])


def test_a_line_that_was_cut_is_not_an_acknowledged_row(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        journal.note(41)
        journal.note(42)
    with (tmp_path / "journal").open("ab") as file:
        file.write(b"4")
    assert journal.ids() == [41, 42]


def test_the_writer_outlives_a_killed_server_and_every_row_in_its_journal_is_there(server, connection, writer):
    with writer:
        writer.wait_more(20)
        connection.close()
        server.kill()
        server.start()
        writer.wait_more(20)
    assert writer.reconnects
    ids = Journal(writer._journal.path).ids()
    assert len(ids) == writer.acknowledged
    with server.connect("vectors") as again:
        assert missing(again, "docs", ids) == []
        # Seen from the other side: a row is acknowledged, or its commit got no answer.
        stored = {row[0] for row in again.execute("SELECT id FROM docs")}
    assert stored <= {*ids, *writer.doubtful}
    assert writer.longest_gap > 0


def test_rows_that_are_gone_are_counted(connection, writer):
    with writer:
        writer.wait_more(5)
    ids = Journal(writer._journal.path).ids()
    connection.execute("DELETE FROM docs WHERE id = ANY(%s)", ([ids[1], ids[3]],))
    assert missing(connection, "docs", ids) == [ids[1], ids[3]]


@pytest.fixture
def no_standby(connection):
    """Commits wait for a standby that never comes."""
    connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    connection.execute("SELECT pg_reload_conf()")
    yield
    connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
    connection.execute("SELECT pg_reload_conf()")


def wait_until_it_waits(connection):
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait_for(lambda: connection.execute(query).fetchone(), what="a commit that waits for the standby")


@pytest.mark.usefixtures("no_standby")
def test_a_commit_that_waits_for_a_standby_for_ever_is_not_acknowledged_and_does_not_hold_the_writer(
    connection, writer
):
    with writer:
        wait_until_it_waits(connection)
    (doubtful,) = writer.doubtful
    assert writer._journal.ids() == list(range(1000, doubtful)), "only what was committed before it waited"


@pytest.mark.usefixtures("no_standby")
def test_a_wait_for_the_standby_that_was_cancelled_is_a_doubtful_row(connection, writer):
    """PostgreSQL answers such a commit as done, with a warning: it is on one machine only."""
    cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with writer:
        wait_until_it_waits(connection)
        connection.execute(cancel)
        wait_for(lambda: writer.doubtful, what="a doubtful row")
    assert writer.doubtful[0] not in writer._journal.ids()
    assert connection.execute("SELECT 1 FROM docs WHERE id = %s", (writer.doubtful[0],)).fetchone()


def test_a_table_that_is_not_there_ends_the_writer_with_the_reason(connection, writer):
    connection.execute("DROP TABLE docs")
    with pytest.raises(LabError, match='"docs" does not exist'), writer:
        writer.wait_more(1)


def test_a_journal_is_for_its_owner_alone(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        journal.note(1)
    assert os.stat(tmp_path / "journal").st_mode & 0o777 == 0o600
