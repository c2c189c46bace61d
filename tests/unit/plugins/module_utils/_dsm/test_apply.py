# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is there to what is wanted (C1): idempotent, refused before anything is sent, honest after a failure."""

from __future__ import annotations

import base64
import typing as t

import pytest
import urllib3

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    ConflictError,
    InvalidSpecError,
    RefusedError,
    UnsettledError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _apply
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm._objects import MADE_FOR, Objects
from ansible_collections.onprem.autoscale.tests.unit.kit import fake_dsm
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_dsm import CLUSTERS, CONFIGS, SECRETS, FakeDsm
from ansible_collections.onprem.autoscale.tests.unit.kit.http_talk import Clock

from .conftest import NEW

DOCS = f"{CLUSTERS}/docs"
LOCK = "dsm.vmware.com/locked-status"
CUT = urllib3.exceptions.ProtocolError("Connection aborted.")
Options = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def present(objects: Objects, options: Options) -> t.Callable[..., _apply.Outcome]:
    """``present(check=False, waiter=None, **options)`` of the cluster docs."""

    def run(check: bool = False, waiter: t.Any = None, warn: t.Any = pytest.fail, **given: t.Any) -> _apply.Outcome:
        params = options("dsm_postgres_cluster", name="docs", **given)
        return _apply.present(objects, params, check=check, waiter=waiter, warn=warn)

    return run


@pytest.fixture
def absent(objects: Objects, options: Options) -> t.Callable[..., _apply.Outcome]:
    """The same for a deletion."""

    def run(check: bool = False, waiter: t.Any = lambda: Waiter(0), **given: t.Any) -> _apply.Outcome:
        params = options("dsm_postgres_cluster", name="docs", state="absent", **{"confirm_delete": "docs", **given})
        return _apply.absent(objects, params, check=check, waiter=waiter)

    return run


Run = t.Callable[..., _apply.Outcome]


def spec(dsm: FakeDsm) -> dict[str, t.Any]:
    return dsm.objects[DOCS]["spec"]


def test_create_and_again_unchanged(dsm: FakeDsm, present: Run) -> None:
    outcome = present(**NEW, parameters={"jit": False, "work_mem": "8MB"}, admin_password="s3cret")
    assert outcome.changed
    assert [path for _method, path in dsm.writes] == [CONFIGS, SECRETS, CLUSTERS]
    assert dsm.objects[f"{CONFIGS}/docs-config"]["spec"] == {"params": {"jit": "off", "work_mem": "8MB"}}
    assert base64.b64decode(dsm.objects[f"{SECRETS}/docs-admin"]["data"]["password"]) == b"s3cret"
    assert spec(dsm)["databaseConfig"] == {"name": "docs-config"}
    assert spec(dsm)["adminPasswordRef"] == {"name": "docs-admin"}
    assert "s3cret" not in str(outcome.result(diff=True))
    before = list(dsm.writes)
    assert not present(**NEW, parameters={"jit": False, "work_mem": "8MB"}, admin_password="s3cret").changed
    assert dsm.writes == before


def test_the_password_of_replication_has_a_secret_of_its_own(dsm: FakeDsm, present: Run) -> None:
    """C4: what spec_extra of a cluster that follows another one names."""
    outcome = present(**NEW, replication_password="s3cret")
    assert base64.b64decode(dsm.objects[f"{SECRETS}/docs-replication"]["data"]["password"]) == b"s3cret"
    assert "adminPasswordRef" not in spec(dsm)
    assert outcome.after["replication_password"] == "(not shown)"
    assert "s3cret" not in str(outcome.result(diff=True))
    assert not present(**NEW, replication_password="s3cret").changed


def test_check_mode_sends_nothing_that_changes(dsm: FakeDsm, present: Run) -> None:
    outcome = present(check=True, **NEW, parameters={"a": 1}, admin_password="s3cret", lock="locked")
    assert outcome.changed
    assert dsm.writes == []
    result = outcome.result(diff=True)
    assert result["cluster"]["generation"] == 0
    assert result["diff"]["after"]["admin_password"] == "(not shown)"
    assert "s3cret" not in str(result)


def test_a_server_that_expands_the_version_changes_nothing(dsm: FakeDsm, present: Run) -> None:
    def expand(body: dict[str, t.Any]) -> None:
        if body.get("spec", {}).get("version") == "16":
            body["spec"]["version"] = "16.8+vmware.v9"

    dsm.keep = expand
    present(**NEW)
    assert not present(**NEW).changed


