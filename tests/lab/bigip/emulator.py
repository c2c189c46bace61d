# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All rooms together: one device, with its management port, its control port and its data plane."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from ..dns import DnsServer
from ..rest_faults import Faults
from .auth import Auth, User
from .dataplane import DataPlane
from .device import Device
from .gtm_model import Gtm
from .gtm_runtime import GtmPlane
from .gtm_sync import SyncGroup
from .gtm_view import GtmView
from .model import Config
from .runtime import PoolRuntime
from .stats import Stats, member_status
from .transactions import Transactions
from .view import View

LOG = logging.getLogger("lab.bigip")
Address = tuple[str, int]


def load_config(data: Mapping[str, Any]) -> Config:
    """A configuration from the lab's JSON: ``partition, monitors, pools, virtuals``, each a list of REST bodies.

    ``gtm`` is BIG-IP DNS: ``monitors, datacenters, servers, pools, wideips``, and for the process ``listen, peers``.

    A monitor has its type in ``type`` (default http); a member is a REST body, or a name such as ``127.0.0.1:80``.

    :raises ApiError: what the device would say of the first wrong object.
    """
    config = Config()
    partition = data.get("partition", "Common")
    for name in {partition, *data.get("partitions", [])} - set(config.partitions):
        config.create_partition({"name": name})
    for item in data.get("monitors", []):
        body = {"partition": partition, **item}
        config.create_monitor(body.pop("type", "http"), body)
    for item in data.get("nodes", []):
        config.create_node({"partition": partition, **item})
    for item in data.get("pools", []):
        config.create_pool({"partition": partition, **item})
    for item in data.get("virtuals", []):
        config.create_virtual({"partition": partition, **item})
    Gtm(config).seed(data.get("gtm", {}))
    return config


