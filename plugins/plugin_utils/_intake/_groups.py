# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Which groups exist and are enabled: the files ``<name>.yml`` in the folder of group specs. What else a spec says is the
planner's; its bounds are read for the metrics only.
"""

from __future__ import annotations

import logging
import typing as t
from pathlib import Path

import yaml

from ...module_utils._common._errors import AutoscaleError
from ...module_utils._planning import free_addresses, parse_spec

LOG = logging.getLogger(__name__)


class Bounds(t.NamedTuple):
    """What a declaration allows: members, and addresses that its pool can give out."""

    min: int
    max: int
    base: int  # members that people made
    addresses: int


class _Seen(t.NamedTuple):
    stamp: tuple[int, int]
    name: str
    enabled: bool
    bounds: Bounds | None


class Groups:
    """The folder of group specs, read again where a file changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, _Seen] = {}
        self.broken = 0

    def refresh(self) -> dict[str, bool]:
        """Name of each group -> whether it is enabled. A file that cannot be read keeps what it said before."""
        found: dict[Path, _Seen] = {}
        self.broken = 0
        for path in sorted(self._folder.glob("*.yml")):
            before = self._seen.get(path)
            try:
                stat = path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size)
                found[path] = before if before and before.stamp == stamp else _Seen(stamp, *_read(path))
            except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
                self.broken += 1
                LOG.warning("group file %s is left out: %s", path.name, str(error).splitlines()[0])
                if before:
                    found[path] = before
        self._seen = found
        return {seen.name: seen.enabled for seen in found.values()}

    @property
    def bounds(self) -> dict[str, Bounds]:
        """Of each group whose declaration is whole, as of the last refresh."""
        return {seen.name: seen.bounds for seen in self._seen.values() if seen.bounds}


def _read(path: Path) -> tuple[str, bool, Bounds | None]:
    data: t.Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not data["name"]:
        raise ValueError("it has no name")
    if data["name"] != path.stem:  # the playbooks look for a group in the file of its name, and in no other
        raise ValueError(f"it names the group {data['name']}, whose file is {data['name']}.yml")
    return data["name"], data.get("enabled", True) is True, _bounds(data)


def _bounds(data: dict[str, t.Any]) -> Bounds | None:
    """``None`` for a declaration that the planner refuses: the play will say why."""
    try:
        spec = parse_spec(data)
    except AutoscaleError:
        return None
    addresses = sum(1 for _address in free_addresses(spec.network, ()))
    return Bounds(spec.size.min, spec.size.max, len(spec.base_members), addresses)
