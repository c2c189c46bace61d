# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to the members of a pool, against a BIG-IP in memory and a clock that only sleeping moves."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    NotFoundError,
    RefusedError,
    UnsettledError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._apply import ATTEMPTS, MembersJob, Options
from ansible_collections.onprem.autoscale.plugins.module_utils._f5._members import WRITES, parse_members
from ansible_collections.onprem.autoscale.tests.unit.kit.fake_bigip import FakeBigIP, lose_the_answer

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
ENABLED, DISABLED, FORCED = WRITES["enabled"], WRITES["disabled"], WRITES["forced_offline"]
SAVE = ("POST", "/mgmt/tm/sys/config")
SYNC = ("POST", "/mgmt/tm/cm")


def job(device: FakeBigIP, state: str, *addresses: str, pool: str = "web-pool", **options: Any) -> MembersJob:
    wanted = parse_members([{"address": address, "port": 80, "name": f"vm-{address[-1]}"} for address in addresses])
    return MembersJob(device, pool, "Common", wanted, state, Options(**options))


def run(device: FakeBigIP, state: str, *addresses: str, check: bool = False, **options: Any) -> dict[str, Any]:
    return job(device, state, *addresses, **options).run(check_mode=check)


def standing(device: FakeBigIP, address: str, pool: str = "web-pool") -> dict[str, str] | None:
    member = device.pools[pool].get(f"{address}:80")
    return member and {"session": member["session"], "state": member["state"]}


def test_present_adds_all_in_one_transaction_and_disabled() -> None:
    device = FakeBigIP()
    result = run(device, "present", A, B)
    assert [[change[0] for change in commit] for commit in device.commits] == [["POST", "POST"]]
    assert standing(device, A) == standing(device, B) == DISABLED
    assert device.traffic == []
    assert [row["msg"] for row in result["members"]] == ["absent -> disabled"] * 2
    assert result["changed"]
    assert result["saved"]
    again = run(device, "present", A, B)
    assert not again["changed"]
    assert not again["saved"]
    assert len(device.commits) == 1
    assert set(again["members"][0]) == set(result["members"][0])


def test_enabled_waits_for_each_monitor() -> None:
    """Invariant 5: nothing takes traffic before its monitor called it available, and nobody waits for the slowest."""
    device = FakeBigIP()
    ready = {A: 3.0, B: 20.0}
    device.monitor = lambda address, seconds: "available" if seconds >= ready[address] else "unknown"
    result = run(device, "enabled", A, B)
    first = {address: min(at for who, at in device.traffic if who == address) for address in ready}
    assert 3 <= first[A] < 6
    assert 20 <= first[B] < 23
    assert standing(device, A) == standing(device, B) == ENABLED
    assert [row["session"] for row in result["members"]] == ["monitor-enabled"] * 2
    assert all(row["in_service"] for row in result["members"])
    assert result["members"][0]["seconds"] == pytest.approx(first[A], abs=0.01)


def test_one_look_at_the_figures_serves_all_members() -> None:
    device = FakeBigIP()
    device.monitor = lambda _address, seconds: "available" if seconds >= 10 else "unknown"
    run(device, "enabled", A, B, C, wait_interval=2)
    looks = [call for call in device.calls if call[1].endswith("/members/stats")]
    assert len(looks) < 12


def test_one_that_stays_down_is_never_enabled_and_is_named() -> None:
    """Invariant 5; the others are in service all the same."""
    device = FakeBigIP()
    device.monitor = lambda address, _seconds: "offline" if address == B else "available"
    with pytest.raises(WaitTimeoutError) as late:
        run(device, "enabled", A, B, wait_timeout=30)
    assert standing(device, A) == ENABLED
    assert standing(device, B) == DISABLED
    assert B not in dict(device.traffic)
    assert "1 of 2 members of /Common/web-pool: vm-2 (10.0.0.2:80) stays disabled" in str(late.value)
    assert "said by the monitor" in str(late.value)
    assert late.value.result["failed_members"] == ["vm-2"]
    assert late.value.result["changed"]
    assert late.value.result["saved"]
    assert SAVE in device.calls


