# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing to current, to the next, and back: what a call does, and what it leaves (B1)."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.kit.blob_server import RAW, Asked, BlobServer, Reply, sha256

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _pull
from ansible_collections.onprem.autoscale.plugins.module_utils._oci._store import Store

Pull = Callable[..., Any]


def model(server: BlobServer, number: int) -> str:
    return server.put([("config.json", b"{}", RAW), ("sub/w.bin", bytes([number]) * 1000, RAW)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "model"


def revisions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "revisions").iterdir())


def test_a_second_call_asks_nobody(server: BlobServer, pull: Pull, root: Path) -> None:
    reference = model(server, 1)
    first = pull(reference)
    assert (first.changed, first.fetched) == (True, 1002)
    assert os.readlink(root / "current") == f"revisions/{Path(first.revision).name}"
    server.asked.clear()
    second = pull(reference)
    assert (second.changed, second.fetched, second.files) == (False, 0, {"config.json": 2, "sub/w.bin": 1000})
    assert server.asked == []
    assert sorted(path.name for path in root.iterdir()) == ["current", "revisions"], "no lock, nothing half done"


def test_check_mode_reads_the_manifest_and_changes_nothing(server: BlobServer, pull: Pull, root: Path) -> None:
    outcome = pull(model(server, 1), check_mode=True)
    assert outcome.changed
    assert outcome.files == {"config.json": 2, "sub/w.bin": 1000}
    assert server.blobs() == []
    assert not root.exists()
    reference = model(server, 1)
    pull(reference)
    assert not pull(reference, check_mode=True).changed


def test_diff_names_both_digests(server: BlobServer, pull: Pull) -> None:
    one, two = model(server, 1), model(server, 2)
    first, second = (reference.partition("@")[2] for reference in (one, two))
    pull(one)
    diff = pull(two, check_mode=True).diff()
    assert diff["before"] == {"current": first, "revisions": [first]}
    assert diff["after"] == {"current": second, "revisions": sorted([first, second])}


def test_back_to_the_one_before_fetches_nothing(server: BlobServer, pull: Pull, root: Path) -> None:
    one, two = model(server, 1), model(server, 2)
    pull(one)
    pull(two)
    server.asked.clear()
    outcome = pull(one)
    assert (outcome.changed, outcome.fetched, server.asked) == (True, 0, [])
    assert (root / "current" / "sub" / "w.bin").read_bytes() == b"\x01" * 1000


def test_the_revision_before_stays_and_older_ones_go(server: BlobServer, pull: Pull, root: Path) -> None:
    one, two, three = (model(server, number) for number in (1, 2, 3))
    folders = [pull(one).revision, pull(two).revision]
    pull(one)  # back: now the first is the one before, though the second is newer
    folders.append(pull(three).revision)
    assert revisions(root) == sorted(Path(folders[index]).name for index in (0, 2))
    assert not pull(three).changed


def test_fewer_to_keep_is_a_change_of_its_own(server: BlobServer, pull: Pull, root: Path) -> None:
    pull(model(server, 1))
    last = pull(model(server, 2))
    assert pull(model(server, 2), keep=1, check_mode=True).changed
    assert len(revisions(root)) == 2
    assert pull(model(server, 2), keep=1).changed
    assert revisions(root) == [Path(last.revision).name]


def test_what_another_pull_left_half_done_goes(server: BlobServer, pull: Pull, root: Path) -> None:
    stale = root / "revisions" / f"sha256-{'b' * 64}"
    (stale / ".partial").mkdir(parents=True)
    assert pull(model(server, 1)).changed
    assert not stale.exists()


def test_a_failed_pull_leaves_current_where_it_was(server: BlobServer, pull: Pull, root: Path) -> None:
    pull(model(server, 1))
    before = os.readlink(root / "current")
    bad = sha256(b"\x02" * 1000)
    server.rule = lambda asked: Reply(200, b"\x03" * 1000) if asked.digest == bad else None
    with pytest.raises(RefusedError, match=bad):
        pull(model(server, 2))
    assert os.readlink(root / "current") == before
    assert (root / "current" / "sub" / "w.bin").read_bytes() == b"\x01" * 1000


@pytest.mark.parametrize("damage", ["shorter", "gone", "unmarked"])
def test_a_damaged_revision_is_filled_again_with_what_is_missing(
    server: BlobServer, pull: Pull, root: Path, damage: str
) -> None:
    reference = model(server, 1)
    folder = Path(pull(reference).revision)
    server.asked.clear()
    if damage == "shorter":
        (folder / "sub" / "w.bin").write_bytes(b"x")
    elif damage == "gone":
        (folder / "sub" / "w.bin").unlink()
    else:  # a person who doubts takes the mark away: every file is read again
        (folder / ".complete").unlink()
        (folder / "sub" / "w.bin").write_bytes(b"\x09" * 1000)
        (folder / "notes.txt").write_text("not of the model")
    outcome = pull(reference)
    assert outcome.changed
    assert outcome.fetched == 1000, "config.json is as it was"
    assert (root / "current" / "sub" / "w.bin").read_bytes() == b"\x01" * 1000
    assert sorted(path.name for path in folder.iterdir()) == [".complete", "config.json", "sub"]


