# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Warm-up: requests of varied length, temperature and concurrency, until the time to the first token settles. The first
requests of each kind compile kernels; users shall not wait for them.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import random
import typing as t

from .._common._waiter import Waiter
from ._client import Connection
from ._ready import first_model, with_health
from ._rows import Member, Row, p95, side_by_side
from ._stream import Asked, StreamFailed, run_stream

#: A level of concurrency is warm when a batch's p95 is at most this many times the batch before.
SETTLED = 1.2
#: Token ids that every vocabulary has, above the special ones of most.
_IDS = range(100, 250)


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """What is asked. ``prompts``: at most so many requests at each level of concurrency."""

    model: str | None = None
    tokens: int = 8
    prompts: int = 32
    concurrency: tuple[int, ...] = (1, 4)
    lengths: tuple[int, ...] = (32, 512)
    temperatures: tuple[float, ...] = (0.0, 0.7, 1.0)


@dataclasses.dataclass(frozen=True)
class _Target:
    connection: Connection
    address: str
    model: str
    longest: int | None  # prompt that leaves room for the answer
    left: t.Callable[[], float]


def warm_many(
    members: t.Sequence[Member], connection: Connection, plan: WarmUp, waiter: t.Callable[[], Waiter]
) -> list[Row]:
    """Warm every member up, within its waiter's time; a request that fails fails the member."""
    return side_by_side(members, lambda member: _warm(member, connection, plan, waiter()))


def _warm(member: Member, connection: Connection, plan: WarmUp, timer: Waiter) -> Row:
    address = member["address"]
    batches: list[dict[str, t.Any]] = []
    problem, settled = "", []
    try:
        row = first_model(connection, address)
        room = row.get("max_model_len")
        longest = max(1, room - plan.tokens) if isinstance(room, int) else None
        target = _Target(connection, address, plan.model or str(row["id"]), longest, lambda: timer.remaining)
        settled += (_level(target, plan, level, batches) for level in plan.concurrency)
    except StreamFailed as failure:
        problem = with_health(failure, connection, address)
    sent = sum(batch["streams"] for batch in batches)
    rows = [{"concurrency": batch["concurrency"], "ttft_p95": batch["ttft_p95"]} for batch in batches]
    rough = [str(level) for level, calm in zip(plan.concurrency, settled) if not calm]  # noqa: B905 - Python 3.9
    msg = problem or f"{sent} requests in {len(rows)} batches" + (
        f"; the time to the first token has not settled at concurrency {', '.join(rough)}" if rough else ""
    )
    return Row(member["name"], address, bool(problem), msg, timer.elapsed, {"streams": sent, "batches": rows})


def _level(target: _Target, plan: WarmUp, level: int, batches: list[dict[str, t.Any]]) -> bool:
    """Batches at one level of concurrency; whether the time to the first token settled."""
    kinds = itertools.cycle(itertools.product(plan.lengths, plan.temperatures))
    size = max(level, len(plan.lengths) * len(plan.temperatures))
    left, before = plan.prompts, None
    while left > 0:
        asked = [_asked(target, plan, *next(kinds)) for _request in range(min(size, left))]
        left -= len(asked)
        with concurrent.futures.ThreadPoolExecutor(min(level, len(asked))) as pool:
            firsts = list(pool.map(lambda one: _first_token(target, one), asked))
        now = t.cast(float, p95(firsts))
        batches.append({"concurrency": level, "ttft_p95": now, "streams": len(firsts)})
        if before is not None and now <= SETTLED * before:
            return True
        before = now
    return False


def _asked(target: _Target, plan: WarmUp, length: int, temperature: float) -> Asked:
    count = min(length, target.longest) if target.longest else length
    prompt = random.choices(_IDS, k=count)  # noqa: S311 - a prompt, not a secret
    return Asked(target.model, prompt, plan.tokens, temperature)


def _first_token(target: _Target, asked: Asked) -> float:
    left = target.left()
    if left <= 0:
        raise StreamFailed("the warm-up did not end in time")
    stream = run_stream(target.connection, target.address, asked, first_token=left, deadline=left)
    return t.cast(float, stream.ttft)
