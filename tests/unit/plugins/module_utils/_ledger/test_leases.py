# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases: one address, one member, all or none (invariant 3, A8)."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger

POOL = [f"10.0.0.{number}" for number in range(1, 6)]


@pytest.fixture
def web(ledger):
    return ledger.start_action("web", "out", owner="me", ttl=100)


def test_addresses_come_in_order_and_appear_with_their_members(ledger, web, clock):
    assert ledger.lease_addresses(web, "web", ["b", "a"], POOL) == {"b": "10.0.0.1", "a": "10.0.0.2"}
    assert {(row["name"], row["address"], row["state"], row["action"]) for row in ledger.members("web")} == {
        ("b", "10.0.0.1", "planned", web),
        ("a", "10.0.0.2", "planned", web),
    }
    assert ledger.group_state("web")["leases"][0] == {
        "address": "10.0.0.1",
        "member": "b",
        "action": web,
        "leased_at": clock.now,
    }


def test_a_member_keeps_its_address(ledger, web):
    """Invariant 7: the repeated step gets the same answer, and a new member another address."""
    first = ledger.lease_addresses(web, "web", ["a"], POOL)
    again = ledger.lease_addresses(web, "web", ["a", "b", "a"], reversed(POOL))
    assert again == {"a": first["a"], "b": "10.0.0.5"}


def test_leases_of_other_groups_are_skipped(ledger, web):
    other = ledger.start_action("db", "out", owner="me", ttl=100)
    ledger.lease_addresses(other, "db", ["a"], POOL)
    assert ledger.lease_addresses(web, "web", ["a"], POOL) == {"a": "10.0.0.2"}, "the same name in another group"


def test_an_answering_address_is_never_given_out_and_asked_once(ledger, web):
    """A8."""
    asked = []

    def usable(address):
        asked.append(address)
        return address not in ("10.0.0.1", "10.0.0.3")

    assert ledger.lease_addresses(web, "web", ["a", "b"], POOL, usable) == {"a": "10.0.0.2", "b": "10.0.0.4"}
    assert sorted(asked) == POOL[:4], "no more is asked than needed, nothing twice"


def test_a_pool_that_is_too_small_leases_nothing(ledger, web):
    """A8: all or none; the message says what holds the addresses."""
    ledger.lease_addresses(web, "web", ["old"], POOL)
    with pytest.raises(RefusedError) as caught:
        ledger.lease_addresses(
            web, "web", ["a", "b", "c", "d"], POOL, lambda address: address != "10.0.0.4", pool="10.0.0.1-10.0.0.5"
        )
    assert str(caught.value).startswith(
        "address pool of group web (10.0.0.1-10.0.0.5) has 3 free, 4 needed: 1 of the candidates leased; "
        "1 answering on the network without a lease (10.0.0.4). Widen"
    )
    assert caught.value.result == {"code": "no_address", "free": 3, "needed": 4, "answering": ["10.0.0.4"]}
    assert ledger.leased_addresses() == {"10.0.0.1"}
    assert [row["name"] for row in ledger.members("web")] == ["old"], "no planned member stays to be counted (A5)"


def test_a_lease_that_breaks_off_leaves_neither_lease_nor_member(ledger, web, monkeypatch):
    """A launch's row and its lease are one transaction."""
    real, calls = ledger._put_member, []

    def put(connection, group, row):
        calls.append(row["name"])
        if len(calls) == 2:
            raise RuntimeError("killed")
        real(connection, group, row)

    monkeypatch.setattr(ledger, "_put_member", put)
    with pytest.raises(RuntimeError):
        ledger.lease_addresses(web, "web", ["a", "b"], POOL)
    assert (ledger.members("web"), ledger.leased_addresses()) == ([], set())


def test_release_frees_addresses_of_that_group_only(ledger, web):
    other = ledger.start_action("db", "out", owner="me", ttl=100)
    ledger.lease_addresses(web, "web", ["a", "b"], POOL)
    ledger.lease_addresses(other, "db", ["a"], POOL)
    assert ledger.release_leases("web", ["a", "nobody"]) == ["10.0.0.1"]
    assert ledger.release_leases("web", ["a"]) == []
    assert ledger.leased_addresses() == {"10.0.0.2", "10.0.0.3"}
    assert [row["name"] for row in ledger.members("web")] == ["b"]


def test_preview_leases_nothing(ledger, web):
    ledger.lease_addresses(web, "web", ["a"], POOL)
    assert ledger.preview_leases("web", ["a", "b"], POOL) == {"a": "10.0.0.1", "b": "10.0.0.2"}
    assert ledger.leased_addresses() == {"10.0.0.1"}
    with pytest.raises(RefusedError):
        ledger.preview_leases("web", list("abcdef"), POOL)


def test_what_was_leased_during_the_probe_is_not_leased_again(ledger, web, url, clock):
    """The probe takes seconds outside the transaction; another group is faster meanwhile."""
    other = ledger.start_action("db", "out", owner="me", ttl=100)
    once = threading.Event()

    def usable(address):
        if not once.is_set():
            once.set()
            with Ledger.open(url, clock=clock) as second:
                second.lease_addresses(other, "db", ["thief"], ["10.0.0.1"])
        return True

    assert ledger.lease_addresses(web, "web", ["a"], POOL, usable) == {"a": "10.0.0.2"}