def test_allow_partial_succeeds_with_one_good_member_but_not_with_none() -> None:
    device = FakeBigIP()
    device.monitor = lambda address, _seconds: "offline" if address == B else "available"
    result = run(device, "enabled", A, B, wait_timeout=5, allow_partial=True)
    assert result["failed_members"] == ["vm-2"]
    assert [row["failed"] for row in result["members"]] == [False, True]
    with pytest.raises(WaitTimeoutError):
        run(device, "enabled", B, wait_timeout=5, allow_partial=True)


def test_enabled_without_waiting_enables_what_is_available_already() -> None:
    device = FakeBigIP()
    device.add(A, **DISABLED)
    device.monitor = lambda address, _seconds: "available" if address == A else "unknown"
    result = run(device, "enabled", A, B, wait=False, allow_partial=True)
    assert device.clock.slept == []
    assert standing(device, A) == ENABLED
    assert standing(device, B) == DISABLED
    assert result["failed_members"] == ["vm-2"]


def test_one_forced_offline_is_checked_before_it_is_enabled() -> None:
    """Invariant 5: a member that is forced down has no fresh answer from its monitor."""
    device = FakeBigIP()
    device.add(A, **FORCED)
    device.monitor = lambda _address, seconds: "available" if seconds > 5 else "offline"
    run(device, "enabled", A)
    assert [commit[0][2] for commit in device.commits] == [DISABLED, ENABLED]
    assert device.traffic[0][1] > 5


def test_a_pool_without_monitor_enables_with_a_warning() -> None:
    device = FakeBigIP(monitor="")
    work = job(device, "enabled", A)
    result = work.run(check_mode=False)
    assert standing(device, A) == ENABLED
    assert result["members"][0]["in_service"]
    assert "No monitor watches vm-1 (10.0.0.1:80)" in work.report.warnings[0]


def test_one_that_somebody_removes_while_it_is_waited_for_is_not_brought_back() -> None:
    """Invariant 5: what came back would skip its gate."""
    device = FakeBigIP()
    device.monitor = lambda _address, seconds: "available" if seconds > 3 else "unknown"
    device.add(B, **DISABLED)

    def remove(this: FakeBigIP) -> None:
        this.pools["web-pool"].clear()

    device.faults = [("before", lambda _this: None), ("before", remove)]
    with pytest.raises(RefusedError, match="removed from the pool by somebody else"):
        run(device, "enabled", A, B)
    assert device.pools["web-pool"] == {}
    assert device.traffic == []


@pytest.mark.parametrize(("state", "written"), [("disabled", DISABLED), ("forced_offline", FORCED)])
def test_disabled_and_forced_offline_land_as_written(state: str, written: dict[str, str]) -> None:
    device = FakeBigIP()
    device.add(A)
    device.add(B)
    result = run(device, state, A)
    assert standing(device, A) == written
    assert standing(device, B) == ENABLED
    assert result["members"][0]["msg"] == f"enabled -> {state}"
    assert not run(device, state, A)["changed"]
    other = "forced_offline" if state == "disabled" else "disabled"
    assert run(device, other, A)["changed"]
    assert standing(device, A) == (FORCED if other == "forced_offline" else DISABLED)


@pytest.mark.parametrize("state", ["disabled", "forced_offline"])
def test_what_is_not_there_cannot_be_disabled_and_nothing_is_touched(state: str) -> None:
    device = FakeBigIP()
    device.add(A)
    with pytest.raises(NotFoundError, match=r"vm-2 \(10.0.0.2:80\) is not a member of /Common/web-pool"):
        run(device, state, A, B)
    assert device.commits == []
    assert run(device, state, A, B, allow_partial=True)["failed_members"] == ["vm-2"]
    assert standing(device, A) == (DISABLED if state == "disabled" else FORCED)


def test_drained_waits_for_the_last_connection_of_each() -> None:
    """Invariant 4: drained before it is removed."""
    device = FakeBigIP()
    device.add(A)
    device.add(B)
    ends = {A: 0.0, B: 12.0}
    device.connections = lambda address, seconds: 2 if seconds < ends[address] else 0
    result = run(device, "drained", A, B, drain_timeout=60)
    assert [[(name, body) for _m, name, body in commit] for commit in device.commits] == [
        [("10.0.0.1:80", DISABLED), ("10.0.0.2:80", DISABLED)],
        [("10.0.0.1:80", FORCED)],
        [("10.0.0.2:80", FORCED)],
    ]
    first, second = result["members"]
    assert (first["drained"], first["connections_left"], first["seconds"]) == (True, 0, 0)
    assert (second["drained"], second["connections_left"]) == (True, 0)
    assert 12 <= second["seconds"] < 14


