# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DSM's monitor VM does: a dead primary is replaced by the replica that has most, and comes back as a replica.

A cluster without replicas has no monitor: its primary stays dead until the spec or the control port says otherwise.
Schedules of backups are kept here too.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import psycopg

from ..process import LabError
from .cron import matches
from .wish import PRIMARY, NotReady

if TYPE_CHECKING:
    from .controller import Managed

LOG = logging.getLogger("lab.dsm.monitor")
_SILENT = 3  # so many times without an answer, and it is dead


class Monitor:
    """Of one cluster; :meth:`check` is called every :attr:`period` seconds while nothing else is done to it."""

    period = 0.5

    def __init__(self, managed: Managed) -> None:
        self._managed = managed
        self._round = 0
        self._silent = 0
        self._minute = datetime.now(timezone.utc).replace(second=0, microsecond=0)

    async def check(self) -> None:
        """Look once, and do what is to be done."""
        managed, cluster = self._managed, self._managed.cluster
        if not cluster.record.made or managed.wish is None:
            return
        self._round += 1
        if not await self._leads():
            if not cluster.record.held and cluster.followers and await self._take_over():
                return
            await managed.serve()
            if managed.problem is None:
                managed.problem = NotReady("PrimaryDown", f"{cluster.record.leader} does not run")
                await managed.tell(managed.problem)
            return
        if managed.problem is not None and managed.problem.reason == "PrimaryDown":
            managed.problem = None
        if managed.problem is None:
            await self._followers()
            await self._backup()
        await managed.serve()
        await managed.tell(managed.problem)

    async def _leads(self) -> bool:
        cluster = self._managed.cluster
        if not cluster.leader.running():
            return False
        if self._round % 4 and not self._silent:  # each connection is a process
            return True
        try:
            await asyncio.to_thread(cluster.note_slots)
            self._silent = 0
        except psycopg.Error:
            self._silent += 1
        return self._silent < _SILENT

    async def _take_over(self) -> bool:
        managed, cluster = self._managed, self._managed.cluster
        old = cluster.leader
        LOG.info("%s is dead", old.name)
        await managed.addresses[""].switch(None)
        try:
            if not await asyncio.to_thread(cluster.fail_over):
                return False
        except (LabError, psycopg.Error):
            LOG.exception("no failover of %s", managed.name)
            return False
        self._silent = 0
        LOG.info("%s leads", cluster.record.leader)
        managed.problem = None
        await managed.serve()
        await managed.tell(None)
        return True

    async def _followers(self) -> None:
        cluster = self._managed.cluster
        for node in cluster.followers:
            if not node.running() and not cluster.record.held:
                try:
                    await asyncio.to_thread(cluster.rejoin, node)
                except (LabError, psycopg.Error) as error:
                    LOG.warning("%s does not come back: %s", node.name, error)

    async def _backup(self) -> None:
        managed = self._managed
        minute = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        if minute == self._minute:
            return
        self._minute = minute
        cluster, wish = managed.cluster, managed.wish
        if not wish.backups or cluster.record.role != PRIMARY:
            return
        schedules = (managed.spec.get("backupConfig") or {}).get("schedules") or []
        try:
            due = [row["name"] for row in schedules if matches(row["schedule"], minute)]
            if due:  # an incremental one is a full one here: the archive of WAL has what lies between
                await asyncio.to_thread(cluster.back_up, wish.retention_days)
        except (LabError, psycopg.Error, ValueError) as error:
            LOG.warning("no backup of %s: %s", managed.name, error)
