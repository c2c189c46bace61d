# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault proxy before clients that we did not write: pyVmomi, govc and f5-sdk do not notice it (design §10)."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from f5.bigip import ManagementRoot
from f5.bigip.contexts import TransactionContextManager

from lab.bigip.spawn import spawn
from lab.build import build_go
from lab.faults.spawn import FaultProxy
from lab.tls import make_tls
from lab.vcenter_client import Client, finish
from lab.vcenter_kit import VCenter, wait_for


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    """A vCenter whose ``port`` is the proxy's; ``proxy`` spoils what goes there."""
    folder = tmp_path_factory.mktemp("vcenter")
    with VCenter(folder, clone=0.3, boot=0.3) as running:
        tls = make_tls(folder / "tls")
        rows = [{"name": "vcenter", "mode": "https", "upstream": f"127.0.0.1:{running.port}", "labels": "soap"}]
        proxy = FaultProxy(folder / "faults", rows, {**tls, "ca": running.cert})
        with proxy:
            running.port, running.cert, running.proxy = proxy.ports["vcenter"], tls["ca"], proxy
            yield running


def labels(proxy):
    return {row["call"] for row in proxy.calls()}


def test_pyvmomi_works_through_it(vcenter):
    client = Client(vcenter)
    vm = finish(client.clone("through", "127.0.47.31"))
    wait_for(lambda: vm.guest.ipAddress, what="address")
    finish(vm.PowerOffVM_Task())
    finish(vm.Destroy_Task())
    client.close()
    seen = labels(vcenter.proxy)
    assert {"Login", "CloneVM_Task", "PowerOffVM_Task", "Destroy_Task", "Logout"} <= seen
    assert {"Fetch", "RetrieveServiceContent"} <= seen


def test_a_clone_that_answers_500_exists(vcenter):
    client = Client(vcenter)
    vcenter.proxy.fault("vcenter", "apply_then_status", "CloneVM_Task")
    with pytest.raises(Exception, match=r"non-exception object"):  # what pyVmomi makes of a page that is no SOAP
        client.clone("ghost", "127.0.47.32")
    wait_for(lambda: (vcenter.vm("ghost") or {}).get("ip"), what="the clone that nobody was told of serves")
    finish(client.vm("ghost").PowerOffVM_Task())
    finish(client.vm("ghost").Destroy_Task())
    client.close()


def test_govc_works_through_it(vcenter, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GOVC_URL": f"https://127.0.0.1:{vcenter.port}/sdk",
        "GOVC_USERNAME": vcenter.user,
        "GOVC_PASSWORD": vcenter.password,
        "GOVC_TLS_CA_CERTS": str(vcenter.cert),
        "GOVC_PERSIST_SESSION": "false",
    }

    def govc(*words):
        return subprocess.run(
            [str(build_go("govc")), *words], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert "8.0.3" in govc("about")
    govc("vm.power", "-off", "base-2")  # waits for the task by a long poll
    assert json.loads(govc("vm.info", "-json", "base-2"))["virtualMachines"][0]["runtime"]["powerState"] == "poweredOff"
    assert {"WaitForUpdatesEx", "PowerOffVM_Task"} <= labels(vcenter.proxy)


def test_f5_sdk_works_through_it(tmp_path):
    with spawn(tmp_path / "device", {"pools": [{"name": "web-pool", "members": []}]}) as device:
        tls = make_tls(tmp_path / "tls")
        rows = [{"name": "bigip", "mode": "https", "upstream": f"127.0.0.1:{device.port}", "labels": "icontrol"}]
        with FaultProxy(tmp_path / "faults", rows, {**tls, "ca": device.ca}) as proxy:
            root = ManagementRoot(
                "127.0.0.1",
                device.username,
                device.password,
                port=proxy.ports["bigip"],
                token=True,
                verify=str(tls["ca"]),
            )
            pool = root.tm.ltm.pools.pool.load(name="web-pool", partition="Common")
            with TransactionContextManager(root.tm.transactions.transaction) as api:
                inside = api.tm.ltm.pools.pool.load(name="web-pool", partition="Common")
                inside.members_s.members.create(name="127.0.48.21:8080", partition="Common", session="user-disabled")
            (member,) = pool.members_s.get_collection()
            member.modify(session="user-enabled", state="user-up")
            member.delete()
            assert device.members() == {}
            assert {
                "POST /mgmt/shared/authn/login",
                "GET /mgmt/tm/ltm/pool/{name}",
                "POST /mgmt/tm/transaction",
                "POST /mgmt/tm/ltm/pool/{name}/members (in a transaction)",
                "PATCH /mgmt/tm/transaction/{id}",
                "PATCH /mgmt/tm/ltm/pool/{name}/members/{name} (user-enabled user-up)",
                "DELETE /mgmt/tm/ltm/pool/{name}/members/{name}",
            } <= labels(proxy)
