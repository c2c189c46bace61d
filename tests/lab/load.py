# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady HTTP load through the virtual server: open loop, at a rate that a file names, every answer counted.

``python -m lab.load --url http://127.0.0.1:18080 --rate-file rate --stats load.jsonl``. One line a second goes to the
stats file; SIGTERM stops new requests, waits for those under way and writes the last line. Bounded in time and rate.

With ``--resolver 127.0.56.53:5353`` (several may be given) the host of the URL is a name that is found there, and kept
for the answer's TTL, as clients of a service at two sites do; ``--requests`` gets a line a request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
from yarl import URL

from .dns import Resolver

MAX_RATE = 400
MAX_SECONDS = 1800


class Load:
    """Requests a second, counted. A request fails when it is not answered with 200 and its whole body."""

    def __init__(
        self,
        url: str,
        rate_file: Path,
        stats: Path,
        slow_every_s: float,
        slow_s: float,
        *,
        resolver: Resolver | None = None,
        requests: Path | None = None,
        timeout_s: float = 30,
    ) -> None:
        self.url = url
        self.resolver = resolver
        self.requests = requests
        self.timeout_s = timeout_s
        self.answers: list[str] = []
        self.rate_file = rate_file
        self.stats = stats
        self.slow_every_s = slow_every_s
        self.slow_s = slow_s
        self.counts: Counter[str] = Counter()
        self.failures: list[dict[str, object]] = []
        self.pending: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()

    def rate(self) -> float:
        """Requests a second, as the file says now."""
        try:
            return min(float(self.rate_file.read_text()), MAX_RATE)
        except (OSError, ValueError):
            return 0.0

    async def request(self, session: aiohttp.ClientSession, path: str) -> None:
        started = time.time()
        found, problem = "", ""
        try:
            url, headers = URL(self.url + path), {}
            if self.resolver is not None:
                found = (await self.resolver.find(str(url.host)))[0]
                headers["Host"] = f"{url.host}:{url.port}"
                url = url.with_host(found)
            async with session.get(url, headers=headers) as response:
                await response.read()
                if response.status != 200:
                    raise ValueError(f"status {response.status}")
            self.counts["ok"] += 1
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, OSError) as error:
            problem = repr(error)
            self.counts["failed"] += 1
            self.failures.append({"at": started, "path": path, "error": problem, "after_s": time.time() - started})
        if self.requests is not None:
            row = {"at": started, "done": time.time(), "ok": not problem, "by": found, "error": problem}
            self.answers.append(json.dumps(row) + "\n")

    def spawn(self, session: aiohttp.ClientSession, path: str) -> None:
        task = asyncio.create_task(self.request(session, path))
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)
        self.counts["sent"] += 1

    async def run(self) -> None:
        """Send until told to stop: a new connection a request, so that the pool balances each one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            began = next_report = next_slow = time.monotonic()
            owed, last = 0.0, began
            while not self.stopping.is_set() and time.monotonic() - began < MAX_SECONDS:
                await asyncio.sleep(0.02)
                now = time.monotonic()
                rate = self.rate()
                owed = min(owed + rate * (now - last), MAX_RATE)
                last = now
                while owed >= 1:
                    self.spawn(session, "/")
                    owed -= 1
                if rate and self.slow_every_s and now >= next_slow:
                    self.spawn(session, f"/slow?seconds={self.slow_s:g}")
                    next_slow = now + self.slow_every_s
                if now >= next_report:
                    self.report(rate)
                    next_report += 1
            if self.pending:
                await asyncio.wait(self.pending, timeout=35)
            self.report(0.0)

    def report(self, rate: float) -> None:
        line = {"at": time.time(), "rate": rate, **{key: self.counts[key] for key in ("sent", "ok", "failed")}}
        line["failures"], self.failures = self.failures[:20], []
        with self.stats.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.requests is not None:
            with self.requests.open("a") as file:
                file.writelines(self.answers)
            self.answers = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate-file", type=Path, required=True)
    parser.add_argument("--stats", type=Path, required=True)
    parser.add_argument("--slow-every", type=float, default=2.0, help="seconds between two long requests; 0 for none")
    parser.add_argument("--slow-seconds", type=float, default=3.0, help="how long a long request takes")
    parser.add_argument("--resolver", action="append", default=[], help="host:port of a name server; several may be")
    parser.add_argument("--requests", type=Path, help="a line a request goes there")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for a request")
    arguments = parser.parse_args()
    servers = [(host, int(port)) for host, _colon, port in (text.rpartition(":") for text in arguments.resolver)]

    async def run() -> None:
        await Load(
            arguments.url,
            arguments.rate_file,
            arguments.stats,
            arguments.slow_every,
            arguments.slow_seconds,
            resolver=Resolver(servers) if servers else None,
            requests=arguments.requests,
            timeout_s=arguments.timeout,
        ).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
