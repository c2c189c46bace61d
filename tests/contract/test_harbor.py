# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Harbor emulator against a client that we did not write, harborapi; and its registry as an OCI client asks it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import pytest
import requests
from harborapi import HarborAsyncClient
from harborapi.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed, Unauthorized
from harborapi.models import (
    ProjectReq,
    Registry,
    RegistryCredential,
    RegistryPing,
    RegistryUpdate,
    ReplicationFilter,
    ReplicationPolicy,
    ReplicationTrigger,
    ReplicationTriggerSettings,
)

from lab.harbor.spawn import Harbor


@pytest.fixture(scope="module")
def harbors() -> Iterator[tuple[Harbor, Harbor]]:
    with Harbor.temporary() as here, Harbor.temporary() as there:
        yield here, there


@pytest.fixture
def client(harbors: tuple[Harbor, Harbor]) -> HarborAsyncClient:
    return connect(harbors[0])


def connect(harbor: Harbor, secret: str = "") -> HarborAsyncClient:
    row = harbor.row
    context = ssl.create_default_context(cafile=row["ca"])
    url = f"{row['url']}/api/v2.0"
    return HarborAsyncClient(url=url, username="admin", secret=secret or row["password"], verify=context)


def other(harbor: Harbor, name: str) -> Registry:
    row = harbor.row
    robot = RegistryCredential(
        type="basic", access_key=row["robot"]["username"], access_secret=row["robot"]["password"]
    )
    return Registry(name=name, type="harbor", url=row["url"], insecure=True, credential=robot)


def number(location: str) -> int:
    return int(location.rpartition("/")[2])


async def test_a_wrong_password_is_refused(harbors: tuple[Harbor, Harbor]) -> None:
    with pytest.raises(Unauthorized):
        await connect(harbors[0], "wrong").get_registries()


async def test_projects_repositories_and_artifacts(harbors: tuple[Harbor, Harbor], client: HarborAsyncClient) -> None:
    location = await client.create_project(ProjectReq(project_name="shop"))
    assert await client.project_exists("shop")
    assert not await client.project_exists("nowhere")
    with pytest.raises(Conflict):
        await client.create_project(ProjectReq(project_name="shop"))
    assert (await client.get_project(number(location))).name == "shop"
    digest = harbors[0].seed("shop/llama/8b", "1", "weights")
    assert harbors[0].seed("shop/llama/8b", "latest", "weights") == digest
    with pytest.raises(PreconditionFailed):
        await client.delete_project("shop")
    assert [row.name for row in await client.get_repositories("shop")] == ["shop/llama/8b"]
    found = await client.get_artifacts("shop", "llama/8b")
    assert [(row.digest, sorted(tag.name for tag in row.tags)) for row in found] == [(digest, ["1", "latest"])]
    assert (await client.get_artifact("shop", "llama/8b", "latest")).digest == digest
    with pytest.raises(NotFound):
        await client.get_artifact("shop", "llama/8b", "2")


async def test_pages_are_followed_by_their_links(harbors: tuple[Harbor, Harbor], client: HarborAsyncClient) -> None:
    for index in range(5):
        harbors[0].seed(f"paged/m{index}", "1")
    rows = await client.get_repositories("paged", page_size=2)
    assert [row.name for row in rows] == [f"paged/m{index}" for index in range(5)]


async def test_registries(harbors: tuple[Harbor, Harbor], client: HarborAsyncClient) -> None:
    wish = other(harbors[1], "r1")
    made = number(await client.create_registry(wish))
    found = await client.get_registry(made)
    assert (found.name, found.url, found.status) == ("r1", wish.url, "healthy")
    assert found.credential.access_secret == "*****"
    with pytest.raises(Conflict):
        await client.create_registry(wish)
    await client.check_registry_status(RegistryPing(id=made))
    with pytest.raises(BadRequest):
        await client.check_registry_status(RegistryPing(id=made, access_secret="wrong"))
    with pytest.raises(BadRequest):
        await client.update_registry(made, RegistryUpdate(access_secret="wrong"))
    await client.update_registry(made, RegistryUpdate(description="the other one"))
    rows = await client.get_registries(query="name=r1")
    assert [row.description for row in rows] == ["the other one"]
    await client.delete_registry(made)
    with pytest.raises(NotFound):
        await client.get_registry(made)


async def test_policies_are_checked(harbors: tuple[Harbor, Harbor], client: HarborAsyncClient) -> None:
    made = number(await client.create_registry(other(harbors[1], "r2")))
    end = Registry(id=made)
    scheduled = ReplicationTrigger(type="scheduled", trigger_settings=ReplicationTriggerSettings(cron="0 0 1 * * *"))
    for wrong in (
        ReplicationPolicy(name="x"),
        ReplicationPolicy(name="x", src_registry=end, dest_registry=end),
        ReplicationPolicy(dest_registry=end),
        ReplicationPolicy(name="x", dest_registry=end, trigger=ReplicationTrigger(type="daily")),
        ReplicationPolicy(name="x", dest_registry=end, trigger=ReplicationTrigger(type="scheduled")),
        ReplicationPolicy(name="x", dest_registry=end, filters=[ReplicationFilter(type="size", value="1")]),
    ):
        with pytest.raises(BadRequest):
            await client.create_replication_policy(wrong)
    good = ReplicationPolicy(name="p2", dest_registry=end, trigger=scheduled, enabled=False)
    policy = number(await client.create_replication_policy(good))
    found = await client.get_replication_policy(policy)
    assert (found.trigger.trigger_settings.cron, found.dest_namespace_replace_count) == ("0 0 1 * * *", -1)
    assert found.dest_registry.id == made
    with pytest.raises(PreconditionFailed):  # it is disabled
        await client.start_replication(policy)
    with pytest.raises(PreconditionFailed):
        await client.delete_registry(made)
    await client.delete_replication_policy(policy)
    await client.delete_registry(made)


