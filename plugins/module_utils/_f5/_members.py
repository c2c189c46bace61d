# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Pure: what has to be sent so that the members of a pool become what is wanted. No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import InvalidSpecError
from ._names import Key, canonical_address, member_name, object_path
from ._pools import DISABLED, ENABLED, FORCED_OFFLINE, Member, Node, Pool

#: What is written for each standing. The device computes ``monitor-enabled``, ``up``, ``down``: never written.
WRITES: t.Mapping[str, t.Mapping[str, str]] = {
    ENABLED: {"session": "user-enabled", "state": "user-up"},
    DISABLED: {"session": "user-disabled", "state": "user-up"},
    FORCED_OFFLINE: {"session": "user-disabled", "state": "user-down"},
}
#: Our option, the device's field.
ATTRIBUTES = {
    "description": "description",
    "ratio": "ratio",
    "priority_group": "priorityGroup",
    "connection_limit": "connectionLimit",
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One row of ``members``. Attributes that were not given are left as they are."""

    key: Key
    name: str
    attributes: t.Mapping[str, t.Any]

    @property
    def label(self) -> str:
        return self.name if self.name == str(self.key) else f"{self.name} ({self.key})"


@dataclasses.dataclass(frozen=True)
class Goal:
    """Where a member shall be. ``standing`` ``None`` leaves an existing member's session and state alone.

    ``create`` false leaves a member that is not there alone: one that vanished while it was waited for must not come
    back without having passed its gate.
    """

    wanted: Wanted
    present: bool = True
    standing: str | None = None
    create: bool = True
    keep_attributes: bool = False


@dataclasses.dataclass(frozen=True)
class Change:
    """One call of a transaction; ``reason`` is for people."""

    key: Key
    method: str
    path: str
    body: t.Mapping[str, t.Any] | None
    reason: str


def parse_members(rows: t.Sequence[t.Mapping[str, t.Any]]) -> list[Wanted]:
    """The option ``members`` as values.

    :raises InvalidSpecError: an address that is none, or a member that stands in the list twice.
    """
    wanted: list[Wanted] = []
    for row in rows:
        if not 1 <= row["port"] <= 65535:
            raise InvalidSpecError(
                f"members: port {row['port']} of {row['address']} is not between 1 and 65535",
                remedy="Give the port that the service listens on.",
            )
        key = Key(canonical_address(row["address"]), row["port"])
        attributes = {name: row[name] for name in ATTRIBUTES if row.get(name) is not None}
        wanted.append(Wanted(key, row.get("name") or str(key), attributes))
    keys = [member.key for member in wanted]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise InvalidSpecError(f"members: {', '.join(twice)} stands in the list more than once")
    return wanted


def changes_for(pool: Pool, goals: t.Sequence[Goal], nodes: t.Mapping[str, Node]) -> list[Change]:
    """What is still to be sent; empty when the pool is what was wanted (that is also how a write is verified).

    :param nodes: by address; a member on a node that has a name of its own takes that name.
    """
    changes: list[Change] = []
    for goal in goals:
        member = pool.members.get(goal.wanted.key)
        if not goal.present:
            if member is not None:
                changes.append(Change(goal.wanted.key, "DELETE", member_path(pool, member), None, "remove"))
        elif member is None:
            if goal.create:
                changes.append(_creation(pool, goal, nodes))
        else:
            body: dict[str, t.Any] = {}
            if goal.standing is not None and member.standing != goal.standing:
                body.update(WRITES[goal.standing])
            if not goal.keep_attributes:
                body.update(
                    {
                        ATTRIBUTES[name]: value
                        for name, value in goal.wanted.attributes.items()
                        if getattr(member, name) != value
                    }
                )
            if body:
                changes.append(Change(goal.wanted.key, "PATCH", member_path(pool, member), body, "change"))
    return changes


def _creation(pool: Pool, goal: Goal, nodes: t.Mapping[str, Node]) -> Change:
    """A member is always born disabled: the BIG-IP sends traffic to an enabled one that was not checked yet."""
    key, node = goal.wanted.key, nodes.get(goal.wanted.key.address)
    body: dict[str, t.Any] = {
        "name": member_name(node.name if node else key.address, key.port),
        "partition": node.partition if node else pool.partition,
        "address": key.address,
        **WRITES[DISABLED],
    }
    if goal.wanted.name != str(key):
        body["description"] = goal.wanted.name
    body.update({ATTRIBUTES[name]: value for name, value in goal.wanted.attributes.items()})
    return Change(key, "POST", f"{pool.path}/members", body, "add")


def member_path(pool: Pool, member: Member) -> str:
    """The member's own path below its pool."""
    return f"{pool.path}/members/{object_path(member.partition, member.name)}"


def expected(member: Member | None, goal: Goal) -> dict[str, t.Any] | None:
    """What :func:`described` says once the goal is reached: the ``after`` of a diff in check mode."""
    if not goal.present:
        return None
    shown = described(member)
    if shown is None:
        shown = {"standing": DISABLED, "description": "", "ratio": 1, "priority_group": 0, "connection_limit": 0}
        if goal.wanted.name != str(goal.wanted.key):
            shown["description"] = goal.wanted.name
    if not goal.keep_attributes:
        shown.update(goal.wanted.attributes)
    if goal.standing is not None:
        shown["standing"] = goal.standing
    return shown


def described(member: Member | None) -> dict[str, t.Any] | None:
    """What people decide about a member, without what monitors and traffic make of it."""
    if member is None:
        return None
    return {"standing": member.standing, **{name: getattr(member, name) for name in ATTRIBUTES}}
