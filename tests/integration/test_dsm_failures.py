# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the DSM modules do when login, DSM, network or a second writer are in the way (C1): clear, nothing lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from integration.dsm_kit import CLUSTERS, CONFIGS, PASSWORD, SECRETS, SIZE, Run, Site, site, trust

from lab.faults.spawn import FaultProxy
from lab.kit import free_port, wait_for

MODULES = (
    ("dsm_postgres_cluster", {"name": "docs", **SIZE}),
    ("dsm_postgres_cluster", {"name": "docs", "state": "absent", "confirm_delete": "docs"}),
    ("dsm_postgres_cluster_info", {}),
    ("dsm_postgres_restore", {"name": "copy", "source": "docs"}),
    ("dsm_backup_info", {"name": "docs"}),
)
each = pytest.mark.parametrize(("module", "options"), MODULES)


@pytest.fixture(scope="module")
def dsm(run_module: Run) -> Iterator[Site]:
    with site(run_module, "fake") as found:
        yield found


@pytest.fixture(scope="module")
def started_proxy(dsm: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    one = {"name": "dsm", "mode": "https", "upstream": urlsplit(dsm.row["url"]).netloc}
    other = {**one, "name": "other address", "listen": "127.0.0.2:0"}
    with FaultProxy(tmp_path_factory.mktemp("faults"), [one, other], trust(dsm.dsm)) as proxy:
        yield proxy


@pytest.fixture
def proxy(started_proxy: FaultProxy) -> Iterator[FaultProxy]:
    started_proxy.forget_calls()
    yield started_proxy
    started_proxy.clear()


@pytest.fixture
def through(dsm: Site, proxy: FaultProxy) -> dict[str, Any]:
    """Connection options that lead through the proxy."""
    return dsm.args(url=f"https://127.0.0.1:{proxy.ports['dsm']}")


def writes(proxy: FaultProxy) -> int:
    """Changes that reached the proxy."""
    return sum(row["count"] for row in proxy.calls() if not row["read"] and "/provider/" not in row["call"])


@each
def test_a_wrong_password_is_said_and_not_repeated(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], module: str, options: dict[str, Any]
) -> None:
    result = dsm.run(module, **{**through, **options, "password": "wr0ng-one"})
    assert result["failed"]
    assert "refused the account or the password" in result["msg"]
    assert "wr0ng-one" not in str(result)
    assert sum(row["count"] for row in proxy.calls()) == 1


@each
def test_a_gateway_that_is_down_is_named(dsm: Site, module: str, options: dict[str, Any]) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    result = dsm.run(module, **{**options, "url": url})
    assert result["failed"]
    assert f"{url}: the connection was refused" in result["msg"]
    assert "that DSM runs" in result["msg"]


@each
def test_a_certificate_that_nobody_vouches_for_is_refused(dsm: Site, module: str, options: dict[str, Any]) -> None:
    result = dsm.run(module, **{**options, "ca_path": None})
    assert result["failed"]
    assert "its certificate is not trusted" in result["msg"]
    assert "ca_path" in result["msg"]


def test_a_certificate_of_another_name_is_refused_and_verification_can_be_given_up(
    dsm: Site, proxy: FaultProxy
) -> None:
    """The proxy's certificate is for 127.0.0.1."""
    other = f"https://127.0.0.2:{proxy.ports['other address']}"
    assert "its certificate is not trusted" in dsm.run("dsm_postgres_cluster_info", url=other)["msg"]
    assert not dsm.run("dsm_postgres_cluster_info", url=other, validate_certs=False)["failed"]


@each
def test_an_account_for_infrastructure_may_not_touch_databases(dsm: Site, module: str, options: dict[str, Any]) -> None:
    result = dsm.run(module, **{**dsm.args("infra"), **options})
    assert result["failed"]
    assert 'denied - role "INFRA_ADMIN" has no permission' in result["msg"]
    assert "use an account with the role for this" in result["msg"]


def test_an_account_of_the_wrong_login_is_told_of_the_other_one(dsm: Site) -> None:
    result = dsm.run("dsm_postgres_cluster_info", **{**dsm.args("infra"), "login": "dsm"})
    assert "login=vsphere" in result["msg"]


@pytest.mark.parametrize("path", [CLUSTERS, CONFIGS, SECRETS])
@pytest.mark.parametrize("fault", ["apply_then_status", "apply_then_cut", "cut"])
def test_a_creation_whose_answer_is_lost_is_settled_by_reading(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], fault: str, path: str
) -> None:
    """Apply, then fail: each object is sent once, and the next run finds nothing to do."""
    options = {**SIZE, "name": dsm.name(), "parameters": {"jit": False}, "admin_password": PASSWORD}
    proxy.fault("dsm", fault, f"POST {path}*")
    result = dsm.cluster(**through, **options)
    assert result["changed"]
    assert result["cluster"]["ready"]
    assert proxy.rules() == []
    assert writes(proxy) == 3
    assert not dsm.cluster(**options)["changed"]


