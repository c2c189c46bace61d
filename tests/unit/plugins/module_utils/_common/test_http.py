# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP layer against a real server on loopback: what is repeated, what never is, and what a failure says."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    BackendDownError,
    InvalidSpecError,
    NotFoundError,
    UnsettledError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import (
    ConnectionBrokenError,
    HttpClient,
    ResponseError,
    url_host,
)


class Server(ThreadingHTTPServer):
    """Answers ``/<status>``; ``hits`` are requests as ``(method, path)``, ``answers`` override statuses in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hits: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of these tests hang up on purpose."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.server.hits.append((self.command, self.path))
        self.server.headers.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.path == "/slow":
            time.sleep(1.0)
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        status = self.server.answers.pop(0) if self.server.answers else status
        body = b'{"ok": true}' if self.path != "/page" else b"<html>Welcome</html>"
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as it:
        thread = threading.Thread(target=it.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield it
        it.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_safe_method_is_repeated_while_the_server_is_busy(server: Server) -> None:
    server.answers = [503, 502, 200]
    with HttpClient(url(server)) as client:
        assert client.get_json("/thing") == {"ok": True}
    assert server.hits == [("GET", "/thing")] * 3


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_change_is_never_repeated(server: Server, method: str) -> None:
    """Invariant 7: whether a change took effect is found out by reading, not by sending it again."""
    with HttpClient(url(server)) as client, pytest.raises(BackendDownError, match="503"):
        client.request(method, "/503", json={})
    assert server.hits == [(method, "/503")]


def test_a_safe_method_whose_connection_is_cut_is_repeated(server: Server) -> None:
    with HttpClient(url(server), retries=2) as client, pytest.raises(ConnectionBrokenError) as caught:
        client.request("GET", "/cut")
    assert caught.value.cut
    assert server.hits == [("GET", "/cut")] * 3


def test_a_change_whose_connection_is_cut_may_have_been_made(server: Server) -> None:
    with HttpClient(url(server), retries=0) as client:
        with pytest.raises(ConnectionBrokenError, match="connection broke") as cut:
            client.request("POST", "/cut", json={})
        assert cut.value.maybe_applied
        assert "may have been made" in str(cut.value)
        with pytest.raises(ConnectionBrokenError) as read:
            client.request("GET", "/cut")
        assert not read.value.maybe_applied
    assert server.hits == [("POST", "/cut"), ("GET", "/cut")]
    lost, unread = cut.value.told("make x"), read.value.told("read x")
    assert isinstance(lost, UnsettledError)
    assert str(lost).startswith("Could not make x: POST http")
    assert "what is there is read first" in str(lost)
    assert not isinstance(unread, UnsettledError)
    assert str(unread).endswith("Try again.")


def test_a_read_timeout_names_the_seconds(server: Server) -> None:
    with (
        HttpClient(url(server), timeout=0.2) as client,
        pytest.raises(ConnectionBrokenError, match=r"no answer within 0\.2 s"),
    ):
        client.request("POST", "/slow")


def test_a_single_request_can_have_its_own_timeout(server: Server) -> None:
    with HttpClient(url(server), timeout=0.2) as client:
        assert client.request("GET", "/slow", timeout=5).status_code == 200


def test_a_refused_connection_says_so() -> None:
    port = free_port()
    with HttpClient(f"http://127.0.0.1:{port}", retries=1) as client, pytest.raises(ConnectionBrokenError) as refused:
        client.request("POST", "/x")
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "refused" in str(refused.value)
    assert "Check the address and the port" in str(refused.value)
    assert not refused.value.maybe_applied


def test_an_unknown_name_says_so() -> None:
    with (
        HttpClient("http://no-such-host.invalid", retries=0) as client,
        pytest.raises(ConnectionBrokenError, match="cannot be resolved"),
    ):
        client.request("GET", "/x")


def test_statuses_become_errors_of_the_collection(server: Server) -> None:
    with HttpClient(url(server), retries=0) as client:
        with pytest.raises(AuthenticationError):
            client.request("GET", "/401")
        with pytest.raises(NotFoundError):
            client.request("GET", "/404")
        with pytest.raises(ResponseError) as refused:
            client.request("GET", "/409")
        assert refused.value.status == 409
        assert client.request("GET", "/409", ok=(200, 409)).status_code == 409
        assert client.request("GET", "/500", ok=None).status_code == 500


def test_a_redirect_is_not_followed_but_named(server: Server) -> None:
    """A token never travels to an address that nobody configured (A15)."""
    with HttpClient(url(server)) as client, pytest.raises(ResponseError, match=r"http://127\.0\.0\.1:1/elsewhere"):
        client.request("GET", "/302")
    assert len(server.hits) == 1


def test_401_asks_the_hook_once_and_repeats(server: Server) -> None:
    asked: list[int] = []
    server.answers = [401, 200]
    with HttpClient(url(server), on_unauthorized=lambda: asked.append(1) is None) as client:
        assert client.request("POST", "/thing", json={}).status_code == 200
        server.answers = [401, 401]
        with pytest.raises(AuthenticationError):
            client.request("POST", "/thing", json={})
    assert len(asked) == 2
    assert len(server.hits) == 4


def test_a_page_instead_of_json_is_recognised(server: Server) -> None:
    with HttpClient(url(server)) as client, pytest.raises(BackendDownError, match=r"text/html instead of JSON: <html>"):
        client.get_json("/page")


def test_the_password_of_an_address_is_in_no_error(server: Server) -> None:
    """A15: no secret in logs."""
    with HttpClient(url(server).replace("//", "//user:s3cret@")) as client, pytest.raises(NotFoundError) as missing:
        client.request("GET", "/404")
    assert "s3cret" not in str(missing.value)


def test_netrc_is_not_read(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with HttpClient(url(server)) as client:
        client.request("GET", "/x")
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("address", ["web:8080", "ftp://x", "https://"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidSpecError):
        HttpClient(address)


def test_tls_is_verified_unless_told_otherwise(server: Server, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    address = url(server).replace("http:", "https:")
    with HttpClient(address, retries=0) as client, pytest.raises(ConnectionBrokenError, match=r"TLS.*ca_path"):
        client.request("GET", "/x")
    with HttpClient(address, ca_path=str(ca_file)) as client:
        assert client.request("GET", "/x").status_code == 200
    # requests lets this variable outrank verify=False of a session
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file.with_name("other.pem")))
    with HttpClient(address, verify=False) as client:
        assert client.request("GET", "/x").status_code == 200
    with (
        HttpClient(address, ca_path=str(tmp_path / "none.pem")) as client,
        pytest.raises(InvalidSpecError, match="ca_path"),
    ):
        client.request("GET", "/x")


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.0.0.1", "10.0.0.1"), ("a.example", "a.example"), ("fd00::1", "[fd00::1]"), ("[::1]",) * 2],
)
def test_an_ipv6_address_stands_in_brackets(address: str, host: str) -> None:
    assert url_host(address) == host