def test_growing_keeps_what_nobody_spoke_of(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, {**present_spec(), "replicas": 0, "unknown": {"a": 1}})
    assert present(replicas=1, storage_space="20Gi").changed
    assert (spec(dsm)["replicas"], spec(dsm)["storageSpace"], spec(dsm)["unknown"]) == (1, "20Gi", {"a": 1})


def present_spec() -> dict[str, t.Any]:
    return {
        "version": "16.8",
        "vmClass": {"name": "medium"},
        "storageSpace": "10Gi",
        "storagePolicyName": "gold",
        "infrastructurePolicy": {"name": "ai"},
        "replicas": 1,
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"replicas": 0}, "replicas 1 to 0"),
        ({"storage_space": "9G"}, "storageSpace 10Gi to 9G"),
        ({"vm_class": "small"}, "vmClass medium to small .cpu 4 to 2.; .*memory 8Gi to 4Gi"),
    ],
)
def test_shrinking_is_refused_before_anything_is_sent(
    dsm: FakeDsm, present: Run, given: dict[str, t.Any], words: str
) -> None:
    """C1: also what would grow in the same call is not sent."""
    dsm.put(DOCS, present_spec())
    for name, cpu, memory in (("small", "2", "4Gi"), ("medium", "4", "8Gi")):
        dsm.put(f"{fake_dsm.CLASSES}/{name}", {"requests": {"cpu": cpu, "memory": memory}})
    for check in (True, False):
        with pytest.raises(RefusedError, match=words):
            present(check=check, **given, parameters={"a": "1"}, shared_memory="1Gi")
    assert dsm.writes == []


def test_a_class_that_may_not_be_read_is_dsm_s_to_judge(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec())
    dsm.denied = {"/apis/infrastructure"}
    assert present(vm_class="small").changed


def test_what_a_policy_does_not_offer_is_named_with_what_it_does(dsm: FakeDsm, present: Run) -> None:
    offered = {"vmClasses": [{"name": "large"}], "storagePolicies": ["gold"]}
    dsm.put(f"{fake_dsm.POLICIES}/ai", offered)
    with pytest.raises(RefusedError, match=r"VM class small is not in InfrastructurePolicy ai \(large\)") as caught:
        present(**NEW, backup={"location": "s3-x"})
    assert "BackupLocation" not in str(caught.value)
    dsm.put(f"{fake_dsm.DATABASES}/backuplocations/s3-a", {})
    with pytest.raises(RefusedError, match=r"there is no InfrastructurePolicy none \(ai\)") as caught:
        present(**{**NEW, "infrastructure_policy": "none"}, backup={"location": "s3-x"})
    assert "there is no BackupLocation s3-x (s3-a)" in str(caught.value)
    assert dsm.writes == []


def test_a_new_cluster_names_what_it_lacks(dsm: FakeDsm, present: Run) -> None:
    with pytest.raises(
        InvalidSpecError, match="There is no PostgresCluster docs, and a new one needs version, vm_class"
    ):
        present(replicas=1)
    labels = {"dsm.vmware.com/vm-class": "small", "dsm.vmware.com/infra-policy": "ai"}
    rest = {key: NEW[key] for key in ("version", "storage_space", "storage_policy")}
    assert present(check=True, **rest, labels=labels).changed
    assert dsm.writes == []


def test_a_locked_cluster_is_changed_only_by_a_call_that_unlocks_it(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec(), metadata={"labels": {LOCK: "locked"}})
    for given in ({"storage_space": "20Gi"}, {"parameters": {"a": "1"}}):
        with pytest.raises(ConflictError, match="is locked"):
            present(**given)
    assert dsm.writes == []
    assert not present(lock="locked").changed
    assert present(storage_space="20Gi", lock="unlocked_for_edit", unlock_reason="more room").changed
    assert dsm.writes == [("PUT", DOCS)] * 2
    assert dsm.objects[DOCS]["metadata"]["annotations"]["dsm.vmware.com/unlock-reason"] == "more room"


def test_the_lock_comes_last_and_the_unlocking_first(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec())
    seen = []
    dsm.keep = lambda body: seen.append((body["metadata"].get("labels", {}).get(LOCK), body["spec"]["storageSpace"]))
    present(storage_space="20Gi", lock="locked")
    present(storage_space="30Gi", lock="unlocked_for_edit")
    assert seen == [
        (None, "20Gi"),
        ("locked", "20Gi"),
        ("unlocked-for-edit", "20Gi"),
        ("unlocked-for-edit", "30Gi"),
    ]


