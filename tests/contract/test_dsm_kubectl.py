# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSM emulator answers kubectl (C1): the one on PATH, and Debian's 1.20, which asks in other ways."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.debs import binary
from lab.kit import wait_for

KUBECTLS = {"debian": True, **({"path": False} if shutil.which("kubectl") else {})}


NUMBERS = itertools.count()


class Kubectl:
    """kubectl as one user of the emulator."""

    def __init__(self, program: Path, kubeconfig: Path, cache: Path) -> None:
        self.words = [str(program), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}"]
        self.environment = {**os.environ, "HOME": str(cache)}

    def run(self, *words: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.words, *words],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
            check=False,
        )

    def __call__(self, *words: str, given: Any = None) -> str:
        done = self.run(*words, given=given)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *words: str, given: Any = None) -> str:
        done = self.run(*words, given=given)
        assert done.returncode != 0, f"{words} was not refused: {done.stdout}"
        return done.stderr

    def object(self, name: str) -> dict[str, Any]:
        return json.loads(self("get", "postgrescluster", name, "-o", "json"))

    def patch(self, name: str, spec: dict[str, Any]) -> tuple[str, ...]:
        return ("patch", "postgrescluster", name, "--type=merge", "-p", json.dumps({"spec": spec}))


@pytest.fixture(scope="module", params=sorted(KUBECTLS))
def kubectl_as(request, dsm_site, tmp_path_factory) -> Callable[..., Kubectl]:
    program = binary("kubectl", packaged=KUBECTLS[request.param])
    folder = tmp_path_factory.mktemp(request.param)

    def make(user: str, token: str = "") -> Kubectl:
        path = folder / (f"{user}-late" if token else user)
        path.write_text(dsm_site.kubeconfig(user, token))
        path.chmod(0o600)
        return Kubectl(program, path, folder / "cache")

    return make


@pytest.fixture(scope="module")
def kubectl(kubectl_as) -> Kubectl:
    return kubectl_as("admin")


@pytest.fixture
def cluster(kubectl, dsm_manifest):
    """The name of a cluster of the test's own, ready and gone with it."""
    name = f"pg-{next(NUMBERS)}"
    kubectl("apply", "-f", "-", given=dsm_manifest(name))
    kubectl("wait", "--for=condition=Ready", f"postgrescluster/{name}", "--timeout=20s")
    yield name
    kubectl("label", "postgrescluster", name, "--overwrite", "dsm.vmware.com/locked-status=unlocked-for-delete")
    kubectl("delete", "postgrescluster", name)


def test_apply_wait_get_and_apply_again_which_changes_nothing(kubectl, cluster, dsm_manifest):
    before = kubectl.object(cluster)
    assert before["spec"]["databaseName"] == cluster
    assert before["metadata"]["annotations"]["dsm.vmware.com/owner"].startswith("admin@")
    table = kubectl("get", "postgresclusters")
    assert table.split()[:6] == ["NAME", "READY", "VERSION", "REPLICAS", "VMCLASS", "STORAGE"]
    assert f"{cluster}" in table
    kubectl("apply", "-f", "-", given=dsm_manifest(cluster))
    after = kubectl.object(cluster)
    for field in ("generation", "resourceVersion"):
        assert after["metadata"][field] == before["metadata"][field]


def test_generation_rises_with_the_spec_only(kubectl, cluster):
    first = kubectl.object(cluster)["metadata"]["generation"]
    kubectl("label", "postgrescluster", cluster, "team=search")
    assert kubectl.object(cluster)["metadata"]["generation"] == first
    kubectl(*kubectl.patch(cluster, {"replicas": 1}))
    assert kubectl.object(cluster)["metadata"]["generation"] == first + 1
    kubectl("wait", "--for=condition=Ready", f"postgrescluster/{cluster}", "--timeout=20s")


