# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of two sites: addresses that do not meet, a site that dies whole, a probe that finds names as clients do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
import yaml
from aiohttp import ClientSession, web

from lab.dns import DnsServer, Resolver
from lab.kit import wait_for
from lab.process import start_time
from lab.sites.marks import MARK, kill, marked, processes
from lab.sites.proxy import Proxy
from lab.sites.settings import INVENTORY, SitesSettings

SPAWN = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}], env={{}}); time.sleep(60)"


def test_two_pairs_share_no_port_and_no_address() -> None:
    seen: list[object] = []
    for index in (8, 10, 12):
        settings = SitesSettings(index)
        for site in settings.sites.values():
            seen += [*site.ports().values(), site.vip, site.address(53), site.address(54), site.folder]
        seen += [settings.witness_port, settings.folder]
    assert len(seen) == len(set(seen))
    assert max(port for port in seen if isinstance(port, int)) < 32768


@pytest.mark.parametrize("index", [0, 13])
def test_an_index_without_room_for_two_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="LAB_SITES_INDEX"):
        SitesSettings(index)


@pytest.mark.parametrize("index", [7, 8, 9, 10])
def test_plans_name_the_addresses_of_their_own_lab(index: int) -> None:
    settings = SitesSettings(index)
    for file in sorted((INVENTORY / "recovery_plans").glob("*.yml")):
        plan = yaml.safe_load(settings.localised(file.read_text()))
        vips = {name: site.vip.partition(":")[0] for name, site in settings.sites.items()}
        assert plan["check"]["hosts"] == vips
        first = {"a": 54, "b": 54} if plan["traffic"]["type"] == "avi" else {"a": 53, "b": 53}
        assert [row["address"] for row in plan["traffic"]["resolvers"]] == [
            settings.sites[name].address(last) for name, last in first.items()
        ]
        assert plan["drill"]["vip"].startswith(settings.sites["b"].subnet)


def test_a_group_of_a_site_has_its_members_and_the_scope_of_the_plans() -> None:
    sites = SitesSettings(8, standby=1).sites
    assert [len(site.group_spec()["base_members"]) for site in sites.values()] == [2, 1]
    spec = sites["b"].group_spec()
    assert spec["recovery"] == {"scope": "shop"}
    assert spec["load_balancer"]["vip"] == "127.0.57.100:8080"
    assert spec["network"]["start"].startswith("127.0.57.")


def test_a_kill_takes_what_carries_the_mark_and_what_that_has_started() -> None:
    """PostgreSQL's children show no environment; a process of another site lives on."""
    child = "import time; time.sleep(60)"
    mark, other = f"test-{os.getpid()}-a", f"test-{os.getpid()}-b"
    started = []
    try:
        for name in (mark, other):
            with marked(name):
                started.append(subprocess.Popen([sys.executable, "-c", SPAWN.format(child=child)]))
        assert MARK not in os.environ
        wait_for(lambda: len(processes(mark)) == 2 and len(processes(other)) == 2)
        assert kill(mark) == 2
        assert processes(mark) == []
        assert start_time(started[0].pid) is None
        assert len(processes(other)) == 2
    finally:
        for name in (mark, other):
            kill(name)
        for process in started:
            process.wait()


async def test_the_proxy_finds_names_by_its_resolvers_and_says_502_for_what_is_not_there() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=f"{request.headers['Host']} {request.path_qs}", status=203)

    async def serve(handler: object) -> tuple[web.ServerRunner, int]:
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    backend, port = await serve(answer)
    names = {"www.shop.example": (["127.0.0.1"], 0)}
    dns = await DnsServer(names.get).start()
    proxy, proxy_port = await serve(Proxy(Resolver([dns.address])).handle)
    try:
        async with ClientSession() as session:
            where = f"http://127.0.0.1:{proxy_port}"
            async with session.get(f"http://www.shop.example:{port}/health?x=1", proxy=where) as found:
                assert (found.status, await found.text()) == (203, f"www.shop.example:{port} /health?x=1")
                assert found.headers["X-Served-By"] == "127.0.0.1"
            names.clear()
            async with session.get(f"http://www.shop.example:{port}/health", proxy=where) as found:
                assert found.status == 502
                assert "no address" in await found.text()
            async with session.get(f"{where}/-/healthy") as found:
                assert found.status == 200
    finally:
        await asyncio.gather(proxy.cleanup(), backend.cleanup(), dns.stop())
