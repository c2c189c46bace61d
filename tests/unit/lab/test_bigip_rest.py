# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management port of the BIG-IP emulator: sessions, refusals, transactions (facts: the iControl REST contract)."""

from __future__ import annotations

import pytest

POOL = "/tm/ltm/pool/~Common~web-pool"
LOGIN = {"username": "admin", "password": "secret", "loginProviderName": "tmos"}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def login(device, name="admin"):
    answer = await device.ok("POST", "/shared/authn/login", {**LOGIN, "username": name}, auth=False)
    return {"X-F5-Auth-Token": answer["token"]["token"]}


async def with_token(device, token, method="GET", path=POOL, body=None):
    return await device.call(method, path, body, headers=token, auth=False)


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_without_credentials_or_with_wrong_ones(start):
    device = await start()
    status, answer = await device.call("GET", POOL, auth=False)
    assert (status, answer["code"], answer["kind"]) == (401, 401, ":resterrorresponse")
    status, answer = await with_token(device, {"X-F5-Auth-Token": "X" * 26})
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token does not exist.")
    status, answer = await device.call("POST", "/shared/authn/login", {**LOGIN, "password": "no"}, auth=False)
    assert (status, answer["message"]) == (401, "Authentication failed.")


async def test_token_lives_until_its_timeout_or_its_end(start):
    clock = Clock()
    device = await start(clock=clock)
    token = await login(device)
    assert (await with_token(device, token))[0] == 200
    clock.now += 1199
    assert (await with_token(device, token))[0] == 200
    path = f"/shared/authz/tokens/{token['X-F5-Auth-Token']}"
    status, answer = await with_token(device, token, "PATCH", path, {"timeout": 36000})
    assert (status, answer["timeout"]) == (200, 36000)
    clock.now += 35999
    assert (await with_token(device, token))[0] == 200
    clock.now += 1
    assert (await with_token(device, token))[0] == 401
    token = await login(device)
    path = f"/shared/authz/tokens/{token['X-F5-Auth-Token']}"
    assert (await with_token(device, token, "PATCH", path, {"timeout": 36001}))[0] == 400
    assert (await with_token(device, token, "DELETE", path))[0] == 200
    assert (await with_token(device, token))[0] == 401


async def test_the_101st_session_is_refused_until_one_ends(start):
    device = await start()
    tokens = [await login(device) for _unused in range(100)]
    status, answer = await device.call("POST", "/shared/authn/login", LOGIN, auth=False)
    assert status == 400
    assert "maximum active login tokens" in answer["message"]
    path = f"/shared/authz/tokens/{tokens[0]['X-F5-Auth-Token']}"
    assert (await with_token(device, tokens[1], "DELETE", path))[0] == 200
    assert await login(device)


async def test_expired_by_the_control_port(start):
    device = await start()
    token = await login(device)
    assert (await device.control("POST", "/expire_tokens"))["expired"] == 1
    assert (await with_token(device, token))[0] == 401


