# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver as a real process on a real socket: who is let in, what is stored, what is answered (T1, T3, A15)."""

from __future__ import annotations

import concurrent.futures
import json
import sqlite3
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import trustme
from integration.receiver_kit import TOKEN, ReceiverKit, alert, notification, until


@pytest.fixture
def kit(tmp_path: Path) -> t.Iterator[ReceiverKit]:
    """A running receiver whose plays hang, so that what waits can be seen."""
    kit = ReceiverKit(tmp_path)
    kit.control(web={"seconds": 60}, api={"seconds": 60})
    kit.start()
    yield kit
    kit.close()


def inbox(kit: ReceiverKit) -> list[dict[str, t.Any]]:
    """The inbox, oldest first."""
    return kit.rows("select * from inbox order by received_at")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \u00e9\u00e9"],
    ids=["none", "empty", "no word", "blank", "wrong", "longer", "basic", "not ascii"],
)
def test_without_the_token_nothing_is_stored(kit: ReceiverKit, authorization: str | None) -> None:
    """T1: 401 with WWW-Authenticate, before the body is looked at."""
    headers = {} if authorization is None else {"Authorization": authorization.encode("utf-8")}
    answer = requests.post(f"{kit.url}/alerts", data=json.dumps(notification(alert())), headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert inbox(kit) == []
    assert TOKEN not in kit.log.read_text()


def test_bad_bodies_are_refused_and_named(kit: ReceiverKit) -> None:
    """T1: too large, not JSON, not a notification, another version, no alerts: nothing stored, the process lives."""
    broken = notification(alert())
    del broken["alerts"][0]["fingerprint"]
    piped = notification(alert(fingerprint="a|b"))
    for body, status in (
        (b"x" * 5 * 1024 * 1024, 413),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"null", 422),
        ({}, 422),
        ({**notification(alert()), "version": "3"}, 422),
        (notification(), 422),
        (broken, 422),
        (piped, 422),
        (notification({**alert(), "labels": {"group": 5}}), 422),
    ):
        answer = kit.post(body)
        assert answer.status_code == status, (body if status != 413 else "large", answer.text)
        assert answer.json()["error"]
    # A body that hides its length is measured while it is read.
    chunks = (b"x" * 65536 for _unused in range(80))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.post(f"{kit.url}/alerts", data=chunks, headers=headers, timeout=20).status_code == 413
    assert inbox(kit) == []
    assert kit.metric('onprem_autoscale_receiver_requests_total{code="413"}') == 2
    assert kit.get("/healthz").status_code == 200


def test_unknown_groups_are_reported_and_hold_back_nobody(kit: ReceiverKit) -> None:
    """T1: the known one is accepted; a delivery of which nothing can be used is a 400 that people can see."""
    answer = kit.post(
        notification(alert(), alert("nobody", fingerprint="a1"), alert(action="reboot", fingerprint="a2"))
    )
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "duplicates": 0,
        "set": 1,
        "withdrawn": 0,
        "unknown": ["nobody"],
        "unaddressed": 1,
    }
    assert kit.post(notification(alert("nobody"))).status_code == 400
    assert kit.metric('onprem_autoscale_receiver_alerts_total{result="unknown"}') == 2
    assert [row["group_name"] for row in inbox(kit)] == ["web"]
    # Declared later: the next delivery gets through, without a restart.
    (kit.folder / "groups" / "nobody.yml").write_text("name: nobody\n")
    assert kit.post(notification(alert("nobody", fingerprint="a1"))).status_code == 202
    (kit.folder / "groups" / "nobody.yml").write_text("name: nobody\nenabled: false\n")
    answer = kit.post(notification(alert("nobody", fingerprint="a3")))
    assert (answer.status_code, answer.json()) == (202, {"disabled": ["nobody"]})


def test_duplicates_are_counted_and_not_stored_twice(kit: ReceiverKit) -> None:
    """T1: a retry, and an HA pair that delivers the same at the same instant: one row, one signal."""
    body = notification(alert())
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = [a.json() for a in pool.map(lambda _unused: kit.post(body, path="/any/path"), range(24))]
    assert sum(answer["accepted"] for answer in answers) == 1
    assert sum(answer["duplicates"] for answer in answers) == 23
    assert sum(answer["set"] for answer in answers) == 1
    assert [row["seen"] for row in inbox(kit)] == [24]
    assert inbox(kit)[0]["key"] == "f00d|2026-01-01T00:00:00.123456789Z|firing"


