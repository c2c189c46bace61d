# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Does an endpoint serve? Streams of tokens in a row, as its /health is 200 also while its engine is frozen.
"""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from .._common._errors import AuthenticationError, AutoscaleError
from .._common._waiter import Waiter
from ._client import Connection
from ._rows import Member, Row, p95, side_by_side
from ._stream import Asked, StreamFailed, run_stream

_FIRST_PROMPT = "Say hello."
#: Of the second stream and the later ones: a sampled answer, and a prompt that no cache of prefixes has seen.
_TEMPERATURE = 0.7
_PROMPT_WORDS = 24


@dataclasses.dataclass(frozen=True)
class Gate:
    """What has to be seen."""

    model: str | None = None
    tokens: int = 8
    consecutive: int = 3
    deadline: float = 30.0
    first_token: float = 10.0


def ready_many(
    members: t.Sequence[Member], connection: Connection, gate: Gate, waiter: t.Callable[[], Waiter] | None
) -> list[Row]:
    """Ask every member until its streams were good so often in a row, or its waiter's time is over.

    :param waiter: makes one for each member; ``None``: the first failure counts.
    """
    return side_by_side(members, lambda member: _ready(member, connection, gate, waiter() if waiter else None))


def _ready(member: Member, connection: Connection, gate: Gate, waiter: Waiter | None) -> Row:
    timer = waiter or Waiter(0)
    address = member["address"]
    firsts: list[float] = []
    while True:
        try:
            model = gate.model or served_model(connection, address)
            stream = run_stream(
                connection,
                address,
                _asked(gate, model, len(firsts)),
                first_token=gate.first_token,
                deadline=gate.deadline,
            )
        except StreamFailed as failure:
            problem = with_health(failure, connection, address)
            before = f" after {len(firsts)} good streams" if firsts else ""
            firsts = []
            if failure.final or waiter is None or not waiter.pause():
                more = {"streams": 0, "ttft_p95": None}
                return Row(member["name"], address, True, f"{problem}{before}", timer.elapsed, more)
        else:
            firsts.append(t.cast(float, stream.ttft))
            if len(firsts) >= gate.consecutive:
                msg = f"{len(firsts)} streams of {gate.tokens} tokens in a row"
                return Row(
                    member["name"],
                    address,
                    False,
                    msg,
                    timer.elapsed,
                    {"streams": len(firsts), "ttft_p95": p95(firsts)},
                )


def _asked(gate: Gate, model: str, number: int) -> Asked:
    if not number:
        return Asked(model, _FIRST_PROMPT, gate.tokens)
    words = [uuid.uuid4().hex[:5] for _word in range(_PROMPT_WORDS)]
    return Asked(model, f"Say something about {' '.join(words)}.", gate.tokens, _TEMPERATURE)


def served_model(connection: Connection, address: str) -> str:
    """The first model that the endpoint names. :raises StreamFailed: it names none."""
    return str(first_model(connection, address)["id"])


def first_model(connection: Connection, address: str) -> dict[str, t.Any]:
    """The first row of /v1/models. :raises StreamFailed: there is none."""
    try:
        with connection.client(address) as pages:
            rows = pages.models()
    except AutoscaleError as error:
        raise StreamFailed(error.message, final=isinstance(error, AuthenticationError)) from error
    if not rows or not rows[0].get("id"):
        raise StreamFailed("/v1/models names no model")
    return rows[0]


def with_health(failure: StreamFailed, connection: Connection, address: str) -> str:
    """The failure in words; of a silent endpoint what its /health says, as a frozen engine looks healthy."""
    if not failure.silent:
        return str(failure)
    try:
        with connection.client(address) as pages:
            status = pages.status("/health")[0]
    except AutoscaleError:
        return f"{failure}, and /health does not answer"
    return f"{failure} while /health says {status}"
