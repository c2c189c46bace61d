# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore makes a new cluster of the source's settings, and never another one of the same name."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    ConflictError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _apply, _restore
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm._objects import Objects
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_dsm import CLUSTERS, FakeDsm

from .conftest import NEW

NOON = "2026-05-01T12:00:00Z"
SOURCE: dict[str, t.Any] = {
    "version": "16.8",
    "vmClass": {"name": "medium"},
    "storageSpace": "10Gi",
    "storagePolicyName": "gold",
    "infrastructurePolicy": {"name": "ai"},
    "replicas": 1,
    "adminPasswordRef": {"name": "docs-admin"},
    "blockDatabaseConnections": True,
    "unknownRole": "secondary",
}
Run = t.Callable[..., _apply.Outcome]


@pytest.fixture
def restore(objects: Objects, options: t.Callable[..., dict[str, t.Any]]) -> Run:
    """``restore(check=False, **options)`` of docs into copy."""

    def run(check: bool = False, **given: t.Any) -> _apply.Outcome:
        params = options("dsm_postgres_restore", **{"name": "copy", "source": "docs", **given})
        return _restore.restore(objects, params, check=check, waiter=None)

    return run


@pytest.fixture
def source(dsm: FakeDsm) -> FakeDsm:
    dsm.put(f"{CLUSTERS}/docs", SOURCE)
    return dsm


def copy(dsm: FakeDsm) -> dict[str, t.Any]:
    return dsm.objects[f"{CLUSTERS}/copy"]["spec"]


def test_the_source_s_settings_but_not_its_fence(source: FakeDsm, restore: Run) -> None:
    assert restore(timestamp=NOON, replicas=0).changed
    assert copy(source) == {
        **{key: SOURCE[key] for key in SOURCE if key not in ("blockDatabaseConnections", "unknownRole")},
        "replicas": 0,
        "databaseName": "docs",
        "basedOn": {"cluster": {"name": "docs", "timestamp": NOON}},
    }


def test_check_mode_makes_nothing(source: FakeDsm, restore: Run) -> None:
    assert restore(check=True).changed
    assert source.writes == []


@pytest.mark.parametrize("again", [{"timestamp": "2026-05-01T14:00:00+02:00"}, {}])
def test_the_same_again_is_unchanged(source: FakeDsm, restore: Run, again: dict[str, t.Any]) -> None:
    restore(timestamp=NOON)
    assert not restore(**again).changed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "other"}, "was restored from docs, not from other"),
        ({"timestamp": "2026-05-01T13:00:00Z"}, f"at {NOON}, not 2026-05-01T13"),
        ({"name": "docs", "source": "copy"}, "was not restored from any"),
    ],
)
def test_another_one_of_that_name_is_refused(
    source: FakeDsm, restore: Run, given: dict[str, t.Any], words: str
) -> None:
    restore(timestamp=NOON)
    writes = list(source.writes)
    with pytest.raises(ConflictError, match=words):
        restore(**given)
    assert source.writes == writes


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"name": "docs"}, InvalidSpecError, "another name"),
        ({"timestamp": "yesterday"}, InvalidSpecError, "RFC 3339"),
        ({"storage_space": "5Gi"}, RefusedError, "would have 5Gi"),
        ({"source": "gone"}, NotFoundError, "no PostgresCluster gone to restore copy from.* give version, vm_class"),
    ],
)
def test_what_cannot_be_restored(
    source: FakeDsm, restore: Run, given: dict[str, t.Any], kind: type[AutoscaleError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        restore(**given)
    assert source.writes == []


def test_a_source_that_is_gone_may_have_left_backups(dsm: FakeDsm, restore: Run) -> None:
    restore(**NEW, based_on_field="restoredFrom")
    assert copy(dsm)["restoredFrom"] == {"cluster": {"name": "docs"}}
