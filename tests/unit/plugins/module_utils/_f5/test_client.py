# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session: tokens, a device that restarts, its error codes, transactions. Scripted conversations."""

from __future__ import annotations

import json

import pytest
import requests

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    BackendDownError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnsettledError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import ConnectionBrokenError, HttpClient
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._client import BigIP
from ansible_collections.onprem.autoscale.tests.unit.kit.http_talk import Clock, Talk, Turn

LOGIN = "/mgmt/shared/authn/login"
POOL = "/mgmt/tm/ltm/pool/~Common~web-pool"
TRANSACTION = "/mgmt/tm/transaction"


def error(status: int, message: str) -> dict:
    return {"status": status, "json": {"code": status, "message": message, "errorStack": [], "apiError": 3}}


def login(name: str = "T1") -> Turn:
    return Turn("POST", LOGIN, json={"token": {"token": name, "timeout": 1200}})


def logout(name: str = "T1") -> Turn:
    return Turn("DELETE", f"/mgmt/shared/authz/tokens/{name}", json={})


def has_token(token: str):
    def check(request: requests.PreparedRequest) -> None:
        assert request.headers["X-F5-Auth-Token"] == token

    return check


def make(*turns: Turn) -> tuple[BigIP, Talk, Clock]:
    http = HttpClient("https://bigip.example.org:443", retries=0)
    talk, clock = Talk(list(turns)), Clock()
    http.session.mount("https://", talk)
    return BigIP(http, "autoscale", "s3cret", busy_timeout=60, clock=clock, sleep=clock.sleep), talk, clock


def test_one_token_serves_a_call_and_is_given_back() -> None:
    client, talk, _clock = make(
        login(),
        Turn("GET", POOL, json={"name": "web-pool"}, check=has_token("T1")),
        Turn("GET", POOL, json={"name": "web-pool"}, check=has_token("T1")),
        logout(),
    )
    with client:
        client.get(POOL)
        client.get(POOL)
    talk.finish()
    assert json.loads(talk.said[0].body) == {
        "username": "autoscale",
        "password": "s3cret",
        "loginProviderName": "tmos",
    }


def test_the_token_is_given_back_after_an_error_and_a_failure_of_that_is_no_error() -> None:
    gone = Turn("DELETE", "/mgmt/shared/authz/tokens/T1", error=requests.exceptions.ConnectionError("cut"))
    client, talk, _clock = make(login(), gone)
    with pytest.raises(ZeroDivisionError), client:
        raise ZeroDivisionError
    talk.finish()


def test_an_expired_token_is_renewed_once_and_the_call_repeated() -> None:
    expired = Turn("GET", POOL, **error(401, "X-F5-Auth-Token does not exist."))
    client, talk, _clock = make(
        login(), expired, login("T2"), Turn("GET", POOL, json={"name": "x"}, check=has_token("T2")), logout("T2")
    )
    with client:
        assert client.get(POOL) == {"name": "x"}
    talk.finish()


def test_a_second_refusal_ends_it() -> None:
    expired = error(401, "X-F5-Auth-Token does not exist.")
    client, talk, _clock = make(
        login(), Turn("GET", POOL, **expired), login("T2"), Turn("GET", POOL, **expired), logout("T2")
    )
    with pytest.raises(AuthenticationError), client:
        client.get(POOL)
    talk.finish()


def test_a_wrong_password_is_said_without_it() -> None:
    client, talk, _clock = make(Turn("POST", LOGIN, **error(401, "Authentication failed.")))
    with pytest.raises(AuthenticationError) as refused:  # noqa: SIM117 - pylint reads the joined form as a tuple
        with client:
            pass
    talk.finish()
    assert "refused user 'autoscale'" in str(refused.value)
    assert "Check the user name" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_too_many_tokens_say_what_to_do() -> None:
    said = "user autoscale has reached maximum active login tokens"
    client, talk, _clock = make(Turn("POST", LOGIN, **error(400, said)))
    with pytest.raises(RefusedError, match=r"no further token.*20 minutes"), client:
        pass
    talk.finish()


