# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who we are to a registry, and to whom we say it: Basic, tokens that end, and stores elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from unit.kit.blob_server import RAW, Asked, BlobServer, Reply, sha256

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AuthenticationError,
    BackendDownError,
    NotFoundError,
    RefusedError,
)

Pull = Callable[..., Any]
USER = {"username": "robot$pull", "password": "s3cret-word"}
BASIC = f"Basic {base64.b64encode(b'robot$pull:s3cret-word').decode()}"
CONTENT = bytes(range(256)) * 40


def model(server: BlobServer, count: int = 1) -> str:
    return server.put([(f"w{number}.bin", CONTENT + bytes([number]), RAW) for number in range(count)])


def asks_basic(asked: Asked) -> Reply | None:
    if asked.headers.get("Authorization") == BASIC:
        return None
    return Reply(401, headers={"WWW-Authenticate": 'Basic realm="lab"'})


class Tokens:
    """A registry whose tokens are good for so many requests."""

    def __init__(self, server: BlobServer, uses: int) -> None:
        self.server, self.uses, self.left, self.made = server, uses, 0, 0
        self.realm = f"http://{server.name}/token"

    def __call__(self, asked: Asked) -> Reply | None:
        if asked.path == "/token":
            self.made, self.left = self.made + 1, self.uses
            return Reply(200, json.dumps({"token": f"t{self.made}"}).encode(), {"Content-Type": "application/json"})
        if asked.headers.get("Authorization") == f"Bearer t{self.made}" and self.left > 0:
            self.left -= 1
            return None
        words = f'Bearer realm="{self.realm}",service="lab",scope="repository:models/m:pull"'
        return Reply(401, headers={"WWW-Authenticate": words})


def test_nobody_is_told_who_we_are_unless_he_asks(server: BlobServer, pull: Pull) -> None:
    pull(model(server), **USER)
    assert [asked.headers.get("Authorization") for asked in server.asked] == [None, None]


def test_basic_is_sent_where_it_is_asked_for(server: BlobServer, pull: Pull) -> None:
    server.rule = asks_basic
    assert pull(model(server), **USER).fetched == len(CONTENT) + 1
    assert [asked.headers.get("Authorization") for asked in server.asked] == [None, BASIC, BASIC]


@pytest.mark.parametrize(
    ("account", "words"),
    [({}, "Give username and password"), ({**USER, "password": "wrong"}, "Check username and password")],
)
def test_a_refused_account_is_told_once_and_without_its_password(
    server: BlobServer, pull: Pull, account: dict[str, str], words: str
) -> None:
    server.rule = asks_basic
    with pytest.raises(AuthenticationError, match=words) as caught:
        pull(model(server), **account)
    assert "sha256:" in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert len(server.asked) <= 2, "an account that is locked after three tries stays open"


def test_a_token_is_fetched_with_the_account_and_its_scope(server: BlobServer, pull: Pull) -> None:
    tokens = server.rule = Tokens(server, uses=1000)
    pull(model(server, 3), **USER)
    (asked,) = [asked for asked in server.asked if asked.path == "/token"]
    assert asked.headers["Authorization"] == BASIC
    assert parse_qs(asked.query) == {"service": ["lab"], "scope": ["repository:models/m:pull"]}
    assert tokens.made == 1, "one token for manifest and layers"


def test_a_token_that_ends_in_the_middle_of_a_pull_is_renewed(server: BlobServer, pull: Pull) -> None:
    tokens = server.rule = Tokens(server, uses=2)
    outcome = pull(model(server, 6), jobs=1, **USER)
    assert len(outcome.files) == 6
    assert tokens.made == 4, "seven requests, two a token"


def test_threads_that_lose_one_token_fetch_one(server: BlobServer, pull: Pull) -> None:
    """The first of them renews it for all; nobody is sent away."""
    tokens = server.rule = Tokens(server, uses=5)
    assert len(pull(model(server, 12), jobs=4, **USER).files) == 12
    assert tokens.made <= 7


def test_an_anonymous_token_needs_no_account(server: BlobServer, pull: Pull) -> None:
    server.rule = Tokens(server, uses=1000)
    assert len(pull(model(server)).files) == 1


