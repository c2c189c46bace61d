# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The BIG-IP emulator against F5's own Python SDK: objects, sessions, stats, transactions, refusals (R23)."""

from __future__ import annotations

import json
import time

import pytest
from f5.bigip import ManagementRoot
from f5.bigip.contexts import TransactionContextManager
from f5.sdk_exception import TransactionSubmitException
from icontrol.exceptions import iControlUnexpectedHTTPError

from lab.bigip.spawn import spawn

CONFIG = {
    "pools": [{"name": "web-pool", "members": ["127.0.48.11:8080", "127.0.48.12:8080"]}],
    "virtuals": [{"name": "web-vip", "destination": "127.0.0.1:0", "pool": "web-pool"}],
}


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with spawn(tmp_path_factory.mktemp("bigip"), CONFIG) as device:
        yield device


@pytest.fixture(scope="module")
def root(device):
    """A session with a token, made the way the SDK's users make it."""
    return ManagementRoot(
        device.hostname, device.username, device.password, port=device.port, token=True, verify=str(device.ca)
    )


@pytest.fixture
def pool(root):
    """A pool of the test's own."""
    pool = root.tm.ltm.pools.pool.create(name="sdk-pool", partition="Common", monitor="/Common/tcp")
    yield pool
    root.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common").delete()


def add(pool, name, **values):
    return pool.members_s.members.create(name=name, partition="Common", **values)


def refusal(call, *args, **kwargs):
    """Status and message of the refusal of a call."""
    with pytest.raises(iControlUnexpectedHTTPError) as caught:
        call(*args, **kwargs)
    return caught.value.response.status_code, caught.value.response.json()["message"]


def test_version_and_token(device, root):
    assert root.tmos_version == "16.1.4"
    assert device.state()["tokens"] >= 1


def test_pools_with_their_members(root):
    pools = {pool.name: pool for pool in root.tm.ltm.pools.get_collection()}
    assert pools["web-pool"].loadBalancingMode == "round-robin"
    names = [member.name for member in pools["web-pool"].members_s.get_collection()]
    assert names == ["127.0.48.11:8080", "127.0.48.12:8080"]


def test_pool_is_made_changed_and_read_again(root, pool):
    assert pool.monitor.strip() == "/Common/tcp"
    pool.modify(description="by the sdk", loadBalancingMode="least-connections-member")
    again = root.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common")
    assert (again.description, again.loadBalancingMode) == ("by the sdk", "least-connections-member")
    again.update(serviceDownAction="reset")  # a PUT of everything that was read
    assert root.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common").serviceDownAction == "reset"


def test_member_states(pool):
    """Session and state are written as user-* and read back as computed."""
    member = add(pool, "127.0.48.21:8080", session="user-disabled", description="first")
    assert (member.session, member.address, member.description) == ("user-disabled", "127.0.48.21", "first")
    assert pool.members_s.members.exists(name="127.0.48.21:8080", partition="Common")
    member.modify(session="user-enabled", state="user-up")
    assert (member.session, member.state) == ("monitor-enabled", "checking")
    member.modify(session="user-disabled", state="user-down")
    assert (member.session, member.state) == ("user-disabled", "user-down")
    member.update(description="second")
    member.refresh()
    assert (member.session, member.state, member.description) == ("user-disabled", "user-down", "second")
    member.delete()
    assert not pool.members_s.members.exists(name="127.0.48.21:8080", partition="Common")


def test_existing_missing_and_referenced(root, pool):
    member = add(pool, "127.0.48.22:8080")
    status, message = refusal(add, pool, "127.0.48.22:8080")
    assert status == 409
    assert message == (
        "01020066:3: The requested Pool Member (/Common/sdk-pool /Common/127.0.48.22 8080) "
        "already exists in partition Common."
    )
    status, message = refusal(root.tm.ltm.pools.pool.load, name="no", partition="Common")
    assert (status, message) == (404, "01020036:3: The requested Pool (/Common/no) was not found.")
    node = root.tm.ltm.nodes.node.load(name="127.0.48.22", partition="Common")
    status, message = refusal(node.delete)
    assert status == 400
    assert message == (
        "01070110:3: Node address '/Common/127.0.48.22' is referenced by a member of pool '/Common/sdk-pool'."
    )
    member.delete()
    node.delete()
    assert not root.tm.ltm.nodes.node.exists(name="127.0.48.22", partition="Common")


