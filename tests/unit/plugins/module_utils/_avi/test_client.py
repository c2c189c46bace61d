# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One session to an Avi controller: what is sent, and what its answers become."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from unit.kit.http_talk import Talk, Turn

from ansible_collections.onprem.autoscale.plugins.module_utils._avi._client import Controller, connect
from ansible_collections.onprem.autoscale.plugins.module_utils._avi._sites import read_federation
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    AutoscaleError,
    BackendDownError,
    NotFoundError,
    RefusedError,
    StaleError,
    UnsettledError,
)

PARAMS = {
    "hostname": "avi.example",
    "port": 443,
    "username": "dr",
    "password": "s3cret",
    "tenant": "shop",
    "api_version": "22.1.1",
    "validate_certs": True,
    "ca_path": None,
    "timeout": 5,
}
OUT = Turn("POST", "/logout")


class CookieTalk(Talk):
    """A talk whose logins give cookies; the session takes them from the wire, which is not there."""

    jar: Any = None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **kwargs)
        if request.url.endswith("/login") and response.status_code == 200:  # type: ignore[union-attr]
            number = sum(one.url.endswith("/login") for one in self.said)  # type: ignore[union-attr]
            for name in ("sessionid", "csrftoken"):
                for jar in (response.cookies, self.jar):
                    jar.set(name, f"{name}-{number}", domain="avi.example")
        return response


def talk(*turns: Turn) -> tuple[Controller, CookieTalk]:
    """A controller that says this, after a login and before a logout."""
    controller = connect(PARAMS)
    said = CookieTalk([Turn("POST", "/login", json={}), *turns, OUT])
    said.jar = controller._http.session.cookies
    controller._http.session.mount("https://", said)
    return controller, said


def test_a_write_brings_its_proofs_along() -> None:
    seen: dict[str, str] = {}
    controller, said = talk(Turn("PUT", "/api/gslbservice/1", json={}, check=lambda one: seen.update(one.headers)))
    with controller:
        controller.call("PUT", "gslbservice/1", {"name": "x"})
    said.finish()
    assert seen["X-CSRFToken"] == "csrftoken-1"
    assert seen["Referer"] == "https://avi.example:443"
    assert seen["X-Avi-Version"] == "22.1.1"
    assert seen["X-Avi-Tenant"] == "shop"


@pytest.mark.parametrize("status", [401, 419])
def test_a_session_that_ended_is_renewed_once(status: int) -> None:
    seen: dict[str, str] = {}
    put = "/api/gslbservice/1"
    controller, said = talk(
        Turn("PUT", put, status=status, json={}),
        Turn("POST", "/login", json={}),
        Turn("PUT", put, json={"ttl": 5}, check=lambda one: seen.update(one.headers)),
    )
    with controller:
        assert controller.call("PUT", "gslbservice/1", {}) == {"ttl": 5}
    said.finish()
    assert seen["X-CSRFToken"] == "csrftoken-2"


def test_pages_are_followed() -> None:
    path = "/api/gslbservice"
    first = {"results": [{"name": "1"}], "next": "https://avi.example/api/gslbservice?page=2"}
    controller, said = talk(Turn("GET", path, json=first), Turn("GET", path, json={"results": [{"name": "2"}]}))
    with controller:
        assert [one["name"] for one in controller.objects("gslbservice")] == ["1", "2"]
    said.finish()
    assert "page=2" in str(said.said[2].url)


@pytest.mark.parametrize(
    ("method", "status", "kind", "words"),
    [
        ("PUT", 412, StaleError, "was answered with 412: because"),
        ("POST", 409, StaleError, "409"),
        ("GET", 404, NotFoundError, "404"),
        ("PUT", 403, RefusedError, "role"),
        ("PUT", 500, UnsettledError, "run again"),
        ("PUT", 400, RefusedError, "because"),
    ],
)
def test_answers_become_errors(method: str, status: int, kind: type[AutoscaleError], words: str) -> None:
    controller, said = talk(Turn(method, "/api/gslbservice/1", status=status, json={"error": "because"}))
    with controller, pytest.raises(kind, match=words):
        controller.call(method, "gslbservice/1")
    said.finish()


@pytest.mark.parametrize(
    ("status", "json", "kind"), [(401, {"error": "no"}, AuthenticationError), (503, None, BackendDownError)]
)
def test_a_login_that_fails_is_not_repeated_and_says_no_secret(
    status: int, json: Any, kind: type[AutoscaleError]
) -> None:
    controller = connect(PARAMS)
    said = CookieTalk([Turn("POST", "/login", status=status, json=json)])
    controller._http.session.mount("https://", said)
    with pytest.raises(kind) as caught:
        controller.login()
    said.finish()
    assert "s3cret" not in str(caught.value)


def gslb(**more: Any) -> dict[str, Any]:
    sites = [
        {"name": name, "cluster_uuid": f"cluster-{name}", "ip_addresses": [{"addr": f"192.0.2.{number}"}]}
        for number, name in enumerate("ab")
    ]
    return {"results": [{"uuid": "gslb-1", "leader_cluster_uuid": "cluster-a", "sites": sites, **more}]}


@pytest.mark.parametrize(
    ("runtime", "reached"),
    [
        ({"site": [{"site_info": {"cluster_uuid": "cluster-a", "oper_status": {"state": "OPER_UP"}}}]}, True),
        ({"deep": {"er": [{"cluster_uuid": "cluster-a", "status_info": {"state": "OPER_DOWN"}}]}}, False),
        ({"site": [{"site_info": {"cluster_uuid": "cluster-b", "oper_status": {"state": "OPER_UP"}}}]}, None),
        (None, None),
    ],
)
def test_a_follower_knows_its_leader(runtime: Any, reached: bool | None) -> None:
    controller, said = talk(
        Turn("GET", "/api/gslb", json=gslb(enable_config_by_members=True, leader_change_info={"enabled": False})),
        Turn("GET", "/api/cluster", json={"uuid": "cluster-b"}),
        Turn("GET", "/api/gslb/gslb-1/runtime", json=runtime, status=200 if runtime else 404),
    )
    with controller:
        found = read_federation(controller)
    said.finish()
    assert found.row() == {"name": "a", "reached": reached, "is_local": False}
    assert (found.local, found.leader_address, found.by_members, found.leader_change) == ("b", "192.0.2.0", True, False)


def test_a_user_who_may_not_see_the_cluster_is_not_stopped() -> None:
    controller, said = talk(
        Turn("GET", "/api/gslb", json=gslb()),
        Turn("GET", "/api/cluster", status=403, json={"error": "no"}),
        Turn("GET", "/api/gslb/gslb-1/runtime", json={}),
    )
    with controller:
        found = read_federation(controller)
    assert found.row() == {"name": "a", "reached": None, "is_local": None}
    assert found.accepts == "unknown"
    said.finish()


def test_a_controller_without_gslb_is_named() -> None:
    controller, said = talk(Turn("GET", "/api/gslb", json={"count": 0, "results": []}))
    with controller, pytest.raises(NotFoundError, match=r"GSLB is not set up on https://avi\.example"):
        read_federation(controller)
    said.finish()