def test_a_token_that_helps_nothing_is_not_fetched_for_ever(server: BlobServer, pull: Pull) -> None:
    tokens = server.rule = Tokens(server, uses=0)
    with pytest.raises(AuthenticationError, match="may pull from the repository"):
        pull(model(server), **USER)
    assert tokens.made == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_server_that_refuses_is_named(server: BlobServer, pull: Pull, status: int) -> None:
    tokens = Tokens(server, uses=1)
    server.rule = lambda asked: Reply(status) if asked.path == "/token" else tokens(asked)
    with pytest.raises(AuthenticationError, match=rf"{server.name} gives no token to robot\$pull \({status}\)"):
        pull(model(server), **USER)


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "/token", ""])
def test_a_realm_that_is_no_address_is_refused(server: BlobServer, pull: Pull, realm: str) -> None:
    tokens = server.rule = Tokens(server, uses=1)
    tokens.realm = realm
    with pytest.raises(AuthenticationError, match="wants a token from"):
        pull(model(server), **USER)


def test_an_encrypted_registry_cannot_send_the_password_elsewhere_in_clear() -> None:
    from ansible_collections.onprem.autoscale.plugins.module_utils._oci._manifest import Reference
    from ansible_collections.onprem.autoscale.plugins.module_utils._oci._registry import Registry

    params = {**USER, "plain_http": False, "validate_certs": True, "ca_path": None}
    registry = Registry(Reference("r.example", "m", f"sha256:{'a' * 64}"), params)
    with pytest.raises(AuthenticationError, match="where none is asked for"):
        registry._renew("", 'Bearer realm="http://r.example/token"', "The manifest")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_store_elsewhere_is_not_told_who_we_are(server: BlobServer, pull: Pull, status: int) -> None:
    with BlobServer() as store:
        store.content = server.content

        def rule(asked: Asked) -> Reply | None:
            refused = asks_basic(asked)
            if refused or "/blobs/" not in asked.path:
                return refused
            return Reply(status, headers={"Location": f"http://{store.name}/bucket/{asked.digest}?signature=abc"})

        server.rule = rule
        assert pull(model(server, 2), **USER).fetched == 2 * len(CONTENT) + 2
        assert len(store.asked) == 2
        assert all("Authorization" not in asked.headers for asked in store.asked)
        assert {asked.query for asked in store.asked} == {"signature=abc"}


def test_a_store_that_refuses_does_not_give_its_signature_away(server: BlobServer, pull: Pull) -> None:
    with BlobServer() as store:
        store.rule = lambda asked: Reply(403, b"<Error>signature=abc</Error>")
        server.rule = lambda asked: (
            Reply(307, headers={"Location": f"http://{store.name}/{asked.digest}?signature=abc"})
            if "/blobs/" in asked.path
            else None
        )
        with pytest.raises(AuthenticationError, match="was refused") as caught:
            pull(model(server))
    assert "signature" not in str(caught.value)


def test_redirects_end(server: BlobServer, pull: Pull) -> None:
    server.rule = lambda asked: Reply(307, headers={"Location": asked.path})
    with pytest.raises(RefusedError, match="more than 5 redirects"):
        pull(model(server))


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, NotFoundError, "is not there"),
        (403, AuthenticationError, "was refused"),
        (429, BackendDownError, "answered with 429"),
        (503, BackendDownError, "answered with 503"),
        (418, RefusedError, "answered with 418"),
    ],
)
def test_what_the_registry_answers_is_told_with_the_object(
    server: BlobServer, pull: Pull, status: int, error: type[Exception], words: str
) -> None:
    reference = model(server)
    server.rule = lambda asked: Reply(status)
    with pytest.raises(error, match=words) as caught:
        pull(reference)
    assert reference in str(caught.value)


def test_a_blob_that_is_gone_is_named(server: BlobServer, pull: Pull) -> None:
    reference = model(server)
    del server.content[sha256(CONTENT + b"\0")]
    with pytest.raises(NotFoundError, match=sha256(CONTENT + b"\0")):
        pull(reference)
