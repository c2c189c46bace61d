# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DSM in memory, and the options of the modules with their defaults."""

from __future__ import annotations

import importlib
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _client
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm._objects import Objects
from ansible_collections.onprem.autoscale.tests.unit.kit import fake_dsm

LOGIN = {"url": fake_dsm.URL, "email": "a@example.org", "password": fake_dsm.PASSWORD}
NEW = {
    "version": "16",
    "vm_class": "small",
    "storage_space": "10Gi",
    "storage_policy": "gold",
    "infrastructure_policy": "ai",
}


@pytest.fixture
def dsm() -> fake_dsm.FakeDsm:
    return fake_dsm.FakeDsm()


@pytest.fixture
def objects(dsm: fake_dsm.FakeDsm) -> Objects:
    login = _client._password_login({**LOGIN, "login": "dsm"})
    return Objects(_client.Api(dsm, fake_dsm.URL, login, secrets=[fake_dsm.PASSWORD]))


@pytest.fixture(scope="session")
def options() -> t.Callable[..., dict[str, t.Any]]:
    """``options(module, **given)``: as Ansible hands them to the module."""

    def make(module: str, **given: t.Any) -> dict[str, t.Any]:
        spec = importlib.import_module(f"ansible_collections.onprem.autoscale.plugins.modules.{module}").SPEC
        checked = ArgumentSpecValidator(spec.options).validate({**LOGIN, **given})
        assert not checked.error_messages
        return dict(checked.validated_parameters)

    return make
