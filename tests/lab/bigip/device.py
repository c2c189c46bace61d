# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device of a pair: who is active, whether the configurations agree, what the other one is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

LOG = logging.getLogger("lab.bigip.device")
GROUP = "lab-pair"
TRAFFIC_GROUP = "/Common/traffic-group-1"
MISSED_BEATS = 3


class Device:
    """Role and sync status. Without *peer* it stands alone and is always active.

    :param peer: address of the other device's control port, ``http://host:port``.
    :param become: called with the new role; listens or stops listening, and returns when that is done.
    """

    def __init__(
        self,
        name: str,
        become: Callable[[str], Awaitable[None]],
        *,
        role: str = "active",
        peer: str | None = None,
        beat_s: float = 1.0,
    ) -> None:
        self.name = name
        self.role = role
        self.peer = peer.rstrip("/") if peer else None
        self.peer_name = "peer"
        self.peer_role = "unknown"
        self.peer_alive = False
        self.pending = False  # the configurations differ
        self.ahead = False  # and the newer one is here
        self._become = become
        self._beat_s = beat_s
        self._session: aiohttp.ClientSession | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for the peer once (a device that comes back stays standby while the other is active), then watch it."""
        if self.peer is None:
            return
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        await self._beat()
        if self.peer_alive and self.peer_role == "active":
            self.role = "standby"
        self._watch = asyncio.get_running_loop().create_task(self._keep_watching())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call to the peer's control port.

        :raises aiohttp.ClientError: when it does not answer with success.
        """
        if self._session is None:
            raise aiohttp.ClientConnectionError("not started")
        async with self._session.request(method, f"{self.peer}{path}", json=body, raise_for_status=True) as response:
            return await response.json()

    async def _beat(self) -> None:
        try:
            answer = await self.call("GET", "/peer")
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            self.peer_alive = False
            return
        self.peer_alive, self.peer_name, self.peer_role = True, answer["name"], answer["role"]

    async def _keep_watching(self) -> None:
        missed = 0
        while True:
            await asyncio.sleep(self._beat_s)
            await self._beat()
            missed = 0 if self.peer_alive else missed + 1
            if self.role == "standby" and missed >= MISSED_BEATS:
                LOG.warning("%s: the peer is gone, going active", self.name)
                await self.take("active")

    async def take(self, role: str) -> None:
        """Change the role of this device alone."""
        if role != self.role:
            self.role = role
            await self._become(role)

    async def fail_over(self) -> None:
        """Swap the roles: the active one lets go before the other one takes over.

        :raises aiohttp.ClientError: when the peer does not answer.
        """
        if self.peer is None:
            return
        if self.role == "active":
            await self.take("standby")
            try:
                await self.call("POST", "/peer/role", {"role": "active", "peer_role": "standby"})
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                await self.take("active")  # nobody took over
                raise
            self.peer_role = "active"
        else:
            await self.call("POST", "/peer/role", {"role": "standby", "peer_role": "active"})
            self.peer_role = "standby"
            await self.take("active")

    async def changed(self) -> None:
        """The configuration here changed: both say so until it is synchronized."""
        if self.peer is None:
            return
        self.pending = self.ahead = True
        with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError):
            await self.call("POST", "/peer/changed", {})

    @property
    def sync_status(self) -> tuple[str, str, str]:
        """Status, colour and summary."""
        if self.peer is None:
            return "Standalone", "green", " "
        if not self.peer_alive:
            return "Disconnected", "red", "There is no connection to the other device"
        if self.pending:
            return "Changes Pending", "yellow", "There is a possible change conflict between devices"
        return "In Sync", "green", "All devices in the device group are in sync"
