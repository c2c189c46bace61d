# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in a file: its modes, its journal, its disk, and what happens to the file while it is open."""

from __future__ import annotations

import os
import sqlite3
import stat

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError


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
