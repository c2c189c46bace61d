# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Members of a pool of BIG-IP DNS (GTM): which sites a name may be answered with. On before off, each read back, and never
the last one off by the way.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import AutoscaleError, InvalidSpecError, NotFoundError, RefusedError
from ._client import BigIP, MissingObjectError
from ._converge import converge
from ._names import full_name, object_path, split_full_name
from ._pools import DISABLED, ENABLED, missing_pool, plain_entry

POOLS = "/mgmt/tm/gtm/pool"
SERVERS = "/mgmt/tm/gtm/server"
STATES = (ENABLED, DISABLED)
#: How long a device may take to show a change in its figures, too.
SETTLE_S = 5.0


class Key(t.NamedTuple):
    """A virtual server of a server, as a pool names its members; ``server`` is a full name."""

    server: str
    virtual_server: str

    def __str__(self) -> str:
        return f"{self.server.rpartition('/')[2]}:{self.virtual_server}"


@dataclasses.dataclass(frozen=True)
class GslbMember:
    """One member as the device reports it.

    ``state`` is its own switch; ``enabled_state`` heeds the pool, the virtual server, its server and data center, too.
    """

    key: Key
    state: str
    order: int = 0
    ratio: int = 1
    monitor: str = "default"
    availability: str = "unknown"
    enabled_state: str = ""
    reason: str = ""

    @property
    def path(self) -> str:
        """Its part of a URI."""
        partition, server = split_full_name(self.key.server)
        return object_path(partition, f"{server}:{self.key.virtual_server}")

    @property
    def held(self) -> bool:
        """Enabled itself, but not what it belongs to."""
        return self.state == ENABLED and self.enabled_state.startswith("disabled")

    @property
    def on(self) -> bool:
        """Whether a name may be answered with it as far as people decide."""
        return self.state == ENABLED and not self.held


@dataclasses.dataclass(frozen=True)
class GslbPool:
    """A pool and its members in their order."""

    name: str
    partition: str
    kind: str
    monitor: str
    members: t.Mapping[Key, GslbMember]

    @property
    def full_name(self) -> str:
        return full_name(self.partition, self.name)

    @property
    def path(self) -> str:
        return f"{POOLS}/{self.kind}/{object_path(self.partition, self.name)}"


@dataclasses.dataclass(frozen=True)
class GslbOptions:
    """How to do it; times are seconds."""

    wait: bool = True
    wait_timeout: float = 120
    wait_interval: float = 1.0
    allow_none: bool = False


def parse_wanted(rows: t.Sequence[t.Mapping[str, t.Any]], state: str | None) -> dict[Key, str]:
    """What each listed member is to be: its own ``state``, else *state*.

    :raises InvalidSpecError: for a member without a state, or one that is listed twice.
    """
    wanted: dict[Key, str] = {}
    for number, row in enumerate(rows):
        server = full_name(*split_full_name(row["server"]))
        key = Key(server, row["virtual_server"])
        aim = row.get("state") or state
        if aim is None:
            raise InvalidSpecError(
                f"members[{number}] {key}: no state is given; allowed: {', '.join(STATES)}",
                remedy="Give it a state, or set the option state for all.",
            )
        if key in wanted:
            raise InvalidSpecError(f"members[{number}] {key} is listed more than once")
        wanted[key] = aim
    return wanted


def read_gslb_pool(client: BigIP, name: str, partition: str, kind: str) -> GslbPool:
    """The pool, its members, and what their monitors say: two calls.

    :raises NotFoundError: with pools of similar names.
    """
    path = f"{POOLS}/{kind}/{object_path(partition, name)}"
    try:
        answer = client.get(path, {"expandSubcollections": "true"})
        stats = client.get(f"{path}/members/stats").get("entries") or {}
    except MissingObjectError:
        raise missing_pool(client, name, partition, f"{POOLS}/{kind}") from None
    figures = {}
    for entry in stats.values():
        own = plain_entry(entry)
        figures[Key(str(own.get("serverName")), str(own.get("vsName")))] = own
    members = {}
    for item in (answer.get("membersReference") or {}).get("items") or []:
        member = _member(item)
        own = figures.get(member.key)
        if own is None:
            own = _own_figures(client, f"{path}/members/{member.path}/stats")
        members[member.key] = dataclasses.replace(
            member,
            availability=str(own.get("status.availabilityState", "unknown")),
            enabled_state=str(own.get("status.enabledState", "")),
            reason=str(own.get("status.statusReason", "")),
        )
    in_order = dict(sorted(members.items(), key=lambda row: row[1].order))
    return GslbPool(name, partition, kind, str(answer.get("monitor") or "").strip(), in_order)


