# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harbor_replication against two Harbors: make, run, judge, take away; and each way in which it can go wrong (D2)."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from lab.faults.spawn import FaultProxy
from lab.harbor.spawn import Harbor
from lab.kit import free_port, wait_for

API = "/api/v2.0"
NUMBERS = itertools.count(1)
Run = Callable[..., dict[str, Any]]


class Pair:
    """Two Harbors, the modules on the first, and a client of our own beside them."""

    def __init__(self, here: Harbor, there: Harbor, run_module: Run) -> None:
        self.here, self.there = here, there
        self._run = run_module
        self.url = here.row["url"]
        self.secrets = {here.row["password"], there.row["password"], there.row["robot"]["password"]}
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = ("admin", here.row["password"])

    def args(self) -> dict[str, Any]:
        row = self.here.row
        keys = ("username", "password")
        return {"url": self.url, "ca_path": row["ca"], **{key: row[key] for key in keys}}

    def registry(self, **changes: Any) -> dict[str, Any]:
        """The other one, as an inventory would say it."""
        row = self.there.row
        given = {"name": "there", "url": row["url"], "ca_path": row["ca"], **row["robot"]}
        return {**given, **changes}

    def run(
        self, module: str = "harbor_replication", *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        """A result. No password stands in it, whatever happened."""
        waits = {} if module.endswith("_info") else {"wait_interval": 0.05, "wait_timeout": 30}
        result = self._run(module, {**self.args(), **waits, **options}, check=check, diff=diff)
        told = json.dumps(result)
        assert [secret for secret in self.secrets if secret in told] == []
        return result

    def ok(self, **options: Any) -> dict[str, Any]:
        result = self.run(**options)
        assert not result["failed"], result
        return result

    def refused(self, **options: Any) -> str:
        result = self.run(**options)
        assert result["failed"], result
        return result["msg"]

    def get(self, path: str) -> Any:
        answer = self.session.get(self.url + API + path, verify=self.here.row["ca"], timeout=30)
        answer.raise_for_status()
        return answer.json()

    def policy(self, name: str) -> dict[str, Any]:
        return self.get(f"/replication/policies?q=name={name}")[0]

    def project(self) -> str:
        """A project of the test's own with a model in it."""
        name = f"models-{next(NUMBERS)}"
        self.here.seed(f"{name}/llama/small", "1", f"weights of {name}")
        return name

    def wish(self, project: str, **policy: Any) -> dict[str, Any]:
        """Options of a policy that copies *project*."""
        filters = [{"type": "name", "value": f"{project}/**"}]
        return {"registry": self.registry(), "policy": {"name": project, "filters": filters, **policy}}


@pytest.fixture(scope="module")
def pair(run_module: Run) -> Iterator[Pair]:
    with Harbor.temporary() as here, Harbor.temporary() as there:
        yield Pair(here, there, run_module)


@pytest.fixture(scope="module")
def proxy(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    row = {"name": "harbor", "mode": "https", "upstream": urlsplit(pair.here.row["url"]).netloc}
    folder = pair.here.folder / "tls"
    tls = {"ca": folder / "ca.pem", "cert": folder / "server.pem", "key": folder / "server.key"}
    with FaultProxy(tmp_path_factory.mktemp("faults"), [row], tls) as started:
        yield started


@pytest.fixture
def through(proxy: FaultProxy) -> Iterator[dict[str, Any]]:
    proxy.forget_calls()
    yield {"url": f"https://127.0.0.1:{proxy.ports['harbor']}"}
    proxy.clear()


def copied(pair: Pair, project: str) -> set[tuple[str, str, str]]:
    return {row for row in pair.there.artifacts() if row[0].startswith(f"{project}/")}


# -- declare -----------------------------------------------------------------------------------------------------------


def test_declare_again_change_and_take_away_in_check_mode_and_for_real(pair: Pair) -> None:
    project = pair.project()
    wish = pair.wish(project, trigger={"type": "scheduled", "cron": "0 0 1 * * *"}, description="nightly")
    wish["registry"]["name"] = name = f"other-{project}"
    foreseen = pair.ok(**wish, check=True, diff=True)
    assert foreseen["changed"]
    assert pair.get(f"/registries?q=name={name}") == []
    made = pair.ok(**wish, diff=True)
    assert foreseen["diff"]["after"]["policy"]["filters"] == made["diff"]["after"]["policy"]["filters"]
    assert made["diff"]["before"] == {"registry": None, "policy": None}
    assert (made["registry"]["status"], made["policy"]["mode"], made["policy"]["enabled"]) == ("healthy", "push", True)
    found = pair.policy(project)
    assert found["trigger"] == {"type": "scheduled", "trigger_settings": {"cron": "0 0 1 * * *"}}
    assert (found["override"], found["replicate_deletion"], found["dest_registry"]["name"]) == (True, False, name)
    again = pair.ok(**wish, diff=True)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]

    change = {"policy": {"name": project, "enabled": False}}
    assert pair.ok(**change, check=True)["changed"]
    assert pair.policy(project)["enabled"]
    assert pair.ok(**change)["changed"]
    after = pair.policy(project)
    assert {key for key in after if after[key] != found[key]} == {"enabled", "update_time"}
    assert not pair.ok(**change)["changed"]

    both = {"registry": {"name": name}, "policy": {"name": project}, "state": "absent"}
    assert "referenced by replication policies" in pair.refused(registry={"name": name}, state="absent")
    assert pair.ok(**both, check=True)["changed"]
    assert pair.policy(project)
    assert pair.ok(**both)["changed"]
    assert not pair.ok(**both)["changed"]


def test_a_secret_is_written_on_create_and_on_order_only(pair: Pair) -> None:
    wish = {"registry": pair.registry(name="secret")}
    assert pair.ok(**wish)["changed"]
    assert not pair.ok(registry={**wish["registry"], "password": "wrong-one"})["changed"]
    wrong = {**wish["registry"], "password": "wrong-one", "update_password": "always"}
    assert "the registry is unhealthy" in pair.refused(registry=wrong)
    right = {**wish["registry"], "update_password": "always"}
    assert pair.ok(registry=right, check=True)["changed"]
    result = pair.ok(registry=right, diff=True)
    assert result["diff"]["after"]["registry"]["access_secret"] == "(written)"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"trigger": {"type": "scheduled", "cron": "0 1 * * *"}}, "allowed: 6 fields, seconds first"),
        ({"trigger": {"type": "scheduled", "cron": "0 0 25 * * *"}}, "invalid cron string for scheduled trigger"),
        ({"trigger": {"type": "manual", "cron": "0 0 1 * * *"}}, "with type scheduled, else nothing"),
        ({"filters": [{"type": "name", "value": "a/**", "decoration": "excludes"}]}, "only with a tag or a label"),
        ({"filters": [{"type": "label", "value": "x"}]}, "allowed: a list of labels"),
        ({"dest_namespace": "Big"}, "a path in small letters"),
    ],
)
def test_a_bad_policy_is_refused(pair: Pair, policy: dict[str, Any], words: str) -> None:
    options = {"registry": pair.registry(), "policy": {"name": "bad", **policy}}
    assert words in pair.refused(**options)
    assert pair.get("/replication/policies?q=name=bad") == []