def test_the_deadline_forces_and_counts_who_is_left() -> None:
    device = FakeBigIP()
    device.add(A)
    device.connections = lambda _address, _seconds: 3
    work = job(device, "drained", A, drain_timeout=10)
    row = work.run(check_mode=False)["members"][0]
    assert standing(device, A) == FORCED
    assert (row["drained"], row["connections_left"], row["failed"]) == (False, 3, False)
    assert row["seconds"] == pytest.approx(10, abs=0.1)
    assert "Forced offline after 10 s with connections left (vm-1 (10.0.0.1:80): 3)" in work.report.warnings[0]


def test_the_deadline_can_fail_instead() -> None:
    device = FakeBigIP()
    device.add(A)
    device.connections = lambda _address, _seconds: 3
    with pytest.raises(WaitTimeoutError, match=r"has 3 connections after 10 s.*drain_deadline=force") as late:
        run(device, "drained", A, drain_timeout=10, drain_deadline="fail")
    assert standing(device, A) == DISABLED
    assert late.value.result["members"][0]["connections_left"] == 3


def test_drained_without_waiting_forces_only_the_idle() -> None:
    device = FakeBigIP()
    device.add(A)
    device.add(B)
    device.connections = lambda address, _seconds: 1 if address == B else 0
    result = run(device, "drained", A, B, wait=False)
    assert device.clock.slept == []
    assert standing(device, A) == FORCED
    assert standing(device, B) == DISABLED
    assert [row["drained"] for row in result["members"]] == [True, False]
    assert result["failed_members"] == []


def test_a_device_that_gives_no_figures_of_all_members_is_asked_for_each() -> None:
    """Nobody is taken for idle because the answer was about something else (seen with version 13.1.0.6)."""
    device = FakeBigIP()
    device.old_stats = True
    device.add(A)
    device.add(B)
    device.connections = lambda address, seconds: 2 if address == B and seconds < 5 else 0
    rows = run(device, "drained", A, B)["members"]
    assert [row["drained"] for row in rows] == [True, True]
    assert rows[0]["seconds"] == 0
    assert rows[1]["seconds"] >= 5


def test_a_drain_can_be_repeated_after_each_of_its_steps() -> None:
    """Invariant 7: also when the member is gone already."""
    device = FakeBigIP()
    device.add(A, **FORCED)
    result = run(device, "drained", A, B)
    assert not result["changed"]
    assert [row["drained"] for row in result["members"]] == [True, True]
    assert result["members"][1]["msg"] == "is not a member: nothing to drain"


def test_absent_removes_members_and_nodes_that_nobody_uses() -> None:
    device = FakeBigIP()
    for address in (A, B):
        device.add(address)
    device.add(B, pool="other-pool")
    result = run(device, "absent", A, B, C)
    assert device.pools["web-pool"] == {}
    assert set(device.nodes) == {B}
    assert [row["node"] for row in result["members"]] == ["removed", "kept", "absent"]
    assert [row["changed"] for row in result["members"]] == [True, True, False]
    again = run(device, "absent", A, B, C)
    assert not again["changed"]
    assert set(device.nodes) == {B}


def test_absent_finishes_what_a_crash_left() -> None:
    """Invariant 7: the member went, the node stayed."""
    device = FakeBigIP()
    device.nodes[A] = A
    assert run(device, "absent", A)["changed"]
    assert device.nodes == {}


def test_absent_keeps_a_node_that_has_a_name_or_is_wanted() -> None:
    device = FakeBigIP()
    device.nodes["web1"] = A
    device.add(A)
    assert run(device, "absent", A)["members"][0]["node"] == "kept"
    assert device.nodes == {"web1": A}
    device.add(B)
    assert run(device, "absent", B, remove_node=False)["members"][0]["node"] is None
    assert B in device.nodes


def test_absent_from_a_pool_that_is_gone_is_done() -> None:
    device = FakeBigIP()
    result = run(device, "absent", A, pool="gone-pool")
    assert not result["changed"]
    assert result["members"][0]["session"] is None