@pytest.mark.parametrize("fault", ["apply_then_status", "apply_then_cut"])
def test_a_change_and_a_deletion_whose_answers_are_lost(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], fault: str
) -> None:
    name = dsm.name()
    dsm.cluster(name=name, **SIZE)
    proxy.fault("dsm", fault, "PUT *")
    result = dsm.cluster(**through, name=name, replicas=3)
    assert (result["changed"], result["cluster"]["replicas"]) == (True, 3)
    proxy.fault("dsm", fault, "DELETE *")
    result = dsm.cluster(**through, name=name, state="absent", confirm_delete=name)
    assert (result["changed"], result["cluster"]) == (True, None)
    assert (proxy.rules(), writes(proxy)) == ([], 2)
    assert dsm.get(f"{CLUSTERS}/{name}") is None


@pytest.mark.parametrize("fault", ["status", "refuse"])
def test_a_change_that_did_not_arrive_fails_and_was_sent_once(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], fault: str
) -> None:
    name = dsm.name()
    proxy.fault("dsm", fault, f"POST {CLUSTERS}*", times=None)
    text = dsm.refused(**through, name=name, **SIZE)
    assert f"Could not create PostgresCluster default/{name}" in text
    assert "run again" in text
    assert writes(proxy) == 1
    proxy.clear()
    assert dsm.cluster(**through, name=name, **SIZE)["changed"]


def test_reads_live_through_a_gateway_that_is_busy_for_a_moment(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any]
) -> None:
    proxy.fault("dsm", "status", "GET *", status=503, times=2)
    assert not dsm.run("dsm_postgres_cluster_info", **through)["failed"]
    proxy.fault("dsm", "cut", "GET *")
    assert not dsm.run("dsm_postgres_cluster_info", **through)["failed"]
    proxy.fault("dsm", "status", "GET *", status=503, times=None)
    result = dsm.run("dsm_postgres_cluster_info", **through)
    assert "answered 503" in result["msg"]


def held(
    proxy: FaultProxy, start: Callable[..., subprocess.Popen[str]], options: dict[str, Any], call: str
) -> subprocess.Popen[str]:
    """A run of ``dsm_postgres_cluster`` of which *call* is held by the proxy now."""
    proxy.fault("dsm", "delay", call, seconds=3)
    process = start("dsm_postgres_cluster", {"wait_interval": 0.1, "wait_timeout": 60, **options})
    wait_for(lambda: proxy.rules() == [], what=f"{call} to be held")
    return process


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    return {"failed": False, **json.loads(process.communicate(timeout=60)[0])}


def test_somebody_who_was_faster_is_not_overwritten(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], start_module: Callable[..., subprocess.Popen[str]]
) -> None:
    """A real conflict: the object changes between our read and our write."""
    name = dsm.name()
    dsm.cluster(name=name, **SIZE)
    process = held(proxy, start_module, {**through, "name": name, "replicas": 1}, "PUT *")
    dsm.patch(f"{CLUSTERS}/{name}", {"spec": {"maintenanceWindow": {"startDay": "MONDAY", "startTime": "03:00"}}})
    result = result_of(process)
    assert not result["failed"], result
    assert result["changed"]
    found = dsm.get(f"{CLUSTERS}/{name}")
    assert found
    assert (found["spec"]["replicas"], found["spec"]["maintenanceWindow"]["startDay"]) == (1, "MONDAY")
    assert {(row["call"].split()[0], row["status"]) for row in proxy.calls() if not row["read"]} >= {
        ("PUT", "409"), ("PUT", "200")
    }  # fmt: skip


def test_a_token_that_ends_in_the_middle_is_renewed(
    dsm: Site, proxy: FaultProxy, through: dict[str, Any], start_module: Callable[..., subprocess.Popen[str]]
) -> None:
    name = dsm.name()
    process = held(proxy, start_module, {**through, "name": name, **SIZE}, f"POST {CLUSTERS}*")
    dsm.dsm.call("DELETE", "/tokens")
    result = result_of(process)
    dsm.login()
    assert not result["failed"], result
    assert result["cluster"]["ready"]
    assert sum(row["count"] for row in proxy.calls() if "/provider/session" in row["call"]) == 2


def test_a_kubeconfig_whose_token_has_ended_says_so(dsm: Site, tmp_path: Path) -> None:
    found = yaml.safe_load(Path(dsm.row["kubeconfig"]).read_text())
    found["users"][0]["user"]["token"] = "dsm.e30.ended"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(found))
    result = dsm.run("dsm_postgres_cluster_info", kubeconfig=str(path))
    assert "answered 401" in result["msg"]
    assert "fetch a new kubeconfig" in result["msg"]
    assert "e30.ended" not in str(result)