def test_resolved_withdraws_what_waits_and_never_acts(kit: ReceiverKit) -> None:
    """T3, invariant 11: only once the last alert that asks for the same is gone."""
    kit.post(notification(alert(fingerprint="first")))
    until(kit.runs, "the running action")
    kit.post(notification(alert(fingerprint="aa"), alert(fingerprint="bb")))
    assert kit.work()["dirty_out"] is not None
    one = kit.post(notification(alert(fingerprint="aa", status="resolved"))).json()
    assert one["withdrawn"] == 0, "bb still fires"
    kit.post(notification(alert(fingerprint="first", status="resolved")))
    assert kit.post(notification(alert(fingerprint="bb", status="resolved"))).json()["withdrawn"] == 1
    late = kit.post(notification(alert(fingerprint="bb"))).json()
    assert late["set"] == 0, "a copy that comes right behind its own end is late, not new"
    kit.post(notification(alert("api", status="resolved", fingerprint="cc")))
    assert kit.work("api").get("running") is None
    kit.go()
    until(kit.idle, "the end")
    time.sleep(1.5)
    assert kit.runs() == ["web-1"]
    assert [row["status"] for row in inbox(kit)].count("resolved") == 4


def test_a_ledger_that_cannot_be_written_is_a_503_and_then_delivered(kit: ReceiverKit) -> None:
    """T1, T4: no 202 without durable storage; the same delivery gets through afterwards, once."""
    with sqlite3.connect(kit.folder / "ledger.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        answer = kit.post(notification(alert()))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert kit.get("/healthz").status_code == 503
        holder.execute("ROLLBACK")
    holder.close()
    until(lambda: kit.post(notification(alert())).status_code == 202, "the delivery")
    assert len(inbox(kit)) == 1
    until(lambda: kit.get("/healthz").status_code == 200, "health")
    assert kit.metric('onprem_autoscale_ledger_errors_total{caller="receiver"}') >= 1


def test_truncated_deliveries_are_seen(kit: ReceiverKit) -> None:
    """Facts 1: a cut list is never taken for complete."""
    assert kit.post(notification(alert(), truncated=7)).status_code == 202
    assert kit.metric("onprem_autoscale_receiver_truncated_alerts_total") == 7
    assert "cut 7 alert(s) off" in kit.log.read_text()


def test_questions(kit: ReceiverKit) -> None:
    """/healthz and /metrics are open, /actions is not; nothing else can be read."""
    good = {"ledger": "ok", "dispatcher": "ok"}
    until(lambda: kit.get("/healthz", token=None).json() == good, "the first pass of the dispatcher")
    assert "onprem_autoscale_dispatcher_last_pass" in kit.get("/metrics", token=None).text
    assert kit.get("/actions", token=None).status_code == 401
    assert kit.get("/alerts").status_code in (404, 405)
    kit.post(notification(alert()))
    until(kit.runs, "the running action")
    shown = kit.get("/actions").json()
    assert shown["groups"][0]["running"]["reason"] == "CpuHigh f00d"
    assert shown["alerts"][0]["key"].startswith("f00d|")
    assert "payload" not in shown["alerts"][0]
    assert kit.metric('onprem_autoscale_action_running{group="web"}') == 1


def test_a_token_reaches_only_its_groups_and_can_be_renewed(tmp_path: Path) -> None:
    """A15: a token for one group asks for no other; a new token in the file works without a restart."""
    kit = ReceiverKit(tmp_path, tokens=[{"name": "web only", "token_file": str(tmp_path / "token"), "groups": ["web"]}])
    kit.control(web={"seconds": 60})
    try:
        kit.start()
        assert kit.post(notification(alert("api"))).status_code == 403
        both = kit.post(notification(alert("web"), alert("api", fingerprint="a1")))
        assert (both.status_code, both.json()["forbidden"]) == (202, ["api"])
        assert [row["group"] for row in kit.get("/actions").json()["groups"]] == ["web"]
        kit.token_file.write_text("another-token-of-the-tests-42\n")
        assert kit.post(notification(alert("web"))).status_code == 401
        assert kit.post(notification(alert("web")), token="another-token-of-the-tests-42").status_code == 202
        kit.token_file.chmod(0o644)
        assert kit.post(notification(alert("web")), token="another-token-of-the-tests-42").status_code == 202
        assert "stays as it was" in kit.log.read_text()
    finally:
        kit.close()


def test_mutual_tls(tmp_path: Path) -> None:
    """T1: the named client is let in, another of the same CA is not, a stranger's certificate ends the handshake."""
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ca.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    clients = {}
    for name, issuer in (("am.example.org", ca), ("other.example.org", ca), ("am.example.org!", stranger)):
        issuer.issue_cert(name.strip("!")).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
        clients[name] = str(tmp_path / f"{name}.pem")
    tls = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem", "clients": [{"name": "am.example.org"}]}
    kit = ReceiverKit(tmp_path, tls=tls)
    kit.control(web={"seconds": 60})
    verify = str(tmp_path / "ca.pem")
    try:
        kit.start()
        body = notification(alert())
        assert kit.post(body, token=None, verify=verify, cert=clients["am.example.org"]).status_code == 202
        assert kit.post(body, token=None, verify=verify, cert=clients["other.example.org"]).status_code == 401
        assert kit.post(body, token=None, verify=verify).status_code == 401
        assert kit.post(body, verify=verify).status_code == 202, "the token alone is enough"
        with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
            kit.post(body, token=None, verify=verify, cert=clients["am.example.org!"])
        assert kit.get("/healthz", token=None, verify=verify).status_code == 200
        assert [row["seen"] for row in inbox(kit)] == [2]
    finally:
        kit.close()


class Prometheus(BaseHTTPRequestHandler):
    """Answers /api/v1/alerts with what the test put on the server."""

    def do_GET(self) -> None:
        """One endpoint."""
        body = json.dumps({"status": "success", "data": {"alerts": self.server.alerts}}).encode()  # type: ignore[attr-defined]
        self.send_response(200 if self.server.alive else 503)  # type: ignore[attr-defined]
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@pytest.fixture
def prometheus() -> t.Iterator[ThreadingHTTPServer]:
    """A stand-in with ``alerts`` and ``alive``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    server.alerts, server.alive = [], True  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def firing(group: str = "web", state: str = "firing") -> dict[str, t.Any]:
    """An entry of Prometheus' list."""
    labels = {"alertname": "CpuHigh", "group": group, "action": "scale_out"}
    return {"labels": labels, "annotations": {}, "state": state, "activeAt": "2026-01-01T00:00:00.5Z", "value": "9e+01"}


def test_the_sweep_finds_what_was_never_delivered(tmp_path: Path, prometheus: ThreadingHTTPServer) -> None:
    """Facts 1: the receiver was down for the whole alert; the sweep is the only cure, and queues nothing behind."""
    prometheus.alerts = [firing(), firing("nobody"), firing("api", "pending")]  # type: ignore[attr-defined]
    kit = ReceiverKit(tmp_path, prometheus_url=f"http://127.0.0.1:{prometheus.server_port}", sweep_period=0.5)
    kit.control(web={"seconds": 60})
    try:
        kit.start()
        until(kit.runs, "the run")
        seen = inbox(kit)[0]["seen"]
        until(lambda: inbox(kit)[0]["seen"] > seen + 2, "more sweeps")
        assert kit.work()["dirty_out"] is None
        assert kit.work("api") == {}
        prometheus.alive = False  # type: ignore[attr-defined]
        until(lambda: kit.metric('onprem_autoscale_sweeps_total{result="failed"}') >= 1, "a failed sweep")
        prometheus.alerts = []  # type: ignore[attr-defined]
        prometheus.alive = True  # type: ignore[attr-defined]
        kit.go()
        until(kit.idle, "the end")
        assert kit.runs() == ["web-1"]
    finally:
        kit.close()


@pytest.mark.parametrize("still", [True, False], ids=["still fires", "is over"])
def test_an_old_alert_is_not_believed_without_asking(
    tmp_path: Path, prometheus: ThreadingHTTPServer, still: bool
) -> None:
    """Invariant 11: what waited longer than its limit runs only when Prometheus still says so; unsure means wait."""
    prometheus.alive = False  # type: ignore[attr-defined]
    kit = ReceiverKit(
        tmp_path,
        prometheus_url=f"http://127.0.0.1:{prometheus.server_port}",
        sweep_period=3600,
        alert_max_age=2,
        executor={"max_parallel": 1},
    )
    kit.control(web={"seconds": 60}, api={"seconds": 0})
    try:
        kit.start()
        kit.post(notification(alert("web")))
        until(kit.runs, "the run that holds the only slot")
        kit.post(notification(alert("api", fingerprint="a1")))
        time.sleep(2.5)
        prometheus.alive = True  # type: ignore[attr-defined]
        prometheus.alerts = [firing("api")] if still else []  # type: ignore[attr-defined]
        kit.go()
        until(lambda: kit.idle("api"), "the verdict")
        assert len(kit.runs("begin", "api")) == (1 if still else 0)
        dropped = 'onprem_autoscale_signals_dropped_total{group="api",reason="too_old"}'
        assert kit.metric(dropped) == (0 if still else 1)
    finally:
        kit.close()
