# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One answer: whole, or as server-sent events; a chat or a completion."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from .http11 import Connection

DEAD = {
    "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "type": "InternalServerError",
    "param": None,
    "code": 500,
}


class Answer:
    """What one request's client gets; ``over()`` is called when it has got all."""

    def __init__(
        self,
        connection: Connection,
        ident: str,
        model: str,
        prompt_tokens: int,
        *,
        chat: bool,
        stream: bool,
        usage: bool,
        over: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._chat = chat
        self._stream = stream
        self._usage = usage
        self._over = over
        self._prompt_tokens = prompt_tokens
        self._count = 0
        self._texts: list[str] = []
        kind = ("chat.completion" if chat else "text_completion") + (".chunk" if chat and stream else "")
        self._base: dict[str, Any] = {"id": ident, "object": kind, "created": int(time.time()), "model": model}
        head = json.dumps(self._base)[:-1]
        self._before = f'data: {head}, "choices": [{{"index": 0, ' + ('"delta": {"content": ' if chat else '"text": ')
        self._after = ("}" if chat else "") + ', "logprobs": null, "finish_reason": '

    def begin(self) -> None:
        """A stream's status and headers go out before the engine is asked, as vLLM does it."""
        if self._stream:
            self._connection.begin_stream()

    def refuse(self, error: dict[str, Any]) -> None:
        """Not taken by the engine: a stream says so within its 200, as it has begun."""
        if self._stream:
            self._connection.send(f"data: {json.dumps({'error': error})}\n\ndata: [DONE]\n\n".encode())
            self._connection.end_stream()
        else:
            self._connection.answer(error["code"], {"error": error})
        self._over()

    def deliver(self, tokens: list[str], finish: str | None) -> None:
        """What one step of the engine made; *finish* ends the answer."""
        if self._stream:
            self._deliver_events(tokens, finish)
        else:
            self._texts += tokens
            self._count += len(tokens)
            if finish:
                self._whole(finish)
        if finish:
            self._over()

    def _totals(self) -> dict[str, Any]:
        total = self._prompt_tokens + self._count
        return {"prompt_tokens": self._prompt_tokens, "total_tokens": total, "completion_tokens": self._count}

    def _whole(self, finish: str) -> None:
        if finish == "error":
            self._connection.answer(500, {"error": DEAD})
            return
        text = "".join(self._texts)
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish, "stop_reason": None}
        self._connection.answer(200, {**self._base, "choices": [choice], "usage": self._totals()})

    def _deliver_events(self, tokens: list[str], finish: str | None) -> None:
        events = []
        if self._chat and not self._count and tokens:
            events.append(
                self._event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
            )
        self._count += len(tokens)
        if finish in {"abort", "error"}:
            tokens = [*tokens, ""]
        for position, token in enumerate(tokens, 1):
            reason = json.dumps(finish if position == len(tokens) else None)
            if reason != '"error"':
                events.append(f"{self._before}{json.dumps(token)}{self._after}{reason}}}]}}\n\n")
        if finish == "error":
            events.append(f"data: {json.dumps({'error': DEAD})}\n\n")
        elif finish and self._usage:
            events.append(self._event([], usage=self._totals()))
        if finish:
            events.append("data: [DONE]\n\n")
        if events:
            self._connection.send("".join(events).encode())
        if finish:
            self._connection.end_stream()

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**self._base, 'choices': choices, **more})}\n\n"
