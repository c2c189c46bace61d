# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one site, on disk after each change; two sites' stores merge, and the later change of each wins."""

from __future__ import annotations

import copy
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ApiError, not_found

KINDS = ("gslbservice", "healthmonitor")
SPACE = uuid.UUID("5d0c7f6e-2f0a-4d0e-8f0e-7a1f6b1a9c11")


def cluster_uuid(name: str) -> str:
    """The cluster of the site *name*: always the same, so that sites know each other before they talk."""
    return f"cluster-{uuid.uuid5(SPACE, name)}"


class Store:
    """Objects by kind and uuid, and the federation's own object. Nothing is changed in place."""

    def __init__(self, path: Path | None, gslb: Mapping[str, Any]) -> None:
        self.path = path
        self.gslb: dict[str, Any] = {**gslb, "_last_modified": "0"}
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.gone: dict[str, int] = {}
        self._last = 0
        if path is not None and path.exists():
            self._take(json.loads(path.read_text()))

    def stamp(self) -> str:
        """The time of a change in microseconds; never the same twice."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return str(self._last)

    # -- reading and changing ------------------------------------------------------------------------------------------

    def find(self, kind: str, ident: str) -> dict[str, Any]:
        """:raises ApiError: 404."""
        found = self.objects[kind].get(ident)
        if found is None:
            raise not_found(f"{kind} object {ident}")
        return copy.deepcopy(found)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [copy.deepcopy(one) for one in sorted(self.objects[kind].values(), key=lambda one: one["name"])]

    def add(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """:raises ApiError: 409 where its name is taken."""
        if any(one["name"] == body["name"] for one in self.objects[kind].values()):
            raise ApiError(409, f"{kind} object with this Name and Tenant ref already exists!")
        return self.put(kind, {**body, "uuid": f"{kind}-{uuid.uuid4()}"})

    def put(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.objects[kind][body["uuid"]] = {**copy.deepcopy(body), "_last_modified": self.stamp()}
        self.save()
        return self.find(kind, body["uuid"])

    def remove(self, kind: str, ident: str) -> None:
        self.find(kind, ident)
        del self.objects[kind][ident]
        self.gone[ident] = int(self.stamp())
        self.save()

    def set_gslb(self, body: Mapping[str, Any]) -> None:
        self.gslb = {**copy.deepcopy(dict(body)), "_last_modified": self.stamp()}
        self.save()

    # -- the other sites -----------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        return {"gslb": self.gslb, "objects": self.objects, "gone": self.gone}

    def merge(self, other: Mapping[str, Any]) -> bool:
        """Take what is later there; whether anything was."""
        before = json.dumps(self.as_dict(), sort_keys=True)
        self._take(other)
        changed = json.dumps(self.as_dict(), sort_keys=True) != before
        if changed:
            self.save()
        return changed

    def _take(self, other: Mapping[str, Any]) -> None:
        """A later view, which begins with a change of the leader, outranks all that was done in an earlier one."""
        mine, theirs = int(self.gslb.get("view_id", 0)), int(other["gslb"].get("view_id", 0))
        if theirs > mine:
            self.gslb, self.objects, self.gone = (copy.deepcopy(other[key]) for key in ("gslb", "objects", "gone"))
        elif theirs == mine:
            self._take_later(other)
        seen = [self.gslb, *(one for kind in KINDS for one in self.objects[kind].values())]
        self._last = max(self._last, *(int(one["_last_modified"]) for one in seen), *self.gone.values())

    def _take_later(self, other: Mapping[str, Any]) -> None:
        if int(other["gslb"]["_last_modified"]) > int(self.gslb["_last_modified"]):
            self.gslb = copy.deepcopy(dict(other["gslb"]))
        for ident, when in other["gone"].items():
            self.gone[ident] = max(when, self.gone.get(ident, 0))
        for kind in KINDS:
            mine = self.objects[kind]
            for ident, one in other["objects"][kind].items():
                if ident not in mine or int(one["_last_modified"]) > int(mine[ident]["_last_modified"]):
                    mine[ident] = copy.deepcopy(one)
            for ident in [ident for ident, one in mine.items() if self.gone.get(ident, 0) > int(one["_last_modified"])]:
                del mine[ident]

    def save(self) -> None:
        if self.path is None:
            return
        waiting = self.path.with_suffix(".new")
        with waiting.open("w") as file:
            json.dump(self.as_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(self.path)
