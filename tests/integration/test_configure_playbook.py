# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook configure against a real Prometheus and a real Alertmanager (A2)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration import prometheus_fixtures as kit

from lab import debs

ROOT = Path(__file__).resolve().parents[2]
SPEC: dict[str, Any] = {
    "name": "web",
    "size": {"min": 2, "max": 4},
    "policies": [{"type": "threshold", "out": {"cpu": 80, "for": 60}, "in": {"cpu": 30, "for": 300}}],
    "vm": {"template": "web-template"},
    "network": {
        "name": "VM Network",
        "start": "10.255.48.220",
        "end": "10.255.48.230",
        "cidr": "10.255.48.0/24",
        "gateway": "10.255.48.1",
    },
    "load_balancer": {"pool": "web-pool", "port": 8080},
    "base_members": [{"name": "web-base-1", "address": "127.0.0.1"}],
}


class Site:
    """An inventory with real servers behind it."""

    def __init__(self, folder: Path, prometheus: kit.Server, alertmanager: kit.Server) -> None:
        self.folder, self.prometheus, self.alertmanager = folder, prometheus, alertmanager
        self.groups = folder / "scaling_groups"
        self.groups.mkdir()
        self.targets = prometheus.folder / "targets" / "web.json"
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "autoscale_prometheus": {
                "url": prometheus.url,
                "config_file": str(prometheus.config),
                "rules_dir": str(prometheus.folder / "rules"),
                "file_sd_dir": str(self.targets.parent),
                "promtool": str(debs.binary("promtool")),
            },
            "autoscale_alertmanager": {
                "url": alertmanager.url,
                "config_file": str(alertmanager.config),
                "amtool": str(debs.binary("amtool")),
            },
            "autoscale_receiver": {"url": "http://127.0.0.1:9/alerts", "token_file": "/etc/autoscale.token"},
        }
        hosts = {"prometheus": {"hosts": {"monitor": None}}, "alertmanager": {"hosts": {"monitor": None}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": variables, "children": hosts}}))
        (folder / "ansible.cfg").write_text("[defaults]\n")
        self.declare()

    def declare(self, **changes: Any) -> None:
        (self.groups / "web.yml").write_text(yaml.safe_dump({**SPEC, **changes}))

    def configure(self, *arguments: str, group: str = "web", ok: bool = True) -> tuple[str, int]:
        """Output and number of changed tasks."""
        view = os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "build" / "view"))
        env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": view, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
        env |= {
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_HOME": str(self.folder),
        }
        command = [sys.executable, "-m", "ansible", "playbook", "onprem.autoscale.configure"]
        command += ["-i", str(self.folder / "hosts.yml"), "-e", f"group={group}", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output
        return output, sum(int(number) for number in re.findall(r"changed=(\d+)", output))

    def jobs(self) -> list[str]:
        config = yaml.safe_load(self.prometheus.get("/api/v1/status/config")["data"]["yaml"])
        return sorted(job["job_name"] for job in config["scrape_configs"])

    def rules(self) -> list[str]:
        groups = self.prometheus.get("/api/v1/rules")["data"]["groups"]
        return [rule["name"] for group in groups for rule in group["rules"]]

    def receivers(self) -> list[str]:
        config = yaml.safe_load(self.alertmanager.get("/api/v2/status")["config"]["original"])
        return sorted(receiver["name"] for receiver in config["receivers"])

    def files(self) -> dict[str, bytes]:
        folders = (self.prometheus.folder, self.alertmanager.folder)
        return {
            str(path): path.read_bytes()
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "data" not in path.parts and path.name != "server.log"
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in ("prometheus", "alertmanager", "inventory"):
        (tmp_path / name).mkdir()
    with kit.prometheus(tmp_path / "prometheus") as prometheus, kit.alertmanager(tmp_path / "alertmanager") as manager:
        yield Site(tmp_path / "inventory", prometheus, manager)


def test_a_group_appears_changes_and_goes(site: Site) -> None:
    """A2: check mode shows and changes nothing; twice is once; disabling leaves every file as it was, byte by byte."""
    first = site.files()
    output, changed = site.configure("--check", "--diff")
    assert changed == 4
    assert site.files() == first
    for word in ("+- job_name: web", "autoscale-web", "AutoscaleScaleOut", "127.0.0.1:9100"):
        assert word.lstrip("+- ") in output

    _unused, changed = site.configure()
    assert changed == 4
    assert site.jobs() == ["self", "web"]
    assert site.rules() == ["AutoscaleScaleOut", "AutoscaleScaleIn"]
    assert site.receivers() == ["autoscale-web", "people"]
    groups = json.loads(site.targets.read_text())
    assert groups == [
        {"targets": ["127.0.0.1:9100"], "labels": {"base": "true", "group": "web", "member": "web-base-1"}}
    ]
    assert site.configure()[1] == 0, "the second run changes nothing"

    # a member that was launched meanwhile stays; base members follow the declaration
    site.targets.write_text(json.dumps([*groups, {"targets": ["10.0.0.9:9100"], "labels": {"group": "web"}}]))
    site.declare(
        base_members=[{"name": "web-base-2", "address": "127.0.0.2"}],
        policies=[{"type": "threshold", "out": {"cpu": 70, "for": 60}}],
    )
    _unused, changed = site.configure()
    assert changed == 2
    assert site.rules() == ["AutoscaleScaleOut"]
    addresses = [address for group in json.loads(site.targets.read_text()) for address in group["targets"]]
    assert sorted(addresses) == ["10.0.0.9:9100", "127.0.0.2:9100"]

    site.declare(enabled=False)
    _unused, changed = site.configure()
    assert changed == 4
    assert site.files() == first
    assert (site.jobs(), site.rules(), site.receivers()) == (["self"], [], ["people"])
    assert site.configure()[1] == 0


def test_a_model_endpoint_has_its_companions_and_alerts_while_it_is_one(site: Site) -> None:
    """B4: further jobs on the same targets, alerts for people with the site's runbooks; a service again has neither."""
    first = site.files()
    endpoint = {"kind": "model_endpoint", "policies": [{"type": "model_signals"}], "model": {"name": "m"}}
    site.declare(**endpoint)
    options = ["-e", json.dumps({"group_monitoring_runbook_base_url": "https://wiki/", "group_monitoring_alerts_off":
               ["ModelQueueLong"]})]  # fmt: skip
    assert site.configure(*options)[1] == 4
    assert site.jobs() == ["self", "web", "web-canary", "web-vllm"]
    rules = site.rules()
    assert rules[:3] == ["AutoscaleScaleOut", "AutoscaleScaleIn", "ModelEndpointDown"]
    assert "ModelQueueLong" not in rules
    (group,) = site.prometheus.get("/api/v1/rules")["data"]["groups"]
    assert group["rules"][2]["annotations"]["runbook_url"] == "https://wiki/ModelEndpointDown.md"
    assert site.configure(*options)[1] == 0

    site.declare()
    assert site.configure()[1] == 2
    assert (site.jobs(), site.rules()) == (["self", "web"], ["AutoscaleScaleOut", "AutoscaleScaleIn"])
    site.declare(**endpoint)
    site.configure()
    site.declare(**endpoint, enabled=False)
    site.configure()
    assert (site.jobs(), site.files()) == (["self"], first)


def test_absent_even_when_the_declaration_is_gone(site: Site) -> None:
    """A2: deleting a group removes what it had."""
    first = site.files()
    site.configure()
    (site.groups / "web.yml").unlink()
    assert site.configure("-e", "state=absent")[1] == 4
    assert site.files() == first


def test_errors_say_what_to_do(site: Site) -> None:
    """An unknown group names those that exist; a bad declaration names the field; nothing is touched."""
    first = site.files()
    output, _unused = site.configure(group="wbe", ok=False)
    assert "There is no group wbe" in output
    assert re.search(r"Groups there:\s+web", output)
    output, _unused = site.configure(group="../web", ok=False)
    assert "No group can be called" in output
    output, _unused = site.configure("-e", "state=gone", ok=False)
    assert "allowed: present, absent" in output
    site.declare(size={"min": 5, "max": 4})
    output, _unused = site.configure(ok=False)
    assert "web.yml" in output
    assert "size" in output
    assert site.files() == first
