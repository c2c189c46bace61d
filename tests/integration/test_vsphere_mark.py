# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vsphere_mark`` against the lab's vCenter: protection by hand (invariant 10), and nobody rewrites an owner."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

import pytest
from integration import vcenter_kit as kit
from integration.vcenter_kit import Site, by_name

from lab.kit import free_port
from lab.vcenter_kit import VCenter

vcenter, site = kit.vcenter, kit.site
PROTECT: dict[str, Any] = {"set": {"protected": True}}
RELEASE: dict[str, Any] = {"remove": ["protected"]}


@pytest.fixture
def two(site: Site, vcenter: VCenter) -> dict[str, dict[str, str]]:
    """web-1 and web-2 of the group; their marks by name."""
    made = site.clone(site.args(2, timeouts={"customization": 0, "address": 0}))
    assert not made["failed"], made
    return {row["name"]: row["marks"] for row in made["vms"]}


def test_twelve_steps_of_a_marks_life(site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]) -> None:
    """Set (check), set, again (check), again, remove (check), remove, again (check), again; nothing else changes."""
    boots = vcenter.vms()["web-1"]["boots"]
    planned = site.mark(*two, check=True, diff=True, **PROTECT)
    assert planned["changed"], planned
    assert planned["diff"] == {
        "before": {"web-1": {"marks": {}}, "web-2": {"marks": {}}},
        "after": {"web-1": {"marks": {"protected": "true"}}, "web-2": {"marks": {"protected": "true"}}},
    }
    assert vcenter.vms()["web-1"]["marks"] == two["web-1"], "check mode wrote"
    done = site.mark(*two, diff=True, **PROTECT)
    assert done["changed"], done
    assert done["diff"] == planned["diff"]
    for name, row in by_name(done).items():
        assert (row["changed"], row["failed"], row["msg"], row["phase"]) == (True, False, "", "ready")
        assert row["marks"] == {**two[name], "protected": "true"} == vcenter.vms()[name]["marks"]
        assert row["moid"] == vcenter.vms()[name]["moid"]
        assert row["seconds"] > 0
    assert [row["marks"]["protected"] for row in site.info(marks={"group": "web"})] == ["true", "true"]
    for check in (True, False):
        again = site.mark(*two, check=check, diff=True, **PROTECT)
        assert not again["changed"], again
        assert again["diff"]["before"] == again["diff"]["after"] == planned["diff"]["after"]

    planned = site.mark(*two, check=True, diff=True, **RELEASE)
    assert planned["changed"]
    assert vcenter.vms()["web-1"]["marks"]["protected"] == "true"
    gone = site.mark(*two, diff=True, **RELEASE)
    assert gone["changed"], gone
    assert gone["diff"] == planned["diff"]
    assert {name: vcenter.vms()[name]["marks"] for name in two} == two
    assert all("protected" not in row["marks"] for row in gone["vms"])
    for check in (True, False):
        assert not site.mark(*two, check=check, **RELEASE)["changed"]
    assert vcenter.vms()["web-1"]["boots"] == boots, "marking restarted the guest"


def test_set_and_remove_in_one_call(site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]) -> None:
    assert site.mark("web-1", **PROTECT)["changed"]
    both = site.mark(*two, set={"quarantined": "no address: 127.0.46.11"}, remove=["protected"])
    assert [row["changed"] for row in both["vms"]] == [True, True]
    for name, marks in two.items():
        assert vcenter.vms()[name]["marks"] == {**marks, "quarantined": "no address: 127.0.46.11"}


def test_a_vm_of_another_group_is_refused(site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]) -> None:
    """Design 5: a VM whose marks differ is never touched; a missing one and a template are named as such."""
    result = site.mark("web-1", "web-9", "web-template", "web-golden", allow_partial=True, **PROTECT)
    assert not result["failed"], result
    assert result["failed_vms"] == ["web-9", "web-template", "web-golden"]
    rows = by_name(result)
    assert rows["web-1"]["marks"]["protected"] == "true"
    assert "There is no VM 'web-9' in vCenter" in rows["web-9"]["msg"]
    assert "is a template and is not marked" in rows["web-template"]["msg"]
    assert "its marks are group=(none), wanted are group=web" in rows["web-golden"]["msg"]
    other = site.mark("web-2", marks={"group": "other"}, **PROTECT)
    assert other["failed"]
    assert "'web-2'" in other["msg"]
    assert "is not ours and is not marked: its marks are group=web, wanted are group=other. Check" in other["msg"]
    assert vcenter.vms()["web-2"]["marks"] == two["web-2"]
    assert not vcenter.vms()["web-golden"]["marks"]


