# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forward proxy for HTTP that finds names by a given resolver and keeps answers for their TTL, as a client would.

``python -m lab.sites.proxy --listen 127.0.0.1:27116 --resolver 127.0.0.1:27434``. What cannot be reached is a 502.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

import aiohttp
from aiohttp import web
from yarl import URL

from ..dns import Resolver
from ..serving import stop_asked

_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "te", "upgrade", "host"}


def address(text: str) -> tuple[str, int]:
    """``host:port``."""
    host, _colon, port = text.rpartition(":")
    return host, int(port)


class Proxy:
    """A new connection for each request, to the first address of the name."""

    def __init__(self, resolver: Resolver, timeout: float = 2.0) -> None:
        self.resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request in the absolute form that clients of a proxy send."""
        target = URL(request.raw_path, encoded=True)
        if not target.absolute or not target.host:
            return web.Response(text="this is a proxy\n")
        return await self._forward(request, target)

    async def _forward(self, request: web.BaseRequest, target: URL) -> web.StreamResponse:
        try:
            found = (await self.resolver.find(str(target.host)))[0]
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
            headers["Host"] = f"{target.host}:{target.port}"
            connector = aiohttp.TCPConnector(force_close=True)
            async with (
                aiohttp.ClientSession(timeout=self._timeout, connector=connector) as session,
                session.request(
                    request.method,
                    f"http://{found}:{target.port}{target.raw_path_qs}",
                    headers=headers,
                    data=await request.read(),
                    allow_redirects=False,
                ) as answer,
            ):
                return web.Response(status=answer.status, body=await answer.read(), headers={"X-Served-By": found})
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            return web.Response(status=502, text=f"{target.host}: {error!r}")


async def serve(listen: tuple[str, int], resolvers: Sequence[tuple[str, int]]) -> None:
    """Until SIGTERM."""
    ended = stop_asked()
    proxy = Proxy(Resolver(resolvers))
    runner = web.ServerRunner(web.Server(proxy.handle, access_log=None))
    await runner.setup()
    with contextlib.suppress(asyncio.CancelledError):
        await web.TCPSite(runner, *listen).start()
        await ended.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.sites.proxy", description=__doc__)
    parser.add_argument("--listen", type=address, required=True)
    parser.add_argument("--resolver", type=address, action="append", required=True, help="host:port; several may be")
    given = parser.parse_args()
    asyncio.run(serve(given.listen, given.resolver))


if __name__ == "__main__":
    main()