@pytest.mark.parametrize(
    "busy",
    [
        {"status": 503, "text": "<html><body>Configuration Utility restarting...</body></html>"},
        {"status": 200, "text": "<html><body>Configuration Utility restarting...</body></html>"},
        error(503, "There is an active asynchronous task executing."),
        error(404, "Public URI path not registered: /tm/ltm/pool"),
        {"error": requests.exceptions.ConnectionError("[Errno 111] Connection refused")},
    ],
)
def test_a_restarting_device_is_waited_for(busy: dict) -> None:
    client, talk, clock = make(
        login(), Turn("GET", POOL, **busy), Turn("GET", POOL, **busy), Turn("GET", POOL, json={}), logout()
    )
    with client:
        client.get(POOL)
    talk.finish()
    assert len(clock.slept) == 2


def test_a_device_that_restarts_for_too_long_is_down() -> None:
    page = {"status": 503, "text": "Configuration Utility restarting..."}
    client, _talk, clock = make(login(), *[Turn("GET", POOL, **page) for _unused in range(100)])
    client.login()
    with pytest.raises(BackendDownError, match=r"restarting.*for 60 s.*busy_timeout"):
        client.get(POOL)
    assert sum(clock.slept) == pytest.approx(60)


REFUSED = {"error": requests.exceptions.ConnectionError("[Errno 111] Connection refused")}
RESET = {"error": requests.exceptions.ConnectionError("('Connection aborted.', ConnectionResetError(104, 'reset'))")}
HUNG_UP = {"error": requests.exceptions.SSLError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation")}


def test_an_address_where_nothing_listens_is_not_waited_for_long() -> None:
    """Ten seconds bridge an outage at the wrong moment; busy_timeout is for a device that has answered before."""
    client, _talk, clock = make(*[Turn("POST", LOGIN, **REFUSED) for _unused in range(50)])
    with pytest.raises(ConnectionBrokenError, match=r"refused.*the address and the port"), client:
        pass
    assert sum(clock.slept) == pytest.approx(10)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("NameResolutionError: Name or service not known"),
        requests.exceptions.SSLError("certificate verify failed"),
        requests.exceptions.ConnectTimeout("no route"),
    ],
)
def test_a_wrong_name_or_certificate_is_not_waited_for(error: Exception) -> None:
    client, talk, clock = make(Turn("POST", LOGIN, error=error))
    with pytest.raises(ConnectionBrokenError), client:
        pass
    talk.finish()
    assert clock.slept == []


@pytest.mark.parametrize("outage", [REFUSED, RESET, HUNG_UP, error(500, "Internal Server Error")])
def test_an_outage_of_some_seconds_is_lived_through(outage: dict) -> None:
    """At the login, in a read, and in a write that never reached the device."""
    client, talk, clock = make(
        *[Turn("POST", LOGIN, **outage) for _unused in range(4)],
        login(),
        *[Turn("GET", POOL, **outage) for _unused in range(4)],
        Turn("GET", POOL, json={"name": "web-pool"}),
        Turn("POST", f"{POOL}/members", **REFUSED),
        Turn("POST", f"{POOL}/members", json={}),
        logout(),
    )
    with client:
        assert client.get(POOL) == {"name": "web-pool"}
        client.call("POST", f"{POOL}/members", json={})
    talk.finish()
    assert 2 < sum(clock.slept) < 6


@pytest.mark.parametrize("lost", [RESET, HUNG_UP, error(500, "Internal Server Error")])
def test_a_write_whose_fate_is_not_known_is_not_sent_again(lost: dict) -> None:
    """Applied-then-failed looks the same as not applied: whoever asked reads again and compares."""
    client, talk, clock = make(login(), Turn("PATCH", POOL, **lost), logout())
    with pytest.raises(UnsettledError), client:
        client.call("PATCH", POOL, json={})
    talk.finish()
    assert clock.slept == []


