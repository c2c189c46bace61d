# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes: each site asks each member by each monitor of its service. A member without a monitor counts as up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from .schema import key_of

LOG = logging.getLogger("lab.avi.monitor")
PORTS = {"HEALTH_MONITOR_HTTP": 80, "HEALTH_MONITOR_HTTPS": 443, "HEALTH_MONITOR_TCP": 80}
CLASSES = {"HTTP_1XX": "1", "HTTP_2XX": "2", "HTTP_3XX": "3", "HTTP_4XX": "4", "HTTP_5XX": "5"}


async def ask(monitor: Mapping[str, Any], address: str, port: int) -> bool:
    """One probe; the caller bounds its time."""
    kind = monitor["type"]
    if kind == "HEALTH_MONITOR_PING":
        return True  # every address of the lab is this machine
    tls = None
    if kind == "HEALTH_MONITOR_HTTPS":
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(address, port, ssl=tls)
    except OSError:
        return False
    try:
        rules = monitor.get("http_monitor") or monitor.get("https_monitor")
        if kind == "HEALTH_MONITOR_TCP":
            return True
        rules = rules or {}
        request = str(rules.get("http_request", "HEAD / HTTP/1.0")).strip().replace("\\r\\n", "\r\n")
        writer.write(f"{request}\r\nConnection: close\r\n\r\n".encode())
        found = re.match(rb"HTTP/1\.[01] (\d)\d\d", await reader.readline())
        wanted = [CLASSES[one] for one in rules.get("http_response_code", ["HTTP_2XX", "HTTP_3XX"])]
        return found is not None and found.group(1).decode() in wanted
    except OSError:
        return False
    finally:
        writer.transport.abort()


class Probe:
    """One monitor on one member; ``up`` is None until the first verdict."""

    def __init__(self, monitor: Mapping[str, Any], address: str, port: int, scale: float) -> None:
        self.monitor, self.address, self.port = dict(monitor), address, port
        self.up: bool | None = None
        self._scale = scale
        self.task = asyncio.get_running_loop().create_task(self._run())

    def same(self, monitor: Mapping[str, Any], address: str, port: int) -> bool:
        return (self.monitor, self.address, self.port) == (dict(monitor), address, port)

    async def _run(self) -> None:
        good = bad = 0
        while True:
            passed = False
            with contextlib.suppress(asyncio.TimeoutError):
                limit = max(0.2, self.monitor["receive_timeout"] * self._scale)
                passed = await asyncio.wait_for(ask(self.monitor, self.address, self.port), limit)
            good, bad = (good + 1, 0) if passed else (0, bad + 1)
            # The first verdict comes with the first answer; later ones need as many in a row as the monitor says.
            if passed and (self.up is None or good >= self.monitor["successful_checks"]):
                verdict: bool | None = True
            elif not passed and (self.up is None or bad >= self.monitor["failed_checks"]):
                verdict = False
            else:
                verdict = self.up
            if verdict != self.up:
                LOG.info("%s:%s is %s (%s)", self.address, self.port, "up" if verdict else "down", self.monitor["name"])
            self.up = verdict
            await asyncio.sleep(self.monitor["send_interval"] * self._scale)


class Probes:
    """All probes of a site, brought into line with its services by :meth:`apply`.

    :param targets: address of a member -> where to ask in its place (the lab's own addresses and ports).
    """

    def __init__(self, scale: float, targets: Mapping[str, tuple[str, int]]) -> None:
        self._scale = scale
        self.targets = dict(targets)
        self._running: dict[tuple[str, str, str], Probe] = {}

    def apply(self, services: list[dict[str, Any]], monitor_of: Callable[[str], Mapping[str, Any] | None]) -> None:
        wanted = {}
        for service in services:
            for ref in service.get("health_monitor_refs") or []:
                monitor = monitor_of(ref)
                for member in [one for group in service["groups"] for one in group["members"]] if monitor else []:
                    host = (member.get("ip") or {}).get("addr") or member.get("fqdn")
                    address, port = self.targets.get(host, (host, 0))
                    port = port or monitor.get("monitor_port") or PORTS.get(monitor["type"], 0)
                    wanted[service["uuid"], key_of(member), ref] = (monitor, address, port)
        for key in [key for key, probe in self._running.items() if key not in wanted or not probe.same(*wanted[key])]:
            self._running.pop(key).task.cancel()
        for key, values in wanted.items():
            if key not in self._running:
                self._running[key] = Probe(*values, self._scale)

    def up(self, service: Mapping[str, Any], member: Mapping[str, Any]) -> bool | None:
        """Whether all its monitors say so; None while one has not answered."""
        refs = service.get("health_monitor_refs") or []
        found = [self._running.get((service["uuid"], key_of(member), ref)) for ref in refs]
        verdicts = [probe.up if probe else None for probe in found]
        if False in verdicts:
            return False
        return None if None in verdicts else True

    def stop(self) -> None:
        for probe in self._running.values():
            probe.task.cancel()
        self._running.clear()
