# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``vsphere_clone`` does when a guest, a task, a session, the input or the run itself fails (A6, A15)."""

from __future__ import annotations

import concurrent.futures
import json
import time
from typing import Any

import pytest
from integration import vcenter_kit as kit
from integration.vcenter_kit import NETWORK, SHORT, Site, by_name

from lab.kit import free_port
from lab.vcenter_kit import PASSWORD, VCenter

vcenter, site = kit.vcenter, kit.site


def test_one_vm_that_never_boots_does_not_fail_the_others(site: Site, vcenter: VCenter) -> None:
    """Partial failure (invariant 8): the bad VM is kept and comes back with moid, last task, phase and reason."""
    vcenter.fault(mode="no_boot", object_name="web-2")
    args = site.args(3, timeouts={**SHORT, "customization": 3}, allow_partial=True)
    result = site.clone(args)
    assert not result["failed"], result
    assert result["failed_vms"] == ["web-2"]
    rows = by_name(result)
    assert [rows[n]["phase"] for n in ("web-1", "web-2", "web-3")] == ["ready", "customization", "ready"]
    bad = rows["web-2"]
    assert bad["moid"] == vcenter.vms()["web-2"]["moid"]
    assert bad["power_state"] == "poweredOn"
    assert bad["address"] == "127.0.46.12", "a VM whose guest never came up still shows which address it holds"
    assert site.info(names=["web-2"])[0]["address"] == "127.0.46.12"
    assert site.info(names=["web-2"])[0]["addresses"] == []
    assert bad["last_task"]["state"] == "success"
    assert "timeouts.customization (3 s)" in bad["msg"]
    assert "web-2" in bad["msg"]

    strict = site.clone({**args, "allow_partial": False, "timeouts": {**SHORT, "customization": 1}})
    assert strict["failed"]
    assert "1 of 3 VMs could not be made" in strict["msg"]
    assert strict["failed_vms"] == ["web-2"]
    assert by_name(strict)["web-1"]["phase"] == "ready"


@pytest.mark.parametrize(
    ("mode", "phase", "text"),
    [
        ("customization_failed", "customization", "could not be customized"),
        ("no_address", "address", "did not report the address 127.0.46.11"),
    ],
)
def test_a_guest_that_boots_wrong(site: Site, vcenter: VCenter, mode: str, phase: str, text: str) -> None:
    """The phase that failed is named; a failed customization is seen at once, not after its timeout."""
    vcenter.fault(mode=mode, object_name="web-1")
    started = time.monotonic()
    result = site.clone(site.args(1, timeouts={**SHORT, "customization": 30, "address": 2}))
    assert time.monotonic() - started < 15
    assert result["failed"]
    assert result["vms"][0]["phase"] == phase
    assert text in result["msg"]
    assert result["vms"][0]["moid"]


def test_a_foreign_vm_of_that_name_is_left_alone(site: Site, vcenter: VCenter) -> None:
    """Design 5: a VM with other marks is neither adopted nor deleted."""
    other = site.args(1, marks={"group": "other", "action": "b7"})
    assert not site.clone(other)["failed"]
    moid = vcenter.vms()["web-1"]["moid"]
    made = site.clone(site.args(2, allow_partial=True))
    assert made["failed_vms"] == ["web-1"]
    assert "is not ours" in by_name(made)["web-1"]["msg"]
    assert "group=other" in by_name(made)["web-1"]["msg"]
    assert by_name(made)["web-2"]["phase"] == "ready"
    deleted = site.clone(site.args(1, state="absent"))
    assert deleted["failed"]
    assert "is not ours and is not deleted" in deleted["msg"]
    assert vcenter.vms()["web-1"]["moid"] == moid
    assert vcenter.app("127.0.46.11", "/health")[0] == 200


