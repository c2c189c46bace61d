# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five filters over the planner: alone, and as Ansible calls them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.filter import (
    alert_route,
    alert_rules,
    group_spec,
    scrape_companions,
    scrape_job,
)
from ansible_collections.onprem.autoscale.plugins.module_utils import _planning

ROOT = pathlib.Path(__file__).resolve().parents[4]
GROUP_FILE = ROOT / "inventories" / "lab" / "scaling_groups" / "web.yml"
PLUGINS = [group_spec, scrape_job, scrape_companions, alert_rules, alert_route]


@pytest.fixture
def group() -> dict[str, t.Any]:
    return yaml.safe_load(GROUP_FILE.read_text(encoding="utf-8"))


def call(plugin: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
    (found,) = plugin.FilterModule().filters().values()
    return found(*args, **options)


def test_each_returns_what_the_planner_returns(group: dict[str, t.Any]) -> None:
    """A2: a raw declaration and the full form give the same."""
    spec = _planning.parse_spec(group)
    full = call(group_spec, group, origin="web.yml")
    assert full == spec.as_dict()
    assert call(group_spec, full) == full
    for data in (group, full):
        assert call(scrape_job, data, "/a.json") == _planning.scrape_job(spec, "/a.json")
        assert call(scrape_job, data, "/a.json", scrape_interval=7)["scrape_interval"] == "7s"
        assert call(alert_rules, data) == _planning.alert_rules(spec)
        assert call(alert_route, data, "http://r/", "/token", **{"continue": True}) == _planning.alert_route(
            spec, "http://r/", "/token", continue_=True
        )


def test_those_of_a_model_endpoint(group: dict[str, t.Any]) -> None:
    """B4: its companions, and its alerts for people as the role's options want them."""
    assert call(scrape_companions, group, "/a.json") == []
    group |= {"kind": "model_endpoint", "policies": [{"type": "model_signals"}], "model": {"name": "m"}}
    del group["gates"]
    spec = _planning.parse_spec(group)
    assert call(scrape_companions, group, "/a.json", scrape_interval=7) == _planning.scrape_companions(
        spec, "/a.json", scrape_interval=7
    )
    options = {"runbook_base_url": "https://r/", "alerts_off": ["ModelQueueLong"], "alert_labels": {"team": "llm"}}
    assert call(alert_rules, group, **options) == _planning.alert_rules(spec, **options)


@pytest.mark.parametrize(
    ("plugin", "args"),
    [
        (group_spec, ()),
        (scrape_job, ("/a",)),
        (scrape_companions, ("/a",)),
        (alert_rules, ()),
        (alert_route, ("http://r/",)),
    ],
)
def test_errors_are_the_filter_s_own_with_the_whole_text(
    group: dict[str, t.Any], plugin: t.Any, args: tuple[str, ...]
) -> None:
    """A1."""
    (name,) = plugin.FilterModule().filters()
    group["size"] = {"min": 5, "max": 4}
    group["vm"]["tempalte"] = "x"
    with pytest.raises(AnsibleFilterError) as caught:
        call(plugin, group, *args)
    text = str(caught.value)
    assert f"onprem.autoscale.{name}: " in text
    assert "size.min: value is 5; allowed: 1 to size.max, which is 4" in text
    assert "did you mean 'template'?" in text


def test_an_unknown_option_is_named(group: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="there is no option recever_name"):
        call(alert_route, group, "http://r/", recever_name="x")


def test_origin_stands_before_each_error() -> None:
    with pytest.raises(AnsibleFilterError, match=r"web\.yml: name: value is missing"):
        call(group_spec, {}, origin="web.yml")


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.__name__.rpartition(".")[2])
def test_documentation_names_the_filter_and_its_options(plugin: t.Any) -> None:
    (name,) = plugin.FilterModule().filters()
    documentation = yaml.safe_load(plugin.DOCUMENTATION)
    assert documentation["name"] == name
    assert "_input" in documentation["options"]
    assert yaml.safe_load(plugin.EXAMPLES)
    assert "_value" in yaml.safe_load(plugin.RETURN)


def test_in_a_play(tmp_path: pathlib.Path) -> None:
    """Ansible's own kinds of strings and dictionaries go in; what comes out is data, also its ``{{ $value }}``."""
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.set_fact": {
                        "group": f"{{{{ lookup('ansible.builtin.file', '{GROUP_FILE}') | from_yaml"
                        " | onprem.autoscale.group_spec(origin='web.yml') }}"
                    }
                },
                {"ansible.builtin.set_fact": {"rules": "{{ group | onprem.autoscale.alert_rules }}"}},
                {
                    "ansible.builtin.copy": {
                        "dest": str(tmp_path / "out.yml"),
                        "mode": "0600",
                        "content": "{{ {'rules': rules, 'job': group | onprem.autoscale.scrape_job('/a.json'), 'route':"
                        " group | onprem.autoscale.alert_route('http://r/')} | to_nice_yaml }}",
                    }
                },
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play), encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(group_spec.__file__).parents[5]),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
    }
    command = [
        str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "play.yml",
        "-e", f"ansible_python_interpreter={sys.executable}",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    spec = _planning.parse_spec(yaml.safe_load(GROUP_FILE.read_text(encoding="utf-8")))
    assert yaml.safe_load((tmp_path / "out.yml").read_text(encoding="utf-8")) == {
        "rules": _planning.alert_rules(spec),
        "job": _planning.scrape_job(spec, "/a.json"),
        "route": _planning.alert_route(spec, "http://r/"),
    }