def test_a_conflict_is_read_again_and_repeated(dsm: FakeDsm, present: Run) -> None:
    """The other one's change stays."""
    dsm.put(DOCS, present_spec())
    other = {**present_spec(), "maintenanceWindow": {"startDay": "MONDAY"}}
    for _time in range(3):
        dsm.fault("PUT", DOCS, before=lambda: dsm.put(DOCS, other))
    assert present(replicas=3).changed
    assert (spec(dsm)["replicas"], spec(dsm)["maintenanceWindow"]) == (3, {"startDay": "MONDAY"})
    assert len(dsm.writes) == 4


def test_a_conflict_each_time_ends(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec())
    for _time in range(20):
        dsm.fault("PUT", DOCS, status=409, message="modified")
    with pytest.raises(ConflictError, match="10 times in a row"):
        present(replicas=3)


def test_somebody_who_shrinks_meanwhile_is_not_overruled(dsm: FakeDsm, present: Run) -> None:
    """What was a growth is a shrink now: refused, as at the beginning."""
    dsm.put(DOCS, present_spec())
    dsm.fault("PUT", DOCS, before=lambda: dsm.put(DOCS, {**present_spec(), "storageSpace": "40Gi"}))
    with pytest.raises(RefusedError, match="40Gi to 20Gi"):
        present(storage_space="20Gi")


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 504}, {"error": CUT}], ids=["500", "504", "cut"])
def test_done_but_answered_with_a_failure_is_found_by_reading(
    dsm: FakeDsm, present: Run, how: dict[str, t.Any]
) -> None:
    """Each write once, and nothing is sent twice."""
    for path in (CONFIGS, SECRETS, CLUSTERS):
        dsm.fault("POST", path, applied=True, **how)
    assert present(**NEW, parameters={"a": "1"}, admin_password="x").changed
    assert len(dsm.writes) == 3
    dsm.fault("PUT", DOCS, applied=True, **how)
    assert present(storage_space="20Gi").changed
    assert len(dsm.writes) == 4


@pytest.mark.parametrize(("path", "method"), [(CLUSTERS, "POST"), (CONFIGS, "POST"), (SECRETS, "POST")])
def test_a_change_that_was_not_made_fails_and_is_not_sent_again(
    dsm: FakeDsm, present: Run, path: str, method: str
) -> None:
    dsm.fault(method, path, status=500, message="no")
    with pytest.raises(UnsettledError):
        present(**NEW, parameters={"a": "1"}, admin_password="x")
    assert dsm.writes.count((method, path)) == 1


def test_a_change_of_an_object_that_was_not_made_is_not_sent_again(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec())
    dsm.fault("PUT", DOCS, error=CUT)
    with pytest.raises(UnsettledError):
        present(replicas=3)
    assert len(dsm.writes) == 1


def test_two_that_create_at_once_agree(dsm: FakeDsm, present: Run) -> None:
    dsm.fault("POST", CLUSTERS, before=lambda: dsm.put(DOCS, present_spec()))
    present(**{**NEW, "vm_class": "medium"}, replicas=3)
    assert spec(dsm)["replicas"] == 3


def test_a_field_that_dsm_drops_is_told(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, present_spec())
    dsm.keep = lambda body: body["spec"].pop("misspelt", None)
    with pytest.raises(RefusedError, match=r"did not keep it: spec\.misspelt"):
        present(spec_extra={"misspelt": 1})
    assert len(dsm.writes) == 1


def test_a_secret_that_may_not_be_read_is_left_and_told(dsm: FakeDsm, present: Run) -> None:
    dsm.put(DOCS, {**present_spec(), "adminPasswordRef": {"name": "docs-admin"}})
    dsm.denied = {f"{SECRETS}/docs-admin"}
    said: list[str] = []
    assert not present(admin_password="new", warn=said.append).changed
    assert "may not be read" in said[0]


def test_ready_is_of_the_spec_as_it_is_now(dsm: FakeDsm, present: Run) -> None:
    """Ready of the generation before counts for nothing."""
    dsm.put(DOCS, present_spec())
    dsm.ready = False
    clock = Clock()
    looks: list[int] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        looks.append(dsm.objects[DOCS]["metadata"]["generation"])
        if len(looks) == 3:
            dsm.objects[DOCS]["status"] = dsm.status(dsm.objects[DOCS])

    outcome = present(replicas=3, waiter=lambda: Waiter(60, 1, clock=clock, sleep=sleep))
    assert outcome.result(diff=False)["cluster"]["ready"]
    assert looks == [2, 2, 2]


