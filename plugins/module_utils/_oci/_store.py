# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The folder of an artifact: ``revisions/sha256-<hex>/`` with the files, ``.complete`` in it when all of them are there,
and the link ``current``, which moves from one complete revision to the next in one step.
"""

from __future__ import annotations

import json
import os
import shutil
import typing as t
from pathlib import Path

from .._common._atomic_file import sync_folder, write_atomic
from .._common._errors import RefusedError
from ._fetch import disk_error
from ._manifest import Reference

FOLDER_MODE = 0o755
COMPLETE, PARTIAL, CURRENT, REVISIONS = ".complete", ".partial", "current", "revisions"


class Store:
    """What lies below *root*. Reads need no lock; changes are made by one process at a time."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()
        self.revisions = self.root / REVISIONS
        self.current = self.root / CURRENT

    def folder(self, digest: str) -> Path:
        """Where the files of *digest* are, or will be; without a colon, which breaks lists of paths."""
        return self.revisions / digest.replace(":", "-")

    # ---- reading ----------------------------------------------------------------------------------------------------
    def complete(self, digest: str) -> dict[str, int] | None:
        """The size of each file by its name, when the revision is whole; the files are looked at, not read."""
        folder = self.folder(digest)
        try:
            files = json.loads((folder / COMPLETE).read_text())["files"]
            sizes = {name: int(size) for name, size in files.items()}
            whole = all((folder / name).lstat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return sizes if whole else None

    def now(self) -> str:
        """The digest that ``current`` points at; empty where there is none. :raises RefusedError: it is no link."""
        try:
            target = os.readlink(self.current)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise RefusedError(
                f"{self.current} is no link: {error.strerror}",
                remedy="The folder is for this module alone: move what is there, or give another path.",
            ) from error
        return Path(target).name.replace("-", ":", 1)

    def present(self) -> list[str]:
        """All revisions, the newest first; also what an earlier run left half done."""
        try:
            found = [entry for entry in os.scandir(self.revisions) if entry.name.startswith("sha256-")]
        except OSError:
            return []
        return [entry.name.replace("-", ":", 1) for entry in sorted(found, key=_age)]

    def superfluous(self, wanted: str, keep: int) -> list[str]:
        """What goes once *wanted* is current: revisions beyond *keep*, and those that were never finished."""
        now = self.now()
        whole = [digest for digest in self.present() if digest != wanted and self.marked(digest)]
        whole.sort(key=lambda digest: digest != now)  # the one before is what a person goes back to
        kept = {wanted, *whole[: max(0, keep - 1)]}
        return [digest for digest in self.present() if digest not in kept]

    def marked(self, digest: str) -> bool:
        """Whether the revision was finished once."""
        return (self.folder(digest) / COMPLETE).exists()

    # ---- changing ---------------------------------------------------------------------------------------------------
    def create(self) -> None:
        """The folder itself, readable by whoever serves the model."""
        try:
            if not self.root.is_dir():
                self.root.mkdir(parents=True)
                self.root.chmod(FOLDER_MODE)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def begin(self, digest: str) -> Path:
        """The folder of a revision that is not whole (any more), ready to be filled."""
        folder = self.folder(digest)
        try:
            for path in (self.revisions, folder, folder / PARTIAL):
                path.mkdir(exist_ok=True)
                path.chmod(FOLDER_MODE)
            (folder / COMPLETE).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        return folder

    def finish(self, reference: Reference, files: t.Mapping[str, int]) -> None:
        """Mark a revision whose files are all there."""
        folder = self.folder(reference.digest)
        try:
            shutil.rmtree(folder / PARTIAL)
            for path, folders, _files in os.walk(folder):
                for name in (".", *folders):
                    sync_folder(Path(path) / name)
        except OSError as error:
            raise disk_error(error, folder) from error
        text = json.dumps({"reference": str(reference), "files": dict(sorted(files.items()))}, indent=1)
        write_atomic(folder / COMPLETE, f"{text}\n".encode())

    def switch(self, digest: str) -> None:
        """Point ``current`` at a revision: a reader finds the old one or the new one."""
        temporary = self.root / f".{CURRENT}.new"
        try:
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.folder(digest).relative_to(self.root))
            os.replace(temporary, self.current)
        except OSError as error:
            raise disk_error(error, self.current) from error
        sync_folder(self.root)

    def remove(self, digest: str) -> None:
        """Take a revision away; its mark first, so that a run that is killed here leaves nothing that looks whole."""
        folder = self.folder(digest)
        try:
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise disk_error(error, folder) from error


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return -(Path(entry.path) / COMPLETE).stat().st_mtime
    except OSError:
        return -entry.stat().st_mtime
