# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault proxy (design §10): transparent for clients that we did not write, and each fault does what it says."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import http.client
import http.server
import socket
import socketserver
import threading
import time

import pytest
import requests

from lab.faults.spawn import FaultProxy
from lab.tls import make_tls

BIG = b"0123456789" * 50_000


class Backend(http.server.ThreadingHTTPServer):
    """A server that counts what really reached it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = collections.Counter()
        self.connections = 0
        self.value = 0
        self.go_on = threading.Semaphore(0)  # one for each piece of a chunked answer

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Backend

    def log_message(self, *_args):
        pass

    def _answer(self):
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        self.server.seen[f"{self.command} {self.path}"] += 1
        if self.path == "/value":
            if self.command == "POST":
                self.server.value += 1
            self._send(str(self.server.value).encode())
        elif self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one", b"two", b"three"):
                self.server.go_on.acquire(timeout=20)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/until-the-end":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(BIG)
        elif self.path == "/nothing":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/slow":
            time.sleep(0.5)
            self._send(b"at last")
        elif self.path == "/big":
            self._send(BIG)
        else:
            self._send(body or b"empty")

    def _send(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=abc; Path=/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer


class Echo(socketserver.BaseRequestHandler):
    """A TCP backend that answers each piece with two halves of sixteen bytes."""

    def handle(self):
        while piece := self.request.recv(1000):
            self.server.seen.append(piece)
            self.request.sendall(b"a" * 16 + b"b" * 16)


@pytest.fixture(scope="module")
def backend():
    with Backend() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def tcp_backend():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def running(tmp_path_factory, backend, tcp_backend):
    folder = tmp_path_factory.mktemp("faults")
    upstream = f"127.0.0.1:{backend.server_address[1]}"
    rows = [
        {"name": "plain", "mode": "http", "upstream": upstream},
        {"name": "tls", "mode": "https", "upstream": upstream, "upstream_tls": False},
        {"name": "tcp", "mode": "tcp", "upstream": f"127.0.0.1:{tcp_backend.server_address[1]}"},
    ]
    with FaultProxy(folder, rows, make_tls(folder / "tls")) as proxy:
        proxy.ca = str(folder / "tls" / "ca.pem")
        yield proxy


@pytest.fixture
def proxy(running, backend, tcp_backend):
    """The proxy without rules, the backends without memory."""
    running.clear()
    running.forget_calls()
    backend.seen.clear()
    tcp_backend.seen.clear()
    return running


@pytest.fixture(params=["http", "https"])
def url(request, proxy):
    return {"http": f"http://127.0.0.1:{proxy.ports['plain']}", "https": f"https://127.0.0.1:{proxy.ports['tls']}"}[
        request.param
    ]


@pytest.fixture
def session(proxy):
    with requests.Session() as session:
        session.verify = proxy.ca
        session.trust_env = False
        yield session


def listener(url):
    return "tls" if url.startswith("https") else "plain"


def only_call(proxy):
    (row,) = proxy.calls()
    return row


# Transparent


def test_bodies_of_every_framing_pass_unchanged(url, session, backend):
    assert session.post(url + "/echo", data=b"hello").content == b"hello"
    backend.go_on.release(3)
    assert session.get(url + "/chunked").content == b"onetwothree"
    assert session.get(url + "/until-the-end").content == BIG
    assert session.get(url + "/big").content == BIG
    assert session.get(url + "/nothing").status_code == 204
    answer = session.head(url + "/big")
    assert (answer.headers["Content-Length"], answer.content) == (str(len(BIG)), b"")
    chunks = iter([b"in ", b"pieces"])
    assert session.post(url + "/echo", data=chunks).status_code == 200
    assert session.cookies["session"] == "abc"


def test_pieces_pass_as_they_come(url, session, backend):
    """A long poll or a stream is not held back until its end: the next piece is made when the last one was read."""
    backend.go_on.release()
    with session.get(url + "/chunked", stream=True) as answer:
        pieces = answer.iter_content(chunk_size=None)
        for piece in (b"one", b"two", b"three"):
            assert next(pieces) == piece
            backend.go_on.release()
        assert list(pieces) == []
    backend.go_on.acquire()


def test_connections_are_kept_on_both_sides(proxy, backend, url, session):
    before = backend.connections
    for _number in range(20):
        session.get(url + "/echo")
    assert backend.connections - before == 1
    assert proxy.calls()[0]["count"] == 20


def test_many_clients_at_once(url, proxy):
    """A slow call holds up nobody else."""

    def call(number):
        with requests.Session() as own:
            own.verify, own.trust_env = proxy.ca, False
            return own.post(url + ("/slow" if number % 2 else "/echo"), data=str(number)).text

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(call, range(40)))
    assert answers == ["at last" if number % 2 else str(number) for number in range(40)]
    assert time.monotonic() - began < 5


def test_a_backend_that_is_down_is_a_reset(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    rows = [{"name": "nobody", "mode": "http", "upstream": f"127.0.0.1:{port}"}]
    with FaultProxy(tmp_path, rows) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{proxy.ports['nobody']}/", timeout=5)
        assert only_call(proxy)["status"] == "none"


# Faults


def test_refuse_reaches_nothing(proxy, backend, url, session):
    proxy.fault(listener(url), "refuse", "GET /value")
    with pytest.raises(requests.ConnectionError, match="reset"):
        session.get(url + "/value")
    assert backend.seen == {}
    assert session.get(url + "/value").status_code == 200, "the rule was for one call"
    assert [(row["fault"], row["status"]) for row in proxy.calls()] == [("refuse", ""), ("", "200")]


def test_refuse_of_everything_refuses_connections(proxy, backend, url, session):
    session.get(url + "/value")  # this connection is kept
    proxy.fault(listener(url), "refuse", times=None)
    for _number in range(3):
        with pytest.raises(requests.ConnectionError):
            session.get(url + "/value")
    with (
        pytest.raises(ConnectionResetError),  # in connect() already, or after it
        socket.create_connection(("127.0.0.1", proxy.ports[listener(url)])) as connection,
    ):
        connection.recv(1)
    assert backend.seen == {"GET /value": 1}
    proxy.clear()
    assert session.get(url + "/value").status_code == 200


def test_delay_holds_and_then_does_it(proxy, backend, url, session):
    proxy.fault(listener(url), "delay", "POST /value", seconds=0.6)
    began, value = time.monotonic(), backend.value
    assert session.post(url + "/value").text == str(value + 1)
    assert time.monotonic() - began >= 0.6


def test_status_reaches_nothing_and_keeps_the_connection(proxy, backend, url, session):
    before = backend.connections
    session.get(url + "/value")
    proxy.fault(listener(url), "status", "POST /value", times=2, status=503)
    first, second, third = (session.post(url + "/value") for _number in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (503, 503, 200)
    assert "<html>" in first.text
    assert backend.seen["POST /value"] == 1
    assert backend.connections - before == 1
    proxy.fault(listener(url), "status", "POST /value", body="soap")
    assert "RuntimeFaultFault" in session.post(url + "/value").text


def test_cut_is_applied_and_half_of_the_answer_comes(proxy, backend, url):
    value = backend.value
    proxy.fault(listener(url), "cut", "POST /value")
    with requests.Session() as session:
        session.verify, session.trust_env = proxy.ca, False
        with pytest.raises(requests.RequestException, match="reset"):
            session.post(url + "/value")
    assert backend.value == value + 1
    assert only_call(proxy)["status"] == "200"


def test_cut_leaves_the_headers_and_half_of_the_body(proxy):
    proxy.fault("plain", "cut", "GET /big")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.ports["plain"])) as connection:
        connection.request("GET", "/big")
        answer = connection.getresponse()
        assert answer.headers["Content-Length"] == str(len(BIG))
        assert answer.read(len(BIG) // 2) == BIG[: len(BIG) // 2]
        with pytest.raises(ConnectionResetError):
            answer.read1(1)


@pytest.mark.parametrize("fault", ["apply_then_status", "apply_then_cut"])
def test_applied_and_then_failed(proxy, backend, url, session, fault):
    """A create that answers 500 and exists all the same."""
    value = backend.value
    proxy.fault(listener(url), fault, "POST /value")
    if fault == "apply_then_status":
        assert session.post(url + "/value").status_code == 500
    else:
        with pytest.raises(requests.ConnectionError):
            session.post(url + "/value")
    assert backend.value == value + 1
    assert session.get(url + "/value").text == str(value + 1)


def test_stale_gives_the_answer_of_the_last_time(proxy, backend, url, session):
    proxy.fault(listener(url), "stale", "GET /never-asked*")
    assert session.get(url + f"/never-asked-{url[:5]}").status_code == 200
    assert only_call(proxy)["fault"] == "stale (none)"
    assert len(proxy.rules()) == 1, "it waits for a call that can be stale"
    proxy.clear()

    old = session.get(url + "/value").text
    session.post(url + "/value")
    proxy.fault(listener(url), "stale", "GET /value")
    asked = backend.seen["GET /value"]
    assert session.get(url + "/value").text == old
    assert backend.seen["GET /value"] == asked
    assert session.get(url + "/value").text == str(int(old) + 1)


def test_rules_skip_match_patterns_and_go_by_number(proxy, url, session):
    proxy.fault(listener(url), "status", "GET /v*", skip=1)
    assert [session.get(url + "/value").status_code for _number in range(3)] == [200, 500, 200]
    rule = proxy.fault(listener(url), "status", times=None)
    assert session.get(url + "/echo").status_code == 500
    proxy.call("DELETE", f"/rules/{rule['ident']}")
    assert session.get(url + "/echo").status_code == 200


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"listener": "none", "fault": "cut"}, "listener must be one of"),
        ({"listener": "plain", "fault": "explode"}, "fault must be one of"),
        ({"listener": "tcp", "fault": "status"}, "fault must be one of"),
        ({"listener": "plain", "fault": "cut", "when": 1}, "unknown keys"),
        ([], "a rule is a JSON object"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(proxy, rule, words):
    with pytest.raises(ValueError, match=words):
        proxy.call("POST", "/rules", rule)
    assert proxy.rules() == []


# TCP


def exchange(proxy, *pieces):
    """What came back for each piece; a reset ends the list, and may come as early as in connect()."""
    got, answer = [], b""
    try:
        with socket.create_connection(("127.0.0.1", proxy.ports["tcp"]), timeout=5) as connection:
            for piece in pieces:
                answer = b""
                connection.sendall(piece)
                while len(answer) < 32:
                    more = connection.recv(100)
                    if not more:
                        return [*got, answer, "end"]
                    answer += more
                got.append(answer)
    except (ConnectionResetError, BrokenPipeError):
        return [*got, answer, "reset"]
    return got


def test_tcp_passes(proxy, tcp_backend):
    whole = b"a" * 16 + b"b" * 16
    assert exchange(proxy, b"one", b"two") == [whole, whole]
    assert tcp_backend.seen == [b"one", b"two"]


def test_tcp_faults(proxy, tcp_backend):
    whole = b"a" * 16 + b"b" * 16
    proxy.fault("tcp", "cut", "message", skip=1)
    assert exchange(proxy, b"one", b"two") == [whole, b"a" * 16, "reset"]
    proxy.fault("tcp", "cut", "message", after_bytes=20)
    assert exchange(proxy, b"three") == [whole[:20], "reset"]
    proxy.fault("tcp", "apply_then_cut", "message")
    assert exchange(proxy, b"four") == [b"", "reset"]
    assert tcp_backend.seen == [b"one", b"two", b"three", b"four"]
    proxy.fault("tcp", "refuse", "message")
    assert exchange(proxy, b"five") == [b"", "reset"]
    proxy.fault("tcp", "refuse")
    assert exchange(proxy, b"six") == [b"", "reset"]
    assert len(tcp_backend.seen) == 4
    proxy.fault("tcp", "delay", "message", seconds=0.4)
    began = time.monotonic()
    assert exchange(proxy, b"seven") == [whole]
    assert time.monotonic() - began >= 0.4
