# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver of everybody outside the sites: it asks the name servers of both, and keeps answers for their TTL.

``python -m lab.sites.resolver --listen 127.0.0.1:27434 --server 127.0.56.53:5353``. All its clients learn of a
change at once, as an answer from the cache says for how long it still holds. So what a probe sees is what users see.
"""

from __future__ import annotations

import argparse
import asyncio

from ..dns import DnsServer, Resolver
from ..serving import stop_asked
from .proxy import address


async def serve(server: DnsServer) -> None:
    """Until SIGTERM."""
    ended = stop_asked()
    await server.start()
    await ended.wait()
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.sites.resolver", description=__doc__)
    parser.add_argument("--listen", type=address, required=True)
    parser.add_argument("--server", type=address, action="append", required=True, help="host:port; several may be")
    given = parser.parse_args()
    asyncio.run(serve(DnsServer(Resolver(given.server).lookup, given.listen, own=False)))


if __name__ == "__main__":
    main()
