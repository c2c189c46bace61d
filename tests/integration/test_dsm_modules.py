# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSM modules as Ansible runs them (C1), against the emulator with a controller that is done at once."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.dsm_kit import CLUSTERS, CONFIGS, PASSWORD, SECRETS, SIZE, Run, Site, site

FULL = {"name": "full", "type": "full", "schedule": "0 1 * * 6"}
DAILY = {"name": "daily", "type": "incremental", "schedule": "0 2 1/1 * *"}
BACKUP = {"location": "s3-a", "retention_days": 14, "schedules": [FULL]}


@pytest.fixture(scope="module")
def dsm(run_module: Run) -> Iterator[Site]:
    with site(run_module, "fake") as found:
        yield found


@pytest.fixture
def docs(dsm: Site) -> str:
    """The name of a small cluster that is there."""
    name = dsm.name()
    dsm.cluster(name=name, **SIZE)
    return name


def spec(dsm: Site, name: str) -> dict[str, Any]:
    found = dsm.get(f"{CLUSTERS}/{name}")
    assert found
    return found["spec"]


def test_create_in_check_mode_for_real_and_again(dsm: Site) -> None:
    name = dsm.name()
    options = {
        **SIZE,
        "name": name,
        "replicas": 1,
        "admin_password": PASSWORD,
        "parameters": {"jit": False, "work_mem": "8MB"},
        "backup": BACKUP,
        "maintenance_window": {"start_day": "SUNDAY", "start_time": "02:00", "duration": "4h0m0s"},
        "placement": {"cluster": "cl-1", "datacenter": "dc"},
        "owner": "vectors@example.com",
        "labels": {"team": "search"},
        "annotations": {"example.com/ticket": "4711"},
        "shared_memory": "1Gi",
    }
    planned = dsm.cluster(**options, check=True, diff=True)
    assert planned["changed"]
    assert [dsm.get(f"{path}/{name}{end}") for path, end in ((CLUSTERS, ""), (CONFIGS, "-config"))] == [None, None]
    assert dsm.get(f"{SECRETS}/{name}-admin") is None

    made = dsm.cluster(**options, diff=True)
    assert made["changed"]
    assert made["diff"] == planned["diff"]
    assert made["cluster"]["ready"]
    assert made["cluster"]["version"].startswith("18.4+vmware")
    assert made["cluster"]["connection"]["secret"] == f"{name}-admin"
    assert spec(dsm, name)["databaseConfig"] == {"name": f"{name}-config"}
    config, secret = dsm.get(f"{CONFIGS}/{name}-config"), dsm.get(f"{SECRETS}/{name}-admin")
    assert config
    assert secret
    assert config["spec"] == {"params": {"jit": "off", "work_mem": "8MB"}}
    assert base64.b64decode(secret["data"]["password"]).decode() == PASSWORD

    written_otherwise = {
        "storage_space": "10Gi",
        "version": "18.4",
        "maintenance_window": {"duration": "240m"},
        "shared_memory": "1024Mi",
    }
    before = dsm.version(name)
    for given in (options, {**options, **written_otherwise}, {"name": name}):
        for check in (False, True):
            again = dsm.cluster(**given, check=check, diff=True)
            assert not again["changed"], given
            assert again["diff"]["before"] == again["diff"]["after"]
    assert dsm.version(name) == before


def test_what_is_not_given_stays_and_schedules_are_merged_by_name(dsm: Site, docs: str) -> None:
    dsm.cluster(name=docs, backup=BACKUP, parameters={"jit": "off", "work_mem": "8MB"})
    moved = {"name": "full", "type": "full", "schedule": "0 3 * * 6"}
    result = dsm.cluster(name=docs, backup={"schedules": [moved, DAILY]}, parameters={"jit": None}, diff=True)
    assert result["changed"]
    assert result["diff"]["before"]["parameters"] == {"jit": "off", "work_mem": "8MB"}
    assert result["diff"]["after"]["parameters"] == {"work_mem": "8MB"}
    found = spec(dsm, docs)
    assert (found["backupLocation"], found["backupConfig"]["backupRetentionDays"]) == ({"name": "s3-a"}, 14)
    assert found["backupConfig"]["schedules"] == [moved, DAILY]


def test_growing(dsm: Site, docs: str) -> None:
    grown = {"replicas": 3, "storage_space": "20Gi", "vm_class": "medium"}
    planned = dsm.cluster(name=docs, **grown, check=True)
    assert (planned["changed"], planned["cluster"]["replicas"]) == (True, 0)
    result = dsm.cluster(name=docs, **grown, diff=True)
    assert {key: result["cluster"][key] for key in grown} == grown
    assert (result["cluster"]["ready"], result["cluster"]["generation"]) == (True, 2)
    assert result["diff"]["before"]["spec"]["storageSpace"] == "10Gi"
    assert result["diff"]["after"]["spec"]["storageSpace"] == "20Gi"


