# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Harbor keeps: one JSON file, replaced as a whole after each change, and a file a blob."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .errors import HarborError, missing

NEVER = "0001-01-01T00:00:00.000Z"
KINDS = ("projects", "repositories", "registries", "policies", "executions", "tasks")


def now() -> str:
    """The time as Harbor writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Store:
    """Rows by kind: projects and repositories by name, all others by id."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "store.json"
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.state: dict[str, Any] = {"last_id": 0, **{kind: {} for kind in KINDS}}
        if self._file.exists():
            self.state = json.loads(self._file.read_text())
        self.projects, self.repositories, self.registries, self.policies, self.executions, self.tasks = (
            self.state[kind] for kind in KINDS
        )
        for table in (self.executions, self.tasks):  # what ran when it was killed does not go on
            for row in table.values():
                if row["status"] in ("InProgress", "Pending"):
                    row.update(status="Failed", end_time=now(), status_text="the job service was restarted")
        self.save()

    def save(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.state, indent=1))
        os.replace(new, self._file)

    def next_id(self) -> int:
        self.state["last_id"] += 1
        return self.state["last_id"]

    def add(self, kind: str, row: dict[str, Any]) -> dict[str, Any]:
        """Store a new row under an id of its own."""
        row["id"] = self.next_id()
        self.state[kind][str(row["id"])] = row
        self.save()
        return row

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def project(self, name: str) -> dict[str, Any]:
        if name not in self.projects:
            raise missing(f"project {name} not found")
        return self.projects[name]

    def make_project(self, name: str, metadata: dict[str, str] | None = None) -> dict[str, Any]:
        if name in self.projects:
            raise HarborError("CONFLICT", f"The project named {name} already exists")
        when = now()
        row = {
            "project_id": self.next_id(), "name": name, "owner_name": "admin", "deleted": False,
            "creation_time": when, "update_time": when, "metadata": {"public": "false", **(metadata or {})},
        }  # fmt: skip
        self.projects[name] = row
        self.save()
        return row

    def repository(self, name: str) -> dict[str, Any]:
        if name not in self.repositories:
            raise missing(f"repository {name} not found")
        return self.repositories[name]

    def artifact(self, repository: str, reference: str) -> dict[str, Any]:
        """By digest or tag."""
        for row in self.repository(repository)["artifacts"].values():
            if reference == row["digest"] or reference in row["tags"]:
                return row
        raise missing(f"artifact {repository}:{reference} not found")

    def put_manifest(self, repository: str, reference: str, body: bytes, media: str) -> dict[str, Any]:
        """Store a manifest under its digest, and under a tag where *reference* is one."""
        self.project(repository.partition("/")[0])
        digest = self.put_blob(body)
        manifest = json.loads(body)
        parts = [manifest.get("config"), *manifest.get("layers", ()), *manifest.get("manifests", ())]
        for part in parts:
            if part and not self.has_blob(part["digest"]):
                raise HarborError("NOT_FOUND", f"blob {part['digest']} unknown to registry")
        when = now()
        home = self.repositories.setdefault(
            repository, {"id": self.next_id(), "name": repository, "creation_time": when, "artifacts": {}}
        )
        home["update_time"] = when
        row = home["artifacts"].setdefault(
            digest,
            {
                "id": self.next_id(), "type": "IMAGE", "digest": digest, "manifest_media_type": media,
                "media_type": (manifest.get("config") or {}).get("mediaType", media), "push_time": when, "tags": {},
                "size": len(body) + sum(part.get("size", 0) for part in parts if part), "labels": [],
            },
        )  # fmt: skip
        if not reference.startswith("sha256:"):
            for other in home["artifacts"].values():
                other["tags"].pop(reference, None)
            row["tags"][reference] = {"id": self.next_id(), "name": reference, "push_time": when}
        self.save()
        return row

    # -- blobs ---------------------------------------------------------------------------------------------------------

    def put_blob(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._path(digest).write_bytes(content)
        return digest

    def has_blob(self, digest: str) -> bool:
        return self._path(digest).exists()

    def blob(self, digest: str) -> bytes:
        if not self.has_blob(digest):
            raise missing(f"blob {digest} unknown to registry")
        return self._path(digest).read_bytes()

    def _path(self, digest: str) -> Path:
        algorithm, _colon, text = digest.partition(":")
        if algorithm != "sha256" or not text.isalnum():
            raise HarborError("BAD_REQUEST", f"invalid digest: {digest}")
        return self._blobs / text
