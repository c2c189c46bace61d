# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scale_out with `prepare: role`: the real role on real hosts, which the VMs of the simulator stand for (B1, B3, B5).

As root. vCenter gives two VMs the addresses of two throw-away hosts; one of them has a GPU without a licence.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Site, launched, running

from lab.hosts.host import KEY
from lab.hosts.system import FOLDER
from lab.kit import wait_for
from lab.settings import REPO, Settings

LAB = 12
SUBNET = f"10.97.{LAB}"
HOSTS = {"e2e-good": 20, "e2e-bare": 21}  # number by name; the second one has no licence
GPU = "driver=570.148.08\n[gpu]\nname=NVIDIA L40S-48C\nmode=vgpu\nlicense={}\n"


def hosts(*arguments: str) -> None:
    """``python -m lab.hosts``, in this test's own network."""
    command = [sys.executable, "-m", "lab.hosts", *arguments]
    environment = {**os.environ, "LAB_INDEX": str(LAB), "PYTHONPATH": str(REPO / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """What the role is given: wheels of the stub, models, a library in place of NVML's."""
    folder = REPO / "build" / "molecule" / "e2e"
    command = [sys.executable, "-m", "lab.vllm_parts", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPO / "tests")}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, cwd=REPO)
    return json.loads((folder / "parts.json").read_text())


@pytest.fixture(scope="module")
def machines(parts: dict[str, Any]) -> Iterator[None]:
    try:
        for name, number in HOSTS.items():
            hosts("up", name, str(number), "--bind", f"{parts['models']['first']}:/srv/model")
            root = FOLDER / f"run-{LAB}" / name / "root"
            shutil.copy(parts["nvml"], root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
            (root / "etc/nvml-lab.conf").write_text(GPU.format("licensed" if name == "e2e-good" else "unlicensed"))
        for name, number in HOSTS.items():
            hosts("wait", name)
            exporter = (
                "mkdir /srv/e; echo up_here 1 > /srv/e/metrics; systemd-run python3 -m http.server -d /srv/e 9100"
            )
            ssh = ["ssh", "-i", str(KEY), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            command = [*ssh, f"ansible@{SUBNET}.{number}", f"sudo sh -c '{exporter}'"]
            subprocess.run(command, check=True, capture_output=True)
        yield
    finally:
        hosts("clear")


@pytest.fixture
def site(machines: None, parts: dict[str, Any], tmp_path: Path) -> Iterator[Site]:
    settings = Settings.numbered(LAB, models=True, clone_s=0.5, boot_s=0.5)
    options = {
        "vllm_host_gpu": {"count": 1, "mode": "vgpu"},
        "vllm_host_license_timeout": 1,
        "vllm_host_model_path": "/srv/model",
        "vllm_host_requirements": parts["requirements"],
        "vllm_host_wheels_src": parts["wheels"],
        "vllm_host_environment": {"VLLM_STUB_LOAD_SECONDS": "1", "VLLM_STUB_PACE": "0.1"},
        "vllm_host_canary_interval": 2,
        "vllm_host_canary_deadline": 2,
    }
    changes = {
        "size": {"max": 3},
        "model": {"prepare": "role", "options": options, "stop_timeout": 30},
        "network": {
            "start": f"{SUBNET}.20",
            "end": f"{SUBNET}.21",
            "cidr": f"{SUBNET}.0/24",
            "gateway": f"{SUBNET}.1",
            "probe": {"methods": ["tcp_open"], "ports": [8000]},  # the hosts are there before their VMs
        },
        "monitoring": {"scrape": {}},
        "timeouts": {"prepare": 300},
        "quarantine": {"keep": 0},
        "ssh": {"user": "ansible", "key_file": str(KEY)},
    }
    with running(settings, tmp_path, "model", changes) as site:
        yield site


def working_on_hosts() -> bool:
    """Whether the hosts' own play runs."""
    done = subprocess.run(
        ["pgrep", "-f", "^[^ ]*python[^ ]* -m ansible playbook .*model_hosts$"], capture_output=True, check=False
    )
    return done.returncode == 0


def test_the_role_prepares_hosts_and_one_without_a_licence_never_joins(site: Site):
    good, bare = (f"{SUBNET}.{number}" for number in HOSTS.values())
    run = site.playbook("scale_out", count=2, ignore_cooldown=True)
    assert run.rc == 0, run.output
    (name,) = launched(site)
    assert site.vms()[name]["ip"] == good
    assert set(site.members()) == {*site.base, good}

    (event,) = site.ledger("select * from events order by id desc limit 1")
    assert (event["code"], event["result"], event["count_after"]) == ("partial", "succeeded", 2)
    assert f"({bare})" in event["message"]
    assert "licen" in event["message"]
    stages = {row["stage"] for row in json.loads(event["cold_start"])}
    assert {"clone", "prepare", "gpu", "model", "install", "process", "load", "engine", "gate", "join"} <= stages
    assert [row["address"] for row in site.ledger("select address from leases")] == [good]

    key = Path(site.description["model"]["key_file"]).read_text()
    assert key not in run.output
    with pytest.raises(urllib.error.HTTPError, match="401"):  # the key reached vLLM
        site.get(f"http://{good}:8000/v1/models")
    request = urllib.request.Request(f"http://{good}:8000/v1/models", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 200

    run = site.playbook("scale_in", ignore_cooldown=True)
    assert run.rc == 0, run.output
    assert launched(site) == set()
    (event,) = site.ledger("select steps from events order by id desc limit 1")
    steps = [row["step"] for row in json.loads(event["steps"])]
    assert steps[steps.index("drain") :] == ["drain", "idle", "pool", "target", "stop", "delete"]
    with pytest.raises(urllib.error.URLError, match="refused"):  # the host of the test outlives the simulator's VM
        site.get(f"http://{good}:8000/load")


def test_a_play_that_is_killed_while_the_role_runs_is_carried_on(site: Site):
    """Invariant 7: the role's own play outlives it, ends, and is run again under the same name and address."""
    process = subprocess.Popen(
        **site.command("scale_out", ignore_cooldown=True, lock_ttl=10),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    wait_for(working_on_hosts, 60, "the role's own play")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (planned,) = site.ledger("select name, address, state from members where group_name = 'model'")
    assert planned["state"] == "launching"

    run = site.playbook("reconcile", lock_wait=120)
    assert run.rc == 0, run.output
    assert "scale_out" in run.output
    assert launched(site) == {planned["name"]}
    assert set(site.members()) == {*site.base, planned["address"]}
    assert site.members()[planned["address"]]["availability"] == "available"
    assert not working_on_hosts()
    assert site.ledger("select * from locks") == []
