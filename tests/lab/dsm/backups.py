# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a cluster: a folder of base backups, each with its times, and the archive of its WAL."""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path

from ..process import LabError
from .instances import Instance


def take_backup(instance: Instance, backups: Path) -> dict[str, str]:
    """A base backup of a running instance; its record comes back."""
    started = _now()
    target = backups / started.strftime("%Y%m%dT%H%M%S.%fZ")
    part = backups / f".{target.name}"
    instance.base_backup(instance.source("backup"), part)
    # The server's own time, and after the backup is consistent: only a later moment can be restored from it.
    record = {"name": target.name, "started": started.isoformat(), "finished": _now().isoformat()}
    (part / "backup.json").write_text(json.dumps(record))
    part.rename(target)
    return record


def list_backups(backups: Path) -> list[dict[str, str]]:
    """Those that are whole, the oldest first."""
    return [json.loads(path.read_text()) for path in sorted(backups.glob("[0-9]*/backup.json"))]


def drop_backups(backups: Path, before: datetime) -> list[str]:
    """Delete those that ended before *before*, except the newest; their names come back."""
    old = [record["name"] for record in list_backups(backups)[:-1] if _time(record["finished"]) < before]
    for name in old:
        shutil.rmtree(backups / name, ignore_errors=True)
    return old


def backup_for(backups: Path, target: datetime | None) -> Path:
    """The newest one that ended before *target*; :class:`LabError` says from when on a restore is possible."""
    records = list_backups(backups)
    if not records:
        raise LabError("it has no base backup")
    usable = [record for record in records if target is None or _time(record["finished"]) <= target]
    if not usable:
        raise LabError(f"the first backup ended at {records[0]['finished']}, after the timestamp {target.isoformat()}")
    return backups / usable[-1]["name"]


def flush_archive(instance: Instance, timeout: float = 30) -> None:
    """Have everything that is committed now in the archive, with a commit after it for a restore to stop at."""
    with instance.connect() as connection, connection.transaction():
        connection.execute("SELECT pg_current_xact_id()")
    with instance.connect() as connection:
        name = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()[0]
        connection.execute("SELECT pg_switch_wal()")
    deadline = time.monotonic() + timeout
    while not (instance.archive / name).exists():
        if time.monotonic() > deadline:
            raise LabError(f"segment {name} does not arrive in the archive of {instance.name}")
        time.sleep(0.05)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