@pytest.mark.parametrize("check", [True, False])
def test_shrinking_is_refused_and_nothing_else_of_the_call_is_done(dsm: Site, docs: str, check: bool) -> None:
    dsm.cluster(name=docs, replicas=1, vm_class="medium")
    before = dsm.version(docs)
    more = {"name": docs, "labels": {"new": "label"}, "parameters": {"work_mem": "8MB"}, "check": check}
    assert "replicas 1 to 0" in dsm.refused(**more, replicas=0)
    assert "storageSpace 10Gi to 5Gi" in dsm.refused(**more, storage_space="5Gi")
    assert "cannot shrink" in dsm.refused(**more, storage_space="5Gi", replicas=3)
    assert "vmClass medium to small (cpu 4 to 2)" in dsm.refused(**more, vm_class="small", replicas=3)
    assert dsm.version(docs) == before
    assert dsm.get(f"{CONFIGS}/{docs}-config") is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": "15"}, "'15' is not supported; supported versions: 18.4"),
        ({"storage_space": "much"}, "storage_space: value is 'much'; allowed: a quantity"),
        ({"storage_space": "500Mi"}, "spec.storageSpace"),
        ({"vm_class": "giant"}, "giant"),
        ({"storage_policy": "wood"}, "wood"),
        ({"infrastructure_policy": "none"}, "none"),
        ({"backup": {"location": "s3-x"}}, "there is no BackupLocation s3-x (s3-a)"),
        ({"vm_class": None}, "a new one needs vm_class"),
    ],
)
def test_what_dsm_would_not_make(dsm: Site, given: dict[str, Any], words: str) -> None:
    name = dsm.name()
    assert words in dsm.refused(**{**SIZE, "name": name, **given})
    assert dsm.get(f"{CLUSTERS}/{name}") is None


def test_a_field_that_dsm_does_not_know_is_told(dsm: Site, docs: str) -> None:
    """A Kubernetes API drops it silently."""
    assert "did not keep it: spec.misspelt" in dsm.refused(name=docs, spec_extra={"misspelt": 1})


def test_lock_and_unlock(dsm: Site, docs: str) -> None:
    locked = dsm.cluster(name=docs, storage_space="20Gi", lock="locked")
    assert (locked["cluster"]["locked"], locked["cluster"]["storage_space"]) == (True, "20Gi")
    before = dsm.version(docs)
    for given in ({"storage_space": "30Gi"}, {"parameters": {"jit": "off"}}, {"replicas": 1, "lock": "locked"}):
        text = dsm.refused(name=docs, **given)
        assert f"PostgresCluster {docs} is locked" in text
        assert "lock=unlocked_for_edit" in text
    assert dsm.version(docs) == before
    assert not dsm.cluster(name=docs, storage_space="20Gi", lock="locked")["changed"]

    open_ = {"name": docs, "storage_space": "30Gi", "lock": "unlocked_for_edit", "unlock_reason": "more documents"}
    assert dsm.cluster(**open_, check=True)["changed"]
    assert dsm.version(docs) == before
    result = dsm.cluster(**open_)
    assert (result["cluster"]["lock"], result["cluster"]["storage_space"]) == ("unlocked_for_edit", "30Gi")
    assert not dsm.cluster(**open_)["changed"]
    dsm.cluster(name=docs, lock="locked")
    assert "last unlocked for: more documents" in dsm.refused(name=docs, replicas=3)


def test_delete_needs_the_name_and_the_lock_open_and_takes_what_was_made(dsm: Site) -> None:
    name = dsm.name()
    dsm.cluster(name=name, **SIZE, admin_password=PASSWORD, parameters={"jit": "off"}, lock="locked")
    gone = {"name": name, "state": "absent"}
    for confirm in ("", f"{name}x"):
        assert "confirm_delete" in dsm.refused(**gone, confirm_delete=confirm)
    gone["confirm_delete"] = name
    assert "may not be deleted" in dsm.refused(**gone)
    assert "may not be deleted" in dsm.refused(**gone, lock="unlocked_for_edit")
    gone["lock"] = "unlocked_for_delete"
    assert dsm.cluster(**gone, check=True)["changed"]
    assert dsm.get(f"{CLUSTERS}/{name}")
    result = dsm.cluster(**gone, diff=True)
    assert (result["changed"], result["cluster"], result["diff"]["after"]) == (True, None, {})
    assert [dsm.get(f"{path}/{name}{end}") for path, end in ((CLUSTERS, ""), (CONFIGS, "-config"))] == [None, None]
    assert dsm.get(f"{SECRETS}/{name}-admin") is None
    assert not dsm.cluster(**gone)["changed"]


def test_another_password_changes_the_secret_and_is_shown_by_nobody(dsm: Site) -> None:
    name = dsm.name()
    dsm.cluster(name=name, **SIZE, admin_password="first-Pa55word")
    result = dsm.cluster(name=name, admin_password=PASSWORD, diff=True)
    assert result["changed"]
    assert result["diff"]["after"]["admin_password"] == "(not shown, another one)"
    assert "first-Pa55word" not in str(result)
    secret = dsm.get(f"{SECRETS}/{name}-admin")
    assert secret
    assert base64.b64decode(secret["data"]["password"]).decode() == PASSWORD
    assert not dsm.cluster(name=name, admin_password=PASSWORD)["changed"]


