# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Which groups exist and are enabled: the files ``<name>.yml`` in the folder of group specs. What else a spec says is the
planner's.
"""

from __future__ import annotations

import logging
import typing as t
from pathlib import Path

import yaml

LOG = logging.getLogger(__name__)


class Groups:
    """The folder of group specs, read again where a file changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[tuple[int, int], str, bool]] = {}
        self.broken = 0

    def refresh(self) -> dict[str, bool]:
        """Name of each group -> whether it is enabled. A file that cannot be read keeps what it said before."""
        found: dict[Path, tuple[tuple[int, int], str, bool]] = {}
        self.broken = 0
        for path in sorted(self._folder.glob("*.yml")):
            before = self._seen.get(path)
            try:
                stat = path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size)
                found[path] = before if before and before[0] == stamp else (stamp, *_read(path))
            except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
                self.broken += 1
                LOG.warning("group file %s is left out: %s", path.name, str(error).splitlines()[0])
                if before:
                    found[path] = before
        self._seen = found
        return {name: enabled for _stamp, name, enabled in found.values()}


def _read(path: Path) -> tuple[str, bool]:
    data: t.Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not data["name"]:
        raise ValueError("it has no name")
    if data["name"] != path.stem:  # the playbooks look for a group in the file of its name, and in no other
        raise ValueError(f"it names the group {data['name']}, whose file is {data['name']}.yml")
    return data["name"], data.get("enabled", True) is True
