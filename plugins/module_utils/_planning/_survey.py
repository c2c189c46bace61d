# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What vCenter, the load balancer, Prometheus and the ledger say about each VM of a group, side by side.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ._observe import Row, Rows, bare_address, is_on, observe
from ._spec import GroupSpec
from ._state import Member

#: The ledger's own rows: ``{members, leases, actions}``.
LedgerRows = t.Mapping[str, t.Any]
#: The text that our playbooks write into the description of a pool member.
_DESCRIPTION = re.compile(r"^(?:(?P<name>.+), )?onprem\.autoscale group (?P<group>[a-z0-9-]+)(?![a-z0-9-])")


def described(row: Row) -> tuple[str, str]:
    """The VM and the group that the description of a pool member names; empty where it names none."""
    match = _DESCRIPTION.match(str(row.get("description") or ""))
    return (match["name"] or "", match["group"]) if match else ("", "")


def is_our_target(spec: GroupSpec, row: Row) -> bool:
    """Whether our playbooks wrote this target."""
    labels = row.get("labels") or {}
    return labels.get("group") == spec.name and bool(labels.get("member"))


def names_unseen(
    spec: GroupSpec,
    *,
    vms: Rows | None,
    ledger: LedgerRows | None,
    pool_members: Rows | None = None,
    targets: Rows | None = None,
) -> list[str]:
    """Names of VMs that should be there and that *vms* did not show: these are looked for again, one by one.

    Empty when vCenter could not be read: there is nothing to confirm then.
    """
    if vms is None:
        return []
    shown = {row["name"] for row in vms}
    known = [row["name"] for row in (ledger or {}).get("members") or ()]
    known += [row["member"] for row in (ledger or {}).get("leases") or ()]
    known += [name for name, group in map(described, pool_members or ()) if group == spec.name]
    known += [row["labels"]["member"] for row in targets or () if is_our_target(spec, row)]
    return [name for name in dict.fromkeys(known) if name and name not in shown]


@dataclasses.dataclass(frozen=True)
class Case:
    """One VM of the group, or one row of the ledger whose VM vCenter does not show.

    :param address: that it was made with, else the one that it has.
    :param pool: its member of the pool; None: it is in no pool, or the pool could not be read.
    :param target: its target in Prometheus, likewise.
    :param busy: an action that still runs made it or is taking it away.
    :param conflict: why nobody can say whose its address is; empty: it is clear.
    """

    name: str
    row: Row | None
    vm: Row | None
    address: str
    member: Member
    pool: Row | None
    target: Row | None
    busy: bool
    conflict: str

    @property
    def state(self) -> str:
        """Of the ledger's row; empty without one."""
        return str((self.row or {}).get("state") or "")

    @property
    def marks(self) -> dict[str, str]:
        """Of the VM, in vCenter."""
        return dict((self.vm or {}).get("marks") or {})

    @property
    def off(self) -> bool:
        """Whether the VM is known not to run."""
        return self.vm is not None and is_on(self.vm) is False

    @property
    def serves(self) -> bool:
        """Whether it gets traffic and can answer it."""
        return self.vm is not None and not self.off and bool((self.pool or {}).get("in_service"))

    @property
    def pooled(self) -> bool:
        """Whether it is in the pool and nobody disabled it there."""
        if self.pool is None:
            return False
        standing = str(self.pool.get("standing") or "")
        return standing not in ("disabled", "forced_offline") and self.pool.get("session") != "user-disabled"

    @property
    def unhealthy(self) -> bool | None:
        """Whether it does not do what it is there for; None: its monitor has not answered yet, or nobody knows."""
        if self.off:
            return True
        if self.pool is None:
            return None
        if not self.pooled or self.pool.get("availability") == "offline":
            return True
        # Enabled and available, and yet it gets no traffic: somebody disabled its node.
        return {True: False}.get(self.serves, True if self.pool.get("availability") == "available" else None)