def test_what_is_not_there_is_named(pair: Pair) -> None:
    assert "has no registry nowhere" in pair.refused(registry={"name": "nowhere"})
    assert "has no replication policy none" in pair.refused(policy={"name": "none"}, state="executed")
    assert pair.run("harbor_replication_info", names=["none"])["policies"] == []


# -- run ---------------------------------------------------------------------------------------------------------------


def test_a_run_copies_and_its_start_is_what_the_copy_is_old(pair: Pair) -> None:
    project = pair.project()
    pair.here.seed(f"{project}/llama/small", "2-rc1", "not yet")
    wish = pair.wish(project)
    wish["policy"]["filters"].append({"type": "tag", "value": "*-rc*", "decoration": "excludes"})
    assert pair.ok(**wish, state="executed", check=True)["changed"]
    assert copied(pair, project) == set()
    result = pair.ok(**wish, state="executed")
    assert (result["changed"], result["joined"]) == (True, False)
    run = result["execution"]
    assert (run["status"], run["total"], run["succeed"], run["failed"]) == ("Succeed", 1, 1, 0)
    wanted = {row for row in pair.here.artifacts() if row[0].startswith(project) and row[1] == "1"}
    assert copied(pair, project) == wanted
    assert result["last_success"] == run

    rows = pair.run("harbor_replication_info", names=[project], ping=True)["policies"]
    assert [(row["name"], row["last_success"], row["last"], row["unreachable"]) for row in rows] == [
        (project, run, run, "")
    ]
    assert rows[0]["age"] < 60


