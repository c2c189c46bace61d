# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stream: what is good, and every way of not being good; on real sockets."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import socket
import ssl
import threading
import typing as t

import pytest
import trustme
from unit.kit.fake_vllm import DONE, Server, event, usage

from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._client import Connection
from ansible_collections.onprem.autoscale.plugins.module_utils._vllm._stream import Asked, StreamFailed, run_stream

ASKED = Asked("tiny", "Say hello.", 3, 0.7)


def ask(server: Server, *, first_token: float = 5, deadline: float = 10) -> t.Any:
    return run_stream(server.connection, "127.0.0.1", ASKED, first_token=first_token, deadline=deadline)


def failure(server: Server, script: t.Any, **times: float) -> StreamFailed:
    server.stream = lambda _request: script
    with pytest.raises(StreamFailed) as caught:
        ask(server, **times)
    return caught.value


def test_a_good_stream(server: Server) -> None:
    """B2: exactly so many tokens are asked for, and the server's own count is believed."""
    stream = ask(server)
    assert (stream.tokens, stream.finish, stream.complete) == (3, "length", True)
    assert 0 < stream.ttft <= stream.seconds
    (request,) = server.requests
    assert request["stream_options"] == {"include_usage": True}
    expected = {
        "model": "tiny",
        "max_tokens": 3,
        "min_tokens": 3,
        "ignore_eos": True,
        "temperature": 0.7,
        "stream": True,
    }
    assert expected.items() <= request.items()


def test_comments_that_keep_a_stream_open_are_no_tokens(server: Server) -> None:
    assert failure(server, [b": keep-alive\n\n", 5.0], first_token=0.3).silent


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ([event(), event(finish="abort"), usage(1), DONE], "finish_reason abort"),
        ([event(finish="abort"), usage(0), DONE], "finish_reason abort"),
        (
            [event(), b'data: {"error": {"message": "EngineCore died"}}\n\n', DONE],
            "an error in the stream .*EngineCore died",
        ),
        ([b'data: {"error": {"message": "busy", "code": 503}}\n\n', DONE], "an error in the stream .*busy"),
        ([event(), event(finish="length"), usage(2), DONE], "2 tokens counted instead of 3"),
        ([event(), event(finish="length"), DONE], "no tokens counted"),
        ([usage(3), DONE], "finish_reason missing"),
        ([event(), event()], "cut before its end"),
        ([], "cut before its first token"),
        ([b"data: <html>\n\n", DONE], "no event of vLLM: <html>"),
        ([b"data: [1]\n\n", DONE], "no event of vLLM"),
        ([b'data: {"choices": [3]}\n\n', DONE], "no event of vLLM"),
        (
            (500, '{"error": {"message": "EngineCore encountered an issue"}}'),
            "status 500: EngineCore encountered an issue",
        ),
        ((502, "<html>bad gateway</html>"), "status 502: <html>bad gateway"),
        ((200, "hello"), "instead of a stream"),
    ],
)
def test_what_is_no_good_stream(server: Server, script: t.Any, text: str) -> None:
    problem = failure(server, script)
    assert re.search(text, str(problem)), str(problem)
    assert not problem.final


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, '{"error": "Unauthorized"}'), (404, '{"error": {"message": "The model does not exist"}}'), (400, "{}")],
)
def test_refusals_that_stay_are_final(server: Server, status: int, text: str) -> None:
    problem = failure(server, (status, text))
    assert problem.final
    assert str(status) in str(problem)


def test_no_first_token_in_time(server: Server) -> None:
    """B2: what a frozen engine does, after its 200."""
    problem = failure(server, [5.0], first_token=0.3)
    assert problem.silent
    assert str(problem) == "no first token within 0.3 s"


def test_a_stream_that_does_not_end_in_time(server: Server) -> None:
    problem = failure(server, [event(), 5.0], deadline=0.4)
    assert not problem.silent
    assert str(problem) == "the stream did not end within 0.4 s"


def test_drop_by_drop_does_not_prolong_the_deadline(server: Server) -> None:
    """Each byte arrives in time, the event never does."""
    drops = [part for byte in b"data: " + b"x" * 200 for part in (bytes([byte]), 0.05)]
    assert failure(server, drops, first_token=0.5).silent


def test_the_connection_is_closed_when_it_is_given_up() -> None:
    """So that vLLM drops the request."""
    closed = threading.Event()

    def serve(listener: socket.socket) -> None:
        client, _peer = listener.accept()
        with client:
            while client.recv(4096):
                pass
        closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with pytest.raises(StreamFailed, match="no first token"):
            run_stream(Connection(port=listener.getsockname()[1]), "127.0.0.1", ASKED, first_token=0.2, deadline=1)
        assert closed.wait(10)


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(StreamFailed, match="connection refused"):
            run_stream(Connection(port=bound.getsockname()[1]), "127.0.0.1", ASKED, first_token=1, deadline=1)


@pytest.fixture
def tls(server: Server, tmp_path: pathlib.Path) -> Connection:
    """How the same endpoint is reached by TLS."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return dataclasses.replace(server.connection, scheme="https", ca_path=str(tmp_path / "ca.pem"))


def test_tls(tls: Connection) -> None:
    assert run_stream(tls, "127.0.0.1", ASKED, first_token=5, deadline=10).tokens == 3


def test_tls_of_an_unknown_authority_is_final(tls: Connection) -> None:
    with pytest.raises(StreamFailed, match="TLS: ") as caught:
        run_stream(dataclasses.replace(tls, ca_path=None), "127.0.0.1", ASKED, first_token=5, deadline=10)
    assert caught.value.final


def test_tls_unchecked(tls: Connection) -> None:
    careless = dataclasses.replace(tls, ca_path=None, validate_certs=False)
    assert run_stream(careless, "127.0.0.1", ASKED, first_token=5, deadline=10).tokens == 3


def test_an_authority_that_is_not_there(tls: Connection) -> None:
    with pytest.raises(StreamFailed, match=r"ca_path /nowhere\.pem: no such file"):
        run_stream(dataclasses.replace(tls, ca_path="/nowhere.pem"), "127.0.0.1", ASKED, first_token=5, deadline=10)