def test_stats(root, pool):
    add(pool, "127.0.48.23:8080", session="user-disabled")
    member = pool.members_s.members.load(name="127.0.48.23:8080", partition="Common")
    (block,) = member.stats.load().entries.values()
    entries = block["nestedStats"]["entries"]
    assert entries["serverside.curConns"]["value"] == 0
    assert entries["status.availabilityState"]["description"] == "unknown"
    assert entries["status.enabledState"]["description"] == "disabled"
    assert entries["monitorStatus"]["description"] == "checking"
    (block,) = pool.stats.load().entries.values()
    assert block["nestedStats"]["entries"]["memberCnt"]["value"] == 1


def test_monitor_and_virtual_server(root, pool):
    monitor = root.tm.ltm.monitor.https.http.create(
        name="sdk-health", partition="Common", send="GET /health HTTP/1.0\\r\\n\\r\\n", recv="200 OK", interval=2
    )
    assert (monitor.interval, monitor.timeout, monitor.defaultsFrom) == (2, 16, "/Common/http")
    pool.modify(monitor="/Common/sdk-health")
    status, message = refusal(monitor.delete)
    assert (status, message) == (400, "01070083:3: Monitor /Common/sdk-health is in use.")
    virtual = root.tm.ltm.virtuals.virtual.create(
        name="sdk-vip", partition="Common", destination="/Common/127.0.0.3:0", pool="/Common/sdk-pool"
    )
    assert virtual.pool == "/Common/sdk-pool"
    status, message = refusal(root.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common").delete)
    assert (status, message[:8]) == (400, "01070265")
    virtual.delete()
    pool.modify(monitor="none")
    monitor.delete()


def test_transaction_all_together(root, pool):
    with TransactionContextManager(root.tm.transactions.transaction) as api:
        inside = api.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common")
        for number in (31, 32):
            add(inside, f"127.0.48.{number}:8080", session="user-disabled")
        assert inside.members_s.get_collection() == []
    names = {member.name for member in pool.members_s.get_collection()}
    assert names == {"127.0.48.31:8080", "127.0.48.32:8080"}


def test_transaction_or_not_at_all(root, pool):
    keeper = add(pool, "127.0.48.33:8080")

    def commit():
        with TransactionContextManager(root.tm.transactions.transaction) as api:
            inside = api.tm.ltm.pools.pool.load(name="sdk-pool", partition="Common")
            add(inside, "127.0.48.34:8080")
            add(inside, "127.0.48.33:8080")  # exists

    with pytest.raises(TransactionSubmitException, match="already exists"):
        commit()
    assert [member.name for member in pool.members_s.get_collection()] == [keeper.name]


def test_save_devices_and_sync_status(device, root):
    root.tm.sys.config.exec_cmd("save")
    assert device.state()["unsaved"] is False
    (own,) = root.tm.cm.devices.get_collection()
    assert (own.name, own.failoverState, own.selfDevice) == ("bigip1.lab", "active", "true")
    status = root.tm.cm.sync_status
    status.refresh()
    (block,) = status.entries.values()
    assert block["nestedStats"]["entries"]["status"]["description"] == "Standalone"


def test_a_token_that_ends_is_answered_with_401(device):
    root = ManagementRoot(device.hostname, device.username, device.password, port=device.port, token=True)
    assert device.call("POST", "/expire_tokens")["expired"] >= 1
    status, message = refusal(root.tm.ltm.pools.get_collection)
    assert (status, message) == (401, "X-F5-Auth-Token does not exist.")


def test_wrong_password(device):
    with pytest.raises(iControlUnexpectedHTTPError) as caught:
        ManagementRoot(device.hostname, device.username, "wrong", port=device.port, token=True)
    assert caught.value.response.status_code == 401


def test_basic_authentication(device):
    root = ManagementRoot(device.hostname, device.username, device.password, port=device.port)
    assert root.tm.ltm.pools.pool.exists(name="web-pool", partition="Common")


def test_busy_device(device):
    root = ManagementRoot(device.hostname, device.username, device.password, port=device.port)
    device.call("POST", "/restart", {"seconds": 0.5})
    with pytest.raises(iControlUnexpectedHTTPError, match="Configuration Utility restarting"):
        root.tm.ltm.pools.get_collection()
    time.sleep(0.6)
    assert json.dumps([pool.name for pool in root.tm.ltm.pools.get_collection()])