def test_pull_into_another_project(pair: Pair) -> None:
    project = f"models-{next(NUMBERS)}"
    pair.there.seed(f"{project}/deep/er/model", "1", "from there")
    wish = pair.wish(project, mode="pull", dest_namespace=f"{project}-copy")
    assert pair.ok(**wish, state="executed")["execution"]["total"] == 1
    assert {row[0] for row in pair.here.artifacts() if row[0].startswith(project)} == {f"{project}-copy/model"}
    assert not pair.ok(**wish)["changed"]


def test_a_run_that_matched_nothing_is_a_failure_unless_that_may_be(pair: Pair) -> None:
    wish = pair.wish(f"models-{next(NUMBERS)}")
    result = pair.run(**wish, state="executed")
    assert result["failed"]
    assert "nothing matched its filters: nothing was copied" in result["msg"]
    assert (result["execution"]["status"], result["execution"]["total"]) == ("Succeed", 0)
    allowed = pair.ok(**wish, state="executed", allow_empty=True)
    assert allowed["last_success"] is None
    row = pair.run("harbor_replication_info", names=[wish["policy"]["name"]])["policies"][0]
    assert (row["last_success"], row["age"], row["last"]["status"]) == (None, None, "Succeed")


def test_a_run_under_way_is_joined_and_a_deadline_leaves_it(pair: Pair) -> None:
    project = pair.project()
    wish = pair.wish(project)
    pair.here.call("POST", "/pause", {"seconds": 30})
    started = pair.ok(**wish, state="executed", wait=False)
    number = started["execution"]["id"]
    assert (started["changed"], started["execution"]["status"]) == (True, "InProgress")
    late = pair.run(**wish, state="executed", wait_timeout=1)
    assert "run again to join it" in late["msg"]
    assert (late["execution"]["id"], late["joined"], late["changed"]) == (number, True, False)
    assert "has running executions" in pair.refused(policy={"name": project}, state="absent")
    pair.here.call("POST", "/pause", {"seconds": 0})
    url = f"{pair.url}{API}/replication/executions/{number}"
    stopped = requests.put(url, auth=pair.session.auth, verify=pair.here.row["ca"], timeout=30)  # without a cookie
    assert stopped.ok
    wait_for(lambda: pair.get(f"/replication/executions/{number}")["status"] == "Stopped", what="the end of the run")
    assert pair.ok(**wish, state="executed")["execution"]["id"] > number


def test_a_dead_destination_fails_the_run_with_its_reason(pair: Pair) -> None:
    project = pair.project()
    wish = pair.wish(project)
    first = pair.ok(**wish, state="executed")["execution"]
    pair.there.down()
    try:
        result = pair.run(policy={"name": project}, state="executed")
        assert result["failed"]
        assert "ended as Failed" in result["msg"]
        assert pair.there.folder.name not in result["msg"]
        assert urlsplit(pair.registry()["url"]).netloc in result["msg"]
        row = pair.run("harbor_replication_info", names=[project], ping=True)["policies"][0]
        assert (row["last"]["status"], row["last_success"]) == ("Failed", first)
        assert "the registry is unhealthy" in row["unreachable"]
        other = {"registry": pair.registry(name="dead")}
        assert "Harbor asks a registry before it stores it" in pair.refused(**other)
    finally:
        pair.there.up()
    assert not pair.run(policy={"name": project}, state="executed")["failed"]


