# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of this folder in a worker, and a way to run playbooks as a person does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.outside import Outside, get_text

from lab.forked import forked_modules
from lab.settings import REPO, Settings
from lab.supervisor import Lab

INVENTORY = REPO / "inventories" / "lab" / "hosts.yml"
FIRST_LAB = 6  # of pytest-xdist's first worker, or without workers


@dataclasses.dataclass
class Run:
    """What `ansible-playbook` printed and how it ended."""

    rc: int
    output: str


class Site(Outside):
    """A running lab, and the folder of group files that its playbooks read."""

    get = staticmethod(get_text)

    def __init__(self, settings: Settings, description: dict[str, Any], groups: Path, group: str = "web") -> None:
        super().__init__(description, group)
        self.settings = settings
        self.description = description
        self.groups = groups
        self.base = set((settings.model_base if group == "model" else settings.base_members).values())

    def write_group(self, changes: dict[str, Any] | None = None, name: str = "") -> dict[str, Any]:
        """A group's file: the lab's group with changes a level deep (a None removes the key)."""
        name = name or self.group
        spec = self.settings.model_spec(changes) if name == "model" else self.settings.group_spec(changes, name)
        (self.groups / f"{name}.yml").write_text(yaml.safe_dump(spec, sort_keys=False))
        return spec

    def command(self, name: str, *, group: str | None = "", **variables: Any) -> dict[str, Any]:
        """What :mod:`subprocess` needs to run a playbook as :meth:`playbook` does."""
        extra = {"scaling_groups_dir": str(self.groups), **variables}
        if group is not None:
            extra["group"] = group or self.group
        command = ["ansible-playbook", f"onprem.autoscale.{name}", "-i", str(INVENTORY), "-e", json.dumps(extra)]
        return {"args": command, "env": {**os.environ, **self.settings.environment}, "cwd": REPO}

    def playbook(self, name: str, *arguments: str, group: str | None = "", **variables: Any) -> Run:
        """Run a playbook by its full name against the lab's inventory, for the site's group if not told else."""
        call = self.command(name, group=group, **variables)
        call["args"] += arguments
        result = subprocess.run(**call, capture_output=True, text=True, check=False, timeout=200)
        return Run(result.returncode, result.stdout + result.stderr)

    def vms(self) -> dict[str, dict[str, Any]]:
        """VMs by name."""
        return {row["name"]: row for row in self.vm_rows()}

    def members(self) -> dict[str, dict[str, Any]]:
        """Members of the group's pool by address."""
        return {row["address"]: row for row in self.member_rows()}

    def targets(self) -> set[str]:
        """Targets of the group; none before it is configured."""
        return set(self.target_addresses()) if self.target_file.exists() else set()

    def snapshot(self) -> dict[str, Any]:
        """Everything a run could leave behind."""
        leases = self.ledger("select address, member from leases") if self.ledger_file.exists() else []
        locks = self.ledger("select group_name from locks") if self.ledger_file.exists() else []
        return {
            "vms": sorted(self.vms()),
            "members": sorted(self.members()),
            "targets": sorted(self.targets()),
            "leases": leases,
            "locks": locks,
        }

    def control(self, part: str, method: str, path: str, body: Any = None) -> Any:
        """A call to the control port of vcenter or bigip."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.description[part]["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=5) as response:
            text = response.read()
        return json.loads(text) if text else None


def launched(site: Site) -> set[str]:
    """Names of the VMs that we made."""
    return set(site.vms()) - {*site.settings.base_members, *site.settings.model_base, "web-golden"}


@pytest.fixture(scope="session", autouse=True)
def forked() -> Iterator[None]:
    """Modules of playbooks are forks of a process that has their libraries."""
    with forked_modules():
        yield


@pytest.fixture(scope="session")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab of this worker's own with short clone and boot times, and group web enabled in it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    settings = Settings.numbered(FIRST_LAB + worker, clone_s=1.0, boot_s=1.0)
    with running(settings, tmp_path_factory.mktemp("scaling_groups"), "web") as site:
        yield site


@contextlib.contextmanager
def running(settings: Settings, groups: Path, group: str, changes: dict[str, Any] | None = None) -> Iterator[Site]:
    """A lab with a group that is enabled in it; *changes* as for :meth:`Site.write_group`."""
    lab = Lab(settings, say=lambda text: None)
    lab.down(quiet=True)
    site = Site(settings, lab.up(), groups, group)
    try:
        site.write_group(changes)
        run = site.playbook("configure")
        assert run.rc == 0, run.output
        yield site
    finally:
        lab.down(quiet=True)


@pytest.fixture
def site(configured: Site) -> Iterator[Site]:
    """The configured lab at its base; whatever a test leaves is reported as its failure and taken away."""
    yield from at_base(configured)


def at_base(configured: Site) -> Iterator[Site]:
    """For one test."""
    configured.write_group()
    yield configured
    for part in ("vcenter", "bigip"):
        configured.control(part, "DELETE", "/faults")
    configured.write_group({"quarantine": {"keep": 0}})
    if launched(configured):
        configured.playbook("reconcile")  # ends a quarantine
    if launched(configured):
        configured.playbook("scale_in", count=len(launched(configured)), ignore_cooldown=True)
    configured.write_group()
    left = launched(configured)
    assert not left, f"left behind: {left}"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For TMPDIR: Ansible listens on a Unix socket below it, whose path has 107 characters at most."""
    folder = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)
