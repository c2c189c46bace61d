# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's gateway as DSM documents it (login, tokens, personas), and through it the kubernetes Python client."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request

import pytest
import yaml
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

from lab.dsm.kubeapi import KubeApi
from lab.kit import wait_for

GROUP = ("databases.dataservices.vmware.com", "v1alpha1", "default", "postgresclusters")
PATH = "/apis/{}/{}/namespaces/{}/{}".format(*GROUP)
MEDIA = "application/vnd.vmware.dms-v1+json"


@pytest.fixture(scope="module")
def objects(dsm_site) -> client.CustomObjectsApi:
    loaded = config.new_client_from_config_dict(yaml.safe_load(dsm_site.kubeconfig("admin")))
    with loaded:
        yield client.CustomObjectsApi(loaded)


@pytest.fixture
def cluster(objects, dsm_manifest):
    """One that is ready, so that nobody else changes it."""
    objects.create_namespaced_custom_object(*GROUP, dsm_manifest("python"))

    def ready():
        found = objects.get_namespaced_custom_object(*GROUP, "python")
        return found if found.get("status") else None

    yield wait_for(ready, what="a status")
    objects.delete_namespaced_custom_object(*GROUP, "python")


def merge(objects, body, name="python", status=False, **options):
    send = objects.patch_namespaced_custom_object_status if status else objects.patch_namespaced_custom_object
    return send(*GROUP, name, body, _content_type="application/merge-patch+json", **options)


# -- login -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["admin", "user", "infra"])
def test_the_token_is_in_the_answers_header(dsm_site, user):
    kind, _space, token = dsm_site.token(user).partition(" ")
    assert (kind, token.count(".")) == ("Bearer", 2)


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("user", ["admin", "nobody@example.com"])
def test_a_wrong_password_is_401_and_does_not_tell_who_exists(dsm_site, user, password):
    email = dsm_site.row["users"].get(user, {"email": user})["email"]
    code, headers, text = dsm_site.call("POST", "/provider/session", {"email": email, "password": password})
    assert (code, json.loads(text)) == (401, {"message": "Invalid credentials"})
    assert "Authorization" not in headers


def test_each_login_knows_its_own_users(dsm_site):
    who = dsm_site.row["users"]["infra"]
    body = {"email": who["email"], "password": who["password"]}
    assert dsm_site.call("POST", "/provider/session", body)[0] == 401


def test_what_is_no_login_is_400(dsm_site):
    code, headers, _text = dsm_site.call("POST", "/provider/session", {"user": "x"})
    assert (code, headers["Content-Type"]) == (400, MEDIA)


def test_the_kubeconfig_wants_its_media_type_and_a_session(dsm_site):
    path = "/provider/gateway-kubeconfig"
    assert dsm_site.call("GET", path)[0] == 401
    assert dsm_site.call("GET", path, headers={"Authorization": dsm_site.token(), "Accept": MEDIA})[0] == 406


def test_the_certificate_is_the_labs_own(dsm_site):
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        dsm_site.__class__.call(_Untrusting(dsm_site), "GET", "/version")


class _Untrusting:
    def __init__(self, site):
        self.row = site.row
        self._context = ssl.create_default_context()


# -- tokens and personas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "Bearer a.b.c", "Bearer x", "Basic YTpi"])
def test_without_a_good_token_nothing_is_shown(dsm_site, token):
    for path in (PATH, "/apis", "/version"):
        code, _headers, text = dsm_site.call("GET", path, headers={"Authorization": token} if token else {})
        assert (code, json.loads(text)["reason"]) == (401, "Unauthorized")


def test_a_token_ends_and_a_new_login_helps(dsm_site):
    code, _headers, text = dsm_site.call("GET", PATH, headers={"Authorization": dsm_site.ended_token()})
    assert (code, json.loads(text)["kind"]) == (401, "Status")
    assert dsm_site.call("GET", PATH, headers={"Authorization": dsm_site.token()})[0] == 200