def test_a_500_that_does_not_pass_is_told_after_ten_seconds() -> None:
    client, _talk, clock = make(login(), *[Turn("GET", POOL, **error(500, "NullPointer")) for _unused in range(50)])
    client.login()
    with pytest.raises(UnsettledError, match=r"500: NullPointer.*restjavad"):
        client.get(POOL)
    assert sum(clock.slept) == pytest.approx(10)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            error(409, "01020066:3: The requested Pool Member (/Common/web-pool x) already exists."),
            ConflictError,
            "already",
        ),
        (error(404, "01020036:3: The requested Pool (/Common/x) was not found."), NotFoundError, "was not found"),
        (
            error(400, "01070110:3: Node address '/Common/x' is referenced by a member of pool '/Common/p'."),
            ConflictError,
            "Remove it from the objects",
        ),
        (error(403, "Forbidden"), RefusedError, "Manager or Resource Administrator"),
        (error(401, "Authorization failed: user=https://localhost/x verb=POST"), RefusedError, "Operator can only"),
        (error(400, "01070734:3: Configuration error: no"), RefusedError, "01070734:3: Configuration error"),
        (error(500, "java.lang.NullPointerException"), UnsettledError, "NullPointerException"),
        ({"status": 503, "text": "restarting"}, UnsettledError, "is busy"),
        ({"error": requests.exceptions.ReadTimeout("slow")}, UnsettledError, "no answer within"),
    ],
)
def test_the_device_s_answers_become_our_errors_and_keep_its_words(answer: dict, kind: type, said: str) -> None:
    """A change is sent once: none of these is repeated here."""
    client, talk, _clock = make(login(), Turn("POST", f"{POOL}/members", **answer), logout())
    with pytest.raises(kind, match=said), client:
        client.call("POST", f"{POOL}/members", json={})
    talk.finish()


def in_transaction(request: requests.PreparedRequest) -> None:
    assert request.headers["X-F5-REST-Coordination-Id"] == "77"


def commits(request: requests.PreparedRequest) -> None:
    assert json.loads(request.body) == {"state": "VALIDATING"}
    assert "X-F5-REST-Coordination-Id" not in request.headers


def test_a_transaction_is_committed_at_the_end() -> None:
    client, talk, _clock = make(
        login(),
        Turn("POST", TRANSACTION, json={"transId": 77, "state": "STARTED"}),
        Turn("PATCH", f"{POOL}/members/a", json={}, check=in_transaction),
        Turn("DELETE", f"{POOL}/members/b", json={}, check=in_transaction),
        Turn("PATCH", f"{TRANSACTION}/77", json={"transId": 77, "state": "COMPLETED"}, check=commits),
        logout(),
    )
    with client, client.transaction() as transaction:
        transaction.send("PATCH", f"{POOL}/members/a", {})
        transaction.send("DELETE", f"{POOL}/members/b")
    talk.finish()


def test_an_error_on_the_way_drops_the_transaction() -> None:
    client, talk, _clock = make(
        login(),
        Turn("POST", TRANSACTION, json={"transId": 77}),
        Turn("PATCH", f"{POOL}/members/a", **error(404, "01020036:3: The requested Pool Member was not found.")),
        Turn("DELETE", f"{TRANSACTION}/77", json={}),
        logout(),
    )
    with pytest.raises(NotFoundError), client, client.transaction() as transaction:
        transaction.send("PATCH", f"{POOL}/members/a", {})
    talk.finish()


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([error(400, "transaction failed:01020066:3: The requested Pool Member already exists")], ConflictError),
        ([error(500, "apply, then fail")], UnsettledError),
        ([{"json": {"state": "FAILED", "failureReason": "01020036:3: not found"}}], NotFoundError),
        ([{"json": {"state": "FAILED", "failureReason": "01070734:3: no"}}], RefusedError),
    ],
)
def test_a_failed_commit_says_why(answers: list[dict], kind: type) -> None:
    turns = [Turn("PATCH", f"{TRANSACTION}/77", **answer) for answer in answers]
    client, talk, _clock = make(login(), Turn("POST", TRANSACTION, json={"transId": 77}), *turns, logout())
    with pytest.raises(kind), client, client.transaction():
        pass
    talk.finish()


def test_a_commit_that_takes_its_time_is_waited_for() -> None:
    client, talk, clock = make(
        login(),
        Turn("POST", TRANSACTION, json={"transId": 77}),
        Turn("PATCH", f"{TRANSACTION}/77", json={"state": "VALIDATING"}),
        Turn("GET", f"{TRANSACTION}/77", json={"state": "VALIDATING"}),
        Turn("GET", f"{TRANSACTION}/77", json={"state": "COMPLETED"}),
        logout(),
    )
    with client, client.transaction():
        pass
    talk.finish()
    assert len(clock.slept) == 2
