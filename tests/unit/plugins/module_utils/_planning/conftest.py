# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A valid group, and a way to vary it."""

from __future__ import annotations

import copy
import typing as t

import pytest
from unit.plugins.module_utils._planning.reconcile_scene import Scene

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import GroupSpec, parse_spec

GROUP: dict[str, t.Any] = {
    "name": "web",
    "size": {"min": 1, "max": 4, "step_out": 1, "step_in": 1},
    "cooldown": {"out": 300, "in": 120},
    "policies": [
        {
            "type": "threshold",
            "out": {"cpu": 80, "memory": 85, "for": 60},
            "in": {"cpu": 30, "memory": 40, "for": 300},
        }
    ],
    "vm": {"template": "web-template"},
    "network": {
        "name": "VM Network",
        "start": "10.255.48.220",
        "end": "10.255.48.230",
        "cidr": "10.255.48.0/24",
        "gateway": "10.255.48.1",
    },
    "load_balancer": {"pool": "web-pool", "port": 8080},
    "base_members": [{"name": "web-base-1", "address": "10.255.48.11"}],
}

ENDPOINT: dict[str, t.Any] = {
    **GROUP,
    "name": "llm",
    "kind": "model_endpoint",
    "policies": [{"type": "model_signals"}],
    "model": {"name": "llama-3-8b"},
    "load_balancer": {"pool": "llm-pool", "port": 8443},
}


def _merge(data: dict[str, t.Any], changes: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    for path, value in changes.items():
        place: t.Any = data
        *parents, last = path.split("__")
        for part in parents:
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return data


@pytest.fixture(scope="session")
def make_group() -> t.Callable[..., dict[str, t.Any]]:
    """``make_group(size__max=3)``: a declaration with changes; ``...`` deletes a key."""
    return lambda **changes: _merge(copy.deepcopy(GROUP), changes)


@pytest.fixture(scope="session")
def make_spec(make_group: t.Callable[..., dict[str, t.Any]]) -> t.Callable[..., GroupSpec]:
    """The same, parsed."""
    return lambda **changes: parse_spec(make_group(**changes))


@pytest.fixture(scope="session")
def make_endpoint() -> t.Callable[..., dict[str, t.Any]]:
    """``make_group`` for a model endpoint."""
    return lambda **changes: _merge(copy.deepcopy(ENDPOINT), changes)


@pytest.fixture(scope="session")
def make_endpoint_spec(make_endpoint: t.Callable[..., dict[str, t.Any]]) -> t.Callable[..., GroupSpec]:
    """The same, parsed."""
    return lambda **changes: parse_spec(make_endpoint(**changes))


@pytest.fixture
def scene(make_spec: t.Any) -> Scene:
    """A group in order, with nobody but its base member."""
    return Scene(make_spec())


@pytest.fixture
def scene_of(make_spec: t.Any) -> t.Callable[..., Scene]:
    """The same with changes to the declaration."""
    return lambda **changes: Scene(make_spec(**changes))
