# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Names to objects: where a clone goes. All names are looked up in what one property call returned.
"""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass

from .._common._errors import ConflictError, NotFoundError, RefusedError
from ._client import vim
from ._clone_spec import Backing, Target
from ._inventory import Entry, Inventory, Machine

SIMILAR = 5


@dataclass(frozen=True)
class Names:
    """What a user names; each may be a name, an inventory path, or the end of one (``vm/web`` for ``DC0/vm/web``)."""

    template: str
    datacenter: str | None = None
    folder: str | None = None
    cluster: str | None = None
    resource_pool: str | None = None
    datastore: str | None = None
    host: str | None = None
    network: str | None = None


@dataclass(frozen=True)
class Placement:
    """The objects that :class:`Names` stand for, and the VMs of the datacenter by name."""

    template: Machine
    template_path: str
    target: Target
    datacenter: Entry
    #: All VMs of the datacenter: name to references (a name may occur once in each folder).
    machines: dict[str, list[t.Any]]
    hosts: dict[str, str]
    folder_path: str


class Lookup:
    """The inventory of one vCenter by kind, searchable by name or path."""

    def __init__(self, entries: t.Sequence[Entry], where: str) -> None:
        self._entries = entries
        self._where = where

    def of_kind(self, *kinds: str, under: Entry | None = None) -> list[Entry]:
        """All objects of these kinds, below *under* if given."""
        prefix = f"{under.path}/" if under else ""
        return [entry for entry in self._entries if entry.kind in kinds and entry.path.startswith(prefix)]

    def by_moid(self, moid: str) -> Entry | None:
        """The object with this id."""
        return next((entry for entry in self._entries if entry.moid == moid), None)

    def find(self, option: str, wanted: str, candidates: t.Sequence[Entry], what: str) -> Entry:
        """The one object that *wanted* names.

        :raises NotFoundError: none; names similar ones.
        :raises ConflictError: several; lists their paths.
        """
        matches = matching(wanted, candidates)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ConflictError(
                f"{option} {wanted!r} names {len(matches)} {what}s in vCenter {self._where}: "
                f"{', '.join(sorted(entry.path for entry in matches)[:SIMILAR])}",
                remedy=f"Give the inventory path in {option}",
            )
        raise NotFoundError(
            f"{option} {wanted!r}: no such {what} in vCenter {self._where}",
            remedy=similar_names(wanted, [entry.name for entry in candidates], what),
        )


def matching(wanted: str, candidates: t.Sequence[Entry]) -> list[Entry]:
    """Objects whose path is *wanted*, else those whose path ends in it."""
    path = wanted.strip("/")
    exact = [entry for entry in candidates if entry.path == path]
    return exact or [entry for entry in candidates if entry.path.endswith(f"/{path}") or entry.name == path]


def similar_names(wanted: str, names: t.Iterable[str], what: str) -> str:
    """A hint for an error: the names nearest to *wanted*, else some that exist."""
    known = sorted(set(names))
    if not known:
        return f"This user sees no {what} there; check its privileges (System.View, System.Read)"
    last = wanted.strip("/").rsplit("/", 1)[-1]
    near = difflib.get_close_matches(last, known, n=SIMILAR, cutoff=0.5)
    if near:
        return f"Similar names: {', '.join(near)}"
    more = ", ..." if len(known) > SIMILAR else ""
    return f"There are: {', '.join(known[:SIMILAR])}{more}"


def wanted_properties() -> dict[t.Any, list[str]]:
    """What :func:`resolve` needs of each kind of object, for one property call."""
    return {
        vim.VirtualMachine: [],
        vim.Datacenter: ["vmFolder"],
        vim.Folder: [],
        vim.ComputeResource: ["resourcePool", "network", "datastore"],
        vim.HostSystem: [],
        vim.ResourcePool: ["owner"],
        vim.Datastore: ["summary.freeSpace", "summary.accessible"],
        vim.StoragePod: ["childEntity"],
        vim.Network: [],
        vim.OpaqueNetwork: ["summary"],
        vim.dvs.DistributedVirtualPortgroup: ["key", "config.distributedVirtualSwitch"],
        vim.DistributedVirtualSwitch: ["uuid"],
    }


def resolve(inventory: Inventory, names: Names) -> Placement:
    """Look everything up: one property call for the inventory, one for the template.

    :raises NotFoundError: names the option, the value and similar names that exist.
    :raises ConflictError: a name is ambiguous, or the template is no template.
    :raises RefusedError: the objects exist but do not fit together.
    """
    where = inventory.client.settings.where
    lookup = Lookup(inventory.scan(wanted_properties()), where)
    datacenter = None
    if names.datacenter:
        datacenter = lookup.find("datacenter", names.datacenter, lookup.of_kind("Datacenter"), "datacenter")
    found = lookup.find("template", names.template, lookup.of_kind("VirtualMachine", under=datacenter), "template")
    datacenter = datacenter or _datacenter_of(lookup, found)
    template = inventory.machines([found.ref], "config.hardware.device").get(found.moid)
    if template is None:
        raise NotFoundError(f"template {names.template!r} has just been deleted from vCenter {where}")
    if not template.is_template:
        raise ConflictError(
            f"template {names.template!r} ({found.path}) is a virtual machine and no template",
            remedy="Make a template of it with onprem.autoscale.vsphere_template, or name another one",
        )
    compute, pool, host = _compute(lookup, names, datacenter, template)
    machines: dict[str, list[t.Any]] = {}
    for entry in lookup.of_kind("VirtualMachine", under=datacenter):
        machines.setdefault(entry.name, []).append(entry.ref)
    folder = find_folder(lookup, names.folder, datacenter)
    target = Target(
        folder=folder.ref if folder else datacenter.properties["vmFolder"],
        pool=pool,
        host=host.ref if host else None,
        datastore=_datastore(lookup, names.datastore, datacenter, compute) if names.datastore else None,
        network=_network(lookup, names.network, datacenter, compute) if names.network else None,
    )
    return Placement(
        template=template,
        template_path=found.path,
        target=target,
        datacenter=datacenter,
        machines=machines,
        hosts={entry.moid: entry.name for entry in lookup.of_kind("HostSystem")},
        folder_path=folder.path if folder else f"{datacenter.path}/vm",
    )


def find_folder(lookup: Lookup, wanted: str | None, datacenter: Entry) -> Entry | None:
    """The VM folder that *wanted* names below *datacenter*; None for the datacenter's own."""
    if not wanted:
        return None
    own = datacenter.properties["vmFolder"]._GetMoId()
    top = lookup.by_moid(own)
    folders = lookup.of_kind("Folder", under=datacenter)
    if top:
        folders = [entry for entry in folders if entry.moid == own or entry.path.startswith(f"{top.path}/")]
    return lookup.find("folder", wanted, folders, "VM folder")