class Survey:
    """All cases of a group, and what belongs to nobody. Needs VMs and ledger; pool and targets may be unread."""

    def __init__(
        self,
        spec: GroupSpec,
        *,
        vms: Rows,
        vms_again: Rows | None,
        pool_members: Rows | None,
        targets: Rows | None,
        ledger: LedgerRows,
    ) -> None:
        self.spec = spec
        self.vms = [row for row in vms if not row.get("is_template")]
        self.again = None if vms_again is None else {row["name"]: row for row in vms_again}
        self.rows = {row["name"]: row for row in ledger["members"] if row.get("group_name", spec.name) == spec.name}
        self.leases = [row for row in ledger.get("leases") or () if row.get("group_name", spec.name) == spec.name]
        self.pool_read, self.targets_read = pool_members is not None, targets is not None
        self._actions = ledger.get("actions") or {}
        self._base_addresses = {row.address for row in spec.base_members}
        self.observed = observe(
            spec, vms=self.vms, pool_members=pool_members, targets=targets, ledger_members=self.rows.values()
        )
        port = spec.load_balancer.port
        rows = list(pool_members or ())
        self.pool = {bare_address(row["address"]): row for row in rows if int(row.get("port") or port) == port}
        self.other_ports = [row for row in rows if int(row.get("port") or port) != port]
        job = spec.monitoring.job
        self.targets = {
            bare_address(row["address"]): row
            for row in targets or ()
            if (row.get("labels") or {}).get("job", job) == job
        }
        #: Every address that some VM has, ours or not: its member and its target stay.
        self.inhabited = {address for row in [*self.vms, *(vms_again or ())] for address in addresses_of(row)}
        self._leased_to = {row["address"]: row["member"] for row in self.leases}
        self.lease_of = {row["member"]: row["address"] for row in self.leases}
        self.cases = self._cases()

    def action_state(self, ident: str | None) -> str:
        """``running``, ``succeeded``, ... of an action; empty when nobody knows it, so it does not run."""
        return str(self._actions.get(ident or "") or "")

    def is_base(self, row: Row) -> bool:
        """Whether a VM is one of the site's own."""
        names = {member.name for member in self.spec.base_members}
        return row["name"] in names or bare_address(row.get("address")) in self._base_addresses

    def is_base_address(self, address: str) -> bool:
        """Whether a base member has it."""
        return address in self._base_addresses

    def _cases(self) -> list[Case]:
        own = [
            row for row in self.vms
            if (row.get("marks") or {}).get("group") == self.spec.name and not self.is_base(row)
        ]  # fmt: skip
        by_name: dict[str, Row] = {row["name"]: row for row in own}
        users: dict[str, list[str]] = {}
        for row in own:
            users.setdefault(address_of(row), []).append(row["name"])
        base = {member.name for member in self.spec.base_members}
        names = [name for name in dict.fromkeys([*by_name, *self.rows]) if name not in base]
        members = {member.name: member for member in self.observed.members}
        return [self._case(name, by_name.get(name), members, users) for name in names]

    def _case(
        self, name: str, vm: Row | None, members: t.Mapping[str, Member], users: t.Mapping[str, list[str]]
    ) -> Case:
        row = self.rows.get(name)
        known = (row or {}).get("address") or self.lease_of.get(name) or ""
        address = (address_of(vm) if vm else "") or known
        member = dataclasses.replace(members.get(name) or Member(name, healthy=None), address=address)
        return Case(
            name,
            row,
            vm,
            address,
            member,
            self.pool.get(address),
            self.targets.get(address),
            busy=row is not None and self.action_state(row.get("action")) == "running",
            conflict=self._conflict(name, vm, users),
        )

    def _conflict(self, name: str, vm: Row | None, users: t.Mapping[str, list[str]]) -> str:
        if vm is None:
            return ""
        address = address_of(vm)
        if sum(row["name"] == name for row in self.vms) > 1:
            return f"two VMs of the group are called {name}"
        others = [other for other in users.get(address, ()) if other != name] if address else []
        if others:
            return f"{name} and {', '.join(others)} were both made with address {address}"
        holder = self._leased_to.get(address)
        if holder and holder != name and (holder in {row["name"] for row in self.vms} or self._may_be_there(holder)):
            return f"{name} was made with address {address}, which is leased to {holder}"
        leased = self.lease_of.get(name)
        if leased and address and leased != address:
            return f"{name} was made with address {address}, and {leased} is leased to it"
        return ""

    def _may_be_there(self, name: str) -> bool:
        """Whether a VM that was not shown may exist all the same: nobody looked again, or it was found then."""
        return self.again is None or name in self.again


def address_of(vm: Row) -> str:
    """The address that a VM was made with, else the one that its guest has."""
    return bare_address((vm.get("marks") or {}).get("address") or vm.get("address"))


def addresses_of(vm: Row) -> set[str]:
    """Both of them."""
    return {bare_address((vm.get("marks") or {}).get("address")), bare_address(vm.get("address"))} - {""}