def test_a_user_without_administration_does_the_same(dsm: Site) -> None:
    name = dsm.name()
    options = {**dsm.args("user"), "name": name, **SIZE, "admin_password": PASSWORD}
    assert dsm.cluster(**options)["changed"]
    assert not dsm.cluster(**options)["changed"]
    assert dsm.cluster(**options, state="absent", confirm_delete=name)["changed"]


def test_a_kubeconfig_instead_of_a_login(dsm: Site, tmp_path: Path) -> None:
    name, by = dsm.name(), {"kubeconfig": dsm.row["kubeconfig"], "context": "dsm"}
    assert dsm.cluster(**by, name=name, **SIZE)["changed"]
    (row,) = dsm.run("dsm_postgres_cluster_info", **by, name=name)["clusters"]
    assert row["ready"]
    text = dsm.refused(kubeconfig=by["kubeconfig"], context="none", name=name)
    assert "Check the file and the context" in text
    assert "cannot be used" in dsm.refused(kubeconfig=str(tmp_path / "none"), name=name)


def test_info_of_one_of_all_and_of_none(dsm: Site, docs: str) -> None:
    dsm.cluster(name=docs, backup=BACKUP)
    found = dsm.run("dsm_postgres_cluster_info")
    assert not found["changed"]
    by_name = {row["name"]: row for row in found["clusters"]}
    (one,) = dsm.run("dsm_postgres_cluster_info", name=docs)["clusters"]
    assert by_name[docs] == one
    assert one["backup"] == BACKUP
    assert (one["based_on"], one["nodes"]) == (None, [])
    assert dsm.run("dsm_postgres_cluster_info", name="none")["clusters"] == []
    missing = dsm.run("dsm_postgres_cluster_info", name="none", passfile="/tmp/none")
    assert "There is no PostgresCluster none" in missing["msg"]


def test_the_password_goes_into_a_file_and_nowhere_else(dsm: Site, tmp_path: Path) -> None:
    name, path = dsm.name(), tmp_path / "pgpass"
    made = dsm.cluster(name=name, **SIZE, admin_password=PASSWORD)["cluster"]["connection"]
    path.write_text("other:5432:*:me:mine\n")
    for check, changed in ((True, True), (False, True), (False, False)):
        result = dsm.run("dsm_postgres_cluster_info", name=name, passfile=str(path), check=check, diff=True)
        assert (result["changed"], result["passfile"]) == (changed, str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines() == [
        rf"{made['host']}:{made['port']}:*:pgadmin:ge\:heim\\S3cret",
        "other:5432:*:me:mine",
    ]


def test_restore_makes_a_new_cluster_once(dsm: Site, docs: str) -> None:
    dsm.cluster(name=docs, backup=BACKUP, replicas=1)
    options = {"name": f"{docs}-noon", "source": docs, "timestamp": "2026-05-01T12:00:00Z", "replicas": 0}
    planned = dsm.run("dsm_postgres_restore", **options, check=True, diff=True)
    assert planned["changed"]
    assert dsm.get(f"{CLUSTERS}/{docs}-noon") is None
    made = dsm.run("dsm_postgres_restore", **options, diff=True)
    assert (made["changed"], made["cluster"]["ready"], made["cluster"]["replicas"]) == (True, True, 0)
    assert made["diff"] == planned["diff"]
    assert spec(dsm, f"{docs}-noon")["basedOn"] == {"cluster": {"name": docs, "timestamp": options["timestamp"]}}
    assert not dsm.run("dsm_postgres_restore", **options)["changed"]
    (row,) = dsm.run("dsm_postgres_cluster_info", name=f"{docs}-noon")["clusters"]
    assert row["based_on"] == {"name": docs, "timestamp": options["timestamp"]}
    later = dsm.run("dsm_postgres_restore", **{**options, "timestamp": "2026-05-01T13:00:00Z"})
    assert "exists and was restored" in later["msg"]


def test_backups_are_told(dsm: Site, docs: str) -> None:
    assert not dsm.run("dsm_backup_info", name=docs)["backups"][0]["restorable"]
    dsm.cluster(name=docs, backup={**BACKUP, "schedules": [FULL, DAILY]})
    (row,) = dsm.run("dsm_backup_info", name=docs, status_query="conditions[0].type")["backups"]
    assert {key: row[key] for key in ("cluster", "archived", "location", "location_ready", "retention_days")} == {
        "cluster": docs, "archived": False, "location": "s3-a", "location_ready": True, "retention_days": 14
    }  # fmt: skip
    assert [entry["next"][10:] for entry in row["schedules"]] == ["T01:00:00Z", "T02:00:00Z"]
    assert (row["restorable"], row["status"]) == (True, "Ready")
    assert docs in [each["cluster"] for each in dsm.run("dsm_backup_info")["backups"]]
    assert dsm.run("dsm_backup_info", name="none")["backups"] == []
