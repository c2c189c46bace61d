# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs side by side never meet: each index has ports, guests and a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lab.settings import DEFAULT_DIR, GROUPS_DIR, MAX_INDEX, Settings

ALL = [Settings.numbered(index) for index in range(MAX_INDEX + 1)]


def test_lab_0_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAB_INDEX", "LAB_DIR", "LAB_CLONE_S"):
        monkeypatch.delenv(name, raising=False)
    assert Settings.from_environment() == Settings() == ALL[0]
    assert (ALL[0].folder, ALL[0].groups_dir, ALL[0].subnet) == (DEFAULT_DIR, GROUPS_DIR, "127.0.48")
    assert ALL[0].group_spec() == yaml.safe_load((GROUPS_DIR / "web.yml").read_text())


def test_no_two_labs_share_a_port_a_guest_or_a_folder() -> None:
    ports = [port for settings in ALL for port in settings.ports().values()]
    assert len(set(ports)) == len(ports)
    assert max(ports) < 32768
    assert len({settings.subnet for settings in ALL}) == len({settings.folder for settings in ALL}) == len(ALL)


def test_the_environment_names_the_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_INDEX", "3")
    monkeypatch.setenv("LAB_SCRAPE_S", "0.5")
    monkeypatch.delenv("LAB_DIR", raising=False)
    assert (Settings.from_environment().folder.name, Settings.from_environment().scrape_s) == ("lab-3", 0.5)
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    assert Settings.from_environment().folder == tmp_path
    monkeypatch.setenv("LAB_INDEX", "14")
    with pytest.raises(ValueError, match="0 to 13"):
        Settings.from_environment()


def test_a_group_has_the_addresses_of_its_lab(tmp_path: Path) -> None:
    settings = Settings.numbered(5, folder=tmp_path)
    path = settings.write_group({"cooldown": {"out": 9}, "size": {"max": 7}}, name="api")
    spec = yaml.safe_load(path.read_text())
    assert "127.0.48." not in json.dumps(spec)
    assert spec["network"]["start"].startswith("127.0.53.")
    assert [row["address"] for row in spec["base_members"]] == list(settings.base_members.values())
    assert spec["load_balancer"]["vip"] == f"127.0.0.1:{settings.vip_port}"
    assert (spec["name"], spec["cooldown"], spec["size"]["max"], spec["size"]["min"]) == (
        "api",
        {"out": 9, "in": 5},
        7,
        2,
    )
    with pytest.raises(ValueError, match="lab 0"):
        Settings().write_group()
