# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and machines do to the site behind the autoscaler's back."""

from __future__ import annotations

import typing as t

from unit.world.fake_site import PoolMember, Site, Vm

#: By name, so that a state machine can draw one.
DEEDS: dict[str, t.Callable[[Site, t.Callable[[list[t.Any]], t.Any]], str]] = {}
Pick = t.Callable[[list[t.Any]], t.Any]


def deed(function: t.Callable[[Site, Pick], str]) -> t.Callable[[Site, Pick], str]:
    """Something that somebody may do; returns what was done, empty when there was nothing to do it to."""
    DEEDS[function.__name__] = function
    return function


def do(site: Site, name: str, pick: Pick) -> str:
    """Do it."""
    done = DEEDS[name](site, pick)
    if done:
        site.version += 1
    return done


def _some_vm(site: Site, pick: Pick, fits: t.Callable[[Vm], bool]) -> Vm | None:
    found = sorted((vm for vm in site.vms.values() if site.built(vm) and fits(vm)), key=lambda vm: vm.name)
    if not found:
        return None
    vm = pick(found)
    vm.touched = True
    return vm


def _some_member(site: Site, pick: Pick, fits: t.Callable[[PoolMember], bool]) -> PoolMember | None:
    ours = {vm.address for vm in site.vms.values()}
    found = [member for member in site.pool.values() if member.address in ours and fits(member)]
    return pick(sorted(found, key=lambda member: member.address)) if found else None


@deed
def delete_vm(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: "protected" not in vm.marks)
    if vm:
        del site.vms[vm.moid]
    return vm.name if vm else ""


@deed
def power_off_vm(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: vm.on)
    if vm:
        vm.on = False
    return vm.name if vm else ""


@deed
def make_vm_sick(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: vm.healthy)
    if vm:
        vm.healthy = False
    return vm.name if vm else ""


@deed
def heal_vm(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: not vm.healthy)
    if vm:
        vm.healthy = True
    return vm.name if vm else ""


@deed
def make_base_sick(site: Site, _pick: Pick) -> str:
    for address in site.base_healthy:
        site.base_healthy[address] = False
    return "base"


@deed
def heal_base(site: Site, _pick: Pick) -> str:
    for address in site.base_healthy:
        site.base_healthy[address] = True
    return "base"


@deed
def protect_vm(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: "protected" not in vm.marks and "quarantined" not in vm.marks)
    if vm:
        vm.marks.update(protected="true", protected_at=str(site.clock()))
    return vm.name if vm else ""


@deed
def unprotect_vm(site: Site, pick: Pick) -> str:
    vm = _some_vm(site, pick, lambda vm: "protected" in vm.marks)
    if vm:
        for key in ("protected", "protected_at"):
            vm.marks.pop(key)
    return vm.name if vm else ""


@deed
def remove_pool_member(site: Site, pick: Pick) -> str:
    member = _some_member(site, pick, lambda _member: True)
    if member:
        del site.pool[member.address]
    return member.address if member else ""


@deed
def disable_pool_member(site: Site, pick: Pick) -> str:
    member = _some_member(site, pick, lambda member: member.enabled)
    if member:
        member.enabled = False
    return member.address if member else ""


@deed
def add_foreign_member(site: Site, _pick: Pick) -> str:
    address = "10.0.0.99"
    site.pool.setdefault(address, PoolMember(address, enabled=True, since=site.clock(), description="by hand"))
    return address


@deed
def remove_target(site: Site, pick: Pick) -> str:
    ours = sorted(a for a in site.targets if a.partition(":")[0] not in site.base_healthy)
    if not ours:
        return ""
    address = pick(ours)
    del site.targets[address]
    return address


@deed
def take_address(site: Site, pick: Pick) -> str:
    """A stranger configures an address of the pool that nobody has."""
    free = [f"10.0.0.{n}" for n in range(10, 20) if not site.answers(f"10.0.0.{n}")]
    held = {vm.address for vm in site.vms.values()}
    free = [address for address in free if address not in held]
    if not free or len(site.answering) >= 2:
        return ""
    site.answering.add(pick(free))
    return "a stranger"


@deed
def open_connections(site: Site, pick: Pick) -> str:
    member = _some_member(site, pick, lambda member: member.enabled)
    if member:
        member.connections += 5
    return member.address if member else ""
