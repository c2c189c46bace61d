# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: so many requests at once, the others wait; one step for all, and none while there is nothing to do."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .metrics import Metrics
from .options import Environment

#: Seconds between two steps: tokens of one step are handed out together, so that many streams cost little.
STEP = 0.05
LONGEST_STEP = 0.2
_TEXT = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which"
)
WORDS = _TEXT.split()


@dataclass(eq=False)
class Request:
    """One request; ``deliver(tokens, finish_reason)`` gets what each step makes of it."""

    prompt: bytes
    prompt_tokens: int
    max_tokens: int
    min_tokens: int
    ignore_eos: bool
    temperature: float
    deliver: Callable[[list[str], str | None], None]
    arrived: float = 0.0
    scheduled: float = 0.0
    base_at: float = 0.0  # when the first token after being scheduled is due
    base: int = 0  # tokens made before
    produced: int = 0
    last: float = 0.0
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        self.seed = zlib.crc32(self.prompt)

    @property
    def length(self) -> int:
        """Tokens that the answer has when nothing ends it early."""
        return self.max_tokens if self.ignore_eos else min(self.max_tokens, max(self.min_tokens, 32 + self.seed % 64))

    @property
    def held(self) -> int:
        return self.prompt_tokens + self.produced


class Engine:
    """All of it runs in the event loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, metrics: Metrics, environment: Environment, max_num_seqs: int
    ) -> None:
        self._loop = loop
        self._metrics = metrics
        self._rate = environment.rate
        self._kv = environment.kv_tokens
        self._cold = environment.cold
        self._max = max_num_seqs
        self._warm: set[tuple[bool, int]] = set()
        self._step_every = min(max(1 / self._rate, STEP), LONGEST_STEP)
        self._timer: asyncio.Handle | None = None
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()
        self._gone: list[Request] = []
        self.frozen = False
        self.dead = False

    @property
    def unfinished(self) -> int:
        """Requests that wait or run."""
        return len(self.running) + len(self.waiting)

    def add(self, request: Request) -> None:
        request.arrived = self._loop.time()
        self.waiting.append(request)
        self._wake()

    def abort(self, request: Request) -> None:
        """Nobody waits for it any more; the next step takes it out, so that a frozen engine keeps it."""
        self._gone.append(request)
        self._wake()

    def end(self, reason: str) -> None:
        """End everything with *reason*, abort or error."""
        for request in [*self.running, *self.waiting]:
            self._metrics.success[reason] += 1
            request.deliver([], reason)
        self.running.clear()
        self.waiting.clear()
        self._gauges()

    def _wake(self) -> None:
        if self._timer is None and not self.frozen and not self.dead:
            self._timer = self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._timer = None
        if self.frozen or self.dead:
            return
        now = self._loop.time()
        self._take_out()
        self._schedule(now)
        made = sum([self._advance(request, now) for request in list(self.running)])
        self._preempt()
        if made:
            self._metrics.histograms["iteration_tokens_total"].observe(made)
        self._gauges()
        if self.running or self.waiting:
            self._timer = self._loop.call_later(self._step_every, self._step)

    def _take_out(self) -> None:
        for request in self._gone:
            if request in self.running:
                self.running.remove(request)
            elif request in self.waiting:
                self.waiting.remove(request)
        self._gone.clear()

    def _used(self) -> int:
        return sum(request.held for request in self.running)

    def _schedule(self, now: float) -> None:
        while self.waiting and len(self.running) < self._max:
            request = self.waiting[0]
            if self.running and self._used() + request.held + 1 > self._kv:
                return
            self.waiting.popleft()
            self.running.append(request)
            if not request.scheduled:
                request.scheduled = now
                self._metrics.histograms["request_queue_time_seconds"].observe(now - request.arrived)
            kind = (request.temperature > 0, request.prompt_tokens.bit_length())
            cold = 0.0 if kind in self._warm else self._cold
            self._warm.add(kind)
            request.base = request.produced
            request.base_at = now + request.held / (self._rate * 100) + cold

    def _advance(self, request: Request, now: float) -> int:
        if now < request.base_at:
            return 0
        due = request.base + 1 + int((now - request.base_at) * self._rate)
        count = min(due, request.length) - request.produced
        if count <= 0:
            return 0
        first = request.seed + 7 * request.produced
        tokens = [f" {WORDS[(first + 7 * step) % len(WORDS)]}" for step in range(count)]
        self._observe(request, count, now)
        request.produced += count
        finish = None
        if request.produced >= request.length:
            finish = "length" if request.produced >= request.max_tokens else "stop"
            self.running.remove(request)
            self._observe_end(request, finish, now)
        request.deliver(tokens, finish)
        return count

    def _preempt(self) -> None:
        while len(self.running) > 1 and self._used() > self._kv:
            self.waiting.appendleft(self.running.pop())
            self._metrics.counters["num_preemptions"] += 1

    def _observe(self, request: Request, count: int, now: float) -> None:
        metrics = self._metrics
        if not request.produced:
            metrics.counters["prompt_tokens"] += request.prompt_tokens
            metrics.histograms["time_to_first_token_seconds"].observe(now - request.arrived)
            metrics.histograms["request_prefill_time_seconds"].observe(now - request.scheduled)
            request.base_at = now
        else:
            metrics.histograms["inter_token_latency_seconds"].observe((now - request.last) / count, count)
        metrics.counters["generation_tokens"] += count
        request.last = now

    def _observe_end(self, request: Request, finish: str, now: float) -> None:
        decode = now - request.base_at
        histograms = self._metrics.histograms
        self._metrics.success[finish] += 1
        histograms["e2e_request_latency_seconds"].observe(now - request.arrived)
        histograms["request_decode_time_seconds"].observe(decode)
        histograms["request_time_per_output_token_seconds"].observe(decode / max(1, request.produced - 1))

    def _gauges(self) -> None:
        metrics = self._metrics
        metrics.gauges["num_requests_running"] = float(len(self.running))
        metrics.gauges["num_requests_waiting"] = float(len(self.waiting))
        metrics.gauges["kv_cache_usage_perc"] = min(1.0, self._used() / self._kv)
        metrics.waiting_by_reason["capacity"] = len(self.waiting)
