# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random histories of two groups over one pool of addresses, against a small model."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger

GROUPS = ("web", "db")
POOL = [f"10.0.0.{number}" for number in range(6)]
TTL = 100.0
group = st.sampled_from(GROUPS)


class LedgerMachine(RuleBasedStateMachine):
    """Plays that start, plan, stall, die, come back and end in any order."""

    def __init__(self, url):
        super().__init__()
        self.now = 1_000_000.0
        self.ledger = Ledger.open(url, clock=lambda: self.now)
        self.runs = {}  # ident -> (group, expires): what believes that it runs, also after its lock was taken
        self.holder = {}  # group -> ident
        self.direction = {}  # ident -> direction
        self.serial = 0

    def teardown(self):
        self.ledger.close()

    def alive(self, name):
        return self.holder.get(name) is not None and self.runs[self.holder[name]][1] > self.now

    @rule(name=group, direction=st.sampled_from(["out", "in", "reconcile"]))
    def start(self, name, direction):
        if self.alive(name):
            with pytest.raises(ConflictError):
                self.ledger.start_action(name, direction, owner="me", ttl=TTL)
            return
        dead = self.holder.get(name)
        assert (self.ledger.cut_off(name) or {}).get("ident") == dead
        ident = self.ledger.start_action(name, direction, owner="me", ttl=TTL)
        goes_on = dead is not None and self.direction[dead] == direction != "reconcile"
        assert ident == dead if goes_on else ident not in self.direction
        self.direction[ident] = direction
        self.runs[ident] = (name, self.now + TTL)
        self.holder[name] = ident

    @rule(seconds=st.sampled_from([1.0, 60.0, TTL + 1]))
    def wait(self, seconds):
        self.now += seconds

    def entry(self, ident, write):
        """A journal entry works exactly as long as nobody took the lock."""
        name = self.runs[ident][0]
        if self.holder.get(name) != ident:
            with pytest.raises(ConflictError):
                write()
            return False
        write()
        self.runs[ident] = (name, self.now + TTL)
        return True

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def step(self, data):
        ident = data.draw(st.sampled_from(sorted(self.runs)))
        self.entry(ident, lambda: self.ledger.begin_step(ident, "clone"))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), count=st.integers(1, 3), answering=st.sets(st.sampled_from(POOL), max_size=2))
    def lease(self, data, count, answering):
        ident = data.draw(st.sampled_from(sorted(self.runs)))
        name = self.runs[ident][0]
        wanted = [f"{ident}-{number}" for number in range(count)]
        held = {row["member"]: row["address"] for row in self.ledger.group_state(name)["leases"]}
        before = self.ledger.leased_addresses()
        free = set(POOL) - before - answering

        def write():
            got = self.ledger.lease_addresses(ident, name, wanted, POOL, lambda address: address not in answering)
            assert set(got) == set(wanted)
            for member, address in got.items():
                assert address == held.get(member, address), "a member keeps its address"
                assert member in held or address in free

        if len(free) < len([member for member in wanted if member not in held]):
            with pytest.raises(RefusedError):
                write()
            assert self.ledger.leased_addresses() == before
        else:
            self.entry(ident, write)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), state=st.sampled_from(["succeeded", "refused", "failed"]), gone=st.booleans())
    def finish(self, data, state, gone):
        ident = data.draw(st.sampled_from(sorted(self.runs)))
        name = self.runs[ident][0]
        removed = [row["name"] for row in self.ledger.members(name)] if gone else []
        events = len(self.ledger.events())

        def write():
            event = self.ledger.finish_action(ident, state=state, cooldown=10, removed=removed)
            assert event["result"] == state
            assert self.ledger.finish_action(ident, state="failed") == event

        if self.entry(ident, write):
            del self.runs[ident], self.holder[name]
            assert len(self.ledger.events()) == events + 1

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def give_up(self, data):
        """What an ended action left goes, unless vCenter shows it or its clone may still run; nothing else does."""
        ident = data.draw(st.sampled_from(sorted(self.runs)))
        name = self.runs[ident][0]
        before = {row["name"]: row for row in self.ledger.members(name)}
        shown = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set()

        def write():
            gone = set(self.ledger.release_unseen(ident, names=shown, grace=TTL))
            assert {row["name"] for row in self.ledger.members(name)} == before.keys() - gone
            for member, row in before.items():
                action = self.ledger.action(row["action"])
                since = max(row["updated_at"], action["ended_at"] or 0.0)
                kept = member in shown or action["state"] == "running" or self.now <= since + TTL
                assert (member in gone) == (not kept)

        self.entry(ident, write)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def come_back(self, data):
        """The same action is started again after its play died."""
        ident = data.draw(st.sampled_from(sorted(self.runs)))
        action = self.ledger.action(ident)
        name = self.runs[ident][0]

        def start():
            self.ledger.start_action(name, action["direction"], ident=ident, owner="me", ttl=TTL)

        if self.entry(ident, start):
            assert self.ledger.action(ident)["started_at"] == action["started_at"]

    @invariant()
    def at_most_one_action_runs_and_it_has_the_lock(self):
        """Invariant 6."""
        for name in GROUPS:
            state = self.ledger.group_state(name)
            running = state["action"]["name"] if state["action"] else None
            assert running == self.holder.get(name)
            assert running == (state["lock"]["action"] if state["lock"] else None)

    @invariant()
    def no_address_is_leased_twice(self):
        """Invariant 3: and each lease belongs to a member that has that address."""
        seen = []
        for name in GROUPS:
            state = self.ledger.group_state(name)
            addresses = {row["member"]: row["address"] for row in state["leases"]}
            seen += addresses.values()
            assert addresses == {row["name"]: row["address"] for row in state["members"]}
        assert len(seen) == len(set(seen))


def test_random_histories(url, new_url):
    """The same on both databases; fewer on PostgreSQL, where each look is a walk to a server."""
    run_state_machine_as_test(
        lambda: LedgerMachine(new_url()),
        settings=settings(
            max_examples=25 if url.startswith("sqlite") else 6,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
