# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSM emulator against Ansible's own collection for Kubernetes, kubernetes.core (C1).

One playbook runs everything, for an ansible process costs seconds; each task stores its result, each test reads one.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

READY = {"wait": True, "wait_timeout": 30, "wait_condition": {"type": "Ready", "status": "True"}}
WHERE = {"api_version": "databases.dataservices.vmware.com/v1alpha1", "kind": "PostgresCluster", "name": "ansible"}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ansible-admin", "namespace": "default"}}


def task(label: str, module: str, /, check: bool = False, **options: Any) -> dict[str, Any]:
    """A task that registers its result under *label*; a refusal is a result too."""
    found = {"name": label, f"kubernetes.core.{module}": options, "register": label, "ignore_errors": True}
    return {**found, "check_mode": True} if check else found


def tasks(manifest: Any) -> list[dict[str, Any]]:
    """The story: a Secret, a cluster of it that grows, what is refused, and everything away again."""
    whole = manifest("ansible", adminPasswordRef={"name": "ansible-admin"})
    short = manifest("ansible", adminPasswordRef={"name": "ansible-admin"}, version="18")
    patch = {**WHERE, "namespace": "default", "state": "patched"}
    grown = {"spec": {"replicas": 1, "storageSpace": "40Gi"}}
    return [
        task("no_secret", "k8s", definition=whole),
        task("secret", "k8s", definition={**SECRET, "stringData": {"password": "very-secret"}}),
        task("check", "k8s", check=True, definition=short),
        task("nothing_yet", "k8s_info", **WHERE, namespace="default"),
        task("create", "k8s", definition=short, **READY),
        task("create_again", "k8s", definition=whole, **READY),
        task("grow", "k8s", **patch, definition=grown, **READY),
        task("grow_again", "k8s", **patch, definition=grown, **READY),
        task("shrink", "k8s", **patch, definition={"spec": {"replicas": 0}}),
        task("two", "k8s", **patch, definition={"spec": {"replicas": 2}}),
        task("unknown", "k8s", **patch, definition={"spec": {"noSuchField": "x"}}),
        task("stale", "k8s", **patch, definition={"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}),
        task("apply", "k8s", apply=True, definition=manifest("applied"), **READY),
        task("apply_again", "k8s", apply=True, definition=manifest("applied"), **READY),
        task("owned", "k8s", server_side_apply={"field_manager": "one"}, apply=True, definition=manifest("owned")),
        task("taken", "k8s", server_side_apply={"field_manager": "two"}, apply=True,
             definition=manifest("owned", storageSpace="30Gi")),
        task("info", "k8s_info", **WHERE, namespace="default"),
        task("locked", "k8s", **patch, definition={"metadata": {"labels": {"dsm.vmware.com/locked-status": "locked"}}}),
        task("delete_locked", "k8s", **WHERE, namespace="default", state="absent"),
        task("unlocked", "k8s", **patch,
             definition={"metadata": {"labels": {"dsm.vmware.com/locked-status": "unlocked-for-delete"}}}),
        task("delete", "k8s", **WHERE, namespace="default", state="absent", wait=True, wait_timeout=30),
        task("delete_again", "k8s", **WHERE, namespace="default", state="absent"),
        *(task(f"{name}_gone", "k8s", **{**WHERE, "name": name}, namespace="default", state="absent")
          for name in ("applied", "owned")),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def story(dsm_site, dsm_manifest, tmp_path_factory) -> dict[str, Any]:
    """Results of the tasks by name."""
    folder: Path = tmp_path_factory.mktemp("kubernetes_core")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(dsm_site.kubeconfig("admin"))
    kubeconfig.chmod(0o600)
    work = tasks(dsm_manifest)
    dump = {name: "{{ " + name + " }}" for name in (item["register"] for item in work)}
    work.append({"ansible.builtin.copy": {"dest": str(folder / "results.json"), "content": "{{ dump | to_json }}"}})
    play = {"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": work}
    play["vars"] = {"dump": dump, "ansible_python_interpreter": sys.executable}
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("K8S_", "ANSIBLE_"))}
    environment |= {"ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), "ANSIBLE_REMOTE_TEMP": str(folder / "tmp")}
    environment |= {"K8S_AUTH_KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
    ansible = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [ansible, "-i", "localhost,", str(folder / "play.yml")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=folder,
        env=environment,
        check=False,
    )
    results = folder / "results.json"
    assert results.exists(), done.stdout + done.stderr
    return json.loads(results.read_text())


@pytest.mark.parametrize(
    "name", ["secret", "check", "create", "grow", "apply", "owned", "locked", "unlocked", "delete"]
)
def test_first_run_changes(story, name):
    assert not story[name]["failed"], story[name]
    assert story[name]["changed"] is True


@pytest.mark.parametrize("name", ["create_again", "grow_again", "apply_again", "delete_again", "unknown"])
def test_second_run_and_an_unknown_field_change_nothing(story, name):
    assert not story[name]["failed"], story[name]
    assert story[name]["changed"] is False, story[name]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("no_secret", 422, "secrets 'ansible-admin' not found"),
        ("shrink", 403, "scale in from 1 to 0 is not supported"),
        ("two", 422, "Unsupported value: 2"),
        ("stale", 409, "the object has been modified"),
        ("taken", 409, "conflict"),
        ("delete_locked", 403, "must be unlocked-for-delete"),
    ],
)
def test_refusals_reach_the_user(story, name, status, words):
    result = story[name]
    assert result["failed"], result
    assert words in (text := f"{result['msg']} {result.get('reason')}")
    assert str(status) in text


def test_check_mode_asks_the_server_and_keeps_nothing(story):
    assert story["check"]["result"]["spec"]["databaseName"] == "ansible"
    assert story["nothing_yet"]["resources"] == []


def test_waiting_sees_the_condition_of_the_new_generation(story):
    for name, generation in (("create", 1), ("grow", 2)):
        found = story[name]["result"]
        assert found["metadata"]["generation"] == generation
        assert found["status"]["conditions"][0]["status"] == "True"


def test_info_shows_what_dsm_filled_in_and_no_password(story):
    (found,) = story["info"]["resources"]
    assert found["spec"]["version"].startswith("18.4+vmware.v")
    assert found["spec"]["replicas"] == 1
    assert "noSuchField" not in found["spec"]
    assert found["status"]["connection"]["passwordRef"] == {"name": "ansible-admin"}
    assert "very-secret" not in json.dumps(found)


def test_a_secrets_text_is_stored_as_base64(story):
    assert base64.b64decode(story["secret"]["result"]["data"]["password"]) == b"very-secret"
    assert "stringData" not in story["secret"]["result"]
