# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's vCenter under govc, VMware's own command line client."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from lab.build import build_go
from lab.vcenter_kit import VCenter, wait_for


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    base = "base-5=127.0.47.16"
    with VCenter(tmp_path_factory.mktemp("vcenter"), clone=0.3, boot=0.3, base=base) as running:
        yield running


@pytest.fixture(scope="module")
def govc(vcenter, tmp_path_factory):
    program = build_go("govc")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),  # govc keeps sessions there
        "GOVC_URL": f"https://{vcenter.host}:{vcenter.port}/sdk",
        "GOVC_USERNAME": vcenter.user,
        "GOVC_PASSWORD": vcenter.password,
        "GOVC_TLS_CA_CERTS": str(vcenter.cert),
        "GOVC_PERSIST_SESSION": "false",
    }

    def call(*words, check=True, **more):
        result = subprocess.run(
            [str(program), *words], env=environment | more, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or result.returncode == 0, result.stderr
        return result

    return call


def info(govc, name):
    (vm,) = json.loads(govc("vm.info", "-json", name).stdout)["virtualMachines"]
    return vm


def test_about_and_login(govc):
    assert "8.0.3" in govc("about").stdout
    wrong = govc("ls", check=False, GOVC_PASSWORD="not it")
    assert wrong.returncode != 0
    assert "incorrect user name or password" in wrong.stderr.lower() or "login failure" in wrong.stderr.lower()


def test_inventory(govc):
    assert set(govc("ls", "/DC0/vm").stdout.split()) >= {
        "/DC0/vm/base-5",
        "/DC0/vm/web-template",
        "/DC0/vm/web-golden",
    }
    assert info(govc, "web-template")["config"]["template"] is True


def test_life_of_a_vm(govc, vcenter):
    """Clone off, mark, give it an address by cloud-init, switch on, wait for the address, shut down, destroy."""
    name, address = "by-govc", "127.0.47.140"
    metadata = json.dumps({"network": {"ethernets": {"eth0": {"addresses": [f"{address}/24"]}}}})
    govc("vm.clone", "-vm", "web-template", "-on=false", "-pool", "DC0_C0/Resources", name)
    again = govc("vm.clone", "-vm", "web-template", "-on=false", "-pool", "DC0_C0/Resources", name, check=False)
    assert again.returncode != 0
    assert "already exists" in again.stderr
    govc("vm.change", "-vm", name, "-e", "onprem.autoscale.group=web", "-e", f"guestinfo.metadata={metadata}")
    assert vcenter.vm(name)["marks"] == {"group": "web"}
    govc("vm.power", "-on", name)
    assert address in govc("vm.ip", "-wait", "20s", name).stdout
    assert vcenter.app(address)[0] == 200
    assert info(govc, name)["guest"]["toolsRunningStatus"] == "guestToolsRunning"
    govc("vm.power", "-s", name)
    wait_for(lambda: vcenter.vm(name)["power"] == "poweredOff", what="power off")
    with pytest.raises(OSError):  # noqa: PT011 (refused or reset)
        vcenter.app(address)
    assert "guest OS shut down" in govc("events", f"/DC0/vm/{name}").stdout or vcenter.vm(name)["ip"] == ""
    govc("vm.destroy", name)
    assert vcenter.vm(name) is None


def test_template_and_back(govc):
    govc("vm.markastemplate", "web-golden")
    assert info(govc, "web-golden")["config"]["template"] is True
    govc("vm.markasvm", "-pool", "DC0_C0/Resources", "web-golden")
    assert info(govc, "web-golden")["config"]["template"] is False
