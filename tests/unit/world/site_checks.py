# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The invariants of design.md, section 4, as they can be seen from outside: asked at each change that a play makes.

A check knows who acts, what that play was shown, and what is true. What a person does to the site meanwhile is no
play's fault: the exact form of a check is asked when nobody interfered since the play looked, and the form that always
holds in any case.
"""

from __future__ import annotations

import dataclasses
import typing as t

if t.TYPE_CHECKING:
    from unit.world.fake_site import PoolMember, Site, Vm

Row = dict[str, t.Any]


class Violation(AssertionError):
    """An invariant does not hold. ``number`` is that of design.md, section 4."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"invariant {number}: {message}")
        self.number = number


@dataclasses.dataclass
class Actor:
    """A play, as far as the checks have to know it.

    :ivar served: addresses in service when it last looked at the pool, and those that it has enabled since.
    :ivar version: of the site when it last looked at the pool.
    :ivar looked_at: when it looked first; a protection that came later cannot be respected.
    :ivar late: it was stopped until its lock ran out, and has not come to a journal entry since.
    """

    kind: str
    owner: str
    min: int
    max: int
    ident: str = ""
    served: set[str] = dataclasses.field(default_factory=set)
    gone: set[str] = dataclasses.field(default_factory=set)
    version: int = -1
    looked_at: float | None = None
    shown: set[str] = dataclasses.field(default_factory=set)
    late: bool = False
    plan: Row | None = None

    @property
    def direction(self) -> str:
        return {"scale_out": "out", "scale_in": "in"}.get(self.kind, self.kind)


