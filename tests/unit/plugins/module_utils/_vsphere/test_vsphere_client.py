# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session: what is tried again, what is not, and what a person reads."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import typing as t
from xml.parsers import expat

import pytest
from pyVmomi import vim, vmodl
from unit.kit.fake_vsphere import SETTINGS, FakeClient, FakeVCenter

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    BackendDownError,
    InvalidSpecError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._vsphere import _client


class Flaky:
    """Raises these one after the other, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, *_args: t.Any) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture
def world() -> FakeVCenter:
    return FakeVCenter()


@pytest.fixture
def client(world: FakeVCenter) -> FakeClient:
    return FakeClient(world)


def test_an_expired_session_is_renewed_once(client: FakeClient) -> None:
    logins: list[tuple[str, str]] = []
    client.content.sessionManager.Login = lambda user, password, _locale: logins.append((user, password))
    assert client.call("read", Flaky(vim.fault.NotAuthenticated())) == "answer"
    assert logins == [("autoscale@vsphere.local", "secret")]


def test_a_session_that_ends_again_is_an_error(client: FakeClient) -> None:
    method = Flaky(vim.fault.NotAuthenticated(), vim.fault.NotAuthenticated())
    with pytest.raises(AuthenticationError, match="Could not clone 'web-1': the vCenter session expired") as caught:
        client.call("clone 'web-1'", method)
    assert method.calls == 2
    assert "secret" not in str(caught.value)


def test_a_refused_new_login_is_an_error(client: FakeClient) -> None:
    client.content.sessionManager.Login = Flaky(vim.fault.InvalidLogin())
    with pytest.raises(AuthenticationError, match="session expired"):
        client.call("read", Flaky(vim.fault.NotAuthenticated()))


NO_SOAP = Exception("Raising a non-exception object:\n  Attributes: ")
CUT = expat.ExpatError("no element found: line 1, column 0")


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), http.client.HTTPException("503 busy"), TimeoutError(), NO_SOAP, CUT]
)
def test_a_lost_connection_is_tried_again(client: FakeClient, world: FakeVCenter, error: BaseException) -> None:
    assert client.call("read", Flaky(error, error)) == "answer"
    assert world.time == 1.0


def test_a_vcenter_that_stays_away_is_down(client: FakeClient, world: FakeVCenter) -> None:
    with pytest.raises(BackendDownError, match=r"vc\.example\.org:443 was lost \(reset\).*Run again"):
        client.call("read", Flaky(*[ConnectionResetError("reset")] * 99))
    assert 10 < world.time < 12


def test_an_error_page_instead_of_soap_is_no_traceback(client: FakeClient) -> None:
    with pytest.raises(BackendDownError, match="was lost \\(the answer is no SOAP\\)"):
        client.call("read", Flaky(*[NO_SOAP] * 99))


def test_a_defect_of_ours_is_not_tried_again(client: FakeClient) -> None:
    method = Flaky(KeyError("x"))
    with pytest.raises(KeyError):
        client.call("read", method)
    assert method.calls == 1


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        vim.fault.HostConnectFault(msg="reset"),
        ssl.SSLEOFError(8, "EOF occurred"),
        NO_SOAP,
    ],
)
def test_a_login_that_was_broken_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, world: FakeVCenter, error: BaseException
) -> None:
    errors = [error, error]

    class Instance:
        def RetrieveContent(self) -> str:
            return "content"

    monkeypatch.setattr(_client, "SmartConnect", lambda **_kw: _raise(errors.pop()) if errors else Instance())
    client = _client.Client(SETTINGS, clock=world.clock, sleep=world.sleep)
    client.connect()
    assert client.content == "content"
    assert world.time == 1.0


def test_a_fault_is_kept_for_those_who_can_read_it(client: FakeClient) -> None:
    fault = vim.fault.TaskInProgress(msg="busy")
    with pytest.raises(_client.FaultError, match="Could not delete 'web-1': TaskInProgress: busy") as caught:
        client.call("delete 'web-1'", Flaky(fault))
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("fault", "text", "remedy"),
    [
        (vim.fault.NoPermission(privilegeId="Datastore.AllocateSpace"), "Datastore.AllocateSpace", "privilege"),
        (vmodl.fault.InvalidArgument(invalidProperty="spec.location.pool"), "invalidProperty spec.location.pool", ""),
        (
            vim.fault.NoDiskSpace(datastore="LocalDS_0", msg="full"),
            "NoDiskSpace: full (datastore LocalDS_0)",
            "Free space",
        ),
        (vim.fault.InsufficientCpuResourcesFault(), "InsufficientCpuResourcesFault", "no room left"),
        (vim.fault.NicSettingMismatch(numberOfNicsInSpec=1, numberOfNicsInVM=2), "NicSettingMismatch", "network.name"),
    ],
)
def test_faults_in_words(fault: t.Any, text: str, remedy: str) -> None:
    said, advice = _client.describe_fault(fault)
    assert text in said
    assert remedy in advice


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConnectionRefusedError(111, "refused"), BackendDownError, "the connection was refused. Check hostname, port"),
        (socket.gaierror(-2, "Name or service not known"), BackendDownError, "the name does not resolve"),
        (TimeoutError("timed out"), BackendDownError, "no answer within 30 s"),
        (certificate_error(), BackendDownError, "certificate is not trusted (self-signed certificate). Set ca_path"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), BackendDownError, "no TLS on that port"),
        (Exception("x:443 is down or is not a VIM server"), BackendDownError, "what answers there is not a vCenter"),
        (NO_SOAP, BackendDownError, "what answers there is not a vCenter"),
        (vim.fault.HostConnectFault(msg="timed out"), BackendDownError, "no answer within 30 s"),
        (vim.fault.InvalidLogin(), AuthenticationError, "refused the login of autoscale@vsphere.local"),
        (vim.fault.NoPermission(), AuthenticationError, "in but not see anything"),
    ],
)
def test_why_there_is_no_session(
    monkeypatch: pytest.MonkeyPatch, world: FakeVCenter, error: BaseException, kind: type[Exception], text: str
) -> None:
    monkeypatch.setattr(_client, "SmartConnect", lambda **_kw: _raise(error))
    client = _client.Client(SETTINGS, clock=world.clock, sleep=world.sleep)
    with pytest.raises(kind, match=re.escape(text)) as caught:
        client.connect()
    assert "vc.example.org:443" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert socket.getdefaulttimeout() is None


def _raise(error: BaseException) -> t.NoReturn:
    raise error


def test_the_session_is_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[t.Any] = []

    class Instance:
        def RetrieveContent(self) -> str:
            return "content"

    def disconnect(instance: t.Any) -> None:
        closed.append(instance)
        raise OSError("gone already")

    monkeypatch.setattr(_client, "SmartConnect", lambda **_kw: Instance())
    monkeypatch.setattr(_client, "Disconnect", disconnect)
    client = _client.Client(SETTINGS)
    with contextlib.suppress(ZeroDivisionError), client:
        assert client.content == "content"
        raise ZeroDivisionError
    assert len(closed) == 1
    client.close()
    assert len(closed) == 1


def test_a_ca_file_that_cannot_be_read() -> None:
    settings = _client.Settings("h", "u", "p", ca_path="/nowhere/ca.pem")
    with pytest.raises(InvalidSpecError, match=r"ca_path /nowhere/ca\.pem cannot be used"):
        _client.Client(settings).connect()


def test_certificates_are_checked_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[ssl.SSLContext] = []

    def connect(**arguments: t.Any) -> t.Any:
        contexts.append(arguments["sslContext"])
        raise ConnectionRefusedError

    monkeypatch.setattr(_client, "SmartConnect", connect)
    for validate in (True, False):
        with pytest.raises(BackendDownError):
            _client.Client(_client.Settings("h", "u", "p", validate_certs=validate)).connect()
    checked, unchecked = contexts
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert unchecked.verify_mode == ssl.CERT_NONE


def test_the_password_is_not_in_the_settings_text() -> None:
    assert "secret" not in repr(SETTINGS)
