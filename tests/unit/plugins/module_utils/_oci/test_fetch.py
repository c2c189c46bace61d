# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One blob: resumed, cut, wrong, too long, too short (B1)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.kit.blob_server import RAW, Asked, BlobServer, Reply, sha256

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    BackendDownError,
    RefusedError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _fetch
from ansible_collections.onprem.autoscale.plugins.module_utils._oci._store import Store

Pull = Callable[..., Any]
CONTENT = os.urandom(3_000_000)
DIGEST = sha256(CONTENT)


@pytest.fixture
def reference(server: BlobServer) -> str:
    return server.put([("w.bin", CONTENT, RAW)])


@pytest.fixture
def partial(tmp_path: Path, reference: str) -> Path:
    """Where an unfinished blob lies."""
    path = Store(tmp_path / "model").folder(reference.partition("@")[2]) / ".partial"
    path.mkdir(parents=True)
    return path / f"{DIGEST.replace(':', '-')}.partial"


def blob(rule: Callable[[Asked, int], Reply | None]) -> Callable[[Asked], Reply | None]:
    """A rule for blobs only, which is told the number of the request."""
    seen: list[Asked] = []

    def answer(asked: Asked) -> Reply | None:
        if "/blobs/" not in asked.path:
            return None
        seen.append(asked)
        return rule(asked, len(seen))

    return answer


def starts(server: BlobServer) -> list[int]:
    return [asked.start for asked in server.blobs()]


def content(outcome: Any) -> bytes:
    return (Path(outcome.current) / "w.bin").read_bytes()


def test_what_is_there_is_not_fetched_again(server: BlobServer, reference: str, partial: Path, pull: Pull) -> None:
    partial.write_bytes(CONTENT[:1_234_567])
    outcome = pull(reference)
    assert content(outcome) == CONTENT
    assert starts(server) == [1_234_567]
    assert outcome.fetched == len(CONTENT) - 1_234_567


def test_a_whole_partial_needs_no_request(server: BlobServer, reference: str, partial: Path, pull: Pull) -> None:
    partial.write_bytes(CONTENT)
    assert content(pull(reference)) == CONTENT
    assert starts(server) == []


@pytest.mark.parametrize("left", [b"x" * len(CONTENT), CONTENT + b"x", b"x" * 5_000])
def test_rubbish_from_an_earlier_run_is_found_and_fetched_whole(
    server: BlobServer, reference: str, partial: Path, pull: Pull, left: bytes
) -> None:
    """A power cut may leave zeros in a file: the digest at the end tells, and the blob is fetched once more, whole."""
    partial.write_bytes(left)
    assert content(pull(reference)) == CONTENT
    assert starts(server)[-1] == 0


def test_a_cut_is_resumed_where_it_was(server: BlobServer, reference: str, pull: Pull) -> None:
    def cut(asked: Asked, number: int) -> Reply | None:
        reply = server.serve(asked)
        reply.cut = 5 * _fetch.PIECE + 10_000
        return reply if number < 4 else None

    server.rule = blob(cut)
    outcome = pull(reference)
    assert content(outcome) == CONTENT
    assert starts(server) == [number * 5 * _fetch.PIECE for number in range(4)], "less than a piece is read twice"
    assert outcome.fetched == len(CONTENT)


def test_an_ignored_range_starts_over(server: BlobServer, reference: str, partial: Path, pull: Pull) -> None:
    partial.write_bytes(CONTENT[:1_000_000])
    server.rule = blob(lambda asked, number: Reply(200, CONTENT))
    assert content(pull(reference)) == CONTENT
    assert starts(server) == [1_000_000]


def test_another_range_than_was_asked_for_is_not_believed(
    server: BlobServer, reference: str, partial: Path, pull: Pull
) -> None:
    partial.write_bytes(CONTENT[:1_000_000])
    wrong = Reply(206, CONTENT[500_000:], {"Content-Range": f"bytes 500000-{len(CONTENT) - 1}/{len(CONTENT)}"})
    server.rule = blob(lambda asked, number: wrong if number == 1 else None)
    assert content(pull(reference)) == CONTENT
    assert starts(server) == [1_000_000, 0]


def test_busy_answers_are_waited_for(server: BlobServer, reference: str, pull: Pull) -> None:
    server.rule = blob(lambda asked, number: Reply(429) if number < 3 else None)
    assert content(pull(reference)) == CONTENT


def test_a_blob_that_never_moves_is_given_up_and_kept(
    server: BlobServer, reference: str, partial: Path, pull: Pull
) -> None:
    partial.write_bytes(CONTENT[:1_000_000])
    server.rule = blob(lambda asked, number: Reply(206, b"", {"Content-Range": f"bytes {asked.start}-2/3"}))
    with pytest.raises(BackendDownError, match=f"{DIGEST} .* stays at 1000000 of {len(CONTENT)} bytes"):
        pull(reference)
    assert partial.stat().st_size == 1_000_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"x" * len(CONTENT), "is corrupt: what came has the digest sha256:"),
        (CONTENT + b"x", f"longer than the {len(CONTENT)} bytes"),
    ],
)
def test_a_corrupt_blob_is_removed_and_named(
    server: BlobServer, reference: str, partial: Path, pull: Pull, body: bytes, words: str
) -> None:
    server.rule = blob(lambda asked, number: Reply(200, body))
    with pytest.raises(RefusedError, match=words) as caught:
        pull(reference)
    assert DIGEST in str(caught.value)
    assert not partial.exists()
    assert not (partial.parents[1] / "w.bin").exists()
    assert not (partial.parents[3] / "current").exists()


def test_a_blob_that_ends_before_its_size_is_removed(
    server: BlobServer, reference: str, partial: Path, pull: Pull
) -> None:
    """The manifest says more than the registry has: 416 at the end."""
    server.rule = blob(lambda asked, number: Reply(416) if number > 1 else Reply(200, CONTENT[:1000]))
    with pytest.raises(RefusedError, match="ends before byte 1000"):
        pull(reference)
    assert not partial.exists()


def test_the_deadline_keeps_what_came(
    server: BlobServer, reference: str, partial: Path, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetch, "PIECE", 100_000)
    count = _fetch.Effort.count

    def late(effort: _fetch.Effort, size: int) -> None:
        effort._end -= 20.0
        count(effort, size)

    monkeypatch.setattr(_fetch.Effort, "count", late)
    with pytest.raises(WaitTimeoutError, match=r"within 60 s.*goes on where it was") as caught:
        pull(reference)
    assert partial.stat().st_size > 0
    assert caught.value.result["bytes_fetched"] == partial.stat().st_size


def test_a_full_disk_keeps_what_came_and_says_so(
    server: BlobServer, reference: str, partial: Path, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(partial: _fetch.Partial, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_fetch.Partial, "add", full)
    with pytest.raises(BackendDownError, match=r"No space left on device\. Free some space"):
        pull(reference)
    assert partial.exists()


def test_a_link_in_the_place_of_a_partial_is_not_followed(
    server: BlobServer, reference: str, partial: Path, pull: Pull, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    partial.symlink_to(victim)
    with pytest.raises(BackendDownError, match="Cannot write"):
        pull(reference)
    assert victim.read_bytes() == b"precious"