def _datacenter_of(lookup: Lookup, entry: Entry) -> Entry:
    owners = [dc for dc in lookup.of_kind("Datacenter") if entry.path.startswith(f"{dc.path}/")]
    if not owners:
        raise NotFoundError(
            f"The datacenter of {entry.path!r} is not visible to this user",
            remedy="Give the user read rights on the datacenter, or set datacenter",
        )
    return max(owners, key=lambda dc: len(dc.path))


def _compute(
    lookup: Lookup, names: Names, datacenter: Entry, template: Machine
) -> tuple[Entry | None, t.Any, Entry | None]:
    """(compute resource, resource pool, host or None); without a name the template's own cluster."""
    clusters = lookup.of_kind("ClusterComputeResource", "ComputeResource", under=datacenter)
    cluster = lookup.find("cluster", names.cluster, clusters, "cluster") if names.cluster else None
    host = None
    if names.host:
        hosts = lookup.of_kind("HostSystem", under=cluster or datacenter)
        host = lookup.find("host", names.host, hosts, "host")
    by_host = host or lookup.by_moid(template.host_moid)
    if cluster is None and by_host is not None:
        cluster = next((c for c in clusters if by_host.path.startswith(f"{c.path}/")), None)
    if names.resource_pool:
        pools = lookup.of_kind("ResourcePool", "VirtualApp", under=cluster if names.cluster or host else datacenter)
        pool = lookup.find("resource_pool", names.resource_pool, pools, "resource pool")
        owner = pool.properties.get("owner")
        compute = lookup.by_moid(owner._GetMoId()) if owner is not None else cluster
        return compute, pool.ref, host
    if cluster is None:
        raise NotFoundError(
            f"It is not clear where in datacenter {datacenter.name} the clones shall run",
            remedy="Set cluster, resource_pool or host",
        )
    return cluster, cluster.properties["resourcePool"], host


def _reachable(entries: list[Entry], compute: Entry | None, attribute: str) -> list[Entry]:
    """Those of *entries* that the hosts of *compute* can use; all when vCenter does not say."""
    usable = {ref._GetMoId() for ref in (compute.properties.get(attribute) or ())} if compute else set()
    return [entry for entry in entries if entry.moid in usable] if usable else entries


def _datastore(lookup: Lookup, wanted: str, datacenter: Entry, compute: Entry | None) -> t.Any:
    stores = lookup.of_kind("Datastore", under=datacenter)
    pods = lookup.of_kind("StoragePod", under=datacenter)
    found = lookup.find("datastore", wanted, [*stores, *pods], "datastore")
    members = [found]
    if found.kind == "StoragePod":
        inside = {ref._GetMoId() for ref in found.properties.get("childEntity") or ()}
        members = [entry for entry in stores if entry.moid in inside]
    usable = [e for e in _reachable(members, compute, "datastore") if e.properties.get("summary.accessible", True)]
    if not usable:
        raise RefusedError(
            f"datastore {wanted!r} exists but the hosts of {compute.name if compute else 'the target'} cannot use it",
            remedy=similar_names(wanted, [e.name for e in _reachable(stores, compute, "datastore")], "datastore"),
        )
    return max(usable, key=lambda entry: entry.properties.get("summary.freeSpace") or 0).ref


def _network(lookup: Lookup, wanted: str, datacenter: Entry, compute: Entry | None) -> Backing:
    networks = lookup.of_kind("Network", "DistributedVirtualPortgroup", "OpaqueNetwork", under=datacenter)
    reachable = _reachable(networks, compute, "network")
    if not matching(wanted, reachable) and matching(wanted, networks):
        raise RefusedError(
            f"network.name {wanted!r} exists but the hosts of {compute.name if compute else 'the target'} lack it",
            remedy=similar_names(wanted, [entry.name for entry in reachable], "port group"),
        )
    found = lookup.find("network.name", wanted, reachable, "port group")
    if found.kind == "DistributedVirtualPortgroup":
        switch = lookup.by_moid(found.properties["config.distributedVirtualSwitch"]._GetMoId())
        if switch is None:
            raise NotFoundError(
                f"The distributed switch of port group {wanted!r} is not visible to this user",
                remedy="Give the user read rights on the switch",
            )
        return Backing("distributed", found.ref, found.name, found.properties["key"], switch.properties["uuid"])
    if found.kind == "OpaqueNetwork":
        summary = found.properties["summary"]
        return Backing("opaque", found.ref, found.name, summary.opaqueNetworkId, summary.opaqueNetworkType)
    return Backing("standard", found.ref, found.name)
