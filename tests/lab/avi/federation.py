# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sites of a federation: who leads, who is reached, and how each gets what another one changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from .errors import ApiError
from .store import Store, cluster_uuid

LOG = logging.getLogger("lab.avi.federation")
TIMEOUT_S = 1.0


class Federation:
    """This site among the others.

    :param peers: site -> control address.
    :param changed: called after another site's change was taken over.
    """

    def __init__(
        self, name: str, store: Store, peers: Mapping[str, str], changed: Callable[[], Any], beat_s: float
    ) -> None:
        self.name = name
        self.uuid = cluster_uuid(name)
        self.store = store
        self.peers = dict(peers)
        self.reached: dict[str, bool] = {}
        self.cut: set[str] = set()  # sites whose link a test has cut
        self._missed = 0
        self._changed = changed
        self._beat_s = beat_s
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def leader(self) -> str:
        """Name of the leading site."""
        wanted = self.store.gslb["leader_cluster_uuid"]
        return next((site["name"] for site in self.store.gslb["sites"] if site["cluster_uuid"] == wanted), wanted)

    @property
    def is_leader(self) -> bool:
        return self.store.gslb["leader_cluster_uuid"] == self.uuid

    async def start(self) -> None:
        """Hear from the others before anything is answered: a leader that was away may have been replaced."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        await self.beat()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._session is not None:
            await self._session.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            await self.beat()
            await self._perhaps_lead()

    async def beat(self) -> None:
        await asyncio.gather(*(self._pull(name) for name in self.peers))

    async def tell(self) -> None:
        """Send this site's objects to the others before the change is answered; who is away gets them later."""
        await asyncio.gather(*(self._push(name) for name in self.peers))

    async def lead(self, *, force: bool = False) -> None:
        """Become the leader. :raises ApiError: 400 where the rules say no."""
        gslb = self.store.gslb
        if self.is_leader:
            return
        if not gslb["leader_change_info"]["enabled"]:
            raise ApiError(400, "Leader change is disabled in the Gslb configuration")
        site = next(site for site in gslb["sites"] if site["cluster_uuid"] == self.uuid)
        if site["member_type"] != "GSLB_ACTIVE_MEMBER" or not site["enabled"]:
            raise ApiError(400, f"Site {self.name} cannot be the leader: it is not an enabled active member")
        await self.beat()
        if gslb["maintenance_mode"] and not force:
            raise ApiError(400, "Gslb is in maintenance mode")
        LOG.warning("%s takes the lead from %s", self.name, self.leader)
        gslb = self.store.gslb
        self.store.set_gslb({**gslb, "leader_cluster_uuid": self.uuid, "view_id": gslb["view_id"] + 1})
        await self.tell()

    async def _perhaps_lead(self) -> None:
        """leader_change_mode AUTO: the candidate takes over after so many failed probes of the leader."""
        info = self.store.gslb["leader_change_info"]
        self._missed = 0 if self.is_leader or self.reached.get(self.leader) else self._missed + 1
        candidates = [one["cluster_id"] for one in info.get("leader_candidates", [])]
        auto = info["leader_change_mode"] == "GSLB_LC_MODE_AUTO" and self.uuid in candidates
        if auto and self._missed >= info["max_unsuccessful_probes"]:
            with contextlib.suppress(ApiError):
                await self.lead()

    async def _pull(self, name: str) -> None:
        await self._talk(name, self._get)

    async def _push(self, name: str) -> None:
        async def send(session: aiohttp.ClientSession, url: str) -> None:
            async with session.post(f"{url}/peer", json={"from": self.name, **self.store.as_dict()}) as answer:
                answer.raise_for_status()

        await self._talk(name, send)

    async def _get(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/peer", params={"from": self.name}) as answer:
            answer.raise_for_status()
            self.take(await answer.json())

    def take(self, other: Mapping[str, Any]) -> None:
        """What another site has."""
        if self.store.merge(other):
            self._changed()

    async def _talk(self, name: str, say: Callable[[aiohttp.ClientSession, str], Awaitable[None]]) -> None:
        assert self._session is not None
        try:
            if name in self.cut:
                raise aiohttp.ClientError("the link is cut")
            await say(self._session, self.peers[name])
            now = True
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            now = False
        if self.reached.get(name) != now:
            LOG.info("%s: site %s is %s", self.name, name, "reached" if now else "not reached")
        self.reached[name] = now
