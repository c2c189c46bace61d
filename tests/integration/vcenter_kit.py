# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the group vsphere on a vCenter of one test module.

A test file takes the fixtures at the end by name: ``vcenter, site = kit.vcenter, kit.site``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.vcenter_kit import VCenter

NETWORK = {"name": "VM Network", "cidr": "127.0.46.0/24", "gateway": "127.0.46.1", "dns_servers": ["127.0.46.2"]}
SHORT = {"clone": 20, "customization": 10, "address": 10, "shutdown": 5}
Result = dict[str, Any]


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with VCenter(tmp_path_factory.mktemp("vcenter"), clone=1.0, boot=0.6, base="") as lab:
        yield lab


class Site:
    """The modules with connection options filled in, and clean-up after each test."""

    def __init__(self, lab: VCenter, run_module: Callable[..., Result], start_module: Callable[..., Any]) -> None:
        self.lab = lab
        self._run = run_module
        self._start = start_module

    def args(self, count: int = 2, **other: Any) -> dict[str, Any]:
        """Arguments for *count* VMs web-1, web-2 .. at 127.0.46.11, 127.0.46.12 .."""
        return {
            "template": "web-template",
            "marks": {"group": "web", "action": "a1"},
            "network": NETWORK,
            "timeouts": SHORT,
            "vms": [{"name": f"web-{n}", "address": f"127.0.46.{10 + n}"} for n in range(1, count + 1)],
            **other,
        }

    def clone(self, args: dict[str, Any], **how: Any) -> Result:
        return self._run("vsphere_clone", {**self.lab.connection, **args}, **how)

    def start_clone(self, args: dict[str, Any]) -> Any:
        return self._start("vsphere_clone", {**self.lab.connection, **args})

    def info(self, **args: Any) -> list[dict[str, Any]]:
        result = self._run("vsphere_clone_info", {**self.lab.connection, **args})
        assert not result["failed"], result
        assert not result["changed"]
        return result["vms"]

    def mark(self, *names: str, check: bool = False, diff: bool = False, **args: Any) -> Result:
        options = {"vms": [{"name": name} for name in names], "marks": {"group": "web"}, **args}
        return self._run("vsphere_mark", {**self.lab.connection, **options}, check=check, diff=diff)

    def template(self, check: bool = False, **args: Any) -> Result:
        return self._run("vsphere_template", {**self.lab.connection, **args}, check=check)


@pytest.fixture
def site(vcenter: VCenter, run_module: Any, start_module: Any) -> Iterator[Site]:
    here = Site(vcenter, run_module, start_module)
    yield here
    vcenter.clear_faults()
    vcenter.control("PUT", "/times", vcenter.times)
    rows = vcenter.vms()
    left = [
        {"name": name, "marks": {"group": row["marks"]["group"]}}
        for name, row in rows.items()
        if "group" in row["marks"]
    ]
    if left:
        here.clone({"state": "absent", "vms": left, "timeouts": {"shutdown": 0}})
    for name, row in rows.items():
        if row["template"] and name != "web-template":
            here.template(name=name, state="absent", force=True)


def by_name(result: Result) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["vms"]}