def _own_figures(client: BigIP, path: str) -> dict[str, t.Any]:
    try:
        entries = client.get(path).get("entries") or {}
    except MissingObjectError:  # it vanished between two calls, or this version has no such page
        return {}
    return next((plain_entry(entry) for entry in entries.values()), {})


def _member(item: t.Mapping[str, t.Any]) -> GslbMember:
    # fullPath is /Common/server:virtual; a virtual server that a BIG-IP discovered has a path for its own name.
    server, _colon, virtual = str(item.get("fullPath") or item["name"]).partition(":")
    return GslbMember(
        key=Key(full_name(*split_full_name(server, str(item.get("partition", "Common")))), virtual),
        # Only the key that is true is shown; one that is shown as false says the opposite.
        state=DISABLED if item.get("disabled") or item.get("enabled") is False else ENABLED,
        order=int(item.get("memberOrder", 0)),
        ratio=int(item.get("ratio", 1)),
        monitor=str(item.get("monitor") or "default").strip(),
    )


class GslbJob:
    """One call of ``f5_gslb_pool_member``."""

    def __init__(
        self, client: BigIP, pool: str, partition: str, kind: str, wanted: t.Mapping[Key, str], options: GslbOptions
    ) -> None:
        self.client = client
        self.wanted = dict(wanted)
        self.options = options
        self.before = self.pool = read_gslb_pool(client, *reversed(split_full_name(pool, partition)), kind)
        self.warnings: list[str] = []

    def run(self, *, check_mode: bool) -> dict[str, t.Any]:
        """Do it, or say what would be done.

        :raises AutoscaleError: with the members as they are now.
        """
        missing = [str(key) for key in self.wanted if key not in self.pool.members]
        if missing:
            there = ", ".join(str(key) for key in self.pool.members) or "none"
            raise NotFoundError(
                f"{self.pool.full_name} has no member {', '.join(missing)}; its members: {there}",
                remedy="Check server and virtual_server, or add the member to the pool first.",
            )
        enabling = [key for key, state in self.wanted.items() if state == ENABLED]
        disabling = [key for key, state in self.wanted.items() if state == DISABLED]
        self._refuse_none(disabling, coming=enabling)
        if check_mode:
            return self.result(predicted=True)
        try:
            self._switch(enabling, ENABLED)
            self._in_service(enabling)
            self._refuse_none(disabling)
            self._switch(disabling, DISABLED)
        except AutoscaleError as error:
            error.result = {**self.result(), "diff": self.diff(), **error.result}
            raise
        return self.result()

    # -- safety -----------------------------------------------------------------------------------------------------

    def _refuse_none(self, disabling: t.Sequence[Key], coming: t.Collection[Key] = ()) -> None:
        """Some member must be left that the name can be answered with.

        :param coming: those that this call enables and waits for; they count as able already.
        """
        going = [self._of(key) for key in disabling if self._of(key).on]
        if not going or self.options.allow_none:
            return
        left = [m for m in self.pool.members.values() if m.key not in disabling and (m.on or m.key in coming)]
        gone = ", ".join(str(member.key) for member in going)
        remedy = "Enable another member first, or set allow_none=true when the name is to have no answer."
        if not left:
            raise RefusedError(
                f"{gone} will not be disabled: no other member of {self.pool.full_name} is enabled",
                remedy=remedy,
                result={**self.result(), "diff": self.diff()},
            )
        able = [member for member in left if member.availability != "offline" or member.key in coming]
        if not able and any(member.availability != "offline" for member in going):
            said = ", ".join(f"{member.key} is {member.availability}" for member in left)
            raise RefusedError(
                f"{gone} will not be disabled: what is left in {self.pool.full_name} cannot serve ({said})",
                remedy=remedy,
                result={**self.result(), "diff": self.diff()},
            )

    # -- writing ----------------------------------------------------------------------------------------------------

    def _switch(self, keys: t.Sequence[Key], state: str) -> None:
        """Write what differs."""
        left = converge(
            self.client,
            lambda: [self._of(key) for key in keys if self._of(key).state != state],
            lambda member: ("PATCH", f"{self.pool.path}/members/{member.path}", {state: True}),
            lambda _failed: self._read(),
        )
        if not left:
            return
        names = ", ".join(str(member.key) for member in left)
        raise RefusedError(
            f"{self.client.name} accepted the change of {self.pool.full_name} but shows {names} not {state}",
            remedy="Look for another program that writes to this pool, on any device of the DNS sync group.",
        )

    def _in_service(self, keys: t.Sequence[Key]) -> None:
        """Wait until each monitor calls its member available; what nothing watches is taken as it is."""
        if not keys:
            return
        settling = self.client.waiter(SETTLE_S, self.options.wait_interval)
        while any(self._of(key).held for key in keys) and settling.pause():
            self._read()
        held = [self._of(key) for key in keys if self._of(key).held]
        if held:
            raise RefusedError(
                f"{', '.join(str(member.key) for member in held)} of {self.pool.full_name} is enabled but not in use: "
                f"{held[0].reason or held[0].enabled_state}",
                remedy="Enable its virtual server, its server, its data center and the pool.",
            )
        if not self.options.wait:
            return
        watched = {key for key in keys if self._of(key).availability != "unknown" or self._watched(self._of(key))}
        if len(watched) < len(keys):
            names = ", ".join(str(key) for key in keys if key not in watched)
            self.warnings.append(f"No monitor watches {names}: enabled without knowing whether it answers.")

        def waiting() -> list[GslbMember]:
            return [self._of(key) for key in keys if key in watched and self._of(key).availability != "available"]

        def look() -> list[GslbMember]:
            if waiting():
                self._read()
            return waiting()

        waiter = self.client.waiter(self.options.wait_timeout, self.options.wait_interval)
        names = ", ".join(str(member.key) for member in waiting())
        waiter.until(
            look,
            lambda rows: not rows,
            f"A monitor's success for {names} of {self.pool.full_name}",
            remedy="It stays enabled and no other member was disabled. Look at the monitor, and at the site itself.",
            result=lambda rows: {"unavailable": {str(row.key): f"{row.availability}, {row.reason}" for row in rows}},
        )

    def _watched(self, member: GslbMember) -> bool:
        """Whether any monitor looks at a member: its own, its pool's, its virtual server's or its server's."""
        own = member.monitor if member.monitor != "default" else self.pool.monitor
        if own not in ("", "none", "default"):
            return True
        server = f"{SERVERS}/{object_path(*split_full_name(member.key.server))}"
        virtual = member.key.virtual_server
        name = object_path(*split_full_name(virtual)) if virtual.startswith("/") else virtual
        for path in (f"{server}/virtual-servers/{name}", server):
            if str(self.client.get(path).get("monitor") or "none").strip() != "none":
                return True
        return False

    # -- what it looks like -----------------------------------------------------------------------------------------

    def _read(self) -> None:
        self.pool = read_gslb_pool(self.client, self.pool.name, self.pool.partition, self.pool.kind)

    def _of(self, key: Key) -> GslbMember:
        """The member as last read; one that somebody removed meanwhile cannot be enabled or disabled any more.

        :raises NotFoundError: then.
        """
        if key not in self.pool.members:
            raise NotFoundError(
                f"{key} was removed from {self.pool.full_name} by somebody else", remedy="Run the task again."
            )
        return self.pool.members[key]

    def _aim(self, key: Key) -> str:
        return self.wanted.get(key, self.before.members[key].state)

    def result(self, *, predicted: bool = False) -> dict[str, t.Any]:
        """The module's result: every member of the pool in its order."""
        rows = []
        for key, member in self.pool.members.items():
            was = self.before.members.get(key, member).state
            now = self._aim(key) if predicted else member.state
            rows.append(
                {
                    "name": str(key),
                    "server": key.server,
                    "virtual_server": key.virtual_server,
                    "state": member.state,
                    "enabled_state": member.enabled_state or member.state,
                    "availability": member.availability,
                    "reason": member.reason,
                    "order": member.order,
                    "ratio": member.ratio,
                    "changed": was != now,
                    "msg": f"{was} -> {now}" if was != now else f"is {now}",
                }
            )
        return {
            "changed": any(row["changed"] for row in rows),
            "pool": self.pool.full_name,
            "members": rows,
            "enabled": [row["name"] for row in rows if row["state"] == ENABLED],
        }

    def diff(self, *, predicted: bool = False) -> dict[str, t.Any]:
        """Before and after, as Ansible shows them."""
        after = {
            str(key): self._aim(key) if predicted and key in self.before.members else member.state
            for key, member in self.pool.members.items()
        }
        before = {str(key): member.state for key, member in self.before.members.items()}
        name = self.pool.full_name
        return {"before": {"pool": name, "members": before}, "after": {"pool": name, "members": after}}
