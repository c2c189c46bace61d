# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to DSM: one login, errors that name object, cause and remedy, and nothing secret in them."""

from __future__ import annotations

import ssl
import typing as t
from pathlib import Path

import pytest
import trustme
import urllib3
import yaml

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    InvalidSpecError,
    StaleError,
    UnsettledError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import ResponseError
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _client
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm._objects import CLUSTER, Objects
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_dsm import CLUSTERS, PASSWORD, FakeDsm

DOCS = f"{CLUSTERS}/docs"


def test_one_login_serves_a_call(dsm: FakeDsm, objects: Objects) -> None:
    dsm.put(DOCS, {})
    assert objects.get(CLUSTER, "docs") is not None
    assert objects.get(CLUSTER, "other") is None
    assert dsm.logins == 1


def test_an_ended_token_is_renewed_once_and_the_call_repeated(dsm: FakeDsm, objects: Objects) -> None:
    dsm.put(DOCS, {})
    objects.get(CLUSTER, "docs")
    dsm.token = "token-2"
    assert objects.get(CLUSTER, "docs") is not None
    assert dsm.logins == 2


def test_a_second_401_ends_it(dsm: FakeDsm, objects: Objects) -> None:
    for _time in range(2):
        dsm.fault("GET", DOCS, status=401, message="Unauthorized")
    with pytest.raises(AuthenticationError, match="Could not read PostgresCluster default/docs"):
        objects.get(CLUSTER, "docs")


def test_a_wrong_password_is_said_without_it(dsm: FakeDsm) -> None:
    params = {"email": "a@example.org", "password": "wrong-one", "login": "dsm"}
    api = _client.Api(dsm, "https://dsm.example.org", _client._password_login(params), secrets=["wrong-one"])
    with pytest.raises(AuthenticationError) as caught:
        Objects(api).get(CLUSTER, "docs")
    assert "refused the account or the password" in str(caught.value)
    assert "wrong-one" not in str(caught.value)


def test_an_answer_that_repeats_token_and_password_does_not_give_them_away(dsm: FakeDsm, objects: Objects) -> None:
    dsm.fault("GET", DOCS, status=400, message=f"bad header Bearer {dsm.token}, {PASSWORD}")
    with pytest.raises(ResponseError) as caught:
        objects.get(CLUSTER, "docs")
    assert dsm.token not in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, ResponseError, "INFRA_ADMIN infrastructure only"),
        (409, StaleError, "answered 409"),
        (422, ResponseError, "answered 422: spec.replicas"),
        (500, UnsettledError, "what is there is read first"),
        (503, UnsettledError, "what is there is read first"),
        (301, ResponseError, "Redirects are not followed"),
    ],
)
def test_refusals_of_a_change(
    dsm: FakeDsm, objects: Objects, status: int, kind: type[AutoscaleError], words: str
) -> None:
    dsm.fault("POST", CLUSTERS, status=status, message="spec.replicas")
    with pytest.raises(kind) as caught:
        objects.create(CLUSTER, {"metadata": {"name": "docs"}})
    assert "Could not create PostgresCluster default/docs" in str(caught.value)
    assert words in str(caught.value)


def pool_error(reason: Exception) -> Exception:
    return urllib3.exceptions.MaxRetryError(t.cast(t.Any, None), "/apis", reason)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pool_error(urllib3.exceptions.SSLError("certificate verify failed: CA")), "certificate is not trusted"),
        (
            pool_error(urllib3.exceptions.SSLError("hostname 'a' doesn't match 'b'")),
            "not trusted .hostname 'a' doesn't match 'b'",
        ),
        (pool_error(urllib3.exceptions.NewConnectionError(t.cast(t.Any, None), "Connection refused")), "was refused"),
        (pool_error(urllib3.exceptions.ConnectTimeoutError("late")), "no connection within 10 s"),
        (OSError("getaddrinfo failed"), "cannot be resolved"),
        (urllib3.exceptions.ReadTimeoutError(t.cast(t.Any, None), "/", "Read timed out."), "no answer within 60 s"),
        (urllib3.exceptions.ProtocolError("Connection aborted."), "the connection broke"),
    ],
)
def test_no_connection(dsm: FakeDsm, objects: Objects, error: Exception, words: str) -> None:
    dsm.fault("GET", DOCS, error=error)
    with pytest.raises(BackendDownError, match=words):
        objects.get(CLUSTER, "docs")


def test_a_change_that_was_cut_may_have_been_made_and_is_not_sent_again(dsm: FakeDsm, objects: Objects) -> None:
    dsm.fault("POST", CLUSTERS, error=urllib3.exceptions.ProtocolError("Connection aborted."))
    with pytest.raises(UnsettledError, match="may have been made"):
        objects.create(CLUSTER, {"metadata": {"name": "docs"}})
    assert dsm.writes == [("POST", CLUSTERS)]


def test_reads_are_repeated_and_changes_are_not() -> None:
    pool = _client._pool(_client.kube_client.Configuration(host="https://x"), _client._tls(True, None))
    retries = pool.connection_pool_kw["retries"]
    assert retries.is_retry("GET", 503)
    assert not any(retries.is_retry(method, 503) for method in ("POST", "PUT", "PATCH", "DELETE"))
    assert retries.redirect == 0


def test_a_ca_without_critical_constraints_is_taken_and_verification_stays_on(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    context = _client._tls(True, str(tmp_path / "ca.pem"))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert _client._tls(False, None).verify_mode == ssl.CERT_NONE


def connection(**given: t.Any) -> dict[str, t.Any]:
    empty = dict.fromkeys(("url", "email", "password", "kubeconfig", "context", "ca_path"))
    return {**empty, "login": "dsm", "validate_certs": True, "namespace": "default", **given}


@pytest.mark.parametrize("url", ["http://dsm", "dsm.example.org", "https://a:b@dsm"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpecError, match="url is not an https address"):
        _client.connect(connection(url=url, email="a", password="b"))


def test_a_ca_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidSpecError, match="ca_path /no/such"):
        _client.connect(connection(url="https://dsm", email="a", password="b", ca_path="/no/such"))


def test_a_kubeconfig_gives_address_and_token(tmp_path: Path) -> None:
    path = tmp_path / "config"
    found = {
        "clusters": [{"name": "c", "cluster": {"server": "https://dsm.example.org"}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(found))
    api = _client.connect(connection(kubeconfig=str(path)))
    assert api.base == "https://dsm.example.org"
    assert api._login(api) == {"authorization": "Bearer t0ken"}
    assert "t0ken" in api.secrets
    with pytest.raises(InvalidSpecError, match="Check the file and the context"):
        _client.connect(connection(kubeconfig=str(path), context="other"))
