# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync group of BIG-IP DNS: each device looks at the others every few moments and takes over what is newer.

So a change reaches a peer after a short delay, a change made while a peer was dead reaches it when it returns, and of
two configurations that were changed apart the newer one wins as a whole, as on the device. Version: the time of the
last change and the device that made it; a configuration from a file has the time 0, so that it never wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp

LOG = logging.getLogger("lab.bigip.gtm")
TROUBLE = (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError)


class SyncGroup:
    """The other devices, by the addresses of their control ports.

    :param mine: gives the version of the configuration here.
    :param take: puts a newer one in force.
    :param interval: seconds between two looks.
    """

    def __init__(
        self,
        mine: Callable[[], list[Any]],
        take: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        peers: Iterable[str] = (),
        interval: float = 1.0,
    ) -> None:
        self.peers: list[str] = []
        self.reached: dict[str, bool] = {}
        self._mine = mine
        self._take = take
        self._interval = interval
        self._session: aiohttp.ClientSession | None = None
        self._watch: asyncio.Task[None] | None = None
        self.join(peers)

    def join(self, peers: Iterable[str]) -> None:
        """These are the others from now on."""
        self.peers = [peer.rstrip("/") for peer in peers]
        self.reached = {peer: self.reached.get(peer, False) for peer in self.peers}

    async def start(self) -> None:
        """Catch up with who is there, then keep looking."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        await self.look()
        self._watch = asyncio.get_running_loop().create_task(self._keep_looking())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.look()

    async def look(self) -> None:
        """Take over the newest configuration of the group where it is not the one here."""
        for peer in list(self.peers):
            try:
                version = (await self._get(f"{peer}/gtm/version"))["version"]
                if version > self._mine():
                    await self._take(await self._get(f"{peer}/gtm/config"))
                    LOG.info("took version %s from %s", version, peer)
                self.reached[peer] = True
            except TROUBLE:
                self.reached[peer] = False

    async def _get(self, url: str) -> Any:
        if self._session is None:
            raise aiohttp.ClientConnectionError("not started")
        async with self._session.get(url, raise_for_status=True) as response:
            return await response.json()