@pytest.mark.parametrize("state", ["present", "enabled", "disabled", "forced_offline", "drained"])
def test_a_missing_pool_names_similar_ones(state: str) -> None:
    with pytest.raises(NotFoundError, match=r"no pool /Common/web-pol .*Did you mean /Common/web-pool\?"):
        run(FakeBigIP(), state, A, pool="web-pol")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", ["present", "enabled", "disabled", "forced_offline", "drained", "absent"])
def test_a_lost_answer_is_settled_by_reading(state: str, when: str) -> None:
    """Invariant 7: apply-then-fail, and fail-then-nothing, end like an undisturbed run."""
    device = FakeBigIP()
    if state not in ("present", "enabled"):
        device.add(A)
    device.faults = [(when, lose_the_answer)]
    result = run(device, state, A)
    calm = FakeBigIP()
    if state not in ("present", "enabled"):
        calm.add(A)
    run(calm, state, A)
    assert device.pools == calm.pools
    assert device.nodes == calm.nodes
    assert result["changed"]


def test_one_that_somebody_else_adds_at_the_same_moment_is_no_error() -> None:
    """409 on a create: read again and compare."""
    device = FakeBigIP()
    device.faults = [("before", lambda this: this.add(A, **DISABLED))]
    run(device, "present", A, B)
    assert standing(device, A) == standing(device, B) == DISABLED
    assert [[body["address"] for _method, _path, body in commit] for commit in device.commits] == [[B]]


def test_one_that_somebody_else_removes_at_the_same_moment_is_no_error() -> None:
    """404 on a delete: done."""
    device = FakeBigIP()
    device.add(A)
    device.add(B)
    device.faults = [("before", lambda this: this.pools["web-pool"].pop(f"{A}:80"))]
    run(device, "absent", A, B)
    assert device.pools["web-pool"] == {}


def test_a_device_that_keeps_failing_ends_it_and_tells_what_is_there() -> None:
    device = FakeBigIP()
    device.faults = [("before", lose_the_answer)] * ATTEMPTS
    with pytest.raises(UnsettledError) as lost:
        run(device, "present", A)
    assert lost.value.result["members"][0]["session"] is None
    assert lost.value.result["changed"] is False
    assert SAVE not in device.calls


def test_a_change_that_does_not_stick_is_not_believed() -> None:
    """Verify after each write (design 8)."""
    device = FakeBigIP()
    device.add(A)

    def undo(this: FakeBigIP) -> None:
        this.pools["web-pool"][f"{A}:80"].update(ENABLED)

    device.faults = [("after", undo)] * ATTEMPTS
    with pytest.raises(RefusedError, match=r"accepted the change.*does not show it: 10.0.0.1:80"):
        run(device, "forced_offline", A)


@pytest.mark.parametrize("state", ["present", "enabled", "disabled", "forced_offline", "drained", "absent"])
def test_check_mode_changes_nothing_and_foretells_the_diff(state: str) -> None:
    device = FakeBigIP()
    device.add(A, **(DISABLED if state == "enabled" else ENABLED))
    addresses = (A, B) if state in ("present", "enabled") else (A,)
    foretold = job(device, state, *addresses)
    said = foretold.run(check_mode=True)
    assert device.commits == []
    assert all(method == "GET" for method, _path in device.calls)
    done = job(device, state, *addresses)
    result = done.run(check_mode=False)
    assert foretold.report.diff() == done.report.diff()
    assert said["changed"] is result["changed"] is True
    assert [row["changed"] for row in said["members"]] == [row["changed"] for row in result["members"]]
    assert [row["node"] for row in said["members"]] == [row["node"] for row in result["members"]]


def test_after_a_change_the_group_is_synced_and_then_it_is_saved() -> None:
    device = FakeBigIP()
    result = run(device, "present", A, sync_group="failover")
    writes = [call for call in device.calls if call in (SYNC, SAVE)]
    assert writes == [SYNC, SAVE]
    assert (result["synced"], result["saved"]) == (True, True)
    device.calls.clear()
    run(device, "present", A, sync_group="failover")
    assert not {SYNC, SAVE} & set(device.calls)
    result = run(device, "present", B, save=False)
    assert SAVE not in device.calls
    assert (result["synced"], result["saved"]) == (False, False)


def test_an_empty_list_is_no_work() -> None:
    for state in ("enabled", "drained", "absent", "present"):
        assert run(FakeBigIP(), state)["members"] == []