def test_the_moid_says_which_vm_is_meant(site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]) -> None:
    """A VM that was deleted and made again under the same name is another one."""
    moid = vcenter.vms()["web-1"]["moid"]
    old = site.mark(vms=[{"name": "web-1", "moid": "vm-99999"}], **PROTECT)
    assert old["failed"]
    assert "There is no VM 'web-1' with moid vm-99999" in old["msg"]
    assert site.mark(vms=[{"name": "web-1", "moid": moid}], **PROTECT)["changed"]


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"set": {"group": "web"}}, ["set key 'group'", "says whose the VM is", "does not change its owner"]),
        ({"remove": ["address"]}, ["remove key 'address'"]),
        ({"marks": {}, **PROTECT}, ["marks is empty", "group: web"]),
        ({}, ["set and remove are both empty"]),
        ({"set": {"protected": ""}}, ["set.protected has no value", "remove: [protected]"]),
        ({"set": {"note": "a\nb"}}, ["set.note", "one line"]),
        ({"set": {"a b": "c"}}, ["set key 'a b'"]),
        ({**PROTECT, **RELEASE}, ["protected stands in set and in remove"]),
        ({"vms": [{"name": "web-1"}, {"name": "web-1"}], **PROTECT}, ["web-1", "more than once"]),
        ({"datacenter": "DC9", **PROTECT}, ["datacenter 'DC9'", "Similar names: DC0"]),
    ],
)
def test_bad_input_names_the_object_and_what_is_allowed(site: Site, change: dict[str, Any], texts: list[str]) -> None:
    for check in (True, False):
        result = site.mark("web-golden", check=check, **change)
        assert result["failed"]
        assert not result["changed"]
        for text in texts:
            assert text in result["msg"], result["msg"]


def test_many_vms_at_once_and_a_fault_of_one(site: Site, vcenter: VCenter) -> None:
    """All are sent before any is waited for; the fault of one stays in its row."""
    made = site.clone(site.args(4, timeouts={"customization": 0, "address": 0}))
    assert not made["failed"], made
    vcenter.fault(method="ReconfigVM_Task", object_name="web-2", fault="NoPermission")
    vcenter.fault(method="ReconfigVM_Task", object_name="web-3", fault="GenericVmConfigFault", at="task")
    names = [row["name"] for row in made["vms"]]
    result = site.mark(*names, allow_partial=True, **PROTECT)
    assert result["failed_vms"] == ["web-2", "web-3"], result
    rows = by_name(result)
    assert "lacks the privilege" in rows["web-2"]["msg"]
    assert "docs/privileges.md" in rows["web-2"]["msg"]
    assert "GenericVmConfigFault" in rows["web-3"]["msg"]
    assert rows["web-3"]["last_task"]["state"] == "error"
    assert [rows[name]["changed"] for name in names] == [True, False, False, True]
    strict = site.mark(*names, **PROTECT)
    assert strict["failed"]
    assert "2 of 4 VMs could not be marked" in strict["msg"]
    vcenter.clear_faults()
    last = site.mark(*names, **PROTECT)
    assert [row["changed"] for row in last["vms"]] == [False, True, True, False]


def test_a_busy_vm_is_tried_again_until_the_timeout(
    site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]
) -> None:
    vcenter.fault(method="ReconfigVM_Task", object_name="web-1", fault="TaskInProgress", count=2)
    assert site.mark(*two, **PROTECT)["changed"]
    vcenter.fault(method="ReconfigVM_Task", object_name="web-1", fault="TaskInProgress")
    started = time.monotonic()
    late = site.mark("web-1", wait_timeout=1, **RELEASE)
    assert time.monotonic() - started < 10
    assert late["failed"]
    assert "was not marked within wait_timeout (1 s): other tasks keep the VM busy" in late["msg"]
    assert not late["vms"][0]["changed"]


def test_a_session_that_ends_in_mid_work(site: Site, vcenter: VCenter, two: dict[str, dict[str, str]]) -> None:
    """The module logs in once more and goes on; a login that does not help is a clear error with all rows."""
    vcenter.fault(mode="delay", method="ReconfigVM_Task", delay_s=1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(site.mark, *two, **PROTECT)
        for _look in range(200):
            if vcenter.control("POST", "/sessions/expire")["expired"]:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the module never logged in")
        result = future.result()
    assert not result["failed"], result
    assert all(vcenter.vms()[name]["marks"]["protected"] == "true" for name in two)
    vcenter.clear_faults()
    vcenter.fault(method="ReconfigVM_Task", fault="NotAuthenticated")
    refused = site.mark(*two, **RELEASE)
    assert refused["failed"]
    assert "the vCenter session expired" in refused["msg"]
    assert [row["name"] for row in refused["vms"]] == ["web-1", "web-2"]


def test_backend_down(site: Site) -> None:
    port = free_port()
    down = site.mark("web-1", port=port, **PROTECT)
    assert down["failed"]
    assert f"127.0.0.1:{port}: the connection was refused" in down["msg"]
