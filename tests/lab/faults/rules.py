# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which call is spoiled and how: rules, taken in order, each for a number of calls; and what was seen."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import time
from collections.abc import Mapping
from typing import Any

HTTP_FAULTS = ("refuse", "delay", "status", "cut", "apply_then_status", "apply_then_cut", "stale")
TCP_FAULTS = ("refuse", "delay", "cut", "apply_then_cut")
ANY = "*"


@dataclasses.dataclass
class Rule:
    """What happens to a matching call.

    ``refuse``: nothing reaches the backend, the connection is reset. ``delay``: held for ``seconds``, then done.
    ``status``: answered with ``status``, nothing reaches the backend. ``cut``: done, half of the answer, reset.
    ``apply_then_status``: done, answered with ``status``. ``apply_then_cut``: done, reset without an answer.
    ``stale``: a read is given the answer of the last time; where there is none it is done and the rule stays.
    """

    listener: str
    fault: str
    call: str = ANY  # label, or a pattern with * and ?
    seconds: float = 5.0
    status: int = 500
    body: str = "html"  # html: what a load balancer answers; soap: a RuntimeFault; else the text itself
    times: int | None = 1  # calls left; None for as long as the rule stands
    skip: int = 0  # matching calls that pass first
    after_bytes: int | None = None  # cut, TCP only: so many bytes of the answer pass; None for half of the next message
    ident: int = 0
    hits: int = 0
    refused_connections: int = 0

    @classmethod
    def parse(cls, data: Any, modes: Mapping[str, str]) -> Rule:
        """A rule from JSON.

        :param modes: listener to its mode.
        :raises ValueError: with what is wrong and what is allowed.
        """
        if not isinstance(data, dict):
            raise ValueError("a rule is a JSON object")
        given = {name: value for name, value in data.items() if name != "match"}
        match = data.get("match") or {}
        if not isinstance(match, dict) or set(match) - {"call"}:
            raise ValueError("match has the key call")
        given.update(match)
        known = {field.name for field in dataclasses.fields(cls)} - {"ident", "hits", "refused_connections"}
        if set(given) - known:
            raise ValueError(f"unknown keys {sorted(set(given) - known)}; known are {sorted(known)} and match")
        if given.get("listener") not in modes:
            raise ValueError(f"listener must be one of {sorted(modes)}")
        faults = HTTP_FAULTS if modes[given["listener"]] in ("http", "https") else TCP_FAULTS
        if given.get("fault") not in faults:
            raise ValueError(f"fault must be one of {list(faults)}")
        return cls(**given)

    def matches(self, listener: str, label: str) -> bool:
        return self.listener == listener and (self.call in (ANY, label) or fnmatch.fnmatchcase(label, self.call))


class Rules:
    """The rules in force and the calls seen. Used from one event loop only."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._idents = itertools.count(1)
        self._calls: dict[tuple[str, str, str, str], dict[str, Any]] = {}

    def add(self, rule: Rule) -> Rule:
        rule.ident = next(self._idents)
        self.rules.append(rule)
        return rule

    def remove(self, ident: int | None = None) -> None:
        """Take one rule away, or all of them."""
        self.rules = [] if ident is None else [rule for rule in self.rules if rule.ident != ident]

    def find(self, listener: str, label: str) -> Rule | None:
        """The first rule for this call; calls that it lets pass are counted. Use :meth:`spend` once it was applied."""
        for rule in self.rules:
            if not rule.matches(listener, label):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            return rule
        return None

    def spend(self, rule: Rule) -> None:
        """Count the rule down; a spent one goes."""
        rule.hits += 1
        if rule.times is not None:
            rule.times -= 1
            if rule.times <= 0:
                self.remove(rule.ident)

    def refuses_connections(self, listener: str) -> bool:
        """Whether new connections are refused now: a rule ``refuse`` for every call stands."""
        for rule in self.rules:
            if rule.listener == listener and rule.fault == "refuse" and rule.call == ANY and rule.skip == 0:
                rule.refused_connections += 1
                self.spend(rule)
                return True
        return False

    def saw(self, listener: str, label: str, fault: str, status: str, *, read: bool) -> None:
        """Note a call.

        :param fault: what was done to it; empty for nothing, ``stale (none)`` where no older answer was known.
        :param status: of the backend's answer; empty when it was not asked.
        """
        row = self._calls.setdefault(
            (listener, label, fault, status),
            {
                "listener": listener, "call": label, "fault": fault, "status": status,
                "read": read, "count": 0, "first_at": time.time(),
            },
        )  # fmt: skip
        row["count"] += 1

    def calls(self) -> list[dict[str, Any]]:
        """A row for each listener, label, fault and upstream status, in the order of their first call."""
        return list(self._calls.values())

    def forget_calls(self) -> None:
        self._calls.clear()

    def show(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(rule) for rule in self.rules]