@pytest.mark.parametrize(("direction", "message"), [("in", "no longer runs"), ("out", "was taken over by other")])
def test_a_play_that_lost_its_lock_during_the_probe_leases_nothing(ledger, web, clock, direction, message):
    """Also when another play goes on with the very same action (invariant 6)."""

    def usable(address):
        clock.tick(200)
        ledger.start_action("web", direction, owner="other", ttl=100)
        return True

    with pytest.raises(ConflictError, match=message):
        ledger.lease_addresses(web, "web", ["a"], POOL, usable, owner="me")
    assert ledger.leased_addresses() == set()


def test_probes_run_side_by_side(ledger, web):
    """Ten members are probed in the time of one: all four probes must be in flight before any may answer."""
    together = threading.Barrier(4, timeout=10)

    def usable(address):
        together.wait()
        return True

    assert len(ledger.lease_addresses(web, "web", list("abcd"), POOL, usable)) == 4


def test_an_error_of_the_probe_is_not_swallowed(ledger, web):
    def usable(address):
        raise OSError("no raw sockets")

    with pytest.raises(OSError, match="no raw sockets"):
        ledger.lease_addresses(web, "web", ["a"], POOL, usable)
    assert ledger.leased_addresses() == set()


GRACE = 600


@pytest.fixture
def phantoms(ledger, clock):
    """Action web-1 leased for a and b and died; web-2 took the lock over and runs its step observe."""
    first = ledger.start_action("web", "out", owner="me", ttl=100)
    ledger.lease_addresses(first, "web", ["a", "b"], POOL)
    ledger.update_members("web", [{"name": "b", "state": "launching"}])
    clock.tick(100)
    second = ledger.start_action("web", "in", owner="me", ttl=10_000)
    ledger.begin_step(second, "observe")
    return second


def left(ledger):
    """Members that still have a row, which must be those that still have a lease."""
    names = [row["name"] for row in ledger.members("web")]
    assert sorted(names) == sorted(row["member"] for row in ledger.group_state("web")["leases"])
    return names


def test_launches_of_a_dead_action_are_given_up_with_their_addresses(ledger, phantoms, clock):
    """A5: a member that never came to be does not count for ever, and its address can be leased again."""
    clock.tick(GRACE + 1)
    assert ledger.preview_unseen("web", phantoms, names=[], grace=GRACE) == ["a", "b"]
    assert left(ledger) == ["a", "b"], "a preview changes nothing"
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == ["a", "b"]
    assert left(ledger) == []
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == []
    assert ledger.action(phantoms)["steps"][-1]["detail"] == {"released": ["a", "b"]}


def test_a_clone_that_may_still_run_is_not_given_up(ledger, phantoms, clock):
    """Invariant 3: the play may have asked for the clone until its action ended, and vCenter goes on without it."""
    clock.tick(GRACE)
    assert ledger.members("web")[0]["updated_at"] < clock.now - GRACE
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == []
    assert left(ledger) == ["a", "b"]
    ledger.update_members("web", [{"name": "b"}])
    clock.tick(1)
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == ["a"], "an entry about b is a second old"
    assert ledger.action(phantoms)["steps"][-1]["detail"] == {"released": ["a"]}
    clock.tick(GRACE)
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == ["b"]
    assert ledger.action(phantoms)["steps"][-1]["detail"] == {"released": ["a", "b"]}


def test_what_vcenter_shows_keeps_its_address(ledger, phantoms, clock):
    """Invariant 3: by name, or by address when somebody renamed the VM."""
    clock.tick(GRACE + 1)
    assert ledger.release_unseen(phantoms, names=["a"], addresses=["10.0.0.2"], grace=GRACE) == []
    assert ledger.release_unseen(phantoms, names=["b"], grace=GRACE) == ["a"]
    assert left(ledger) == ["b"]


@pytest.mark.parametrize("state", ["in_service", "draining", "failed", "removed"])
def test_only_launches_are_given_up(ledger, phantoms, clock, state):
    ledger.update_members("web", [{"name": "a", "state": state}])
    clock.tick(GRACE + 1)
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == ["b"]


def test_an_action_never_gives_up_its_own_launches_nor_those_of_other_groups(ledger, phantoms, clock):
    ledger.lease_addresses(phantoms, "web", ["mine"], POOL)
    other = ledger.start_action("db", "out", owner="me", ttl=10)
    ledger.lease_addresses(other, "db", ["theirs"], POOL)
    ledger.finish_action(other, state="failed")
    clock.tick(GRACE + 1)
    assert ledger.release_unseen(phantoms, names=[], grace=GRACE) == ["a", "b"]
    assert left(ledger) == ["mine"]
    assert [row["name"] for row in ledger.members("db")] == ["theirs"]


def test_launches_of_an_action_that_nobody_remembers_are_given_up(ledger, phantoms, clock):
    """A ledger that was rebuilt knows members whose actions are gone."""
    ledger.update_members("web", [{"name": "stray", "action": "web-old"}, {"name": "bare"}])
    clock.tick(GRACE + 1)
    assert set(ledger.release_unseen(phantoms, names=["a", "b"], grace=GRACE)) == {"stray", "bare"}


def test_a_preview_leaves_what_another_running_action_launches(ledger, phantoms, clock):
    """Check mode has no lock, so somebody may work."""
    ledger.lease_addresses(phantoms, "web", ["busy"], POOL)
    clock.tick(GRACE + 1)
    assert ledger.preview_unseen("web", "check-mode", names=[], grace=GRACE) == ["a", "b"]


def test_who_lost_the_lock_gives_nothing_up(ledger, phantoms, clock):
    clock.tick(10_001)
    ledger.start_action("web", "out", owner="you", ttl=10)
    with pytest.raises(ConflictError, match="no longer runs"):
        ledger.release_unseen(phantoms, names=[], grace=GRACE)
    assert left(ledger) == ["a", "b"]
