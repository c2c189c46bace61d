# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The main configuration file of Prometheus: what it includes, and where a file must lie to be included.
"""

from __future__ import annotations

import fnmatch
import glob
import typing as t
from pathlib import Path

from .._common import _atomic_file, _marked_block
from .._common._config_change import ManagedFile
from .._common._errors import RefusedError

OWNED = "# Managed by onprem.autoscale; changes made here are lost."
FOLDER_MODE = 0o755


class MainConfig:
    """``prometheus.yml`` as it was last known to be good."""

    def __init__(self, path: str) -> None:
        self.path = _atomic_file.resolve(path)
        self.folder = self.path.parent
        self.file = ManagedFile(self.path)
        self.text = self.file.text()
        self.document = _marked_block.parse(self.text, str(self.path))

    def view(self, text: str) -> None:
        """Answer the questions below for *text*, an edited form of the file."""
        self.document = _marked_block.parse(text, str(self.path))

    def patterns(self, key: str) -> list[str]:
        """The entries of ``rule_files`` or ``scrape_config_files``, made absolute as Prometheus does."""
        entries = self.document.get(key)
        return [str(self.folder / entry) for entry in entries] if isinstance(entries, list) else []

    def includes(self, key: str, path: Path) -> bool:
        """Whether a file at *path* would be read through *key*."""
        return any(_matches(pattern, path) for pattern in self.patterns(key))

    def included_files(self, key: str) -> list[Path]:
        """The files that are there now."""
        return [Path(name) for pattern in self.patterns(key) for name in sorted(glob.glob(pattern))]


def _matches(pattern: str, path: Path) -> bool:
    """Go's ``filepath.Match`` for a pattern and a file that need not exist yet; links in the folder do not matter."""
    wanted = Path(pattern)
    if not fnmatch.fnmatchcase(path.name, wanted.name):
        return False
    if not glob.has_magic(str(wanted.parent)):
        return wanted.parent.resolve() == path.parent.resolve()
    parts, mine = wanted.parent.parts, path.parent.parts
    return len(parts) == len(mine) and all(fnmatch.fnmatchcase(*pair) for pair in zip(mine, parts, strict=True))


def owned_file(path: Path, like: Path) -> ManagedFile:
    """A whole file of ours. :raises RefusedError: somebody else's file lies there."""
    entry = ManagedFile(path, like=like)
    if entry.before is not None and not entry.text().startswith(OWNED):
        raise RefusedError(
            f"{path} exists and does not begin with {OWNED!r}",
            remedy="Choose another path, or move that file away.",
        )
    return entry


def render_owned(data: t.Any) -> bytes:
    """The bytes of a whole file of ours."""
    return f"{OWNED}\n{_marked_block.dump(data)}".encode()


def make_folders(folders: t.Iterable[Path], *, check_mode: bool) -> list[str]:
    """Create what is missing, readable for everybody whatever the umask says; returns what was missing."""
    created = []
    for folder in folders:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        for part in reversed(missing):
            if str(part) not in created:
                created.append(str(part))
                if not check_mode:
                    _make_folder(part)
    return created


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        raise RefusedError(
            f"Cannot create the folder {folder}: {error.strerror}",
            remedy="Create it by hand, readable for Prometheus and writable for the user that this runs as.",
        ) from error