async def test_roles(start, backends):
    """Operators switch members and nothing else; basic authentication is for administrators."""
    device = await start()
    token = await login(device, "switch")
    member = device.member_url(backends[0])
    assert (await with_token(device, token, "PATCH", member, {"session": "user-disabled"}))[0] == 200
    assert (await with_token(device, token, "PATCH", member, {"ratio": 2}))[0] == 403
    assert (await with_token(device, token, "DELETE", member))[0] == 403
    status, _answer = await device.call(
        "GET", POOL, headers={"Authorization": "Basic c3dpdGNoOnNlY3JldA=="}, auth=False
    )
    assert status == 401


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/tm/ltm/pool/~Common~no", None, 404, "01020036:3: The requested Pool (/Common/no) was not found."),
        ("GET", "/tm/ltm/nonsense", None, 404, "unexpected URI"),
        ("GET", "/nonsense/x", None, 404, "not registered"),
        (
            "POST",
            "/tm/ltm/pool",
            {"name": "web-pool"},
            409,
            "01020066:3: The requested Pool (/Common/web-pool) already",
        ),
        ("POST", "/tm/ltm/pool", {"partition": "Common"}, 400, "name"),
        ("POST", "/tm/ltm/pool", {"name": "p", "partition": "No"}, 404, "The requested folder (/No) was not found."),
        (
            "POST",
            "/tm/ltm/pool",
            {"name": "p", "monitor": "no"},
            400,
            "01070022:3: The monitor template /Common/no was",
        ),
        ("POST", "/tm/ltm/pool", {"name": "p", "colour": "red"}, 400, "unknown property"),
        ("POST", "/tm/ltm/pool", {"name": "p", "loadBalancingMode": "best"}, 400, "invalid property value"),
        ("POST", f"{POOL}/members", {"name": "10.0.0.1"}, 400, "port"),
        ("POST", f"{POOL}/members", {"name": "web-9:80"}, 400, "address"),
        ("GET", f"{POOL}/members/nonsense", None, 404, "The requested Pool Member (/Common/web-pool /Common/nonsense)"),
        ("GET", "/tm/ltm/pool?$top=x", None, 400, "invalid query parameter"),
        ("POST", "/tm/ltm/monitor/http", {"name": "m", "recv": "("}, 400, "no regular expression"),
        ("POST", "/tm/ltm/monitor/http", {"name": "m", "interval": 0}, 400, "at least 1"),
        ("DELETE", "/tm/ltm/monitor/http/~Common~no", None, 404, "The requested Monitor (/Common/no) was not found."),
        ("DELETE", POOL, None, 400, "01070265:3: The Pool (/Common/web-pool) cannot be deleted because it is in use"),
        ("PATCH", "/tm/ltm/node/~Common~127.0.0.1", {"state": "up"}, 400, "invalid property value"),
        (
            "DELETE",
            "/tm/ltm/node/~Common~127.0.0.1",
            None,
            400,
            "01070110:3: Node address '/Common/127.0.0.1' is refer",
        ),
        ("GET", "/tm/ltm/pool?$filter=name eq x", None, 400, "invalid filter"),
        ("POST", "/tm/cm", {"command": "run", "utilCmdArgs": "config-sync to-group no"}, 404, "device group"),
    ],
)
async def test_refusals_in_the_devices_words(start, method, path, body, status, words):
    device = await start()
    answered, answer = await device.call(method, path, body)
    assert (answered, answer["code"]) == (status, status)
    assert words in answer["message"]


async def test_body_that_is_no_json(start):
    device = await start()
    async with device.session.post(device.url + "/tm/ltm/pool", data=b"{no", **device.auth) as response:
        assert response.status == 400
        assert "invalid JSON" in (await response.json())["message"]


@pytest.mark.parametrize("body", [{"session": "monitor-enabled"}, {"state": "up"}, {"state": "checking"}])
async def test_computed_values_are_not_written(start, backends, body):
    device = await start()
    status, answer = await device.call("PATCH", device.member_url(backends[0]), body)
    assert status == 400
    assert "invalid property value" in answer["message"]


async def test_a_node_outlives_its_member_and_goes_when_nobody_uses_it(start):
    device = await start()
    body = {"name": "web-9:8080", "address": "127.0.48.9", "session": "user-disabled"}
    member = await device.ok("POST", f"{POOL}/members", body)
    assert (member["fullPath"], member["address"]) == ("/Common/web-9:8080", "127.0.48.9")
    await device.ok("POST", f"{POOL}/members", {"name": "web-9:8081"})  # the node has the address already
    await device.ok("DELETE", f"{POOL}/members/~Common~web-9:8080")
    assert (await device.call("DELETE", "/tm/ltm/node/~Common~web-9"))[0] == 400
    await device.ok("DELETE", f"{POOL}/members/~Common~web-9:8081")
    await device.ok("DELETE", "/tm/ltm/node/~Common~web-9")
    assert (await device.call("GET", "/tm/ltm/node/~Common~web-9"))[0] == 404


async def test_one_address_has_one_node(start):
    device = await start()
    await device.ok("POST", f"{POOL}/members", {"name": "web-9:8080", "address": "127.0.48.9"})
    status, answer = await device.call("POST", f"{POOL}/members", {"name": "127.0.48.9:80"})
    assert (status, answer["message"][:8]) == (400, "0107003a")


async def test_ipv6_and_route_domain_names(start):
    device = await start()
    six = await device.ok("POST", f"{POOL}/members", {"name": "fe80::1.80"})
    assert six["address"] == "fe80::1"
    await device.ok("POST", f"{POOL}/members", {"name": "10.0.0.1%1:80"})
    member = await device.ok("GET", f"{POOL}/members/~Common~10.0.0.1%251:80")
    assert member["address"] == "10.0.0.1%1"
    assert "10.0.0.1%251:80" in member["selfLink"]


