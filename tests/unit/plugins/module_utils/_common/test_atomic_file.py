# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic files: a reader never sees half a file, a killed writer leaves nothing, two writers take turns."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common import _atomic_file as af
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)

WRITER = """
import sys
from pathlib import Path
from ansible_collections.onprem.autoscale.plugins.module_utils._common import _atomic_file as af
path, n = Path(sys.argv[1]), 0
while True:
    n += 1
    with af.locked(path):
        af.write_atomic(path, b"%d\\n" % (n % 10) * 200_000)
    print(n, flush=True)
"""


def test_kill_9_leaves_a_whole_file_and_no_rubbish(tmp_path: Path) -> None:
    """Invariant 7: whenever the writer dies, the file is one whole version, and the next writer cleans up."""
    path = tmp_path / "web.json"
    path.write_bytes(b"0\n" * 200_000)
    for pause in (0.0, 0.003, 0.007, 0.011, 0.017):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == 400_000
        assert len(set(content.split())) == 1, "two versions are mixed"
        with af.locked(path, timeout=1):  # the dead writer's lock is gone
            pass
        assert [entry.name for entry in tmp_path.iterdir()] == ["web.json"]


def _append(path: Path, word: str, times: int) -> None:
    for _unused in range(times):
        with af.locked(path):
            af.write_atomic(path, (af.read_bytes(path) or b"") + f"{word}\n".encode())


def test_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "file"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(path, word, 20)) for word in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert sorted(path.read_text().split()) == sorted("abc" * 20)
    assert list(tmp_path.iterdir()) == [path], "the lock file goes with the lock"


def test_a_lock_that_is_held_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with af.locked(path), pytest.raises(ConflictError, match=r"file\.lock"), af.locked(path, timeout=0.1):
        pass


def test_mode_and_owner_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    af.write_atomic(path, b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    other = tmp_path / "other"
    af.write_atomic(other, b"x", like=path)
    assert stat.S_IMODE(other.stat().st_mode) == 0o640
    plain = tmp_path / "plain"
    old = os.umask(0o077)
    try:
        af.write_atomic(plain, b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(plain.stat().st_mode) == 0o644, "the server has to read it whatever the umask is"


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_text("old")
    link = tmp_path / "link.yml"
    link.symlink_to(real)
    af.write_atomic(af.resolve(link), b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_errors_name_path_and_remedy(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "file"
    with pytest.raises(NotFoundError, match="Create"):
        af.write_atomic(missing, b"x")
    with pytest.raises(NotFoundError, match="Create"), af.locked(missing):
        pass
    with pytest.raises(RefusedError, match="folder"):
        af.resolve(tmp_path)
    with pytest.raises(RefusedError, match="Cannot read"):
        af.read_bytes(tmp_path)
    assert af.read_bytes(missing) is None
    assert af.remove(missing) is False


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(af.os, "fsync", full)
    with pytest.raises(RefusedError, match="No space left"):
        af.write_atomic(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
