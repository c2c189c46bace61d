# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of one site become files, and come to another one; a site that lost its own gets them back (D2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from integration import prometheus_fixtures as kit

from lab import debs
from lab.pais.spawn import Pais

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("groups", "rules")
KEYS = ("url", "issuer", "client_id", "client_secret", "username", "password")
RULES = {"groups": [{"name": "web", "rules": [{"alert": "Down", "expr": "up == 0"}]}]}
OWNED = "# Managed by onprem.autoscale; changes made here are lost.\n"


class Sites:
    """Two sites: both with Private AI Services, the second with a Prometheus that runs."""

    def __init__(self, folder: Path, a: Pais, b: Pais, prometheus: kit.Server) -> None:
        self.folder, self.a, self.b, self.prometheus = folder, a, b, prometheus
        self.settings = folder / "settings" / "shop"
        places = {"a": folder / "a", "b": prometheus.folder}
        for place in places.values():
            (place / "rules").mkdir(parents=True, exist_ok=True)
            (place / "groups").mkdir(exist_ok=True)
        self.places = places
        rows = {}
        for name, pais in (("a", a), ("b", b)):
            rows[name] = {
                "pais": {"ca_path": pais.row["ca"], **{key: pais.row[key] for key in KEYS}},
                "scaling_groups_dir": str(places[name] / "groups"),
                "prometheus": {
                    "url": prometheus.url,
                    "config_file": str(prometheus.config),
                    "rules_dir": str(places[name] / "rules"),
                    "promtool": str(debs.binary("promtool")),
                },
            }
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        variables = {**host, "autoscale_sites": rows, "autoscale_settings_dir": str(folder / "settings")}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": None}, "vars": variables}}))
        (folder / "ansible.cfg").write_text("[defaults]\n")

    def play(self, *steps: tuple[Any, ...] | dict[str, Any], check: bool = False) -> list[dict[str, Any]]:
        """``dr_settings`` after each of (export or import, site, variables), all in one run; a dict is a task."""
        out = self.folder / "out.json"
        keep = {"dr_seen": "{{ dr_seen | default([]) + [dr_settings] }}"}
        tasks: list[dict[str, Any]] = []
        for step in steps:
            if isinstance(step, dict):
                tasks.append(step)
                continue
            what, site, *more = step
            path = str(ROOT / "playbooks" / "tasks" / f"dr_settings_{what}.yml")
            given = {"site": site, "folder": "shop", **(more[0] if more else {})}
            tasks += [{"ansible.builtin.include_tasks": path, "vars": given}, {"ansible.builtin.set_fact": keep}]
        save = {"content": "{{ dr_seen | to_json }}", "dest": str(out), "mode": "0600"}
        tasks.append({"ansible.builtin.copy": save, "check_mode": False})
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        (self.folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        env = {**os.environ, "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_HOME": str(self.folder)}
        env |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_PIPELINING": "1"}
        command = [sys.executable, "-m", "ansible", "playbook", str(self.folder / "play.yml")]
        command += ["-i", str(self.folder / "hosts.yml"), *(["--check"] if check else [])]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=580, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(out.read_text())

    def ready(self) -> dict[str, Any]:
        """What dr_readiness sees of the settings at b."""
        looked = {
            "ansible.builtin.include_tasks": str(ROOT / "playbooks" / "tasks" / "dr_look_settings.yml"),
            "vars": {
                "site": "b",
                "look_service": {"name": "settings", "folder": "shop"},
                "look_fast": False,
                "dr_services": {},
                "dr_backup": {"all_settings": [{"service": "settings"}]},
                "dr_backup_at": 7,
            },
        }
        (seen,) = self.play(looked, {"ansible.builtin.set_fact": {"dr_seen": ["{{ dr_services.settings }}"]}})
        return seen

    def files(self) -> dict[str, bytes]:
        found = self.settings.rglob("*")
        return {str(path.relative_to(self.settings)): path.read_bytes() for path in found if path.is_file()}


def make(pais: Pais, kind: str, **body: Any) -> None:
    """An object that people have made."""
    row, paths = pais.row, {"agents": "compatibility/openai/v1/agents", "data-sources": "control/data-sources"}
    with requests.Session() as session:
        session.trust_env, session.verify = False, row["ca"]
        form = {"grant_type": "client_credentials", **{key: row[key] for key in ("client_id", "client_secret")}}
        token = session.post(f"{row['issuer']}/token", data=form, timeout=30).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        session.post(f"{row['url']}/api/v1/{paths[kind]}", json=body, timeout=30).raise_for_status()


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    (tmp_path / "prometheus").mkdir()
    with Pais.temporary() as a, Pais.temporary() as b, kit.prometheus(tmp_path / "prometheus") as prometheus:
        make(a, "agents", name="helper", model="llama")
        made = Sites(tmp_path, a, b, prometheus)
        (made.places["a"] / "groups" / "web.yml").write_text("name: web\n")
        (made.places["a"] / "rules" / "web.yml").write_text(OWNED + yaml.safe_dump(RULES))
        (made.places["a"] / "rules" / "people.yml").write_text(yaml.safe_dump(RULES))
        yield made


@pytest.mark.timeout(900)  # several playbooks
def test_settings_are_written_come_to_the_other_site_and_back_to_their_own(sites: Sites) -> None:
    (foreseen,) = sites.play(("export", "a"), check=True)
    assert foreseen["changed"]
    assert sites.files() == {}
    written, again, come = sites.play(("export", "a"), ("export", "a"), ("import", "b"))
    assert (written["objects"], written["groups"], written["rules"]) == (1, ["web"], ["web.yml"])
    assert set(sites.files()) == {"pais/agents/helper.yml", "a/groups/web.yml", "a/rules/web.yml"}
    assert (come["objects"], come["groups"], come["rules"], come["lacking"]) == (1, [], [], ["web"])
    assert [row["changed"] for row in (written, again, come)] == [True, False, True]
    assert set(sites.b.objects("agents")) == {"helper"}

    own = sites.places["b"]
    (own / "groups" / "web.yml").write_text("name: web\nsite: b\n")
    (own / "rules" / "web.yml").write_text(OWNED + yaml.safe_dump(RULES))
    lost = [{"ansible.builtin.file": {"path": str(own / kind / "web.yml"), "state": "absent"}} for kind in KINDS]
    newer = {"content": "name: web\nsite: b\nnewer: true\n", "dest": str(own / "groups" / "web.yml")}
    gone = {"path": str(sites.places["a"] / "groups" / "web.yml"), "state": "absent"}
    over = {"settings_overwrite": True}
    _written, back, kept, forced, less = sites.play(
        ("export", "b"), *lost, ("import", "b"), {"ansible.builtin.copy": newer}, ("import", "b"),
        ("import", "b", over), {"ansible.builtin.file": gone}, ("export", "a"),
    )  # fmt: skip
    assert (back["groups"], back["rules"], back["lacking"]) == (["web.yml"], ["web.yml"], [])
    assert (own / "groups" / "web.yml").read_text() == "name: web\nsite: b\n"
    loaded = sites.prometheus.get("/api/v1/rules")["data"]["groups"]
    assert [rule["name"] for group in loaded for rule in group["rules"]] == ["Down"]
    assert (kept["changed"], forced["groups"], less["changed"]) == (False, ["web.yml"], True)
    assert "a/groups/web.yml" not in sites.files()


@pytest.mark.timeout(900)
def test_the_step_of_a_failover_brings_them_and_reports_what_is_not_there(sites: Sites) -> None:
    """Planned: written anew by the source first. Unplanned: as they are, and without any the run goes on."""
    service = {"settings": {"folder": "shop"}}
    common = {"services_by_name": service, "step": {"service": "settings"}, "dr_from": "a", "dr_to": "b"}
    step = {"ansible.builtin.include_tasks": str(ROOT / "playbooks" / "tasks" / "dr_do_settings.yml")}
    kept = {
        "ansible.builtin.set_fact": {
            "dr_settings": "{{ dr_settings | combine({'said': dr_said} | combine(dr_facts)) }}"
        }
    }
    seen = {"ansible.builtin.set_fact": {"dr_seen": "{{ dr_seen | default([]) + [dr_settings] }}"}}
    runs = [{**step, "vars": {**common, "dr_run": {"planned": planned}}} for planned in (False, True, False)]
    never, planned, unplanned = sites.play(*(task for run in runs for task in (run, kept, seen)))
    assert "nothing was ever exported" in never["said"]
    assert never["findings"] == [f"Settings of settings are not at b: dr_backup never wrote {sites.settings}."]
    assert "1 objects, 0 groups and 0 rule files brought to b" in planned["said"]
    assert planned["findings"] == ["Groups that a has and b has not declared: web."]
    assert (unplanned["changed"], unplanned["objects"]) == (False, 0)
    assert set(sites.b.objects("agents")) == {"helper"}

    # Ready is who could take them; nothing is brought there by a look.
    assert sites.ready() == {"copied_at": 7}
    origin, credentials = "https://files.example.org", {"username": "reader", "password": "swordfish"}
    make(sites.a, "data-sources", name="drive", type="HTTP", origin_url=origin, credentials=credentials)
    sites.play(("export", "a"))
    lacking = sites.ready()
    assert "wanted and not given: data-sources/drive/credentials/password" in lacking["said"]
    assert "copied_at" not in lacking
    assert not sites.b.objects("data-sources")
