# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scripted endpoint on loopback: each test says what it answers, byte by byte where that matters."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._vllm import Connection

PAGES = {
    "/health": (200, ""),
    "/load": (200, '{"server_load": 0}'),
    "/version": (200, '{"version": "0.32.0"}'),
    "/v1/models": (200, '{"data": [{"id": "tiny", "max_model_len": 128}]}'),
    "/metrics": (200, ""),
}


def numbers(running: int = 0, waiting: int = 0, steps: int = 1, kv: float = 0.0) -> str:
    """A page of metrics."""
    labels = '{engine="0",model_name="tiny"}'
    return (
        f"vllm:num_requests_running{labels} {running}\nvllm:num_requests_waiting{labels} {waiting}\n"
        f"vllm:kv_cache_usage_perc{labels} {kv}\n# TYPE vllm:iteration_tokens_total histogram\n"
        f"vllm:iteration_tokens_total_count{labels} {steps}\n"
    )


def event(text: str = "x", finish: str | None = None, **more: t.Any) -> bytes:
    return _line({"choices": [{"text": text, "finish_reason": finish}], **more})


def usage(tokens: int) -> bytes:
    return _line({"choices": [], "usage": {"completion_tokens": tokens}})


def _line(content: t.Any) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def good(tokens: int) -> list[bytes | float]:
    """A stream as it should be."""
    return [event()] * (tokens - 1) + [event(finish="length"), usage(tokens), DONE]


class Server(http.server.ThreadingHTTPServer):
    """``pages``: what GET answers. ``stream(request)``: what a completion gets, bytes and pauses, or a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, t.Any] = {**PAGES, "/metrics": (200, numbers())}
        self.stream: t.Callable[[dict[str, t.Any]], t.Any] = lambda request: good(request["max_tokens"])
        self.requests: list[dict[str, t.Any]] = []
        self.keys: list[str | None] = []
        self.over = threading.Event()

    @property
    def connection(self) -> Connection:
        return Connection(port=self.server_address[1], api_key="secret")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        answer = self.server.pages.get(self.path, (404, ""))
        status, text = answer() if callable(answer) else answer
        self._answer(status, text)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        script = self.server.stream(request)
        if isinstance(script, tuple):
            self._answer(*script)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        for part in script:
            if isinstance(part, float):
                self.server.over.wait(part)
            elif not self._sent(part):
                return

    def _sent(self, part: bytes) -> bool:
        try:
            self.wfile.write(part)
        except OSError:
            return False
        return True

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args: t.Any) -> None:
        """Silent."""
