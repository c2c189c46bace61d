# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scripted HTTP conversation: what is expected in which order, and what is answered."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter


@dataclasses.dataclass
class Turn:
    """One request and its answer. ``error`` is raised instead of an answer; ``check`` sees the request."""

    method: str
    path: str
    status: int = 200
    json: Any = None
    text: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error: Exception | None = None
    check: Callable[[requests.PreparedRequest], None] | None = None


class Talk(BaseAdapter):
    """Goes into a session: ``session.mount("https://", Talk([...]))``; :meth:`finish` says that all of it was said."""

    def __init__(self, turns: list[Turn]) -> None:
        super().__init__()
        self.turns = list(turns)
        self.said: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_kwargs: Any) -> requests.Response:
        """Answer with the next turn, or fail the test where the request is not the expected one."""
        path = urlsplit(request.url or "").path
        assert self.turns, f"nobody expected {request.method} {path}"
        turn = self.turns.pop(0)
        assert (request.method, path) == (turn.method, turn.path), (
            f"expected {turn.method} {turn.path}, got {request.method} {path}"
        )
        self.said.append(request)
        if turn.check:
            turn.check(request)
        if turn.error:
            raise turn.error
        response = requests.Response()
        response.status_code = turn.status
        response.request = request
        response.url = request.url or ""
        response.headers.update(turn.headers)
        body = turn.text if turn.text is not None else "" if turn.json is None else json_module.dumps(turn.json)
        if turn.text is None:
            response.headers.setdefault("Content-Type", "application/json")
        response._content = body.encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def finish(self) -> None:
        """Fail when something expected was never asked."""
        assert not self.turns, f"never asked: {[(turn.method, turn.path) for turn in self.turns]}"


class Clock:
    """A clock that only sleeping moves; ``slept`` has every sleep in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes at once."""
        self.slept.append(seconds)
        self.now += seconds
