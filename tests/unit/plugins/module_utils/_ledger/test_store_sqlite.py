# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in a file: its modes, its journal, its disk, and what happens to the file while it is open."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables


def test_file_and_folder_are_for_their_owner(sqlite_ledger, tmp_path):
    """A15; the journal files get the mode of the file."""
    sqlite_ledger.start_action("web", "out", owner="me")
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ledger").iterdir()}
    assert files["ledger.db"] == files["ledger.db-wal"] == 0o600
    assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o700


def test_journal_is_wal_and_syncs_each_commit(sqlite_ledger):
    with sqlite_ledger.read() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2, "FULL"
        assert connection.exec_driver_sql("pragma foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("pragma busy_timeout").scalar() == 30_000


def test_a_write_transaction_is_alone_from_its_start(sqlite_ledger, sqlite_url):
    """BEGIN IMMEDIATE: a second writer is refused before it has read anything."""
    with sqlite_ledger.write():
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("begin immediate")
        assert other.execute("select count(*) from actions").fetchone() == (0,), "readers are not held up"
        other.close()


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_memory_is_no_ledger(name):
    with pytest.raises(LedgerError, match="would be forgotten"):
        Ledger.open(f"sqlite:///{name}")


def test_a_corrupt_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"this is no database, but long enough to be looked at" * 50)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    assert f"sqlite:///{tmp_path}/ledger.db" in str(caught.value)
    assert "file is not a database. Move the file away" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot open the ledger .*file/ledger.db.*Check that the folder exists"):
        Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db")


