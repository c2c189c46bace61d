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


def test_a_play_that_lost_its_lock_during_the_probe_leases_nothing(ledger, web, clock):
    def usable(address):
        clock.tick(200)
        ledger.start_action("web", "out", owner="other", ttl=100)
        return True

    with pytest.raises(ConflictError, match="no longer runs"):
        ledger.lease_addresses(web, "web", ["a"], POOL, usable)
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