def test_watch_tells_what_happens(kubectl, cluster):
    words = ["get", "postgrescluster", cluster, "--watch", "-o", "jsonpath={.metadata.labels.seen}#\n"]
    watching = subprocess.Popen([*kubectl.words, *words], stdout=subprocess.PIPE, text=True, env=kubectl.environment)
    try:
        assert watching.stdout.readline() == "#\n"
        kubectl("label", "postgrescluster", cluster, "seen=yes")
        assert watching.stdout.readline() == "yes#\n"
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_delete_waits_until_the_finalizer_is_gone(kubectl, dsm_manifest):
    held = dsm_manifest("held")
    held["metadata"]["finalizers"] = ["lab.example.com/held"]
    kubectl("apply", "-f", "-", given=held)
    words = ["delete", "postgrescluster", "held"]
    deleting = subprocess.Popen([*kubectl.words, *words], stdout=subprocess.DEVNULL, env=kubectl.environment)
    try:
        wait_for(lambda: "deletionTimestamp" in kubectl.object("held")["metadata"], what="the mark of deletion")
        assert deleting.poll() is None
    finally:
        kubectl("patch", "postgrescluster", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert deleting.wait(20) == 0
    assert "NotFound" in kubectl.refused("get", "postgrescluster", "held")


@pytest.mark.parametrize(
    ("grown", "shrunk", "words"),
    [
        ({"replicas": 3}, {"replicas": 1}, "scale in from 3 to 1"),
        ({"storageSpace": "1Ti"}, {"storageSpace": "100Gi"}, "cannot be reduced from 1Ti to 100Gi"),
        ({"vmClass": {"name": "large"}}, {"vmClass": {"name": "medium"}}, "'medium' has less cpu than 'large'"),
    ],
)
def test_shrinking_is_denied(kubectl, cluster, grown, shrunk, words):
    kubectl(*kubectl.patch(cluster, grown))
    refusal = kubectl.refused(*kubectl.patch(cluster, shrunk))
    assert "denied the request" in refusal
    assert words in refusal


def test_a_locked_cluster_is_neither_changed_nor_deleted(kubectl, cluster):
    label = ("label", "postgrescluster", cluster, "--overwrite")
    lock = "dsm.vmware.com/locked-status"
    kubectl(*label, f"{lock}=locked")
    assert "is locked" in kubectl.refused(*kubectl.patch(cluster, {"replicas": 1}))
    assert "unlocked-for-delete" in kubectl.refused("delete", "postgrescluster", cluster)
    kubectl(*label, f"{lock}=unlocked-for-edit")
    kubectl(*kubectl.patch(cluster, {"replicas": 1}))
    assert "unlocked-for-delete" in kubectl.refused("delete", "postgrescluster", cluster)
    assert "is not one of" in kubectl.refused(*label, f"{lock}=open")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": 2}, 'spec.replicas: Unsupported value: 2: supported values: "0", "1", "3"'),
        ({"storageSpace": "20GB"}, "spec.storageSpace"),
        ({"version": "12"}, "'12' is not supported; supported versions: 18.4+vmware"),
        ({"version": "16.8"}, "is not installed here"),
        ({"vmClass": {"name": "huge"}}, "vmclasses 'huge' not found"),
        ({"infrastructurePolicy": {"name": "none"}}, "infrastructurepolicies 'none' not found"),
        ({"storagePolicyName": "bronze"}, "'bronze' is not in infrastructure policy 'ai': gold, silver"),
        ({"backupLocation": {"name": "tape"}}, "backuplocations 'tape' not found"),
        ({"databaseConfig": {"name": "fast"}}, "databaseconfigs 'fast' not found"),
        ({"adminPasswordRef": {"name": "no-secret"}}, "secrets 'no-secret' not found"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(kubectl, dsm_manifest, change, words):
    assert words in kubectl.refused("apply", "-f", "-", given=dsm_manifest("wrong", **change))
    assert "NotFound" in kubectl.refused("get", "postgrescluster", "wrong")


def test_dry_run_on_the_server_fills_in_and_keeps_nothing(kubectl, dsm_manifest):
    shown = kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", given=dsm_manifest("tried", version="18"))
    assert json.loads(shown)["spec"]["version"].startswith("18.4+")
    assert "NotFound" in kubectl.refused("get", "postgrescluster", "tried")


def test_server_side_apply_knows_whose_field_it_is(kubectl, dsm_manifest):
    first = dsm_manifest("shared-fields")
    words = ("apply", "--server-side", "-f", "-")
    try:
        kubectl(*words, "--field-manager=one", given=first)
        other = dsm_manifest("shared-fields", storageSpace="30Gi")
        refusal = kubectl.refused(*words, "--field-manager=two", given=other)
        assert 'conflict with "one"' in refusal
        assert ".spec.storageSpace" in refusal
        kubectl(*words, "--field-manager=two", "--force-conflicts", given=other)
        assert kubectl.object("shared-fields")["spec"]["storageSpace"] == "30Gi"
    finally:
        kubectl("delete", "postgrescluster", "shared-fields")


def test_a_stale_object_does_not_replace_a_newer_one(kubectl, cluster):
    stale = kubectl.object(cluster)
    kubectl("label", "postgrescluster", cluster, "newer=yes")
    assert "the object has been modified" in kubectl.refused("replace", "-f", "-", given=stale)


def test_explain_and_the_list_of_kinds_come_from_the_schema(kubectl):
    assert "FIELD" in (text := kubectl("explain", "postgrescluster.spec.maintenanceWindow")).upper()
    assert "startDay" in text
    kinds = kubectl("api-resources", "--api-group=infrastructure.dataservices.vmware.com", "-o", "name")
    assert "vmclasses.infrastructure.dataservices.vmware.com" in kinds.split()


def test_the_wrong_persona_is_told_in_the_vendors_words(kubectl_as, dsm_manifest):
    refusal = kubectl_as("infra").refused("create", "-f", "-", given=dsm_manifest("mine"))
    assert 'denied - role "INFRA_ADMIN" has no permission "C" on databases.dataservices.vmware.com/v1alpha1' in refusal
    refusal = kubectl_as("user").refused("delete", "vmclass", "small")
    assert (
        'denied - role "DSM_USER" has no permission "D" on infrastructure.dataservices.vmware.com/v1alpha1' in refusal
    )


def test_a_token_that_has_ended_must_be_renewed(kubectl_as, dsm_site):
    late = kubectl_as("user", dsm_site.ended_token("user"))
    assert "must be logged in" in late.refused("get", "postgresclusters")