def test_a_file_without_write_permission_is_named(tmp_path, monkeypatch):
    """Root may write everywhere, so the answer of the system is made up here."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(LedgerError, match=r"permission denied\. Check that the folder exists and that this user may"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db")


def test_a_full_disk_is_an_error_and_stores_nothing(sqlite_url):
    """Trigger §7: disk full must be seen, as the receiver answers 503 for it. A page limit stands in for the disk."""
    with Ledger.open(sqlite_url) as full:
        with full.read() as connection:
            pages = connection.exec_driver_sql("pragma page_count").scalar()
            # The pool hands this very connection out again.
            connection.exec_driver_sql(f"pragma max_page_count = {pages}")
        with pytest.raises(LedgerError, match=r"database or disk is full\. Free space on that disk"):
            full.update_members("web", [{"name": f"web-{number}", "moid": "x" * 900} for number in range(20)])
        assert full.members("web") == []


# ---- what happens to the file while it is open


def remove(folder, *, journals=True):
    for path in folder.iterdir():
        if journals or path.suffix == ".db":
            path.unlink()


@pytest.mark.parametrize("journals", [True, False])
def test_a_file_that_was_deleted_is_made_anew_at_the_next_entry(sqlite_ledger, sqlite_url, tmp_path, journals):
    """A receiver runs for months; what it writes must be where the plays look (a lost ledger is rebuilt)."""
    sqlite_ledger.start_action("web", "out", owner="me")
    remove(tmp_path / "ledger", journals=journals)
    assert sqlite_ledger.groups() == []
    assert sqlite_ledger.start_action("db", "out", owner="me") == "db-1"
    with Ledger.open(sqlite_url) as other:
        assert other.groups() == sqlite_ledger.groups() == ["db"]
        with other.read() as connection:
            assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"
    assert stat.S_IMODE((tmp_path / "ledger" / "ledger.db").stat().st_mode) == 0o600


def test_a_deleted_folder_is_made_anew(sqlite_ledger, tmp_path):
    shutil.rmtree(tmp_path / "ledger")
    assert sqlite_ledger.start_action("web", "out", owner="me") == "web-1"
    assert (tmp_path / "ledger" / "ledger.db").exists()


def test_a_file_that_was_replaced_is_the_ledger_from_then_on(sqlite_ledger, tmp_path, clock):
    """A backup is put in its place."""
    with Ledger.open(f"sqlite:///{tmp_path}/backup.db", clock=clock) as backup:
        backup.start_action("old", "out", owner="me")
    sqlite_ledger.start_action("web", "out", owner="me")
    remove(tmp_path / "ledger")
    (tmp_path / "backup.db").rename(tmp_path / "ledger" / "ledger.db")
    assert sqlite_ledger.groups() == ["old"]
    assert sqlite_ledger.start_action("db", "out", owner="me") == "db-1"
    assert sqlite_ledger.groups() == ["db", "old"]


def test_an_entry_into_a_file_that_vanished_meanwhile_is_an_error(sqlite_ledger, tmp_path):
    """Nothing counts as stored that nobody can see."""

    def write():
        with sqlite_ledger.write() as connection:
            sqlite_ledger.upsert(connection, tables.work, {"group_name": "web"}, {"sequence": 1})
            remove(tmp_path / "ledger")

    with pytest.raises(LedgerError, match=r"its file was removed or replaced meanwhile\. Run the same again"):
        write()
    assert sqlite_ledger.groups() == []


def test_several_holders_of_a_deleted_file_meet_in_the_new_one(sqlite_ledger, sqlite_url, tmp_path):
    """The first one that notices makes the file; the others find it, and the old journals do not get into it."""
    others = [Ledger.open(sqlite_url) for _number in range(3)]
    others[0].start_action("old", "out", owner="x")
    assert {tuple(other.groups()) for other in others} == {("old",)}
    remove(tmp_path / "ledger", journals=False)
    for number, other in enumerate(others):
        other.start_action(f"new-{number}", "out", owner="x")
    assert sqlite_ledger.groups() == ["new-0", "new-1", "new-2"]
    for other in others:
        assert other.groups() == sqlite_ledger.groups()
        other.close()
    with sqlite_ledger.read() as connection:
        assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"


def test_a_look_at_a_file_that_vanished_sees_nothing_and_makes_nothing(sqlite_ledger, sqlite_url, tmp_path):
    sqlite_ledger.start_action("web", "out", owner="me")
    with Ledger.open(sqlite_url, look_only=True) as looking:
        assert looking.groups() == ["web"]
        remove(tmp_path / "ledger")
        assert looking.groups() == []
        assert list((tmp_path / "ledger").iterdir()) == []
        sqlite_ledger.start_action("db", "out", owner="me")
        assert looking.groups() == ["db"], "and it sees the new one"


def test_a_file_without_tables_looks_empty(sqlite_url, tmp_path):
    """Another process is about to make the store."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.db").touch()
    with Ledger.open(sqlite_url, look_only=True) as looking:
        assert looking.groups() == []


# ---- a disk that really takes no more


def fill_up(url, answers):
    """The system itself refuses to let a file grow, as it does on a full disk or above a quota."""
    with Ledger.open(url) as ledger:
        ledger.start_action("web", "out", owner="me", ttl=1000)
        biggest = max(path.stat().st_size for path in Path(url.removeprefix("sqlite:///")).parent.iterdir())
        _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (biggest, hard))
        many = [{"name": f"web-{number}", "moid": "x" * 900} for number in range(200)]
        try:
            ledger.update_members("web", many)
        except LedgerError as error:
            answers.put(str(error))
        else:
            answers.put("no error")
        answers.put(len(ledger.members("web")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        ledger.update_members("web", many)
        answers.put(len(ledger.members("web")))
        with ledger.read() as connection:
            answers.put(connection.exec_driver_sql("pragma integrity_check").scalar())


def test_a_disk_that_takes_no_more_stores_nothing_and_works_again_later(sqlite_url):
    """Trigger §7, with the error of the system and not of a page limit."""
    fresh = multiprocessing.get_context("forkserver")
    answers = fresh.Queue()
    child = fresh.Process(target=fill_up, args=(sqlite_url, answers))
    child.start()
    message, *rest = [answers.get(timeout=60) for _answer in range(4)]
    child.join(30)
    assert message.startswith(f"cannot write the ledger {sqlite_url}: ")
    assert message.endswith("then run again; nothing of this call was stored")
    assert rest == [0, 200, "ok"]
    assert child.exitcode == 0
