# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

From a site to files. Everything is read before anything is written.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from .._common import _atomic_file
from .._common._config_change import diff_entry
from .._common._errors import RefusedError
from . import _files
from ._kinds import Secret, leaves
from ._site import Site


def export(site: Site, folder: Path, kinds: t.Sequence[str], *, prune: bool, check_mode: bool) -> dict[str, t.Any]:
    """Write what the site has; with *prune* take files away of what it has not.

    :returns: ``changed``, ``objects`` (``kind``, ``name``, ``knowledge_base``, ``file``, ``action``), ``secrets``,
        ``diff``.
    """
    objects = site.load().objects(kinds)
    texts = {_files.file_of(key): (key, _files.to_text(key, value)) for key, value in objects.items()}
    rows, diff = [], []
    for name, (key, text) in texts.items():
        path = folder / name
        before = _atomic_file.read_bytes(path)
        written = before != text.encode()
        if written:
            diff.append(diff_entry(str(path), (before or b"").decode("utf-8", "replace"), text))
            if not check_mode:
                _make_folder(path.parent)
                _atomic_file.write_atomic(path, text.encode())
        rows.append(
            {
                "kind": key[0],
                "knowledge_base": key[1],
                "name": key[2],
                "file": name,
                "action": "written" if written else "unchanged",
            }
        )
    for path in _files.files_in(folder, kinds) if prune else []:
        name = str(path.relative_to(folder))
        if name in texts:
            continue
        diff.append(diff_entry(str(path), path.read_text(errors="replace"), ""))
        if not check_mode:
            _atomic_file.remove(path)
        kind, *middle = name.split("/")
        base = middle[0] if len(middle) > 1 else ""
        rows.append({"kind": kind, "knowledge_base": base, "name": path.stem, "file": name, "action": "removed"})
    secrets = sorted({one.name for value in objects.values() for one in leaves(value, Secret)})
    return {"changed": bool(diff), "objects": rows, "secrets": secrets, "diff": diff}


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"The folder {path} cannot be made: {error.strerror}") from error
