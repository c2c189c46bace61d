# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated gateway's tokens, and which path is which resource."""

from __future__ import annotations

import pytest

from lab.dsm.api import AUTHORIZATION, DATABASES, INFRASTRUCTURE, path_of
from lab.dsm.gateway import target
from lab.dsm.kinds import KINDS
from lab.dsm.tokens import DSM_ADMIN, DSM_USER, INFRA_ADMIN, Tokens, User, denied

USER = User("a@example.com", DSM_USER, "one two")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tokens() -> Tokens:
    return Tokens([USER, User("v@example.com", INFRA_ADMIN, "three", "vsphere")], lifetime=60, clock=Clock())


def test_a_token_names_its_user_until_it_ends(tokens):
    token = tokens.login(USER.email, USER.password)
    Clock.now += 59
    assert tokens.user(token) == USER
    Clock.now += 1
    assert tokens.user(token) is None


def test_another_lifetime_is_for_tokens_to_come(tokens):
    old = tokens.login(USER.email, USER.password)
    tokens.lifetime = 0
    assert tokens.user(tokens.login(USER.email, USER.password)) is None
    assert tokens.user(old) == USER


def test_all_tokens_can_be_ended(tokens):
    old = tokens.login(USER.email, USER.password)
    tokens.end_all()
    assert tokens.user(old) is None
    assert tokens.user(tokens.login(USER.email, USER.password)) == USER


def test_a_changed_token_is_nobodys(tokens):
    head, claims, signature = tokens.login(USER.email, USER.password).split(".")
    for forged in (f"{head}.{claims}", f"{head}.{claims[:-2]}AA.{signature}", f"{head}.{claims}.", "", "é.é.é"):
        assert tokens.user(forged) is None


@pytest.mark.parametrize(
    "given",
    [
        (USER.email, "wrong"),
        (USER.email, ""),
        ("nobody@example.com", ""),
        (USER.email, USER.password, "vsphere"),
        ("v@example.com", "three"),
    ],
)
def test_who_is_not_let_in(tokens, given):
    assert tokens.login(*given) is None


def test_the_password_is_not_in_the_users_text():
    assert "one two" not in repr(USER)


@pytest.mark.parametrize(
    "path", ["/api", "/apis/", "/api/v1", f"/apis/{DATABASES}/v1alpha1", "/openapi/v3", "/version"]
)
def test_discovery_is_no_resource(path):
    assert target(path) is None


def test_every_path_of_the_client_is_its_resource():
    for kind in KINDS:
        for namespace in (None, "default"):
            for name, sub in ((None, ""), ("x", ""), ("x", "status")):
                assert target(path_of(kind.group, kind.plural, namespace, name, sub)) == (kind.group, kind.plural)
    assert target("/api/v1/namespaces/default/secrets/x") == ("", "secrets")
    assert target("/api/v1/secrets") == ("", "secrets")


@pytest.mark.parametrize("path", ["/api/v1/namespaces", "/api/v1/namespaces/default", "/api/v1/namespaces/default/"])
def test_a_namespace_is_a_resource_too(path):
    assert target(path) == ("", "namespaces")


@pytest.mark.parametrize("path", ["/", "/metrics", "/apisx", "/api/v1//secrets", "/apis/../metrics", "/debug/pprof"])
def test_other_paths_are_not_passed_on(path):
    with pytest.raises(ValueError, match="/"):
        target(path)


@pytest.mark.parametrize(
    ("role", "method", "group", "resource", "allowed"),
    [
        (INFRA_ADMIN, "POST", INFRASTRUCTURE, "vmclasses", True),
        (INFRA_ADMIN, "GET", DATABASES, "postgresclusters", False),
        (INFRA_ADMIN, "GET", "", "secrets", False),
        (INFRA_ADMIN, "GET", "", "namespaces", True),
        (DSM_ADMIN, "DELETE", DATABASES, "postgresclusters", True),
        (DSM_ADMIN, "GET", INFRASTRUCTURE, "vmclasses", True),
        (DSM_ADMIN, "PUT", INFRASTRUCTURE, "vmclasses", False),
        (DSM_ADMIN, "POST", AUTHORIZATION, "dsmrolebindings", True),
        (DSM_USER, "POST", AUTHORIZATION, "dsmrolebindings", False),
        (DSM_USER, "PATCH", "", "secrets", True),
        (DSM_USER, "POST", "", "namespaces", False),
        (DSM_USER, "GET", "", "serviceaccounts", False),
        (DSM_ADMIN, "POST", "rbac.authorization.k8s.io", "roles", False),
    ],
)
def test_who_may_do_what(role, method, group, resource, allowed):
    assert (denied(role, method, group, resource) == "") is allowed


def test_the_refusal_has_the_vendors_words():
    text = denied(INFRA_ADMIN, "POST", DATABASES, "mysqlclusters")
    where = "databases.dataservices.vmware.com/v1alpha1, Resource=mysqlclusters"
    assert text == f'denied - role "INFRA_ADMIN" has no permission "C" on {where}'