def test_a_wait_lives_through_an_outage_and_its_end_shows_what_is_there(dsm: FakeDsm, present: Run) -> None:
    dsm.ready = False
    clock = Clock()
    dsm.put(DOCS, present_spec(), status={"conditions": [{"type": "Ready", "status": "False", "reason": "Cloning"}]})
    for _time in range(2):
        dsm.fault("GET", DOCS, status=503)
    dsm.faults.insert(0, fake_dsm.Fault("GET", DOCS))  # the first look is that before the wait
    with pytest.raises(WaitTimeoutError, match="did not happen within 60 s; DSM says Cloning") as caught:
        present(waiter=lambda: Waiter(60, 5, clock=clock, sleep=clock.sleep))
    assert caught.value.result["cluster"]["reason"] == "Cloning"
    assert caught.value.result["changed"] is False


# ---- deletion ----------------------------------------------------------------------------------------------------


def made(dsm: FakeDsm, *, lock: str = "") -> None:
    dsm.put(DOCS, present_spec(), metadata={"labels": {LOCK: lock}} if lock else {})
    for path in (f"{CONFIGS}/docs-config", f"{SECRETS}/docs-admin"):
        dsm.put(path, metadata={"labels": {MADE_FOR: "docs"}})


def test_delete_takes_what_was_made_for_it_and_again_is_unchanged(dsm: FakeDsm, absent: Run) -> None:
    made(dsm)
    outcome = absent(check=True)
    assert (outcome.changed, dsm.writes) == (True, [])
    assert absent().result(diff=False) == {"changed": True, "cluster": None}
    assert dsm.objects == {}
    assert [path for _method, path in dsm.writes] == [DOCS, f"{CONFIGS}/docs-config", f"{SECRETS}/docs-admin"]
    assert not absent().changed


@pytest.mark.parametrize("confirm", ["doc", "", "Docs"])
def test_delete_needs_the_name_twice(dsm: FakeDsm, absent: Run, confirm: str) -> None:
    made(dsm)
    with pytest.raises(InvalidSpecError, match="confirm_delete"):
        absent(confirm_delete=confirm)
    assert dsm.calls == []


@pytest.mark.parametrize("lock", ["locked", "unlocked-for-edit"])
def test_a_locked_cluster_is_deleted_only_when_it_is_unlocked_for_it(dsm: FakeDsm, absent: Run, lock: str) -> None:
    made(dsm, lock=lock)
    with pytest.raises(ConflictError, match="may not be deleted"):
        absent()
    assert dsm.writes == []
    assert absent(lock="unlocked_for_delete", unlock_reason="old").changed
    assert dsm.writes[:2] == [("PUT", DOCS), ("DELETE", DOCS)]


def test_what_others_made_or_use_stays(dsm: FakeDsm, absent: Run) -> None:
    made(dsm)
    dsm.put(f"{CONFIGS}/docs-config", metadata={"labels": {}})
    dsm.put(f"{CLUSTERS}/copy", {"adminPasswordRef": {"name": "docs-admin"}})
    dsm.objects[f"{CONFIGS}/docs-config"]["metadata"]["labels"] = {}
    absent()
    assert sorted(dsm.objects) == sorted([f"{CONFIGS}/docs-config", f"{SECRETS}/docs-admin", f"{CLUSTERS}/copy"])


def test_a_deletion_whose_answer_was_lost_is_settled_by_reading(dsm: FakeDsm, absent: Run) -> None:
    made(dsm)
    dsm.fault("DELETE", DOCS, applied=True, error=CUT)
    assert absent().changed
    made(dsm)
    dsm.fault("DELETE", DOCS, status=500)
    with pytest.raises(AutoscaleError):
        absent()
    assert DOCS in dsm.objects


def test_a_deletion_that_takes_long_leaves_the_rest_for_the_next_run(dsm: FakeDsm, absent: Run) -> None:
    made(dsm)
    dsm.fault("DELETE", DOCS, before=lambda: dsm.put(DOCS, metadata={"deletionTimestamp": "now"}), status=200)
    with pytest.raises(WaitTimeoutError, match="The end of PostgresCluster docs"):
        absent()
    assert f"{SECRETS}/docs-admin" in dsm.objects
    del dsm.objects[DOCS]
    assert absent().changed
    assert dsm.objects == {}
