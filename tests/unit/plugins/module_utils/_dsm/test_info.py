# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of clusters and backups, and the one way of a password: into a file."""

from __future__ import annotations

import base64
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    InvalidSpecError,
    NotFoundError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _info
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm._objects import Objects
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_dsm import CLUSTERS, DATABASES, SECRETS, FakeDsm

DOCS = f"{CLUSTERS}/docs"
PLAN = {
    "backupLocation": {"name": "s3-a"},
    "backupConfig": {
        "backupRetentionDays": 14,
        "schedules": [{"name": "full", "type": "full", "schedule": "0 1 * * 6"}],
    },
}
NODES = {"labNodes": [{"name": "docs-0", "host": "192.0.2.10", "port": 5432}, {"host": "192.0.2.11", "port": 5432}]}
NOW = datetime(2026, 4, 29, tzinfo=timezone.utc)


def write(objects: Objects, path: Path, hidden: list[str], query: str | None = None) -> tuple[str, bool]:
    (row,) = _info.clusters(objects, "docs", query)
    return _info.write_passfile(objects, row, str(path), database="*", check=False, hide=hidden.append)


def test_a_row_has_nodes_and_origin_and_no_password(dsm: FakeDsm, objects: Objects) -> None:
    based = {"basedOn": {"cluster": {"name": "old", "timestamp": "2026-01-01T00:00:00Z"}}}
    found = dsm.put(DOCS, {**PLAN, **based, "replicas": 1})
    found["status"].update(NODES)
    found["metadata"]["labels"] = {"team": "search"}
    (row,) = _info.clusters(objects, None, "labNodes")
    assert [node["host"] for node in row["nodes"]] == ["192.0.2.10", "192.0.2.11"]
    assert row["based_on"] == {"name": "old", "timestamp": "2026-01-01T00:00:00Z"}
    assert row["labels"] == {"team": "search"}
    assert row["connection"]["secret"] == "docs-pw"
    assert row["backup"]["retention_days"] == 14
    assert _info.clusters(objects, "none", None) == []


def test_a_query_that_is_none_is_refused(dsm: FakeDsm, objects: Objects) -> None:
    dsm.put(DOCS, {})
    with pytest.raises(InvalidSpecError, match="nodes_query"):
        _info.clusters(objects, "docs", "a[")


def test_the_password_goes_into_the_file_for_the_address_and_the_nodes(
    dsm: FakeDsm, objects: Objects, tmp_path: Path
) -> None:
    dsm.put(DOCS, {})["status"].update(NODES)
    dsm.put(f"{SECRETS}/docs-pw", data={"password": base64.b64encode(b"s3cret").decode()})
    hidden: list[str] = []
    path = tmp_path / "pgpass"
    assert write(objects, path, hidden, "labNodes") == (str(path), True)
    assert path.read_text().splitlines() == [f"192.0.2.1{n}:5432:*:pgadmin:s3cret" for n in (0, 1)]
    assert hidden == ["s3cret"]
    assert write(objects, path, hidden, "labNodes") == (str(path), False)


def not_ready(dsm: FakeDsm) -> None:
    dsm.objects[DOCS]["status"] = {}


def not_readable(dsm: FakeDsm) -> None:
    dsm.denied = {SECRETS}


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (not_ready, RefusedError, "has no address or no Secret yet"),
        (not_readable, RefusedError, "may not be read by this account"),
        (lambda dsm: None, NotFoundError, "does not exist or has no key password"),
    ],
)
def test_no_password_no_file(
    dsm: FakeDsm,
    objects: Objects,
    tmp_path: Path,
    spoil: t.Callable[[FakeDsm], None],
    kind: type[AutoscaleError],
    words: str,
) -> None:
    dsm.put(DOCS, {})
    spoil(dsm)
    with pytest.raises(kind, match=words):
        write(objects, tmp_path / "pgpass", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ready", "told", "restorable"), [("True", True, True), ("False", False, False)])
def test_backups_are_told_with_their_next_time(
    dsm: FakeDsm, objects: Objects, ready: str, told: bool, restorable: bool
) -> None:
    dsm.put(DOCS, PLAN)["status"]["backups"] = {"last": "x"}
    dsm.put(f"{CLUSTERS}/plain", {})
    dsm.put(f"{DATABASES}/backuplocations/s3-a", status={"conditions": [{"type": "Ready", "status": ready}]})
    dsm.put(f"{DATABASES}/archivedpostgresclusters/old", PLAN)
    docs, plain, old = _info.backups(objects, None, "backups.last", NOW)
    assert (docs["location_ready"], docs["restorable"], docs["status"]) == (told, restorable, "x")
    assert docs["schedules"][0]["next"] == "2026-05-02T01:00:00Z"
    assert (plain["location"], plain["restorable"]) == ("", False)
    assert (old["cluster"], old["archived"], old["restorable"]) == ("old", True, True)
    assert [row["cluster"] for row in _info.backups(objects, "old", None, NOW)] == ["old"]


def test_a_location_that_may_not_be_read_is_not_guessed(dsm: FakeDsm, objects: Objects) -> None:
    dsm.put(DOCS, PLAN)
    dsm.denied = {f"{DATABASES}/backuplocations"}
    (docs,) = _info.backups(objects, "docs", None, NOW)
    assert (docs["location_ready"], docs["restorable"]) == (None, True)
