# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's endpoints: who may ask what, and what the answers look like."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from . import VERSION
from .answers import DEAD, Answer
from .engine import Engine, Request
from .http11 import Call
from .metrics import Metrics

BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
GUARDED = ("/v1", "/v2", "/inference", "/cohere")


class Refused(Exception):
    """An answer that is not 200: status, text, and vLLM's name of the error."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Api:
    """The endpoints of one engine. ``leaving``: a SIGTERM came; ``errored``: the engine was found dead."""

    def __init__(self, options: Any, keys: list[str], engine: Engine, metrics: Metrics, kv_tokens: int) -> None:
        self.options = options
        self.engine = engine
        self.metrics = metrics
        self.leaving = False
        self.errored = False
        self.load = 0
        self.created = int(time.time())
        self.names: list[str] = options.served_model_name
        self.max_model_len = options.max_model_len or min(8192, kv_tokens)
        self._keys = {f"Bearer {key}" for key in keys}
        self._quiet = set((options.disable_access_log_for_endpoints or "").split(","))
        self._routes: dict[tuple[str, str], Callable[[Call], None]] = {
            ("GET", "/health"): self._health,
            ("GET", "/ping"): self._health,
            ("POST", "/ping"): self._health,
            ("GET", "/load"): lambda call: call.connection.answer(200, {"server_load": self.load}),
            ("GET", "/version"): lambda call: call.connection.answer(200, {"version": VERSION}),
            ("GET", "/metrics"): self._metrics,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/completions"): self._completions,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/invocations"): self._invocations,
            ("POST", "/tokenize"): self._tokenize,
            ("POST", "/detokenize"): lambda call: call.connection.answer(200, {"prompt": ""}),
        }

    def handle(self, call: Call) -> None:
        try:
            if self._keys and call.path.startswith(GUARDED) and call.headers.get("authorization") not in self._keys:
                call.connection.answer(401, {"error": "Unauthorized"})
                return
            route = self._routes.get((call.method, call.path))
            if route is None:
                known = any(path == call.path for _method, path in self._routes)
                call.connection.answer(
                    *((405, {"detail": "Method Not Allowed"}) if known else (404, {"detail": "Not Found"}))
                )
                return
            route(call)
        except Refused as refused:
            call.connection.answer(refused.status, refused.content)

    def log(self, call: Call, status: int, peer: str) -> None:
        """The access log's line."""
        if not self.options.disable_uvicorn_access_log and call.path not in self._quiet:
            print(f'INFO:     {peer} - "{call.method} {call.path} HTTP/1.1" {status}', flush=True)

    def _health(self, call: Call) -> None:
        call.connection.answer(503 if self.errored else 200)

    def _metrics(self, call: Call) -> None:
        call.connection.answer(200, self.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _models(self, call: Call) -> None:
        rows = [
            {
                "id": name,
                "object": "model",
                "created": self.created,
                "owned_by": "vllm",
                "root": self.options.model,
                "parent": None,
                "max_model_len": self.max_model_len,
            }
            for name in self.names
        ]
        call.connection.answer(200, {"object": "list", "data": rows})

    def _invocations(self, call: Call) -> None:
        (self._chat if "messages" in self._read(call) else self._completions)(call)

    def _tokenize(self, call: Call) -> None:
        body = self._read(call)
        text = body["prompt"] if isinstance(body.get("prompt"), str) else json.dumps(body.get("messages", ""))
        count = _count(text.encode())
        call.connection.answer(
            200, {"count": count, "max_model_len": self.max_model_len, "tokens": list(range(count)), "token_strs": None}
        )

    def _completions(self, call: Call) -> None:
        body = self._read(call)
        prompt = body.get("prompt")
        if isinstance(prompt, str) and prompt:
            content, count = prompt.encode(), _count(prompt.encode())
        elif isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
            content, count = repr(prompt).encode(), len(prompt)
        else:
            raise Refused(400, "prompt has to be a text or a list of token ids", param="prompt")
        self._infer(call, body, content, count, chat=False, default=16)

    def _chat(self, call: Call) -> None:
        body = self._read(call)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(row, dict) for row in messages):
            raise Refused(400, "messages has to be a list of messages", param="messages")
        content = "\n".join(f"{row.get('role')}: {row.get('content')}" for row in messages).encode()
        self._infer(call, body, content, _count(content), chat=True, default=None)

    def _read(self, call: Call) -> dict[str, Any]:
        if not call.headers.get("content-type", "").startswith("application/json"):
            raise Refused(400, "Unsupported Media Type: Only 'application/json' is allowed")
        try:
            body = json.loads(call.body)
        except ValueError as error:
            raise Refused(400, f"JSON decode error: {error}") from error
        if not isinstance(body, dict):
            raise Refused(400, "Input should be a valid dictionary")
        return body

    def _infer(
        self, call: Call, body: dict[str, Any], prompt: bytes, count: int, *, chat: bool, default: int | None
    ) -> None:
        model = body.get("model") or self.names[0]
        if model not in self.names:
            raise Refused(
                404,
                f"The model `{model}` does not exist. Valid aliases: {', '.join(self.names)}.",
                "NotFoundError",
                "model",
            )
        if body.get("n") not in (None, 1):
            raise Refused(400, "the stub answers n=1 only", param="n")
        room = self.max_model_len - count
        max_tokens = _whole(body, "max_completion_tokens", None) or _whole(body, "max_tokens", default) or room
        min_tokens = _whole(body, "min_tokens", 0) or 0
        if max_tokens > room or room < 1:
            raise Refused(
                400,
                f"This model's maximum context length is {self.max_model_len} tokens. However, you requested "
                f"{max_tokens} output tokens and your prompt contains {count} input tokens.",
                param="max_tokens",
            )
        if min_tokens > max_tokens:
            raise Refused(400, f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}.")
        temperature = body.get("temperature", 1.0)
        if not isinstance(temperature, int | float) or temperature < 0:
            raise Refused(400, f"temperature must be non-negative, got {temperature}.", param="temperature")
        self._admit()
        stream = body.get("stream") is True
        usage = stream and bool((body.get("stream_options") or {}).get("include_usage"))
        ident = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        answer = Answer(call.connection, ident, model, count, chat=chat, stream=stream, usage=usage, over=self._over)
        request = Request(
            prompt, count, max_tokens, min_tokens, body.get("ignore_eos") is True, temperature, answer.deliver
        )

        def gone() -> None:
            self._over()
            self.engine.abort(request)

        call.connection.when_gone = gone
        self.load += self._tracked
        answer.begin()
        if self.leaving or self.errored or self.engine.dead:
            answer.refuse(DEAD)
        else:
            self.engine.add(request)

    @property
    def _tracked(self) -> int:
        return 1 if self.options.enable_server_load_tracking else 0

    def _over(self) -> None:
        self.load -= self._tracked

    def _admit(self) -> None:
        """Asked before a stream begins, so that a full queue is told by the status."""
        limit = self.options.max_num_queued_reqs
        if limit is not None and self.engine.unfinished >= limit:
            self.metrics.rejections["max_num_queued_reqs"] += 1
            raise Refused(503, BUSY, "Service Unavailable")


def _whole(body: dict[str, Any], name: str, default: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (value == 0 and name != "min_tokens"):
        raise Refused(400, f"{name} must be at least 1, got {value}.", param=name)
    return value


def _count(content: bytes) -> int:
    return max(1, -(-len(content) // 4))