def test_too_little_space_is_found_before_the_first_blob(
    server: BlobServer, pull: Pull, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(root.parent)._replace(free=_pull.RESERVE + 1001)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RefusedError, match=r"64 MiB free.*needs 1 MiB.*Nothing was fetched"):
        pull(model(server, 1))
    assert server.blobs() == []
    usage = usage._replace(free=_pull.RESERVE + 1002)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert pull(model(server, 1)).changed


def test_space_counts_what_is_there_and_what_unpacks(tmp_path: Path) -> None:
    from ansible_collections.onprem.autoscale.plugins.module_utils._oci._fetch import Effort
    from ansible_collections.onprem.autoscale.plugins.module_utils._oci._manifest import Layer

    filling = _pull._Filling(tmp_path, Effort(60))
    filling.partial.mkdir()
    raw, tar, packed = (Layer(f"sha256:{kind}", 100, kind, "w") for kind in ("raw", "tar", "tar+gzip"))
    assert [filling.missing(layer) for layer in (raw, tar, packed)] == [100, 200, 300]
    filling.blob(tar).write_bytes(b"x" * 60)
    filling.blob(raw).write_bytes(b"x" * 30)
    assert [filling.missing(layer) for layer in (raw, tar)] == [70, 140]


def test_one_failure_stops_the_others_where_they_are(server: BlobServer, pull: Pull, root: Path) -> None:
    """The first cause is told, not that others were stopped; what they had stays."""
    slow = os.urandom(2_000_000)
    reference = server.put([("slow.bin", slow, RAW), ("bad.bin", b"good", RAW)])
    begun = threading.Event()

    def rule(asked: Asked) -> Reply | None:
        if asked.digest == sha256(b"good"):
            assert begun.wait(20)
            return Reply(200, b"evil")
        if asked.digest == sha256(slow) and not begun.is_set():
            begun.set()
            return Reply(200, slow, cut=1_000_000)
        if asked.digest == sha256(slow):
            threading.Event().wait(1)
        return None

    server.rule = rule
    with pytest.raises(RefusedError, match="is corrupt"):
        pull(reference, jobs=2)
    folder = Store(root).folder(reference.partition("@")[2])
    assert not (folder / ".complete").exists()
    server.rule = lambda asked: None
    outcome = pull(reference)
    assert (root / "current" / "slow.bin").read_bytes() == slow
    assert outcome.fetched < 2_000_000


def test_the_same_blob_under_two_names(server: BlobServer, pull: Pull, root: Path) -> None:
    pull(server.put([("a.json", b"{}", RAW), ("b.json", b"{}", RAW), ("empty", b"", RAW)]), jobs=3)
    assert {name: (root / "current" / name).read_bytes() for name in ("a.json", "b.json", "empty")} == {
        "a.json": b"{}",
        "b.json": b"{}",
        "empty": b"",
    }


def test_two_runs_take_turns_and_the_second_finds_it_done(server: BlobServer, pull: Pull) -> None:
    reference = model(server, 1)
    held, go = threading.Event(), threading.Event()

    def rule(asked: Asked) -> Reply | None:
        if "/blobs/" in asked.path:
            held.set()
            assert go.wait(20)
        return None

    server.rule = rule
    outcomes: list[Any] = []
    first = threading.Thread(target=lambda: outcomes.append(pull(reference)))
    first.start()
    assert held.wait(20)
    second = threading.Thread(target=lambda: outcomes.append(pull(reference)))
    second.start()
    with pytest.raises(ConflictError, match=r"Another run pulls into .* within 0\.2 s"):
        pull(reference, timeout=0.2)
    go.set()
    first.join(20)
    second.join(20)
    assert sorted(outcome.fetched for outcome in outcomes) == [0, 1002]
    assert len(server.blobs()) == 2


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_current_that_is_no_link_is_refused(server: BlobServer, pull: Pull, root: Path, kind: str) -> None:
    root.mkdir()
    (root / "current").mkdir() if kind == "folder" else (root / "current").write_text("x")
    with pytest.raises(RefusedError, match="is no link"):
        pull(model(server, 1))
    assert server.asked == []


def test_the_mark_says_what_is_there(server: BlobServer, pull: Pull) -> None:
    reference = model(server, 1)
    mark = json.loads((Path(pull(reference).revision) / ".complete").read_text())
    assert mark == {"reference": reference, "files": {"config.json": 2, "sub/w.bin": 1000}}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 1}', '{"files": {"x": "y"}}'])
def test_a_mark_that_cannot_be_read_is_no_mark(server: BlobServer, pull: Pull, text: str) -> None:
    reference = model(server, 1)
    (Path(pull(reference).revision) / ".complete").write_text(text)
    outcome = pull(reference)
    assert (outcome.changed, outcome.fetched) == (True, 0)
