# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an action plugin in this process, without a play."""

from __future__ import annotations

import importlib
import types

import pytest

ACTIONS = "ansible_collections.onprem.autoscale.plugins.action"

SPEC = {
    "name": "web",
    "size": {"min": 1, "max": 4},
    "cooldown": {"out": 300, "in": 120},
    "policies": [{"type": "threshold", "out": {"cpu": 80, "for": 60}, "in": {"cpu": 30, "for": 300}}],
    "vm": {"template": "web-template", "prefix": "web"},
    "network": {
        "name": "VM Network",
        "start": "10.0.0.10",
        "end": "10.0.0.14",
        "cidr": "10.0.0.0/24",
        "gateway": "10.0.0.1",
        "probe": {"methods": []},
    },
    "load_balancer": {"pool": "web-pool", "port": 8080},
    "base_members": [{"name": "web-base-1", "address": "10.0.0.5"}],
}


@pytest.fixture
def spec():
    return SPEC


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/state/ledger.db"


@pytest.fixture
def heartbeats(monkeypatch):
    """The heartbeats that were asked for; none is started: these tests have no play that it could watch."""
    asked = []
    module = importlib.import_module(f"{ACTIONS}.scaling_action")
    monkeypatch.setattr(module, "start_heartbeat", lambda *args: asked.append(args))
    return asked


@pytest.fixture
def run(url, monkeypatch, heartbeats):
    """``run("scaling_action", {...}, check_mode=False, diff=False)`` -> the task's result."""
    monkeypatch.setenv("ONPREM_AUTOSCALE_LEDGER", url)

    def run(name, args, *, check_mode=False, diff=False):
        task = types.SimpleNamespace(
            args=args, check_mode=check_mode, diff=diff, async_val=0, action=name, environment=[], no_log=False
        )
        shell = types.SimpleNamespace(tmpdir=None)
        connection = types.SimpleNamespace(_shell=shell, _load_name="local")
        plugin = importlib.import_module(f"{ACTIONS}.{name}").ActionModule(task, connection, None, None, None, None)
        return plugin.run(task_vars={})

    return run
