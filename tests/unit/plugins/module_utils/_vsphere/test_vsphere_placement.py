# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names to objects, from entries as one property call returns them."""

from __future__ import annotations

import re
import types
import typing as t

import pytest
from pyVmomi import vim
from unit.kit.fake_vsphere import SETTINGS

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._inventory import Entry, to_machine
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere._placement import Names, Placement, resolve

KINDS = {
    "Datacenter": vim.Datacenter,
    "Folder": vim.Folder,
    "ClusterComputeResource": vim.ClusterComputeResource,
    "ComputeResource": vim.ComputeResource,
    "HostSystem": vim.HostSystem,
    "ResourcePool": vim.ResourcePool,
    "Datastore": vim.Datastore,
    "StoragePod": vim.StoragePod,
    "Network": vim.Network,
    "DistributedVirtualPortgroup": vim.dvs.DistributedVirtualPortgroup,
    "VmwareDistributedVirtualSwitch": vim.dvs.VmwareDistributedVirtualSwitch,
    "VirtualMachine": vim.VirtualMachine,
}


def ref(kind: str, moid: str) -> t.Any:
    return KINDS[kind](moid, None)


def entry(kind: str, moid: str, path: str, **properties: t.Any) -> Entry:
    named = {name.replace("__", "."): value for name, value in properties.items()}
    return Entry(ref(kind, moid), kind, path.rsplit("/", 1)[-1], path, named)


def site(dc: str = "DC0", extra: str = "") -> list[Entry]:
    """One datacenter: two clusters, each with a host, a pool and a datastore of its own."""
    x = extra
    return [
        entry("Datacenter", f"dc{x}", dc, vmFolder=ref("Folder", f"vm{x}")),
        entry("Folder", f"vm{x}", f"{dc}/vm"),
        entry("Folder", f"web{x}", f"{dc}/vm/web"),
        entry("Folder", f"hostf{x}", f"{dc}/host"),
        entry(
            "ClusterComputeResource", f"c1{x}", f"{dc}/host/C1", resourcePool=ref("ResourcePool", f"rp1{x}"),
            network=[ref("Network", f"n1{x}"), ref("DistributedVirtualPortgroup", f"pg{x}")],
            datastore=[ref("Datastore", f"d1{x}"), ref("Datastore", f"d2{x}")],
        ),
        entry(
            "ClusterComputeResource", f"c2{x}", f"{dc}/host/C2", resourcePool=ref("ResourcePool", f"rp2{x}"),
            network=[ref("Network", f"n2{x}")], datastore=[ref("Datastore", f"d3{x}")],
        ),
        entry("HostSystem", f"h1{x}", f"{dc}/host/C1/esx1"),
        entry("HostSystem", f"h2{x}", f"{dc}/host/C2/esx2"),
        entry("ResourcePool", f"rp1{x}", f"{dc}/host/C1/Resources", owner=ref("ClusterComputeResource", f"c1{x}")),
        entry("ResourcePool", f"rp2{x}", f"{dc}/host/C2/Resources", owner=ref("ClusterComputeResource", f"c2{x}")),
        entry("ResourcePool", f"rpw{x}", f"{dc}/host/C1/Resources/web", owner=ref("ClusterComputeResource", f"c1{x}")),
        entry("Datastore", f"d1{x}", f"{dc}/datastore/pod/ds1", summary__freeSpace=10, summary__accessible=True),
        entry("Datastore", f"d2{x}", f"{dc}/datastore/pod/ds2", summary__freeSpace=90, summary__accessible=True),
        entry("Datastore", f"d3{x}", f"{dc}/datastore/pod/ds3", summary__freeSpace=99, summary__accessible=True),
        entry("StoragePod", f"pod{x}", f"{dc}/datastore/pod",
              childEntity=[ref("Datastore", f"d{n}{x}") for n in (1, 2, 3)]),
        entry("Network", f"n1{x}", f"{dc}/network/VM Network"),
        entry("Network", f"n2{x}", f"{dc}/network/Far Network"),
        entry("DistributedVirtualPortgroup", f"pg{x}", f"{dc}/network/dv-web", key="pg-key",
              config__distributedVirtualSwitch=ref("VmwareDistributedVirtualSwitch", f"sw{x}")),
        entry("VmwareDistributedVirtualSwitch", f"sw{x}", f"{dc}/network/switch", uuid="sw-uuid"),
        entry("VirtualMachine", f"t{x}", f"{dc}/vm/web-template"),
        entry("VirtualMachine", f"v{x}", f"{dc}/vm/web/web-1"),
    ]  # fmt: skip


