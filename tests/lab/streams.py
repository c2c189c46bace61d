# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that stream completions through the virtual server: as many at a time as a file names, every token counted.

``python -m lab.streams --url http://127.0.0.1:19081 --model lab-model --rate-file rate --stats streams.jsonl``. A
stream is good when it was answered with 200, has all its tokens one by one, the finish reason ``length``, the usage
that says so, and its ``[DONE]``; all else counts as cut. One line a second goes to the stats file; SIGTERM begins no
new stream, waits for those under way and writes the last line. The key is in ``VLLM_API_KEY``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

MOST = 64
MAX_SECONDS = 1800


class CutError(Exception):
    """A stream that did not end as it was asked to."""


async def stream(session: aiohttp.ClientSession, url: str, model: str, prompt: str, tokens: int) -> None:
    """One stream. :raises CutError: what was wrong with it."""
    body = {
        "model": model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    got, finish, usage, done = 0, None, None, False
    async with session.post(f"{url}/v1/completions", json=body) as response:
        if response.status != 200:
            raise CutError(f"status {response.status}: {(await response.text())[:200]}")
        async for line in response.content:
            text = line.decode().strip()
            if not text.startswith("data:"):
                continue
            text = text.removeprefix("data:").strip()
            if text == "[DONE]":
                done = True
                break
            event: dict[str, Any] = json.loads(text)
            if "error" in event:
                raise CutError(f"after {got} tokens: {event['error']}")
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                got += bool(choice["text"])
                finish = choice.get("finish_reason") or finish
    counted = (usage or {}).get("completion_tokens")
    if not done or finish != "length" or counted != tokens or got != tokens:
        raise CutError(f"{got} of {tokens} tokens, usage {counted}, finish reason {finish}, done {done}")


class Streams:
    """Streams one after the other by so many clients as the file says, counted."""

    def __init__(self, url: str, model: str, tokens: int, rate_file: Path, stats: Path) -> None:
        self.url, self.model, self.tokens = url, model, tokens
        self.rate_file, self.stats = rate_file, stats
        self.counts: Counter[str] = Counter()
        self.failures: list[dict[str, object]] = []
        self.pending: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()

    def clients(self) -> int:
        """Streams at a time, as the file says now."""
        try:
            return min(int(float(self.rate_file.read_text())), MOST)
        except (OSError, ValueError):
            return 0

    async def one(self, session: aiohttp.ClientSession) -> None:
        began = time.time()
        try:
            await stream(session, self.url, self.model, f"client {self.counts['sent']}: tell me", self.tokens)
            self.counts["ok"] += 1
        except (aiohttp.ClientError, asyncio.TimeoutError, CutError, ValueError, LookupError, OSError) as error:
            self.counts["failed"] += 1
            self.failures.append({"at": began, "error": repr(error), "after_s": time.time() - began})
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        """Until told to stop: a new connection a stream, so that the pool balances each one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        headers = {"Authorization": f"Bearer {os.environ['VLLM_API_KEY']}"}
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=headers) as session:
            began = next_report = time.monotonic()
            while not self.stopping.is_set() and time.monotonic() - began < MAX_SECONDS:
                wanted = self.clients()
                while len(self.pending) < wanted:
                    task = asyncio.create_task(self.one(session))
                    self.pending.add(task)
                    task.add_done_callback(self.pending.discard)
                    self.counts["sent"] += 1
                await asyncio.sleep(0.05)
                if time.monotonic() >= next_report:
                    self.report(wanted)
                    next_report += 1
            if self.pending:
                await asyncio.wait(self.pending, timeout=60)
            self.report(0)

    def report(self, clients: int) -> None:
        counts = {key: self.counts[key] for key in ("sent", "ok", "failed")}
        line = {"at": time.time(), "rate": clients, **counts, "failures": self.failures[:20]}
        self.failures = []
        with self.stats.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, default=60, help="of each stream")
    parser.add_argument("--rate-file", type=Path, required=True)
    parser.add_argument("--stats", type=Path, required=True)
    given = parser.parse_args()

    async def run() -> None:
        await Streams(given.url, given.model, given.tokens, given.rate_file, given.stats).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
