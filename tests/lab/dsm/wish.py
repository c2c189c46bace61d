# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the spec of a cluster wants, what is remembered of it, and why it is not there yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..process import LabError
from .backups import backup_for, flush_archive
from .instances import Instance

PRIMARY, SECONDARY = "primary", "secondary"


class NotReady(LabError):
    """Why a cluster is not what its spec wants.

    :param final: nothing but another spec helps; else it is tried again.
    """

    def __init__(self, reason: str, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final


@dataclass
class Origin:
    """The cluster that a new one is made of."""

    name: str
    folder: Path
    timestamp: datetime | None
    leader: Instance | None = None  # while the cluster exists

    def backup(self) -> Path:
        """The base backup to begin with; the archive then has all that was committed."""
        if self.timestamp and self.timestamp > datetime.now(timezone.utc):
            raise LabError(f"the timestamp {self.timestamp.isoformat()} is in the future")
        found = backup_for(self.folder / "backups", self.timestamp)
        if self.leader and self.leader.running():
            flush_archive(self.leader)
        return found


@dataclass
class Wish:
    """What a spec wants, with the secrets that it refers to."""

    replicas: int
    database: str
    admin: str
    password: str
    settings: dict[str, str] = field(default_factory=dict)
    blocked: bool = False
    backups: bool = False
    retention_days: int = 30
    role: str | None = None
    source: dict[str, Any] = field(default_factory=dict)  # host, port, username, password, slot
    full_copy: bool = False
    origin: Origin | None = None


@dataclass
class Record:
    """What is remembered of a cluster."""

    namespace: str
    name: str
    port: int = 0
    nodes: list[dict[str, Any]] = field(default_factory=list)
    leader: str = ""
    role: str = PRIMARY
    made: bool = False
    held: bool = False  # nobody starts anything
    paused: bool = False  # the leader, a standby, receives nothing
    archive: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)  # without the password
    slots: list[str] = field(default_factory=list)