def look_up(entries: list[Entry], is_template: bool = True, **names: t.Any) -> Placement:
    scans: list[t.Any] = []

    def machines(refs: list[t.Any], *_extra: str) -> dict[str, t.Any]:
        moid = refs[0]._GetMoId()
        host = ref("HostSystem", "h1" + moid[1:])
        found = {"name": "web-template", "config.template": is_template, "runtime.host": host}
        return {moid: to_machine(refs[0], found)}

    fake = types.SimpleNamespace(
        scan=lambda wanted: scans.append(wanted) or entries,
        machines=machines,
        client=types.SimpleNamespace(settings=SETTINGS),
    )
    placement = resolve(t.cast(t.Any, fake), Names(**{"template": "web-template", **names}))
    assert len(scans) == 1, "more than one property call for the inventory"
    return placement


def moid(ref: t.Any) -> str | None:
    return ref._GetMoId() if ref is not None else None


def test_defaults_are_the_templates_own() -> None:
    target = look_up(site()).target
    assert (moid(target.folder), moid(target.pool), target.host, target.datastore, target.network) == (
        "vm", "rp1", None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("folder", ["web", "vm/web", "DC0/vm/web", "/DC0/vm/web/"])
def test_names_and_paths_mean_the_same(folder: str) -> None:
    assert moid(look_up(site(), folder=folder).target.folder) == "web"


def test_cluster_pool_and_host() -> None:
    assert moid(look_up(site(), cluster="C2").target.pool) == "rp2"
    assert moid(look_up(site(), resource_pool="Resources/web").target.pool) == "rpw"
    by_host = look_up(site(), host="esx2").target
    assert (moid(by_host.host), moid(by_host.pool)) == ("h2", "rp2")


def test_a_datastore_cluster_gives_its_emptiest_usable_datastore() -> None:
    """ds3 is emptier, but the hosts of C1 do not see it."""
    assert moid(look_up(site(), datastore="pod").target.datastore) == "d2"
    assert moid(look_up(site(), datastore="ds1").target.datastore) == "d1"


def test_networks_with_their_backing() -> None:
    standard = look_up(site(), network="VM Network").target.network
    assert standard
    assert (standard.kind, moid(standard.ref)) == ("standard", "n1")
    distributed = look_up(site(), network="dv-web").target.network
    assert distributed
    assert (distributed.kind, distributed.key, distributed.switch) == ("distributed", "pg-key", "sw-uuid")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"network": "Far Network"}, "network.name 'Far Network' exists but the hosts of C1 lack it"),
        ({"datastore": "ds3"}, "datastore 'ds3' exists but the hosts of C1 cannot use it"),
    ],
)
def test_what_exists_and_does_not_fit_is_said_so(names: dict[str, str], text: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(text)):
        look_up(site(), **names)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            {"template": "web-tmplate"},
            "template 'web-tmplate': no such template in vCenter vc.example.org:443. Similar names",
        ),
        ({"network": "VM Nework"}, "Similar names: VM Network"),
        ({"folder": "zzz"}, "folder 'zzz': no such VM folder in vCenter vc.example.org:443. There are: vm, web"),
        ({"folder": "host"}, "no such VM folder"),
        ({"datacenter": "DC1"}, "Similar names: DC0"),
    ],
)
def test_what_does_not_exist_comes_with_what_does(names: dict[str, str], text: str) -> None:
    with pytest.raises(NotFoundError, match=re.escape(text)):
        look_up(site(), **names)


def test_an_ambiguous_name_lists_the_paths() -> None:
    both = site() + site("DC1", "b")
    with pytest.raises(ConflictError, match=r"names 2 templates .*DC0/vm/web-template, DC1/vm/web-template"):
        look_up(both)
    assert look_up(both, datacenter="DC1").datacenter.name == "DC1"
    assert moid(look_up(both, template="DC1/vm/web-template").target.pool) == "rp1b"


def test_vms_of_other_datacenters_are_not_ours_to_compare() -> None:
    placement = look_up(site() + site("DC1", "b"), datacenter="DC1")
    assert [moid(r) for r in placement.machines["web-1"]] == ["vb"]


def test_a_vm_is_no_template() -> None:
    with pytest.raises(ConflictError, match=r"is a virtual machine and no template\. Make a template"):
        look_up(site(), is_template=False)


def test_a_user_who_sees_nothing_is_told_about_privileges() -> None:
    entries = [e for e in site() if e.kind not in ("Network", "DistributedVirtualPortgroup")]
    with pytest.raises(NotFoundError, match="sees no port group"):
        look_up(entries, network="VM Network")
