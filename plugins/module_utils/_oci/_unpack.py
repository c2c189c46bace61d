# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

An archive into a folder: files and folders only, nothing outside of it, whatever the archive says.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import tarfile
import typing as t
import zlib
from pathlib import Path

from .._common._errors import RefusedError
from ._fetch import CHUNK, Effort, disk_error
from ._manifest import TAR_GZIP, TAR_ZSTD, Layer, safe_name
from ._store import FOLDER_MODE

#: Two empty records: the end of an archive.
END = bytes(1024)
FILE_MODE, PROGRAM_MODE = 0o644, 0o755
_ZSTD = ("compression.zstd", "backports.zstd", "zstandard")


def check_unpackable(layers: t.Iterable[Layer]) -> None:
    """:raises RefusedError: a layer needs what this Python does not have; said before anything is fetched."""
    needy = [layer.digest for layer in layers if layer.packing == TAR_ZSTD]
    if needy and _zstd() is None:
        raise RefusedError(
            f"layer {needy[0]} is packed with zstd, which this Python cannot read",
            remedy="Install the Python library zstandard on this host, or push the model as raw files or tar.",
        )


def unpack(layer: Layer, blob: Path, folder: Path, effort: Effort) -> list[str]:
    """Unpack *blob* below *folder*, which is new; the names of its files.

    :raises RefusedError: a member is a link, a device, or lies outside; or the archive is damaged.
    """
    names: list[str] = []
    try:
        with _reader(layer, blob) as stream, tarfile.open(fileobj=t.cast("t.IO[bytes]", stream), mode="r|") as archive:
            for member in archive:
                effort.check()
                where = f"layer {layer.digest}"
                if member.isdir() and member.name.strip("./") == "":
                    continue
                name = safe_name(member.name, where)
                if member.isdir():
                    make_folder(folder, name)
                elif member.isreg():
                    source = t.cast("t.IO[bytes]", archive.extractfile(member))  # a regular member has content
                    _write(source, folder, name, member.mode, effort)
                    names.append(name)
                else:
                    raise RefusedError(
                        f"{where} has {member.name!r}, which is a link or a device",
                        remedy="Pack plain files and folders only.",
                    )
            stream.drain()
        if stream.tail.strip(b"\0") or len(stream.tail) < len(END):
            raise tarfile.ReadError("it ends before its end")  # tarfile takes a torn header for the end
    except (tarfile.TarError, EOFError, UnicodeError, gzip.BadGzipFile, zlib.error, _zstd_error()) as error:
        raise RefusedError(
            f"layer {layer.digest} is no {layer.packing} archive: {error}",
            remedy="Its media type says how it is packed; push the artifact again with the right one.",
        ) from error
    except OSError as error:
        raise disk_error(error, folder) from error
    return list(dict.fromkeys(names))


def make_folder(root: Path, name: str) -> None:
    """Every folder of *name* below *root*, readable by whoever serves the model."""
    folder = root
    for part in name.split("/"):
        folder = folder / part
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(FOLDER_MODE)


def _write(source: t.IO[bytes], folder: Path, name: str, mode: int, effort: Effort) -> None:
    if "/" in name:
        make_folder(folder, name.rpartition("/")[0])
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # a later member of the same name wins, as in tar
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            stream.write(chunk)
            effort.check()
        stream.flush()
        os.fchmod(stream.fileno(), PROGRAM_MODE if mode & 0o100 else FILE_MODE)
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _reader(layer: Layer, blob: Path) -> t.Iterator[_Tail]:
    with contextlib.ExitStack() as stack:
        stream: t.Any = stack.enter_context(blob.open("rb"))
        if layer.packing == TAR_GZIP:
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
        elif layer.packing == TAR_ZSTD:
            stream = stack.enter_context(_zstd().open(stream, "rb"))  # check_unpackable was asked before
        yield _Tail(stream)


class _Tail:
    """A stream that remembers how it ended."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        self._stream = stream
        self.tail = b""

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.tail = (self.tail + data)[-len(END) :]
        return data

    def drain(self) -> None:
        """To the end, where gzip has its checksum."""
        while self.read(CHUNK):
            pass


def _zstd() -> t.Any:
    for name in _ZSTD:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def _zstd_error() -> type[BaseException]:
    return getattr(_zstd(), "ZstdError", EOFError)