class Checks:
    """Asked by the site before and after each change of a play."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.actor: Actor | None = None
        #: (action, owner) that hold the lock, from the ledger.
        self.holder: t.Callable[[], tuple[str, str] | None] = lambda: None
        self.rebuilding = False  # the ledger was lost, and no reconcile has run since
        self.late_writes = 0
        self.breaker = BreakerWatch()
        self.asked = dict.fromkeys(range(1, 12), 0)

    def ask(self, number: int, good: bool, message: str) -> None:
        """:raises Violation: *good* is false."""
        self.asked[number] += 1
        if not good:
            who = f"{self.actor.kind} {self.actor.ident} ({self.actor.owner})" if self.actor else "nobody"
            raise Violation(number, f"{message}; by {who}")

    # ---- what every change has to pass

    def writes(self, what: str) -> Actor:
        """Invariant 6: only who holds the lock changes anything. Invariant 9: nobody does who could not look."""
        actor = self.actor
        assert actor is not None, f"{what}: nobody acts"
        if actor.late:
            self.late_writes += 1
        else:
            holder = self.holder()
            self.ask(6, holder == (actor.ident, actor.owner), f"{what} without the lock ({holder} has it)")
        needed = {"list"} if actor.kind == "reconcile" else {"list", "pool_info", "target_info"}
        self.ask(9, needed <= actor.shown, f"{what} without having seen {needed - actor.shown}")
        return actor

    def seen(self, call: str, version: int, rows: list[Row]) -> None:
        """A read reaches its play."""
        actor = self.actor
        if actor is None:
            return
        actor.shown.add(call)
        if actor.looked_at is None:
            actor.looked_at = self.site.clock()
        if call == "pool_info":
            actor.served, actor.gone, actor.version = self.site.serving(), set(), version

    # ---- vCenter

    def creates(self, vm: Vm) -> None:
        """Invariants 1, 3 and 8, before a clone is submitted."""
        actor, site = self.writes(f"clone of {vm.name}"), self.site
        owned = len(site.vms) + len(site.base_healthy) + 1
        self.ask(1, owned <= actor.max, f"{owned} VMs with {vm.name}, and max is {actor.max}")
        holders = [other.name for other in site.vms.values() if other.address == vm.address]
        self.ask(3, not holders, f"{vm.name} gets {vm.address}, which {holders} has")
        self.ask(3, vm.address not in site.base_healthy, f"{vm.name} gets the address of a base member")
        self.ask(8, *self.breaker.creates(site.clock(), vm.name))

    def powers_off(self, vm: Vm) -> None:
        self._removes(vm, "powered off")

    def destroys(self, vm: Vm) -> None:
        self._removes(vm, "deleted")

    def _removes(self, vm: Vm, what: str) -> None:
        """Invariant 4: drained and removed before. Invariant 10: never one that is protected."""
        actor = self.writes(f"{vm.name} {what}")
        member = self.site.pool.get(vm.address)
        self.ask(4, member is None or member.late, f"{vm.name} {what}, and {vm.address} is a member of the pool")
        self.ask(10, not self._protected(vm.address, actor), f"{vm.name} {what}, and it is protected")

    def _protected(self, address: str, actor: Actor) -> bool:
        """Protected since before the play looked. What a launch undoes of its own is no victim."""
        if self._undoes(address, actor):
            return False
        since = [float(vm.marks["protected_at"]) for vm in self._at(address) if vm.marks.get("protected")]
        return bool(since) and actor.looked_at is not None and since[0] < actor.looked_at

    def _undoes(self, address: str, actor: Actor) -> bool:
        """Whether *actor* itself launches whoever is there, in this run or in one that was cut off."""
        own = {row["name"] for row in (actor.plan or {}).get("launches") or ()}
        return any(vm.name in own for vm in self._at(address))

    def _at(self, address: str) -> list[Vm]:
        return [vm for vm in self.site.vms.values() if vm.address == address]

    # ---- the pool

    def joins(self, address: str) -> None:
        """Invariant 4: no member without a running VM."""
        self.writes(f"{address} joins the pool")
        vms = self._at(address)
        fine = any(self.site.running(vm) or vm.touched for vm in vms) or not vms
        self.ask(4, fine, f"{address} joins the pool, and {[vm.name for vm in vms]} does not run")

    def enables(self, member: PoolMember) -> None:
        """Invariant 5: gated, and available to the monitor."""
        self.writes(f"{member.address} enabled")
        gated = any(vm.gated for vm in self._at(member.address))
        self.ask(5, gated, f"{member.address} is enabled and its VM has passed no gate")
        self.ask(5, self.site.availability(member) == "available", f"{member.address} is enabled and not available")

    @property
    def late(self) -> bool:
        """Whether who acts has lost its lock: it does the rest of its module, and nobody can know of that."""
        return self.actor is not None and self.actor.late

    def enabled(self, member: PoolMember) -> None:
        member.late = self.late
        if self.actor is not None:
            self.actor.served.add(member.address)
            self.actor.gone.discard(member.address)

    def disables(self, member: PoolMember) -> None:
        """Invariant 2, before a member stops to get traffic. Invariant 10."""
        actor, site = self.writes(f"{member.address} disabled"), self.site
        self.ask(10, member.address not in site.base_healthy, f"base member {member.address} disabled")
        vms = self._at(member.address)
        protected = self._protected(member.address, actor)
        self.ask(10, not protected, f"{[vm.name for vm in vms]} disabled, and it is protected")
        if self._undoes(member.address, actor) or member.address not in actor.served:
            actor.served.discard(member.address)
            return  # an undo of its own launch, or a member that did not serve when the play looked
        actor.gone.add(member.address)
        left = len(actor.served - actor.gone)
        self.ask(2, left >= actor.min, f"{left} in service without {member.address}, and min is {actor.min}")
        if actor.version == site.version and site.in_service(member):
            left = len(site.serving() - {member.address})
            self.ask(2, left >= actor.min, f"{left} truly in service without {member.address}, and min is {actor.min}")

    def leaves(self, member: PoolMember) -> None:
        """Invariant 4: drained before it is removed; a member without a VM has nobody to drain."""
        self.writes(f"{member.address} leaves the pool")
        self.ask(10, member.address not in self.site.base_healthy, f"base member {member.address} removed")
        alive = [vm for vm in self._at(member.address) if self.site.serves(vm.address) and not vm.touched]
        self.ask(4, not alive or not member.enabled or member.late, f"{member.address} removed while it is enabled")

    # ---- always

    def leases(self, leased: t.Mapping[str, str]) -> None:
        """Invariant 3: while a VM of ours is there, its address is leased to it and to nobody else."""
        if self.rebuilding:
            return
        for vm in self.site.vms.values():
            holder = leased.get(vm.address)
            self.ask(3, holder == vm.name, f"{vm.name} has {vm.address}, leased to {holder}")


@dataclasses.dataclass
class BreakerWatch:
    """Invariant 8 by counting alone.

    After ``limit`` launches that failed within ``window`` seconds without a good one, at most one VM is made, and not
    before ``probe_after`` seconds have passed since the last of them.
    """

    limit: int = 3
    window: float = 3600.0
    probe_after: float = 1800.0
    failed: list[float] = dataclasses.field(default_factory=list)
    tried: dict[str, float] = dataclasses.field(default_factory=dict)  # made since the last result, and when

    def creates(self, now: float, name: str) -> tuple[bool, str]:
        self.tried[name] = now
        recent = [at for at in self.failed if at > now - self.window]
        if len(recent) < self.limit:
            return True, ""
        probes = [other for other, at in self.tried.items() if now - at < self.probe_after]
        text = f"{len(recent)} launches failed, the last {now - recent[-1]:.0f} s ago, and now {probes}"
        return now - recent[-1] >= self.probe_after and len(probes) <= 1, text

    def result(self, now: float, failed: int, succeeded: int) -> None:
        """An action has ended: a launch in which one succeeded and none failed closes the breaker."""
        self.tried.clear()
        if succeeded and not failed:
            self.failed.clear()
        self.failed += [now] * failed

    def forget(self) -> None:
        """A person has looked, or the ledger was lost."""
        self.failed.clear()
        self.tried.clear()


class AlertWatch:
    """Invariant 11 by what was delivered alone: something has fired lately, and was not resolved since.

    A copy of a firing alert within 30 seconds after its own end is a late one, and asks for nothing.
    """

    LATE_S = 30.0

    def __init__(self, site: Site, max_age: float = 900.0) -> None:
        self._site = site
        self._max_age = max_age
        self.firing: dict[tuple[str, str], float] = {}
        self.resolved: dict[tuple[str, str], float] = {}

    def delivered(self, key: str, direction: str, status: str) -> None:
        now = self._site.clock()
        if status == "resolved":
            self.firing.pop((direction, key), None)
            self.resolved[direction, key] = now
        elif now - self.resolved.get((direction, key), float("-inf")) >= self.LATE_S:
            self.firing[direction, key] = now

    def holds(self, direction: str) -> tuple[bool, str]:
        ages = [round(self._site.clock() - at) for (what, _key), at in self.firing.items() if what == direction]
        return any(age <= self._max_age for age in ages), f"scale-{direction} on alerts that are {ages} s old"
