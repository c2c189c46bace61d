# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt of one gate, on real sockets (A6, invariant 5)."""

from __future__ import annotations

import datetime
import ssl
import time
import typing as t

import pytest
import trustme

from ansible_collections.onprem.autoscale.plugins.module_utils._gates._checks import (
    MAX_BODY_BYTES,
    Failed,
    check,
    label_of,
    url_of,
)


def http(port: int, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "http", "port": port, "path": "/health", **more}


def test_http_passes_on_the_status(make_server: t.Any) -> None:
    server = make_server()
    assert check("127.0.0.1", http(server.port), 2) == "status 200"
    assert server.requests == ["/health"]
    server.status = 204
    assert check("127.0.0.1", http(server.port, status=204), 2) == "status 204"


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"status": 204}, "status 200 instead of 204"),
        ({"contains": "steady"}, "does not contain 'steady'"),
        ({"regex": "^ok$"}, "does not match '^ok$'"),
    ],
)
def test_http_fails_with_the_reason(make_server: t.Any, gate: dict[str, t.Any], reason: str) -> None:
    with pytest.raises(Failed) as caught:
        check("127.0.0.1", http(make_server().port, **gate), 2)
    assert reason in str(caught.value)


@pytest.mark.parametrize("gate", [{"contains": "ead"}, {"regex": "^re.dy$"}, {"contains": "ready", "regex": "r"}])
def test_http_looks_into_the_body(make_server: t.Any, gate: dict[str, t.Any]) -> None:
    assert check("127.0.0.1", http(make_server().port, **gate), 2) == "status 200"


def test_a_redirect_is_not_followed(make_server: t.Any) -> None:
    """A login page on another host says nothing about the member."""
    server = make_server()
    server.status = 302
    with pytest.raises(Failed, match="status 302 instead of 200"):
        check("127.0.0.1", http(server.port), 2)


def test_a_proxy_of_the_environment_is_not_asked(make_server: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, member = make_server(), make_server()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    check("127.0.0.1", http(member.port), 2)
    assert (proxy.requests, len(member.requests)) == ([], 1)


def test_a_body_that_drips_ends_with_the_time(make_server: t.Any) -> None:
    server = make_server()
    server.body, server.drip = b"x" * 1000, 0.05
    began = time.monotonic()
    with pytest.raises(Failed, match="did not end in time"):
        check("127.0.0.1", http(server.port, contains="ready"), 0.4)
    assert time.monotonic() - began < 20, "the whole body takes 50 s"


def test_only_the_start_of_a_body_is_read(make_server: t.Any) -> None:
    server = make_server()
    server.body = b"x" * MAX_BODY_BYTES + b"ready"
    with pytest.raises(Failed, match="does not contain"):
        check("127.0.0.1", http(server.port, contains="ready"), 10)


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_refused(closed_port: int, kind: str) -> None:
    with pytest.raises(Failed, match=r"^connection refused$"):
        check("127.0.0.1", {"type": kind, "port": closed_port}, 1)


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_silence_ends_with_the_time(silent_port: int, kind: str) -> None:
    began = time.monotonic()
    with pytest.raises(Failed, match=r"within 0\.3 s"):
        check("127.0.0.1", {"type": kind, "port": silent_port}, 0.3)
    assert time.monotonic() - began < 10


def test_tcp_passes(make_server: t.Any) -> None:
    assert check("127.0.0.1", {"type": "tcp", "port": make_server().port}, 2) == "connected"


def test_a_name_that_does_not_exist_fails_and_does_not_break() -> None:
    with pytest.raises(Failed):
        check("no-such-host.invalid", {"type": "tcp", "port": 80}, 2)
    with pytest.raises(Failed):
        check("no-such-host.invalid", http(80), 2)


def test_https_checks_the_certificate_unless_told_not_to(make_server: t.Any) -> None:
    server = make_server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_after=expiry).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    gate = http(server.port, scheme="https")
    with pytest.raises(Failed, match=r"^TLS: unable to get local issuer certificate$"):
        check("127.0.0.1", gate, 2)
    assert check("127.0.0.1", {**gate, "validate_certs": False}, 2) == "status 200"


def test_names_of_gates() -> None:
    assert url_of("fd00::1", {"type": "http", "port": 80}) == "http://[fd00::1]:80/"
    assert label_of(http(80, scheme="https")) == "https 80 /health"
    assert label_of({"type": "tcp", "port": 9100}) == "tcp 9100"
