# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: unpacked below the folder, or refused with the layer named (B1)."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.kit.blob_server import BlobServer, sha256

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._oci import _unpack

Pull = Callable[..., Any]
TAR = "application/vnd.cncf.model.weight.v1.tar"
GZIP = f"{TAR}+gzip"
ZSTD = f"{TAR}+zstd"
RAW = "application/vnd.cncf.model.weight.v1.raw"


def member(name: str, content: bytes = b"", mode: int = 0o600, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


FOLDER = member("t", type=tarfile.DIRTYPE)
GOOD = archive(
    member("./", type=tarfile.DIRTYPE), FOLDER, member("t/config.json", b"{}"), member("run.sh", b"#!", mode=0o700)
)


def names(folder: str) -> dict[str, int]:
    root = Path(folder)
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("media", "blob"), [(TAR, GOOD), (GZIP, gzip.compress(GOOD))])
def test_files_come_to_their_place_readable_by_the_service(
    server: BlobServer, pull: Pull, media: str, blob: bytes
) -> None:
    reference = server.put([("model.tar", blob, media), ("w.bin", b"weights", RAW)])
    outcome = pull(reference)
    assert outcome.files == {"t/config.json": 2, "run.sh": 2, "w.bin": 7}
    found = names(outcome.revision)
    assert found == {"t/config.json": 0o644, "run.sh": 0o755, "w.bin": 0o644, ".complete": 0o644}
    assert (Path(outcome.current) / "t").stat().st_mode & 0o777 == 0o755
    assert not pull(reference).changed


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil", b"x"),
        member("/tmp/evil", b"x"),
        member("t/../../evil", b"x"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard", type=tarfile.LNKTYPE, linkname="t/config.json"),
        member("fifo", type=tarfile.FIFOTYPE),
        member("dev", type=tarfile.CHRTYPE),
        member(".complete", b"{}"),
        member(".partial/x", b"x"),
        member("../evil", type=tarfile.DIRTYPE),
    ],
    ids=lambda row: f"{row[0].name}-{row[0].type!r}",
)
def test_what_would_leave_the_folder_is_refused(
    server: BlobServer, pull: Pull, tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    blob = archive(FOLDER, member("t/config.json", b"{}"), bad)
    with pytest.raises(RefusedError, match=sha256(blob)):
        pull(server.put([("model.tar", blob, TAR)]))
    assert not (tmp_path / "model" / "current").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert not list(tmp_path.rglob("evil"))


def test_a_link_cannot_carry_a_later_member_outside(server: BlobServer, pull: Pull, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = archive(member("d", type=tarfile.SYMTYPE, linkname=str(outside)), member("d/evil", b"x"))
    with pytest.raises(RefusedError, match="link or a device"):
        pull(server.put([("model.tar", blob, TAR)]))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("media", "blob"),
    [
        (TAR, b"no archive at all"),
        (TAR, GOOD[:700]),
        (GZIP, b"no archive at all"),
        (GZIP, GOOD),
        (GZIP, gzip.compress(GOOD)[:-20]),
        (GZIP, gzip.compress(GOOD)[:40] + b"xxxx" + gzip.compress(GOOD)[44:]),
        (TAR, gzip.compress(GOOD)),
    ],
)
def test_a_damaged_archive_is_told_as_one(server: BlobServer, pull: Pull, media: str, blob: bytes) -> None:
    with pytest.raises(RefusedError, match=rf"layer {sha256(blob)} is no tar"):
        pull(server.put([("model.tar", blob, media)]))


def test_the_same_file_in_two_layers_is_refused(server: BlobServer, pull: Pull) -> None:
    with pytest.raises(RefusedError, match=r"both bring t/config\.json"):
        pull(server.put([("model.tar", GOOD, TAR), ("t/config.json", b"other", RAW)]), jobs=1)


def test_zstd_is_refused_before_anything_is_fetched(
    server: BlobServer, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_unpack, "_ZSTD", ())
    with pytest.raises(RefusedError, match=r"packed with zstd.*zstandard"):
        pull(server.put([("model.tar", b"x", ZSTD), ("w.bin", b"weights", RAW)]))
    assert server.blobs() == []


def test_zstd_is_read_where_a_library_can(server: BlobServer, pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any library with the open() of Python 3.14's; here one that reads what is not packed."""

    class Library:
        @staticmethod
        def open(stream: Any, mode: str) -> Any:
            assert mode == "rb"
            return io.BufferedReader(stream)

    monkeypatch.setattr(_unpack, "_zstd", lambda: Library)
    assert sorted(pull(server.put([("model.tar", GOOD, ZSTD)])).files) == ["run.sh", "t/config.json"]


def test_unpacking_that_was_killed_begins_again(server: BlobServer, pull: Pull, tmp_path: Path) -> None:
    """The blob is there, and half of its files: the tree is made anew, the blob is not fetched again."""
    reference = server.put([("model.tar", GOOD, TAR)])
    digest = reference.partition("@")[2]
    partial = tmp_path / "model" / "revisions" / digest.replace(":", "-") / ".partial"
    name = sha256(GOOD).replace(":", "-")
    (partial / f"{name}.tree" / "t").mkdir(parents=True)
    (partial / f"{name}.tree" / "t" / "config.json").write_bytes(b"half")
    (partial / f"{name}.partial").write_bytes(GOOD)
    outcome = pull(reference)
    assert (Path(outcome.current) / "t" / "config.json").read_bytes() == b"{}"
    assert server.blobs() == []