class Emulator:
    """One BIG-IP.

    :param users: accounts; the first administrator is what most clients use.
    :param tls: context of the management port; without one it speaks plain HTTP (tests of the rooms behind it).
    :param monitor_scale: factor on all times of the monitors.
    :param dns: address that names are answered at (BIG-IP DNS); without one nothing is.
    :param gtm_peers: control addresses of the other devices of the DNS sync group.
    """

    def __init__(
        self,
        users: list[User],
        config: Config | None = None,
        *,
        listen: Address = ("127.0.0.1", 0),
        control: Address = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
        name: str = "bigip1.lab",
        role: str = "active",
        peer: str | None = None,
        monitor_scale: float = 1.0,
        dns: Address | None = None,
        gtm_peers: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config or Config()
        self.saved = self.config.copy()
        self.auth = Auth(users, clock=clock)
        self.transactions = Transactions(clock=clock)
        self.faults = Faults()
        self.plane = DataPlane(monitor_scale=monitor_scale)
        self.gtm = GtmPlane(scale=monitor_scale)
        self.dns = DnsServer(self.gtm.lookup, dns) if dns is not None else None
        self.gtm_group = SyncGroup(
            lambda: self.config.data["gtm"]["version"],
            self.load_gtm,
            peers=gtm_peers,
            interval=min(1.0, 2 * monitor_scale),
        )
        self._clock = clock
        self.device = Device(name, self._become, role=role, peer=peer, beat_s=min(1.0, monitor_scale))
        self.requests: dict[str, int] = {}
        self.serving = False
        self.rebooting = False
        self.restarting_until = 0.0
        self.restarting_status = 503
        self._tls = tls
        self._lock = asyncio.Lock()
        self._listen: dict[str, Address] = {"rest": listen, "control": control}
        self._runners: dict[str, web.AppRunner] = {}
        self._sites: dict[str, web.TCPSite] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen on the control port, the virtual servers, for DNS and on the management port, in this order."""
        from .control import Control
        from .rest import rest_app

        for name, app in (("control", Control(self).app()), ("rest", rest_app(self))):
            self._runners[name] = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            await self._runners[name].setup()
        await self._open("control")
        await self.device.start()
        await self._apply()
        await self._start_dns()
        await self._open("rest")
        self.serving = True

    async def _start_dns(self) -> None:
        """A device that returns catches up with its group before it answers."""
        await self.gtm_group.start()
        if self.dns is not None:
            await self.dns.start()

    async def _stop_dns(self) -> None:
        await self.gtm_group.stop()
        if self.dns is not None:
            await self.dns.stop()
        self.gtm.stop()

    async def _apply(self) -> None:
        await self.plane.apply(self.config, listening=self.device.role == "active")
        self.gtm.apply(self.config)

    async def stop(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()
        await self.device.stop()
        await self._stop_dns()
        await self.plane.stop()
        for runner in self._runners.values():
            await runner.cleanup()

    async def _open(self, name: str) -> None:
        host, port = self._listen[name]
        site = web.TCPSite(self._runners[name], host, port, ssl_context=self._tls if name == "rest" else None)
        await site.start()
        self._sites[name] = site
        self._listen[name] = (host, self._runners[name].addresses[0][1])

    @property
    def rest_address(self) -> Address:
        return self._listen["rest"]

    @property
    def control_url(self) -> str:
        host, port = self._listen["control"]
        return f"http://{host}:{port}"

    def spawn(self, work: Any) -> None:
        """Run a coroutine beside the request that asked for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- configuration -------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        return View(self.config, self.plane)

    @property
    def gtm_view(self) -> GtmView:
        return GtmView(self.config, self.gtm)

    @property
    def stats(self) -> Stats:
        return Stats(self.config, self.plane)

    async def change(self, edit: Callable[[Config], Any], *, validate_only: bool = False, tell: bool = True) -> Any:
        """Run *edit* on a copy of the configuration and put the copy in force when it passed; its result.

        :param tell: whether the peer is told that the configurations differ now.
        """
        async with self._lock:
            draft = self.config.copy()
            result = edit(draft)
            if validate_only:
                return result
            known, given = self.config.data["gtm"], draft.data["gtm"]
            if given != known:
                # Always newer than what was here, however coarse or wrong a clock is.
                given["version"] = [max(self._clock(), known["version"][0] + 1e-3), self.device.name]
                self.saved.data["gtm"] = copy.deepcopy(given)  # GTM saves by itself
            self.config = draft
            await self._apply()
        if tell:
            await self.device.changed()
        return result

    async def load(self, config: Config) -> None:
        """Put another configuration in force."""
        async with self._lock:
            self.config = config
            await self._apply()

    async def load_gtm(self, data: dict[str, Any]) -> None:
        """Put another configuration of BIG-IP DNS in force; the rest stays."""
        async with self._lock:
            self.config.data["gtm"] = data
            self.saved.data["gtm"] = copy.deepcopy(data)
            self.gtm.apply(self.config)

    def save(self) -> None:
        """What a reboot comes back with."""
        self.saved = self.config.copy()

    async def _become(self, role: str) -> None:
        LOG.info("%s: %s", self.device.name, role)
        if self.rebooting:
            return  # it comes back in this role
        async with self._lock:
            await self.plane.apply(self.config, listening=role == "active")

    async def sync(self, direction: str) -> None:
        """Bring the pair's configurations together.

        :raises aiohttp.ClientError: when the peer does not answer.
        """
        if direction == "to-group":
            await self.device.call("POST", "/peer/config", self.config.data)
        else:
            await self.load(Config(await self.device.call("GET", "/peer/config")))
            await self.device.call("POST", "/peer/synced", {})
        self.device.pending = self.device.ahead = False

    # -- trouble -------------------------------------------------------------------------------------------------------

    @property
    def restarting(self) -> bool:
        """Whether the management plane is busy restarting; the data plane goes on meanwhile."""
        return time.monotonic() < self.restarting_until

    def restart(self, seconds: float, status: int = 503) -> None:
        """Answer every call with the restart page for a while (some versions send it with 200)."""
        self.restarting_until = time.monotonic() + seconds
        self.restarting_status = status

    async def reboot(self, seconds: float) -> None:
        """Everything stops, sessions and transactions are gone, and the device returns with what was saved."""
        LOG.warning("%s: reboot, back in %.1f s", self.device.name, seconds)
        if self.device.peer is not None and self.device.role == "active" and self.device.peer_alive:
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError):
                await self.device.fail_over()
        self.rebooting = True
        await self._sites["rest"].stop()
        server = self._runners["rest"].server
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()
        async with self._lock:
            await self._stop_dns()
            await self.plane.stop()
        self.auth.expire()
        self.transactions.open.clear()
        await asyncio.sleep(seconds)
        self.rebooting = False
        await self.load(self.saved.copy())
        await self._start_dns()
        await self._open("rest")
        self.serving = True

    def _members(self, pool: PoolRuntime) -> list[dict[str, Any]]:
        rows = []
        for member in pool.members.values():
            shown = self.view.member(pool.path, member.path)
            availability, enabled, reason = member_status(member)
            rows.append(
                {
                    "name": member.path,
                    "address": member.conf["address"],
                    "port": member.conf["port"],
                    "session": shown["session"],
                    "state": shown["state"],
                    "availability": availability,
                    "enabled": enabled == "enabled",
                    "reason": reason,
                    "health": member.health,
                    "accepts": member.accepts,
                    "connections": len(member.flows),
                    "total": member.total,
                    "refused": member.refused,
                    "probes": sum(probe.count for probe in member.probes.values()),
                }
            )
        return rows

    def state(self) -> dict[str, Any]:
        """What a test wants to see at a glance."""
        pools = [
            {"name": path, "status": self.stats.pool_status(path)[0], "members": self._members(pool)}
            for path, pool in self.plane.pools.items()
        ]
        virtuals = [
            {
                "name": path,
                "destination": virtual.conf["destination"],
                "listening": self.plane.address(path),
                "bind_error": virtual.bind_error,
                "pool": virtual.conf.get("pool"),
                "connections": len(virtual.flows),
                "total": virtual.total,
                "refused": virtual.refused,
            }
            for path, virtual in self.plane.virtuals.items()
        ]
        return {
            "name": self.device.name,
            "role": self.device.role,
            "sync": self.device.sync_status[0],
            "rebooting": not self.serving,
            "restarting": self.restarting,
            "unsaved": any(
                self.config.data[key] != self.saved.data[key] for key in self.config.data.keys() - {"generation"}
            ),
            "tokens": len(self.auth.tokens),
            "logins": self.auth.logins,
            "transactions": len(self.transactions.open),
            "requests": self.requests,
            "faults": self.faults.show(),
            "nodes": sorted(self.config.nodes),
            "pools": pools,
            "virtuals": virtuals,
            "gtm": self._gtm_state(),
        }

    def _gtm_state(self) -> dict[str, Any]:
        gtm = Gtm(self.config)
        members = {}
        for pool, properties in gtm.pools("a").items():
            for path in properties["members"]:
                availability, enabled = self.gtm.member("a", pool, path)
                members[f"{pool} {path}"] = {"availability": availability, "enabled": enabled}
        return {
            "version": gtm.data["version"],
            "peers": self.gtm_group.reached,
            "dns": self.dns.address if self.dns else None,
            "queries": self.dns.queries if self.dns else 0,
            "members": members,
        }