@pytest.mark.parametrize(
    ("user", "method", "path", "letter"),
    [
        ("infra", "GET", PATH, "R"),
        ("infra", "DELETE", f"{PATH}/x", "D"),
        ("infra", "GET", "/api/v1/namespaces/default/secrets/x", "R"),
        ("admin", "PATCH", "/apis/infrastructure.dataservices.vmware.com/v1alpha1/vmclasses/small", "U"),
        ("admin", "GET", "/api/v1/namespaces/default/configmaps", "R"),
        ("admin", "DELETE", "/api/v1/namespaces/default", "D"),
        ("admin", "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "R"),
        ("user", "GET", "/apis/authorization.dataservices.vmware.com/v1alpha1/dsmrolebindings", "R"),
    ],
)
def test_what_a_persona_may_not_touch_is_403(dsm_site, user, method, path, letter):
    code, _headers, text = dsm_site.call(method, path, headers={"Authorization": dsm_site.token(user)})
    assert code == 403, text
    assert f'has no permission "{letter}" on ' in json.loads(text)["message"]


@pytest.mark.parametrize("path", ["/api/v1/../../metrics", "/metrics", "//api/v1/nodes", "/debug/pprof/", "/"])
def test_nothing_else_of_the_api_server_is_reached(dsm_site, path):
    assert dsm_site.call("GET", path, headers={"Authorization": dsm_site.token()})[0] == 404


def test_nobody_speaks_in_the_name_of_another(dsm_site, dsm_manifest):
    headers = {"Authorization": dsm_site.token("user"), "Impersonate-User": "dsm"}
    code, _headers, text = dsm_site.call("POST", f"{PATH}?dryRun=All", dsm_manifest("mine"), headers)
    assert code == 201
    assert json.loads(text)["metadata"]["annotations"]["dsm.vmware.com/owner"] == dsm_site.row["users"]["user"]["email"]


# -- objects -----------------------------------------------------------------------------------------------------------


def test_create_again_is_409(objects, cluster, dsm_manifest):
    with pytest.raises(ApiException) as caught:
        objects.create_namespaced_custom_object(*GROUP, dsm_manifest("python"))
    assert (caught.value.status, json.loads(caught.value.body)["reason"]) == (409, "AlreadyExists")


def test_a_stale_resource_version_is_409_on_replace(objects, cluster):
    merge(objects, {"metadata": {"labels": {"newer": "yes"}}})
    with pytest.raises(ApiException) as caught:
        objects.replace_namespaced_custom_object(*GROUP, "python", cluster)
    assert (caught.value.status, json.loads(caught.value.body)["reason"]) == (409, "Conflict")


def test_status_is_ignored_on_the_object_and_taken_on_its_subresource(objects, cluster):
    assert "mine" not in merge(objects, {"status": {"mine": 1}}).get("status", {})
    found = merge(objects, {"status": {"mine": 1}, "spec": {"replicas": 3}}, status=True)
    assert (found["status"]["mine"], found["spec"]["replicas"]) == (1, 0)
    assert found["metadata"]["generation"] == cluster["metadata"]["generation"]


def test_schedules_are_told_apart_by_name(objects, cluster):
    row = {"name": "full", "type": "full", "schedule": "59 23 * * 6"}
    with pytest.raises(ApiException) as caught:
        merge(objects, {"spec": {"backupConfig": {"schedules": [row, row]}}})
    assert caught.value.status == 422
    assert "Duplicate value" in caught.value.body
    merge(objects, {"spec": {"backupConfig": {"schedules": [{**row, "schedule": "59 23 1/1 * *"}]}}})


def test_what_dsm_filled_in_stays_when_it_is_not_sent(objects, cluster, dsm_manifest):
    body = {**dsm_manifest("python"), "metadata": {**cluster["metadata"], "annotations": {}}}
    body["metadata"]["resourceVersion"] = objects.get_namespaced_custom_object(*GROUP, "python")["metadata"][
        "resourceVersion"
    ]
    found = objects.replace_namespaced_custom_object(*GROUP, "python", body)
    assert found["metadata"]["annotations"]["dsm.vmware.com/owner"].startswith("admin@")
    assert found["spec"] == cluster["spec"]


def test_a_watch_passes_every_event_at_once_and_ends_with_its_client(objects, cluster):
    seen, first = [], threading.Event()
    watching = watch.Watch()

    def read() -> None:
        for event in watching.stream(objects.list_namespaced_custom_object, *GROUP, timeout_seconds=30):
            if event["object"]["metadata"]["name"] == "python":
                seen.append((event["type"], event["object"]["metadata"].get("labels", {}).get("step")))
                first.set()
            if seen and seen[-1][1] == "2":
                watching.stop()

    reader = threading.Thread(target=read)
    reader.start()
    assert first.wait(20)
    for step in ("1", "2"):
        merge(objects, {"metadata": {"labels": {"step": step}}})
    reader.join(20)
    assert not reader.is_alive()
    assert seen[0][0] == "ADDED"
    assert [step for _kind, step in seen if step][-2:] == ["1", "2"]


def test_a_watch_behind_ends_when_its_client_is_gone(dsm_site):
    """The API server counts them; the controller's own stays."""
    behind = KubeApi(dsm_site.dsm.folder / "kubeapi")
    context = ssl.create_default_context(cafile=behind.ca)
    request = urllib.request.Request(f"{behind.url}/metrics", headers={"Authorization": f"Bearer {behind.token}"})

    def watches() -> float:
        with urllib.request.urlopen(request, context=context) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("apiserver_longrunning_requests{") and 'resource="databaseconfigs"' in line
        )

    before = watches()
    url = f"{dsm_site.row['url']}{PATH.replace('postgresclusters', 'databaseconfigs')}?watch=1"
    asked = urllib.request.Request(url, headers={"Authorization": dsm_site.token()})
    with urllib.request.urlopen(asked, context=ssl.create_default_context(cafile=dsm_site.row["ca"])):
        wait_for(lambda: watches() == before + 1, what="the watch behind")
    wait_for(lambda: watches() == before, what="its end")


def test_discovery_finds_the_kinds(objects):
    found = dynamic.DynamicClient(objects.api_client).resources
    kind = found.get(api_version="infrastructure.dataservices.vmware.com/v1alpha1", kind="VMClass")
    assert not kind.namespaced
    assert sorted(row.metadata.name for row in kind.get().items) == ["large", "medium", "small"]


def test_the_catalogue_and_the_policy_say_what_is_allowed(objects):
    releases = objects.list_cluster_custom_object("internal.dataservices.vmware.com", GROUP[1], "dataservicesreleases")
    (service,) = releases["items"][0]["spec"]["services"]
    assert "18.4" in service["supportedVersions"]
    policies = objects.list_cluster_custom_object(
        "infrastructure.dataservices.vmware.com", GROUP[1], "dataservicepolicies"
    )
    status = policies["items"][0]["status"]
    assert status["infrastructurePolicies"][0]["name"] == "ai"
    assert status["aggregatePostgresPolicy"]["allowedReplicas"] == [0, 1, 3]