def test_a_failed_task_is_named_with_the_end_of_its_log(pair: Pair) -> None:
    project = pair.project()
    pair.here.seed(f"{project}/broken", "1", f"blob that goes {project}")
    digest = requests.get(
        f"{pair.url}/v2/{project}/broken/manifests/1", auth=pair.session.auth, verify=pair.here.row["ca"], timeout=30
    ).json()["layers"][0]["digest"]
    (pair.here.folder / "blobs" / digest.partition(":")[2]).unlink()
    text = pair.refused(**pair.wish(project), state="executed")
    assert "1 of 2 tasks failed" in text
    assert f"{project}/broken:[1]" in text
    assert "unknown to registry" in text


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["harbor_replication", "harbor_replication_info"])
def test_down_wrong_password_no_right_and_wrong_certificate_are_told(pair: Pair, module: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {} if module.endswith("_info") else {"policy": {"name": "x"}}
    url = f"https://127.0.0.1:{free_port()}"
    assert "the connection was refused" in pair.run(module, **options, url=url)["msg"]
    assert "refused admin or the password (401)" in pair.run(module, **options, password="wr0ng-one")["msg"]
    robot = pair.here.row["robot"]
    pair.secrets.add(robot["password"])
    assert "are for administrators of the system" in pair.run(module, **options, **robot)["msg"]
    assert "the TLS connection failed" in pair.run(module, **options, ca_path=pair.there.row["ca"])["msg"]
    assert "without /api" in pair.run(module, **options, url=f"{pair.url}/api/v2.0")["msg"]


@pytest.mark.parametrize("fault", ["apply_then_status", "apply_then_cut"])
def test_each_change_whose_answer_is_lost_is_settled_by_reading(
    pair: Pair, proxy: FaultProxy, through: dict[str, Any], fault: str
) -> None:
    project = pair.project()
    wish = pair.wish(project)
    wish["registry"]["name"] = f"lost-{project}"
    for call in ("registries", "replication/policies", "replication/executions"):
        proxy.fault("harbor", fault, f"POST {API}/{call}*")
    result = pair.ok(**through, **wish, state="executed")
    assert (result["changed"], result["execution"]["total"], result["joined"]) == (True, 1, False)
    assert proxy.rules() == []
    assert len(pair.get(f"/replication/executions?policy_id={result['policy']['id']}")) == 1

    for call in ("registries", "replication/policies"):
        proxy.fault("harbor", fault, f"PUT {API}/{call}*")
    change = {"registry": {"name": f"lost-{project}", "description": "x"}, "policy": {"name": project, "speed": 7}}
    assert pair.ok(**through, **change)["changed"]
    assert not pair.ok(**change)["changed"]
    for call in ("registries", "replication/policies"):
        proxy.fault("harbor", fault, f"DELETE {API}/{call}*")
    assert pair.ok(**through, **change, state="absent")["changed"]
    assert proxy.rules() == []
    assert not pair.ok(**change, state="absent")["changed"]


def test_a_change_that_did_not_arrive_fails_and_was_sent_once(
    pair: Pair, proxy: FaultProxy, through: dict[str, Any]
) -> None:
    project = pair.project()
    pair.ok(**pair.wish(project))
    proxy.fault("harbor", "status", f"POST {API}/replication/executions*", times=None)
    text = pair.refused(**through, policy={"name": project}, state="executed")
    assert f"Could not start the policy {project}" in text
    assert "run again" in text
    assert sum(row["count"] for row in proxy.calls() if not row["read"]) == 1


def test_a_harbor_that_is_away_while_a_run_is_waited_for(
    pair: Pair, proxy: FaultProxy, through: dict[str, Any], start_module: Callable[..., subprocess.Popen[str]]
) -> None:
    """Reads are spoiled more often than a client repeats them; the run is waited for all the same."""
    project = pair.project()
    pair.ok(**pair.wish(project))
    proxy.fault("harbor", "status", f"GET {API}/replication/executions/*", status=503, times=6, skip=1)
    result = pair.ok(**through, policy={"name": project}, state="executed")
    assert result["execution"]["status"] == "Succeed"
