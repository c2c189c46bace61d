# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an action takes the lock: waiting, giving up, carrying on (invariants 6 and 7)."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.plugin_utils._begin import begin

TTL = 120


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=clock) as ledger:
        yield ledger


def ask(direction, name=None, *, owner="b/2", **options):
    defaults = {
        "group": "web", "name": name, "direction": direction, "owner": owner, "lock_ttl": TTL, "lock_wait": None,
        "attempt": None, "takeover": False, "source": "person", "reason": "",
    }  # fmt: skip
    return {**defaults, **options}


@pytest.fixture
def held(ledger):
    """Somebody else's scale-out, which has just begun."""
    return begin(ledger, ask("out", owner="a/1"))["name"]


def test_a_held_lock_is_refused_at_once(ledger, clock, held):
    with pytest.raises(ConflictError, match="locked by action web-1"):
        begin(ledger, ask("in"), sleep=clock.sleep)
    assert clock.now == 1000.0


def test_lock_wait_waits_for_the_end(ledger, clock, held):
    def sleep(seconds):
        clock.sleep(seconds)
        if clock.now > 1010:
            ledger.finish_action(held, state="succeeded", owner="a/1")

    begun = begin(ledger, ask("in", lock_wait=60), sleep=sleep)
    assert (begun["name"], begun["direction"], begun["resumed"]) == ("web-2", "in", False)
    assert clock.now < 1012


def test_lock_wait_ends(ledger, clock, held):
    with pytest.raises(ConflictError, match="busy"):
        begin(ledger, ask("in", lock_wait=5), sleep=clock.sleep)
    assert 1005 <= clock.now < 1007


def test_the_same_direction_carries_on_what_was_cut_off(ledger, clock, held):
    clock.now += TTL + 1
    begun = begin(ledger, ask("out"))
    assert (begun["name"], begun["started_at"], begun["resumed"]) == (held, 1000.0, True)


def test_the_other_direction_leaves_it_to_reconcile(ledger, clock, held):
    clock.now += TTL + 1
    begun = begin(ledger, ask("in"))
    assert (begun["name"], begun["resumed"]) == ("web-2", False)
    assert ledger.action(held)["state"] == "lost"


def test_a_reconcile_waits_for_a_silent_holder_and_carries_it_on(ledger, clock, held):
    begun = begin(ledger, ask("reconcile", "web-7"), sleep=clock.sleep)
    assert (begun["name"], begun["direction"], begun["resumed"]) == (held, "out", True)
    assert 1000 + TTL <= clock.now < 1000 + TTL + 2
    ledger.finish_action(held, state="succeeded", owner="b/2")
    begun = begin(ledger, ask("reconcile", "web-7"), sleep=clock.sleep)
    assert (begun["name"], begun["direction"], begun["resumed"]) == ("web-7", "reconcile", False)


def test_a_lock_that_runs_out_between_look_and_taking(ledger, clock, held, monkeypatch):
    """The action is carried on all the same, and not given up as lost."""
    clock.now += TTL - 0.1
    look = ledger.cut_off

    def slow(group):
        found = look(group)
        clock.now += 1
        return found

    monkeypatch.setattr(ledger, "cut_off", slow)
    begun = begin(ledger, ask("reconcile", "web-7"), sleep=clock.sleep)
    assert (begun["name"], begun["direction"], begun["resumed"]) == (held, "out", True)
    assert ledger.action(held)["state"] == "running"


def test_a_reconcile_leaves_a_holder_that_lives(ledger, clock, held):
    def sleep(seconds):
        clock.sleep(seconds)
        if clock.now >= 1030:
            ledger.heartbeat(held, "a/1", TTL)

    with pytest.raises(ConflictError, match="busy") as caught:
        begin(ledger, ask("reconcile"), sleep=sleep)
    assert clock.now < 1032
    assert caught.value.result["code"] == "locked"


def test_a_dead_reconcile_keeps_no_plan(ledger, clock):
    first = begin(ledger, ask("reconcile", owner="a/1"))["name"]
    clock.now += TTL + 1
    begun = begin(ledger, ask("reconcile"))
    assert begun["name"] != first
    assert not begun["resumed"]
