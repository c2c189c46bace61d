# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

From a reference to a folder that can be served: read the manifest, check the space, fetch the layers side by side,
mark, switch, tidy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
import typing as t
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from .._common._atomic_file import locked, sync_folder, write_atomic
from .._common._errors import AutoscaleError, ConflictError, RefusedError
from ._fetch import CHUNK, Effort, StoppedError, disk_error, fetch
from ._manifest import RAW, TAR, Layer, Reference, read_manifest
from ._registry import Registry
from ._store import PARTIAL, Store
from ._unpack import FILE_MODE, check_unpackable, make_folder, unpack

#: What is left free on the file system, for its journal and for others.
RESERVE = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a module call asks for."""

    reference: Reference
    path: str
    jobs: int
    keep: int
    timeout: float
    connection: t.Mapping[str, t.Any]


@dataclasses.dataclass
class Outcome:
    """What a call found and did."""

    digest: str
    current: str
    revision: str
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    files: dict[str, int] = dataclasses.field(default_factory=dict)
    fetched: int = 0

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def diff(self) -> dict[str, t.Any]:
        """Before and after, as Ansible shows them."""
        return {"before": self.before, "after": self.after}


def pull(wish: Wish, *, check_mode: bool) -> Outcome:
    """Make the artifact current. A call that finds it so asks nobody."""
    store = Store(wish.path)
    outcome = _plan(store, wish)
    if not outcome.changed:
        outcome.files = store.complete(wish.reference.digest) or {}
        return outcome
    effort = Effort(wish.timeout)
    if check_mode:
        outcome.files = store.complete(wish.reference.digest) or _listed(_layers(wish, effort))
        return outcome
    store.create()
    try:
        with locked(store.root / ".pull", timeout=wish.timeout, interval=0.5):
            return _apply(store, wish, effort)
    except ConflictError as error:
        raise ConflictError(
            f"Another run pulls into {store.root} and did not end within {wish.timeout:g} s",
            remedy="Wait for it, or look why it hangs.",
        ) from error


def _plan(store: Store, wish: Wish) -> Outcome:
    digest = wish.reference.digest
    now = store.now()
    gone = store.superfluous(digest, wish.keep)
    there = store.present()
    whole = store.complete(digest) is not None
    before = {"current": now, "revisions": sorted(row for row in there if row != digest or whole)}
    after = {"current": digest, "revisions": sorted({digest, *(row for row in there if row not in gone)})}
    return Outcome(digest, str(store.current), str(store.folder(digest)), before, after)


def _apply(store: Store, wish: Wish, effort: Effort) -> Outcome:
    outcome = _plan(store, wish)  # another run may have done it while we waited
    digest = wish.reference.digest
    gone = store.superfluous(digest, wish.keep)
    files = store.complete(digest)
    if files is None:
        try:
            files = _fill(store, wish, effort)
        except AutoscaleError as error:
            error.result.setdefault("bytes_fetched", effort.fetched)
            raise
        except OSError as error:
            raise disk_error(error, store.folder(digest)) from error
        store.finish(wish.reference, files)
    if store.now() != digest:
        store.switch(digest)
    for old in gone:
        store.remove(old)
    outcome.files, outcome.fetched = files, effort.fetched
    return outcome


def _layers(wish: Wish, effort: Effort) -> list[Layer]:
    with _registry(wish, effort) as registry:
        layers = read_manifest(registry.manifest(), wish.reference)
    check_unpackable(layers)
    return layers


def _registry(wish: Wish, effort: Effort) -> Registry:
    return Registry(wish.reference, wish.connection, idle=max(1.0, min(60.0, effort.left)))


def _listed(layers: t.Iterable[Layer]) -> dict[str, int]:
    """What check mode can know: archives are not opened."""
    return {layer.name: layer.size for layer in layers if layer.packing == RAW}


# ---- filling a revision ---------------------------------------------------------------------------------------------
class _Filling:
    """The layers of one revision on their way into its folder."""

    def __init__(self, folder: Path, effort: Effort) -> None:
        self.folder = folder
        self.partial = folder / PARTIAL
        self.effort = effort
        self._lock = threading.Lock()
        self._owner: dict[str, str] = {}

    def blob(self, layer: Layer) -> Path:
        return self.partial / f"{layer.digest.replace(':', '-')}.partial"

    def mark(self, layer: Layer) -> Path:
        return self.partial / f"{layer.digest.replace(':', '-')}.{_key(layer.name)}done"

    def done(self, layer: Layer) -> list[str] | None:
        """The names that a layer became in an earlier run, when they are all there."""
        try:
            rows = json.loads(self.mark(layer).read_text())
            if all((self.folder / name).lstat().st_size == size for name, size in rows.items()):
                return list(rows)
        except (OSError, ValueError, AttributeError):
            pass
        return None

    def missing(self, layer: Layer) -> int:
        """Bytes that this layer still takes on the disk; an archive is there twice for a while, a packed one grows."""
        if self.done(layer) is not None:
            return 0
        try:
            here = self.blob(layer).stat().st_size
        except OSError:
            here = 0
        if layer.packing == RAW:
            with contextlib.suppress(OSError):
                here = max(here, (self.folder / layer.name).stat().st_size)
        return max(0, layer.size - here) + layer.size * {RAW: 0, TAR: 1}.get(layer.packing, 2)

    def claim(self, name: str, layer: Layer) -> None:
        """:raises RefusedError: another layer has this file already."""
        with self._lock:
            owner = self._owner.setdefault(name, layer.digest)
        if owner != layer.digest:
            raise RefusedError(
                f"layers {owner} and {layer.digest} both bring {name}", remedy="Push the artifact without the double."
            )

    def bring(self, registry: Registry, layer: Layer) -> None:
        """Fetch one layer and put its files into place."""
        names = self.done(layer)
        if names is None:
            try:
                names = self._raw(registry, layer) if layer.packing == RAW else self._archive(registry, layer)
                sizes = {name: (self.folder / name).stat().st_size for name in names}
            except OSError as error:
                raise disk_error(error, self.folder) from error
            write_atomic(self.mark(layer), json.dumps(sizes).encode())
        for name in names:
            self.claim(name, layer)

    def _raw(self, registry: Registry, layer: Layer) -> list[str]:
        target = self.folder / layer.name
        if not _is(target, layer, self.effort):
            blob = self.blob(layer)
            fetch(registry, layer, blob, self.effort)
            self._place(blob, layer.name)
        return [layer.name]

    def _archive(self, registry: Registry, layer: Layer) -> list[str]:
        blob, tree = self.blob(layer), self.partial / f"{layer.digest.replace(':', '-')}.tree"
        fetch(registry, layer, blob, self.effort)
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        names = unpack(layer, blob, tree, self.effort)
        for name in names:
            self.claim(name, layer)
        for name in names:
            self._place(tree / name, name)
        shutil.rmtree(tree)
        blob.unlink()
        return names

    def _place(self, source: Path, name: str) -> None:
        if "/" in name:
            make_folder(self.folder, name.rpartition("/")[0])
        target = self.folder / name
        if source.suffix == ".partial":
            source.chmod(FILE_MODE)
        os.replace(source, target)
        sync_folder(target.parent)


def _fill(store: Store, wish: Wish, effort: Effort) -> dict[str, int]:
    """All layers into the folder of the revision; the size of each file by name."""
    with _registry(wish, effort) as registry:
        layers = read_manifest(registry.manifest(), wish.reference)
        check_unpackable(layers)
        filling = _Filling(store.begin(wish.reference.digest), effort)
        _check_space(store, filling, layers)
        _in_parallel(filling, registry, layers, wish.jobs)
        files: dict[str, int] = {}
        for layer in layers:
            for name in filling.done(layer) or ():
                files[name] = (filling.folder / name).stat().st_size
    _sweep(filling.folder, files)
    return files


def _check_space(store: Store, filling: _Filling, layers: t.Sequence[Layer]) -> None:
    wanted = sum(filling.missing(layer) for layer in layers)
    free = shutil.disk_usage(store.revisions).free
    if wanted and wanted + RESERVE > free:
        raise RefusedError(
            f"{store.root} has {free // 2**20} MiB free, and the artifact needs {-(-wanted // 2**20)} MiB and "
            f"{RESERVE // 2**20} MiB of reserve",
            remedy="Nothing was fetched. Free some space, lower keep_revisions, or use another file system.",
        )


def _in_parallel(filling: _Filling, registry: Registry, layers: t.Sequence[Layer], jobs: int) -> None:
    """The longest first; the first failure stops the others where they are."""
    # The same blob may stand under several names: they go one after the other, or two would write one file.
    rows: dict[str, list[Layer]] = {}
    for layer in sorted(layers, key=lambda layer: -layer.size):
        rows.setdefault(layer.digest, []).append(layer)

    def bring(row: list[Layer]) -> None:
        for layer in row:
            filling.bring(registry, layer)

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="layer") as pool:
        futures = [pool.submit(bring, row) for row in rows.values()]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and not future.exception() for future in futures):
                filling.effort.stop.set()
    errors = [error for error in (future.exception() for future in futures) if error]
    if errors:
        raise next((error for error in errors if not isinstance(error, StoppedError)), errors[0])


def _is(path: Path, layer: Layer, effort: Effort) -> bool:
    """Whether the file has the bytes of the layer already: read, not believed."""
    digest = hashlib.sha256()
    try:
        if path.is_symlink() or path.stat().st_size != layer.size:
            return False
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                digest.update(chunk)
                effort.check()
    except FileNotFoundError:
        return False
    return f"sha256:{digest.hexdigest()}" == layer.digest


def _sweep(folder: Path, files: t.Container[str]) -> None:
    """Remove what is no file of the artifact, such as somebody's notes in a folder that was half done."""
    for path, _folders, names in os.walk(folder):
        below = Path(path).relative_to(folder)
        if below.parts[:1] == (PARTIAL,):
            continue
        for name in names:
            if str(below / name) not in files:
                (Path(path) / name).unlink()


def _key(name: str) -> str:
    return f"{hashlib.sha256(name.encode()).hexdigest()[:12]}." if name else ""
