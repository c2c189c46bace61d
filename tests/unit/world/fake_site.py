# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in memory: vCenter, the load balancer's pool, Prometheus, the network and the notifications of one group.

Each method that stands for a module behaves as our module does: a list in, a row a member out, idempotent, a VM with
our marks is adopted, a pool member comes disabled. It is a generator that yields wherever a kill leaves half of the
work behind. What it changes is watched at once by :class:`site_checks.Checks`, which knows who acts.
"""

from __future__ import annotations

import dataclasses
import typing as t

from unit.world.fake_pool import MONITOR_S, FakePool, PoolMember, Steps
from unit.world.site_checks import Checks
from unit.world.site_faults import Clock, Faults, Row, outcome

BOOT_S = 20.0


@dataclasses.dataclass
class Vm:
    """A VM with the group's mark. It boots by itself once it is built."""

    name: str
    moid: str
    marks: dict[str, str]
    created: float
    built_at: float
    boots: bool = True
    on: bool = True
    healthy: bool = True
    gated: bool = False
    touched: bool = False  # somebody else did something to it

    @property
    def address(self) -> str:
        return self.marks.get("address", "")


class Site(FakePool):
    """Everything outside the ledger.

    :param spec: the group's declaration in its full form.
    :ivar version: counts the changes that are not ours.
    """

    def __init__(self, spec: Row, now: float) -> None:
        self.spec = spec
        self.clock = Clock(now)
        self.faults = Faults(self.clock)
        self.vms: dict[str, Vm] = {}
        self.pool: dict[str, PoolMember] = {}
        self.targets: dict[str, Row] = {}
        self.base_healthy = {row["address"]: True for row in spec["base_members"]}
        self.answering: set[str] = set()  # addresses that strangers took
        self.notifications: list[Row] = []
        self.clone_seconds = 30.0
        self.clones_boot = True
        self.version = 0
        self.serial = 0
        self.created = 0
        self.most = 0  # VMs at once
        self.checks = Checks(self)
        for row in spec["base_members"]:
            base = PoolMember(row["address"], enabled=True, since=now - 60, description=row["name"])
            self.pool[row["address"]] = base
            self.targets[f"{row['address']}:{spec['monitoring']['exporter_port']}"] = {}

    # ---- what is true

    def built(self, vm: Vm) -> bool:
        """Whether its clone task has ended."""
        return self.clock() >= vm.built_at

    def running(self, vm: Vm) -> bool:
        return vm.on and self.built(vm)

    def serves(self, address: str) -> bool:
        """Whether something healthy answers there."""
        if address in self.base_healthy:
            return self.base_healthy[address]
        return any(
            vm.address == address and self.running(vm) and vm.boots and vm.healthy
            for vm in self.vms.values()
            if self.clock() >= vm.built_at + BOOT_S
        )

    def answers(self, address: str) -> bool:
        """Whether anything answers on the network there."""
        return (
            address in self.answering
            or address in self.base_healthy
            or any(vm.address == address and self.running(vm) and vm.boots for vm in self.vms.values())
        )

    def serving(self) -> set[str]:
        """Addresses that get traffic and answer it, of the group and its base members."""
        ours = {vm.address for vm in self.vms.values()} | self.base_healthy.keys()
        return {m.address for m in self.pool.values() if m.address in ours and self.in_service(m)}

    def named(self, name: str) -> list[Vm]:
        return [vm for vm in self.vms.values() if vm.name == name]

    # ---- vCenter

    def _vm_row(self, vm: Vm) -> Row:
        built = self.built(vm)
        return {
            "name": vm.name,
            "moid": vm.moid,
            "address": vm.address if built else "",
            "power_state": "poweredOn" if self.running(vm) else "poweredOff",
            "marks": dict(vm.marks) if built else {},
            "created": vm.created,
            "is_template": False,
        }

    def vsphere_clone_info(self, marks: Row | None = None, names: list[str] | None = None) -> Steps:
        call = "list" if names is None else "list_names"
        kind = self.faults.before(call)
        yield from ()
        rows = [self._vm_row(vm) for vm in self.vms.values()]
        rows, version = self.faults.shown(call, kind, rows, self.version)
        chosen = [
            row
            for row in rows
            if (names is None or row["name"] in names)
            and all(row["marks"].get(key) == value for key, value in (marks or {}).items())
        ]
        self.checks.seen(call, version, chosen)
        self.faults.answer(kind, call)
        return {"changed": False, "vms": chosen}

    def vsphere_clone(self, state: str, vms: list[Row], **options: t.Any) -> Steps:
        if state == "absent":
            return (yield from self._delete(vms, **options))
        return (yield from self._clone(vms, **options))

    def _clone(self, vms: list[Row], **options: t.Any) -> Steps:
        timeouts, kind = options["timeouts"], self.faults.before("clone")
        rows: list[Row] = []
        wanted: list[tuple[Row, Vm]] = []
        for number, row in enumerate(vms):
            if number and kind == "cut":
                break
            known = self.named(row["name"])
            if known:
                vm = known[0]
                if not self.built(vm):
                    self.clock.advance(min(vm.built_at - self.clock(), timeouts["clone"]))
                differs = [key for key in row["marks"] if vm.marks.get(key) != row["marks"][key]]
                if differs and self.built(vm):
                    rows.append(self._row(vm, failed=True, msg=f"VM {vm.name} exists and is not ours ({differs})"))
                    continue
            else:
                self.serial += 1
                vm = Vm(
                    row["name"], f"vm-{self.serial}", dict(row["marks"]), self.clock(),
                    self.clock() + self.clone_seconds, boots=self.clones_boot,
                )  # fmt: skip
                self.checks.creates(vm)
                self.created += 1
                self.vms[vm.moid] = vm
                self.most = max(self.most, len(self.vms))
                yield f"clone of {vm.name} submitted"
            wanted.append((row, vm))
        self.faults.answer(kind, "clone")
        yield from self._await_clones(wanted, timeouts, rows)
        yield "clones ready"
        return outcome(rows, "vms", options)

    def _await_clones(self, wanted: list[tuple[Row, Vm]], timeouts: Row, rows: list[Row]) -> t.Iterator[str]:
        missing = max((vm.built_at - self.clock() for _row, vm in wanted), default=0.0)
        self.clock.advance(min(missing, timeouts["clone"]))
        if any(vm.moid in self.vms and self.built(vm) and not vm.on for _row, vm in wanted):
            yield "power on"
        slow = 0.0
        for _row, vm in wanted:
            if vm.moid in self.vms and self.built(vm):
                self.checks.writes(f"power on {vm.name}")
                vm.on = True
                slow = max(slow, vm.built_at + BOOT_S - self.clock() if vm.boots else timeouts["address"])
        self.clock.advance(min(slow, timeouts["address"]))
        for _row, vm in wanted:
            if vm.moid not in self.vms:
                rows.append({"name": vm.name, "moid": "", "address": "", "failed": True, "msg": "it was deleted"})
            elif not self.built(vm):
                rows.append(self._row(vm, failed=True, msg=f"{vm.name} was not cloned within {timeouts['clone']} s"))
            elif not (vm.boots and vm.on):
                rows.append(self._row(vm, failed=True, msg=f"{vm.name} did not report its address"))
            else:
                rows.append(self._row(vm))

    @staticmethod
    def _row(vm: Vm, *, failed: bool = False, msg: str = "") -> Row:
        return {"name": vm.name, "moid": vm.moid, "address": vm.address, "failed": failed, "msg": msg}

    def _delete(self, vms: list[Row], **options: t.Any) -> Steps:
        kind = self.faults.before("delete")
        rows: list[Row] = []
        for number, row in enumerate(vms):
            if number and kind == "cut":
                break
            ours = [vm for vm in self.named(row["name"]) if self.built(vm)]
            if not self.named(row["name"]):
                rows.append({"name": row["name"], "failed": False, "msg": ""})
                continue
            if not ours or any(ours[0].marks.get(key) != value for key, value in options["marks"].items()):
                rows.append({"name": row["name"], "failed": True, "msg": "still being built, or not ours"})
                continue
            vm = ours[0]
            if vm.on:
                self.checks.powers_off(vm)
                vm.on = False
                self.clock.advance(2.0)
                yield f"{vm.name} powered off"
            if vm.moid in self.vms:
                self.checks.destroys(vm)
                self.clock.advance(2.0)
                del self.vms[vm.moid]
            rows.append({"name": row["name"], "failed": False, "msg": ""})
            yield f"{vm.name} deleted"
        self.faults.answer(kind, "delete")
        return outcome(rows, "vms", options)

    def vsphere_mark(self, vms: list[Row], marks: Row, **options: t.Any) -> Steps:
        kind = self.faults.before("mark")
        rows: list[Row] = []
        for row in vms:
            found = [vm for vm in self.named(row["name"]) if self.built(vm)]
            if not found or any(found[0].marks.get(key) != value for key, value in marks.items()):
                rows.append({"name": row["name"], "failed": True, "msg": "there is no such VM of ours"})
                continue
            self.checks.writes(f"mark {row['name']}")
            found[0].marks.update({key: str(value) for key, value in options.get("set", {}).items()})
            for key in options.get("unset", ()):
                found[0].marks.pop(key, None)
            rows.append(self._row(found[0]))
            yield f"{row['name']} marked"
        self.faults.answer(kind, "mark")
        return outcome(rows, "vms", options)

    # ---- the network

    def health_gate(self, members: list[Row], timeout: float, **options: t.Any) -> Steps:
        kind = self.faults.before("gate")
        yield from ()
        rows = []
        for row in members:
            passed = self.serves(row["address"])
            if not passed:
                self.clock.advance(timeout)
                passed = self.serves(row["address"])
            for vm in self.named(row["name"]):
                vm.gated = vm.gated or (passed and vm.address == row["address"])
            rows.append({**row, "failed": not passed, "msg": "" if passed else f"{row['name']} did not pass its gates"})
        self.faults.answer(kind, "gate")
        return outcome(rows, "members", options)

    # ---- Prometheus

    def prometheus_target_info(self, job: str, **_options: t.Any) -> Steps:
        kind = self.faults.before("target_info")
        yield from ()
        rows = [
            {
                "address": address,
                "health": "up" if self.serves(address.partition(":")[0]) else "down",
                "labels": {"job": job, **labels},
                "last_error": "",
            }
            for address, labels in self.targets.items()
        ]
        rows, version = self.faults.shown("target_info", kind, rows, self.version)
        self.checks.seen("target_info", version, rows)
        self.faults.answer(kind, "target_info")
        return {"changed": False, "targets": rows, "registered": len(rows), "job_known": True}

    def prometheus_target(self, state: str, targets: list[Row], **options: t.Any) -> Steps:
        call = "target_add" if state == "present" else "target_remove"
        kind = self.faults.before(call)
        rows = []
        for row in targets:  # one file, written whole: all or nothing
            self.checks.writes(f"{call} {row['address']}")
            if state == "present":
                self.targets[row["address"]] = {**row.get("labels", {})}
            else:
                self.targets.pop(row["address"], None)
        if targets:
            yield "the target file is written"
        if state == "present" and kind == "":
            self.clock.advance(MONITOR_S)
        for row in targets:
            up = state != "present" or self.serves(row["address"].partition(":")[0])
            rows.append({**row, "failed": not up, "msg": "" if up else f"{row['address']} is not scraped"})
        self.faults.answer(kind, call)
        return outcome(rows, "targets", options)

    # ---- people

    def alertmanager_alert(self, alerts: list[Row], **_options: t.Any) -> Steps:
        kind = self.faults.before("notify")
        self.notifications += alerts
        yield "told"
        self.faults.answer(kind, "notify")
        return {"changed": True}