@pytest.mark.parametrize("moment", [0.5, 1.0, 1.7])
def test_killed_and_run_again(site: Site, vcenter: VCenter, moment: float) -> None:
    """Invariant 7: after kill -9 while it submits, clones or waits, the next run ends as an undisturbed one."""
    args = site.args(2)
    process = site.start_clone(args)
    time.sleep(moment)
    process.kill()
    process.wait()
    result = site.clone(args)
    assert not result["failed"], result
    assert {row["phase"] for row in result["vms"]} == {"ready"}
    assert {row["address"] for row in result["vms"]} == {"127.0.46.11", "127.0.46.12"}
    assert {name for name in vcenter.vms() if name.startswith("web-") and name[4:].isdigit()} == {"web-1", "web-2"}
    assert vcenter.app("127.0.46.12", "/health")[0] == 200


def test_a_vm_of_ours_that_is_off_is_powered_on(site: Site, vcenter: VCenter) -> None:
    """A clone whose power on failed is continued, not made again."""
    vcenter.fault(method="PowerOnVM_Task", fault="ResourceInUse", count=1)
    args = site.args(1)
    first = site.clone(args)
    if not first["failed"]:  # the lab powers on inside the clone task: switch the VM off through another door
        off = {**args, "state": "absent"}
        vcenter.clear_faults()
        vcenter.fault(method="Destroy_Task", fault="ResourceInUse", count=1, object_name="web-1")
        failed = site.clone(off)
        assert failed["failed"]
        assert "ResourceInUse" in failed["msg"]
        assert vcenter.vms()["web-1"]["power"] == "poweredOff"
    moid = vcenter.vms()["web-1"]["moid"]
    planned = site.clone(args, check=True, diff=True)
    assert planned["changed"]
    assert planned["diff"]["before"]["web-1"]["power_state"] == "poweredOff"
    again = site.clone(args)
    assert not again["failed"], again
    assert again["changed"]
    assert again["vms"][0]["moid"] == moid
    assert again["vms"][0]["power_state"] == "poweredOn"
    assert vcenter.app("127.0.46.11", "/health")[0] == 200


def test_a_clone_that_outlasts_its_timeout(site: Site, vcenter: VCenter) -> None:
    """A timeout fails with the last task and the reason, and the next run adopts what became of it."""
    vcenter.control("PUT", "/times", {"clone_s": 4})
    result = site.clone(site.args(1, timeouts={**SHORT, "clone": 1}))
    assert result["failed"]
    row = result["vms"][0]
    assert row["phase"] == "clone"
    assert row["last_task"]["state"] == "running"
    assert row["last_task"]["moid"] in row["msg"]
    assert "timeouts.clone (1 s)" in row["msg"]
    later = site.clone(site.args(1))
    assert not later["failed"], later
    assert later["vms"][0]["phase"] == "ready"
    assert len([name for name in vcenter.vms() if name.startswith("web-1")]) == 1


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"template": "web-templat"}, ["template 'web-templat'", "no such template", "Similar names: web-template"]),
        ({"template": "web-golden"}, ["web-golden", "no template", "vsphere_template"]),
        ({"network": {**NETWORK, "name": "VM Netwrok"}}, ["network.name 'VM Netwrok'", "Similar names: VM Network"]),
        ({"folder": "nowhere"}, ["folder 'nowhere'", "no such VM folder"]),
        ({"cluster": "DC0_C9"}, ["cluster 'DC0_C9'", "Similar names: DC0_C0"]),
        ({"datastore": "nowhere"}, ["datastore 'nowhere'", "LocalDS_0"]),
        ({"resource_pool": "nowhere"}, ["resource_pool 'nowhere'", "Resources"]),
        ({"datacenter": "DC9"}, ["datacenter 'DC9'", "Similar names: DC0"]),
        ({"host": "nowhere"}, ["host 'nowhere'", "no such host"]),
        ({"marks": {}}, ["web-1", "no marks", "Set marks"]),
        ({"vms": [{"name": "web-1", "address": "10.0.0.1"}]}, ["10.0.0.1", "not in network.cidr 127.0.46.0/24"]),
        ({"vms": [{"name": "web-1"}, {"name": "web-1"}]}, ["web-1", "more than once"]),
        ({"network": {**NETWORK, "gateway": "127.0.47.1"}}, ["network.gateway 127.0.47.1", "127.0.46.0/24"]),
        ({"max_in_flight": 0}, ["max_in_flight 0", "at least 1"]),
    ],
)
def test_bad_input_names_the_object_and_what_is_allowed(
    site: Site, vcenter: VCenter, change: dict[str, Any], texts: list[str]
) -> None:
    before = set(vcenter.vms())
    for check in (True, False):
        result = site.clone({**site.args(1), **change}, check=check)
        assert result["failed"]
        assert not result["changed"]
        for text in texts:
            assert text in result["msg"], result["msg"]
    assert set(vcenter.vms()) == before


