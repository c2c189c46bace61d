# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One blob into one file: resumed where it ended, hashed while it is read, finished only when the digest is right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
import time
import typing as t
from pathlib import Path

from .._common._errors import AutoscaleError, BackendDownError, RefusedError, WaitTimeoutError
from .._common._http import ConnectionBrokenError
from ._manifest import Layer

if t.TYPE_CHECKING:
    from ._registry import Registry

CHUNK = 1024 * 1024
#: Of the network: what was read of a piece is lost with a cut.
PIECE = 128 * 1024
#: How often in a row a blob may be cut without a single new byte.
PATIENCE = 5
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class StoppedError(AutoscaleError):
    """Another layer failed, so this one was left where it was."""


class Effort:
    """How long a pull may take, and whether it is still worth while; shared by all of its threads."""

    def __init__(self, timeout: float, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.timeout = timeout
        self.fetched = 0
        self.stop = threading.Event()
        self._clock = clock
        self._end = clock() + timeout
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._end - self._clock()

    def count(self, size: int) -> None:
        """Bytes that came from the registry. :raises AutoscaleError: it is time to stop."""
        with self._lock:
            self.fetched += size
        self.check()

    def check(self) -> None:
        """:raises AutoscaleError: it is time to stop."""
        if self.stop.is_set():
            raise StoppedError("Stopped, as another layer failed")
        if self.left <= 0:
            raise WaitTimeoutError(
                f"The pull did not end within {self.timeout:g} s; {self.fetched} bytes came in this run",
                remedy="Run it again: it goes on where it was. Raise timeout where the network is slow.",
            )

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self.stop.wait(max(0.0, min(seconds, self.left)))
        self.check()


class Partial:
    """A file that grows, and the hash of what it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.hash = hashlib.sha256()
        self.stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b")

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stream.close()

    def read(self, effort: Effort) -> None:
        """Hash what an earlier run left."""
        for chunk in iter(lambda: self.stream.read(CHUNK), b""):
            self.hash.update(chunk)
            self.size += len(chunk)
            effort.check()

    def add(self, chunk: bytes) -> None:
        self.stream.write(chunk)
        self.hash.update(chunk)
        self.size += len(chunk)

    def start_over(self) -> None:
        self.stream.seek(0)
        self.stream.truncate()
        self.size = 0
        self.hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"

    def finish(self) -> None:
        """On the disk, whatever happens next."""
        self.stream.flush()
        os.fsync(self.stream.fileno())


def fetch(registry: Registry, layer: Layer, path: Path, effort: Effort) -> None:
    """Make *path* the whole blob of *layer*; what is there already is not fetched again.

    :raises RefusedError: the registry gave other bytes than the digest says; the file is removed.
    :raises BackendDownError: cut again and again; the file is kept for the next run.
    """
    try:
        with Partial(path) as partial:
            partial.read(effort)
            if partial.size > layer.size or (partial.size == layer.size and partial.digest != layer.digest):
                partial.start_over()
            kept = partial.size
            _fill(registry, layer, partial, effort)
            if partial.digest != layer.digest and kept:
                # A power cut may have left zeros in what an earlier run wrote: only a whole new read is a proof.
                partial.start_over()
                _fill(registry, layer, partial, effort)
            if partial.digest != layer.digest:
                raise RefusedError(
                    f"The blob {layer.digest} of {registry.reference} is corrupt: what came has the digest "
                    f"{partial.digest}",
                    remedy="It was removed. Check the store of the registry, then push the artifact again.",
                )
            partial.finish()
    except RefusedError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    except OSError as error:
        raise disk_error(error, path) from error


def _fill(registry: Registry, layer: Layer, partial: Partial, effort: Effort) -> None:
    """Read until the file is as long as the blob."""
    misses = 0
    while partial.size < layer.size:
        before = partial.size
        try:
            _read_on(registry, layer, partial, effort)
        except (ConnectionBrokenError, BackendDownError) as error:
            misses = 0 if partial.size > before else misses + 1
            if misses >= PATIENCE:
                raise BackendDownError(
                    f"The blob {layer.digest} of {registry.reference} stays at {partial.size} of {layer.size} bytes: "
                    f"{error.message}",
                    remedy="Run it again when the registry answers: it goes on where it was.",
                ) from error
            effort.pause(min(10.0, 0.5 * 2**misses))


def _read_on(registry: Registry, layer: Layer, partial: Partial, effort: Effort) -> None:
    """One request. :raises RefusedError: more comes than the manifest says."""
    effort.check()
    with registry.blob(layer.digest, partial.size) as response:
        if response.status_code == 416:
            raise RefusedError(
                f"The blob {layer.digest} of {registry.reference} ends before byte {partial.size}, "
                f"and the manifest says {layer.size}",
                remedy="It was removed. Check the store of the registry, then push the artifact again.",
            )
        if partial.size and not _goes_on(response, partial.size):
            start = partial.size
            partial.start_over()  # the Range was ignored: this is the whole blob
            if response.status_code == 206:
                raise BackendDownError(f"asked for byte {start}, got {response.headers.get('Content-Range')!r}")
        for chunk in registry.chunks(response, PIECE):
            if partial.size + len(chunk) > layer.size:
                raise RefusedError(
                    f"The blob {layer.digest} of {registry.reference} is longer than the {layer.size} bytes "
                    "of the manifest",
                    remedy="It was removed. Check the store of the registry, then push the artifact again.",
                )
            partial.add(chunk)
            effort.count(len(chunk))
    if partial.size < layer.size:
        raise BackendDownError(f"the answer ended after {partial.size} of {layer.size} bytes")


def _goes_on(response: t.Any, start: int) -> bool:
    found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return bool(response.status_code == 206 and found and int(found[1]) == start)


def disk_error(error: OSError, path: Path) -> AutoscaleError:
    """What a file system says, with what to do."""
    remedy = f"Check the rights of user {os.geteuid()} on {path.parent}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some space, then run it again: it goes on where it was."
    return BackendDownError(f"Cannot write {error.filename or path}: {error.strerror or error}", remedy=remedy)
