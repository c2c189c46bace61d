# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on REST calls: rules by method and path, each for a number of calls."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

ACTIONS = ("refuse", "delay", "status", "cut", "apply_then_500", "apply_then_cut")


@dataclasses.dataclass
class Fault:
    """What happens to a matching call.

    ``refuse``: the connection is reset, nothing is applied. ``delay``: applied after ``delay_s``. ``status``: answered
    with ``status`` and ``body``, nothing is applied. ``cut``: applied, then half of the answer. ``apply_then_500``:
    applied, then a 500. ``apply_then_cut``: applied, then the connection is reset without an answer.
    """

    action: str
    method: str = ".*"
    path: str = ".*"
    count: int | None = 1  # calls left; None for ever
    after: int = 0  # matching calls that pass first
    delay_s: float = 0.0
    status: int = 503
    body: str = ""
    hits: int = 0

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Fault:
        """A rule from JSON. The action may be named, or be told by the key ``delay_s``, ``status``, ``refuse``, ...

        :raises ValueError: for an unknown key or action, or a bad expression.
        """
        given = {**data, **(data.get("match") or {})}
        given.pop("match", None)
        if "mode" in given:  # the word of the vCenter simulator's rules
            given["action"] = given.pop("mode")
        for action in ACTIONS:
            if action != "status" and given.pop(action, False):
                given.setdefault("action", action)
        if "action" not in given:
            given["action"] = "status" if "status" in given else "delay" if "delay_s" in given else ""
        known = {field.name for field in dataclasses.fields(cls)} - {"hits"}
        if set(given) - known or given["action"] not in ACTIONS:
            raise ValueError(f"a fault has an action of {', '.join(ACTIONS)} and keys of {', '.join(sorted(known))}")
        try:
            fault = cls(**given)
            re.compile(fault.method), re.compile(fault.path)
        except (TypeError, re.error) as exc:
            raise ValueError(str(exc)) from exc
        return fault

    async def carry_out(
        self,
        request: web.Request,
        answer: Callable[[web.Request], Awaitable[web.Response]],
        *,
        busy: web.Response,
        failed: web.Response,
    ) -> web.StreamResponse:
        """What the client gets.

        :param answer: serves the request.
        :param busy: for ``status``.
        :param failed: for ``apply_then_500``.
        """
        if self.action == "status":
            return busy
        if self.action == "delay":
            await asyncio.sleep(self.delay_s)
            return await answer(request)
        if self.action != "refuse":
            given = await answer(request)
            if self.action == "apply_then_500":
                return failed
            if self.action == "cut" and isinstance(given.body, bytes) and given.body:
                half = web.StreamResponse(status=given.status, headers={"Content-Type": "application/json"})
                half.content_length = len(given.body)
                await half.prepare(request)
                await half.write(given.body[: len(given.body) // 2])
                _abort(request)
                return half
        _abort(request)
        return web.Response()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


class Faults:
    """The rules in force, in order; the first that matches is used."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def take(self, method: str, path: str) -> Fault | None:
        """The rule for this call, counted down; a spent rule is removed."""
        for rule in self.rules:
            if not re.fullmatch(rule.method, method, re.IGNORECASE) or not re.search(rule.path, path):
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            rule.hits += 1
            if rule.count is not None:
                rule.count -= 1
                if rule.count <= 0:
                    self.rules.remove(rule)
            return rule
        return None

    def show(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(rule) for rule in self.rules]
