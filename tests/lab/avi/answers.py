# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a domain name gets: the group of the highest priority that has a member in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .schema import GEO, ROUND_ROBIN, key_of

TTL_S = 30
Up = Callable[[Mapping[str, Any], Mapping[str, Any]], "bool | None"]


class Answers:
    """Decides per question; remembers whose turn it is, and which groups wait for a person (``manual_resume``)."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._turn: dict[str, int] = {}
        self._down: set[tuple[str, str]] = set()
        self.held: set[tuple[str, str]] = set()

    def state(self, service: Mapping[str, Any], group: Mapping[str, Any], member: Mapping[str, Any]) -> str:
        """``OPER_UP``, ``OPER_DOWN``, ``OPER_DISABLED`` or ``OPER_INITIALIZING``."""
        if not (service["enabled"] and group["enabled"] and member["enabled"]):
            return "OPER_DISABLED"
        up = self._up(service, member)
        return "OPER_INITIALIZING" if up is None else "OPER_UP" if up else "OPER_DOWN"

    def watch(self, services: list[dict[str, Any]]) -> None:
        """Keep the books of groups with manual_resume: one that was down stays out until it is switched off and on."""
        known = set()
        for service in services:
            for group in service["groups"]:
                key = (service["uuid"], group["name"])
                known.add(key)
                states = {self.state(service, group, member) for member in group["members"]}
                if not group["enabled"] or not group["manual_resume"]:
                    self._down.discard(key)
                    self.held.discard(key)
                elif states and states <= {"OPER_DOWN", "OPER_DISABLED"}:
                    self._down.add(key)
                elif key in self._down and "OPER_UP" in states:
                    self._down.discard(key)
                    self.held.add(key)
        self._down &= known
        self.held &= known

    def serving(self, service: Mapping[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Groups in service with their members in service, in the order in which they answer."""
        found = []
        for group in service["groups"]:
            members = [one for one in group["members"] if self.state(service, group, one) == "OPER_UP"]
            if members and (service["uuid"], group["name"]) not in self.held:
                found.append((group, members))
        if sum(len(members) for _group, members in found) < max(1, service.get("min_members") or 0):
            return []
        found.sort(key=lambda one: -one[0]["priority"])
        if service["pool_algorithm"] != GEO:
            return found[:1]
        return found

    def lookup(self, services: list[dict[str, Any]], name: str) -> tuple[list[str], int] | None:
        """What DNS answers."""
        for service in services:
            if service["enabled"] and name in (one.lower() for one in service["domain_names"]):
                return self._addresses(service), service.get("ttl") if service.get("ttl") is not None else TTL_S
        return None

    def _addresses(self, service: Mapping[str, Any]) -> list[str]:
        found = self.serving(service)
        if not found:
            return self._when_down(service)
        members = [one for _group, some in found for one in some]
        if found[0][0]["algorithm"] == ROUND_ROBIN:
            # As many turns as its ratio says; turns of different members do not stand together.
            most = max(one["ratio"] for one in members)
            turns = [one for count in range(most) for one in members if one["ratio"] > count]
            turn = self._turn.get(service["uuid"], -1) + 1
            self._turn[service["uuid"]] = turn
            first = turns[turn % len(turns)]
        else:
            first = min(members, key=lambda one: one["preference_order"])
        order = [first, *(one for one in members if key_of(one) != key_of(first))]
        count = service.get("num_dns_ip")
        return [one["ip"]["addr"] for one in order[: 1 if count is None else count or None] if one.get("ip")]

    @staticmethod
    def _when_down(service: Mapping[str, Any]) -> list[str]:
        answer = service.get("down_response") or {}
        if answer.get("type") == "GSLB_SERVICE_DOWN_RESPONSE_FALLBACK_IP":
            return [answer["fallback_ip"]["addr"]]
        if answer.get("type") == "GSLB_SERVICE_DOWN_RESPONSE_ALL_RECORDS":
            return [one["ip"]["addr"] for group in service["groups"] for one in group["members"] if one.get("ip")]
        return []