def test_backend_down(site: Site) -> None:
    """Refused, no such name, no TLS, a certificate nobody trusts: each says what, why, and what to do."""
    port = free_port()
    down = site.clone(site.args(1, port=port))
    assert down["failed"]
    assert f"127.0.0.1:{port}: the connection was refused" in down["msg"]
    assert "Check hostname, port" in down["msg"]
    unknown = site.clone(site.args(1, hostname="vcenter.invalid"))
    assert "vcenter.invalid" in unknown["msg"]
    assert "does not resolve" in unknown["msg"]
    plain = site.clone(site.args(1, port=site.lab.control_port))
    assert "no TLS on that port" in plain["msg"]
    untrusted = site.clone(site.args(1, ca_path=None))
    assert "its certificate is not trusted" in untrusted["msg"]
    assert "ca_path" in untrusted["msg"]
    missing = site.clone(site.args(1, ca_path="/nowhere/ca.pem"))
    assert "ca_path /nowhere/ca.pem" in missing["msg"]


def test_wrong_password_and_no_secret_in_the_answer(site: Site) -> None:
    """A15: the error names the user, never the password."""
    result = site.clone(site.args(1, password="not-the-password-4711"))
    assert result["failed"]
    assert "refused the login of autoscale@vsphere.local" in result["msg"]
    text = json.dumps(site.clone(site.args(1)))
    assert PASSWORD not in text
    assert "not-the-password-4711" not in json.dumps(result)


def test_a_session_that_ends_in_mid_work(site: Site, vcenter: VCenter) -> None:
    """The module logs in once more and goes on; nothing is made twice."""
    vcenter.control("PUT", "/times", {"clone_s": 2})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(site.clone, site.args(2))
        time.sleep(1.2)
        assert vcenter.control("POST", "/sessions/expire")["expired"] >= 1
        result = future.result()
    assert not result["failed"], result
    assert {row["phase"] for row in result["vms"]} == {"ready"}


def test_a_session_that_cannot_be_renewed(site: Site, vcenter: VCenter) -> None:
    """NotAuthenticated again after the new login: a clear error, with what is known of each VM."""
    vcenter.fault(method="CloneVM_Task", fault="NotAuthenticated")
    result = site.clone(site.args(1))
    assert result["failed"]
    assert "the vCenter session expired" in result["msg"]
    assert "web-1" in result["msg"]
    assert result["vms"][0]["phase"] == "clone"


def test_faults_of_single_vms(site: Site, vcenter: VCenter) -> None:
    """A privilege that is missing and a task that fails end in their own rows, with the name of the fault."""
    vcenter.fault(method="CloneVM_Task", object_name="web-1", fault="NoPermission")
    vcenter.fault(method="CloneVM_Task", object_name="web-2", fault="InsufficientResourcesFault", at="task")
    result = site.clone(site.args(3, allow_partial=True))
    assert result["failed_vms"] == ["web-1", "web-2"], result
    rows = by_name(result)
    assert "lacks the privilege" in rows["web-1"]["msg"]
    assert "docs/privileges.md" in rows["web-1"]["msg"]
    assert not rows["web-1"]["changed"]
    assert "InsufficientResourcesFault" in rows["web-2"]["msg"]
    assert "no room left" in rows["web-2"]["msg"]
    assert rows["web-2"]["last_task"]["state"] == "error"
    assert rows["web-3"]["phase"] == "ready"
