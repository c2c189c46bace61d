# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store for vectors on two sites, by its playbooks: declared, saved, restored, copied, moved (C1 to C5).

The tests are chapters of one story, in their order.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import psycopg
import pytest
from e2e.vector_lab import CLUSTERS, STORE, VectorLab, until

from lab.kit import free_port
from lab.settings import REPO

A, B = "site-a", "site-b"
ROWS = 300
EVERYTHING = list(range(1, ROWS + 1))
INSERT = (
    "INSERT INTO docs (id, title, embedding) SELECT i, 'title ' || i,"
    " (SELECT array_agg(sin(i * k))::vector FROM generate_series(1, 16) k) FROM generate_series({}, {}) i"
)


class Story:
    """The lab, and the playbooks that were run in it."""

    def __init__(self, lab: VectorLab) -> None:
        self.lab = lab
        self.said = ""

    def run(self, name: str, **variables: object) -> str:
        """A playbook that goes well; the message it ends with."""
        rc, output = self._play(name, **variables)
        assert rc == 0, output
        return output

    def refused(self, name: str, *words: str, **variables: object) -> None:
        """A playbook that fails, and says why."""
        rc, output = self._play(name, **variables)
        assert rc != 0, output
        for word in words:
            assert word in output, f"{word!r} is missing from:\n{output}"

    def _play(self, name: str, **variables: object) -> tuple[int, str]:
        command = self.lab.command(name, **variables)
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=300)
        output = done.stdout + done.stderr
        self.said += output
        return done.returncode, output

    def without(self, site: str) -> dict[str, dict[str, object]]:
        """The DSMs, that of *site* out of reach."""
        accounts = self.lab.accounts()
        accounts[site]["url"] = f"https://127.0.0.1:{free_port()}"
        return accounts

    def execute(self, site: str, query: str, role: str = "app") -> list[tuple[object, ...]]:
        with self.lab.connect(site, role) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def serves(self, site: str) -> bool:
        try:
            return bool(self.execute(site, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    def ids(self, site: str) -> list[int]:
        return [row[0] for row in self.execute(site, "SELECT id FROM docs ORDER BY id", "search")]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    lab = VectorLab(tmp_path_factory.mktemp("out"), (A, B), dimension=16, replicas=0)
    lab.declared["vector_store_cluster"]["backup"] = {
        "location": "s3-a",
        "retention_days": 7,
        "schedules": [{"name": "full", "type": "full", "schedule": "0 1 * * 6"}],
    }
    try:
        lab.up()
        yield Story(lab)
    finally:
        lab.down()


def test_saved_and_restored_beside_itself(story: Story, tmp_path: Path) -> None:
    """C3: from a dump, and from DSM's backups at a time before the mistake; what is not the same is found."""
    story.run("vector_store")
    story.execute(A, INSERT.format(1, ROWS))
    assert f"public.docs: {ROWS} rows" in story.run("vector_store_status")
    saved = tmp_path / "dump"
    assert f"{ROWS} rows" in story.run("vector_store_dump", dump_dir=str(saved))
    before = datetime.now(timezone.utc).isoformat()
    story.execute(A, "DELETE FROM docs WHERE id > 100")
    same = "rows, checksums and neighbours are those of"
    logical = {"mode": "logical", "dump_dir": str(saved)}
    assert same in story.run("vector_store_restore", target="restored", **logical)
    story.refused("vector_store_restore", "into a new one", target="restored", **logical)

    forged = json.loads((saved / "fingerprint.json").read_text())
    point = {"mode": "point_in_time", "target": f"{STORE}-before", "timestamp": before}
    point["fingerprint"] = str(saved / "fingerprint.json")
    assert same in story.run("vector_store_restore", **point)
    forged["before"][0]["checksum"] = "0"
    (saved / "fingerprint.json").write_text(json.dumps(forged))
    story.refused("vector_store_restore", "another checksum", **point)
    assert story.ids(A) == EVERYTHING[:100], "the store itself was not touched"


def test_a_primary_whose_fence_is_not_proven_keeps_its_copy_from_being_promoted(story: Story) -> None:
    """C4: no second primary, whoever asks for it."""
    assert f"{B} follows {A}" in story.run("vector_store_replicate", **{"from": A}, to=B, synchronous=True)
    words = ("Nothing was promoted", "force=true")
    story.refused("vector_store_promote", *words, **{"from": A}, to=B, autoscale_dsm=story.without(A))
    story.execute(A, INSERT.format(101, 200))


def test_a_fence_is_taken_back_while_nothing_is_promoted(story: Story) -> None:
    """C4: whoever thinks better of it can open the store again."""
    story.lab.api(A, "PATCH", f"{CLUSTERS}/{STORE}", {"spec": {"blockDatabaseConnections": True}})
    until("the store is closed", lambda: not story.serves(A))
    story.run("vector_store_promote", **{"from": A}, to=B, cancel=True)
    assert story.ids(A) == EVERYTHING[:200]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        story.execute(B, "DELETE FROM docs")


def test_moved_as_planned_and_the_old_primary_comes_back_as_the_copy(story: Story) -> None:
    """C4: every acknowledged row is there; the old primary takes nothing, then follows with what it missed."""
    told = story.run("vector_store_promote", **{"from": A}, to=B, planned=True)
    assert "0 rows lost" in told
    assert "timeline 2" in told
    assert story.ids(B) == EVERYTHING[:200]
    with pytest.raises(psycopg.OperationalError):
        story.ids(A)
    story.execute(B, INSERT.format(201, 250))
    assert "was the primary already" in story.run("vector_store_promote", **{"from": A}, to=B, planned=True)

    assert f"{A} follows {B}" in story.run("vector_store_rejoin", primary=B, standby=A)
    assert story.ids(A) == story.ids(B) == EVERYTHING[:250]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        story.execute(A, "DELETE FROM docs")


def test_forced_back_and_what_the_other_site_took_alone_is_given_up(story: Story) -> None:
    """C4: force says what it gives up; the rewind takes it away, so that both sites are the same again."""
    told = story.run("vector_store_promote", **{"from": B}, to=A, force=True, autoscale_dsm=story.without(B))
    assert "force=true" in told
    assert "not proven to be fenced" in told
    story.execute(A, INSERT.format(251, 300))
    story.execute(B, INSERT.format(1001, 1010))  # nobody could close it: a second primary
    story.refused("vector_store_promote", "stays fenced", **{"from": B}, to=A, cancel=True)

    assert f"{B} follows {A}" in story.run("vector_store_rejoin", primary=A, standby=B)
    assert story.ids(A) == story.ids(B) == EVERYTHING
    assert [password for password in story.lab.passwords.values() if password in story.said] == []