async def ended(client: HarborAsyncClient, execution: int) -> str:
    while (found := await client.get_replication(execution)).status == "InProgress":
        await asyncio.sleep(0.05)
    return found.status


async def test_executions_copy_tasks_have_logs_and_a_run_is_stopped_by_put(
    harbors: tuple[Harbor, Harbor], client: HarborAsyncClient
) -> None:
    here, there = harbors
    digest = here.seed("moved/llama", "1", "to be copied")
    here.seed("moved/llama", "2", "not this one")
    end = Registry(id=number(await client.create_registry(other(there, "r3"))))
    filters = [ReplicationFilter(type="name", value="moved/**"), ReplicationFilter(type="tag", value="1")]
    wish = ReplicationPolicy(name="p3", dest_registry=end, enabled=True, filters=filters)
    policy = number(await client.create_replication_policy(wish))
    execution = number(await client.start_replication(policy))
    assert await ended(client, execution) == "Succeed"
    found = await client.get_replication(execution)
    assert (found.total, found.succeed, found.failed, found.trigger) == (1, 1, 0, "manual")
    tasks = await client.get_replication_tasks(execution)
    assert [(task.status, task.src_resource) for task in tasks] == [("Succeed", "moved/llama:[1]")]
    assert "copy moved/llama:1 completed" in await client.get_replication_task_log(execution, tasks[0].id)
    assert {row for row in there.artifacts() if row[0] == "moved/llama"} == {("moved/llama", "1", digest)}

    here.call("POST", "/pause", {"seconds": 30})
    running = number(await client.start_replication(policy))
    rows = await client.get_replications(policy_id=policy, status="InProgress")
    assert [row.id for row in rows] == [running]
    with pytest.raises(PreconditionFailed):
        await client.delete_replication_policy(policy)
    await client.stop_replication(running)
    here.call("POST", "/pause", {"seconds": 0})
    assert await ended(client, running) == "Stopped"


async def test_an_artifact_that_comes_runs_an_event_based_policy(
    harbors: tuple[Harbor, Harbor], client: HarborAsyncClient
) -> None:
    here, there = harbors
    end = Registry(id=number(await client.create_registry(other(there, "r4"))))
    event = ReplicationTrigger(type="event_based")
    filters = [ReplicationFilter(type="name", value="event/**")]
    wish = ReplicationPolicy(name="p4", dest_registry=end, enabled=True, trigger=event, filters=filters)
    policy = number(await client.create_replication_policy(wish))
    digest = here.seed("event/m", "1", "pushed")
    rows = await client.get_replications(policy_id=policy, trigger="event_based")
    assert await ended(client, rows[0].id) == "Succeed"
    assert ("event/m", "1", digest) in there.artifacts()


async def test_what_it_holds_stays_over_down_and_up_and_kill(client: HarborAsyncClient) -> None:
    with Harbor.temporary() as harbor:
        digest = harbor.seed("kept/m", "1", "x")
        row = harbor.row
        harbor.down()
        assert not harbor.running()
        assert harbor.up() == row
        harbor.kill()
        assert not harbor.running()
        assert harbor.up() == row
        assert harbor.artifacts() == {("kept/m", "1", digest)}


def test_a_session_cookie_without_a_csrf_token_is_refused(harbors: tuple[Harbor, Harbor]) -> None:
    """As Harbor takes the client for a browser then."""
    row = harbors[0].row
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.auth = row["ca"], ("admin", row["password"])
        assert session.get(f"{row['url']}/api/v2.0/projects", timeout=30).ok
        answer = session.post(f"{row['url']}/api/v2.0/projects", json={"project_name": "x"}, timeout=30)
    assert answer.status_code == 403
    assert answer.json() == {"errors": [{"code": "FORBIDDEN", "message": "CSRF token not found in request"}]}


def test_a_model_is_pulled_from_its_registry(harbors: tuple[Harbor, Harbor]) -> None:
    row = harbors[0].row
    digest = harbors[0].seed("pulled/m", "1", "weights to pull")
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.auth = row["ca"], (row["robot"]["username"], row["robot"]["password"])
        manifest = session.get(f"{row['url']}/v2/pulled/m/manifests/1", timeout=30)
        assert manifest.headers["Docker-Content-Digest"] == digest
        layer = manifest.json()["layers"][0]
        blob = session.get(f"{row['url']}/v2/pulled/m/blobs/{layer['digest']}", timeout=30)
    assert blob.content == b"weights to pull"