async def test_partitions_keep_objects_apart(start):
    device = await start()
    await device.ok("POST", "/tm/auth/partition", {"name": "Web"})
    await device.ok("POST", "/tm/ltm/pool", {"name": "web-pool", "partition": "Web", "members": ["10.9.9.9:80"]})
    pools = await device.ok("GET", "/tm/ltm/pool?$filter=partition eq Web&$select=fullPath")
    assert pools["items"] == [{"fullPath": "/Web/web-pool"}]
    members = await device.ok("GET", "/tm/ltm/pool/~Web~web-pool/members")
    assert [item["fullPath"] for item in members["items"]] == ["/Web/10.9.9.9:80"]
    assert (await device.call("DELETE", "/tm/auth/partition/Web"))[0] == 400


async def test_members_in_a_pools_body_replace_the_members(start, backends):
    device = await start()
    await device.ok("PATCH", POOL, {"members": [backends[0].member["name"], {"name": "10.0.0.2:80", "ratio": 4}]})
    pool = await device.ok("GET", f"{POOL}?expandSubcollections=true")
    found = {item["name"]: item["ratio"] for item in pool["membersReference"]["items"]}
    assert found == {backends[0].member["name"]: 1, "10.0.0.2:80": 4}


# -- transactions ------------------------------------------------------------------------------------------------------


async def begin(device):
    ident = (await device.ok("POST", "/tm/transaction", {}))["transId"]
    return ident, {"X-F5-REST-Coordination-Id": str(ident)}


async def member_names(device, **options):
    body = await device.ok("GET", f"{POOL}/members?$select=name", **options)
    return [item["name"] for item in body.get("items", [])]


async def test_a_transaction_is_seen_when_it_is_committed(start):
    device = await start()
    before = await member_names(device)
    ident, inside = await begin(device)
    for number in (1, 2):
        answer = await device.ok("POST", f"{POOL}/members", {"name": f"10.0.0.{number}:80"}, headers=inside)
        assert (answer["kind"], answer["commandId"]) == ("tm:transaction:commandsstate", number)
    assert await member_names(device, headers=inside) == before  # reads inside it see the old state
    answer = await device.ok("PATCH", f"/tm/transaction/{ident}", {"state": "VALIDATING"})
    assert answer["state"] == "COMPLETED"
    assert await member_names(device) == [*before, "10.0.0.1:80", "10.0.0.2:80"]
    assert (await device.call("GET", f"/tm/transaction/{ident}"))[0] == 404


async def test_a_transaction_that_fails_changes_nothing(start, backends):
    device = await start()
    before = await member_names(device)
    ident, inside = await begin(device)
    await device.ok("DELETE", device.member_url(backends[0]), headers=inside)
    await device.ok("POST", f"{POOL}/members", {"name": "10.0.0.1:80"}, headers=inside)
    await device.ok("DELETE", f"{POOL}/members/~Common~10.0.0.99:80", headers=inside)
    status, answer = await device.call("PATCH", f"/tm/transaction/{ident}", {"state": "VALIDATING"})
    assert status == 404
    assert answer["message"].startswith("transaction failed:01020036:3:")
    assert await member_names(device) == before
    assert (await device.call("GET", "/tm/ltm/node/~Common~10.0.0.1"))[0] == 404


async def test_transactions_do_not_see_each_other_and_run_out(start):
    clock = Clock()
    device = await start(clock=clock)
    first, inside_first = await begin(device)
    second, inside_second = await begin(device)
    await device.ok("POST", f"{POOL}/members", {"name": "10.0.0.1:80"}, headers=inside_first)
    await device.ok("POST", f"{POOL}/members", {"name": "10.0.0.2:80"}, headers=inside_second)
    await device.ok("PATCH", f"/tm/transaction/{second}", {"state": "VALIDATING"})
    assert "10.0.0.1:80" not in await member_names(device)
    clock.now += 120
    status, _answer = await device.call("PATCH", f"/tm/transaction/{first}", {"state": "VALIDATING"})
    assert status == 404
    assert "10.0.0.1:80" not in await member_names(device)


async def test_validate_only_changes_nothing(start):
    device = await start()
    ident, inside = await begin(device)
    await device.ok("POST", f"{POOL}/members", {"name": "10.0.0.1:80"}, headers=inside)
    await device.ok("PATCH", f"/tm/transaction/{ident}", {"state": "VALIDATING", "validateOnly": True})
    assert "10.0.0.1:80" not in await member_names(device)
