# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes on one file, and one that is killed (invariants 3, 6, 7; T4)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger

FRESH = multiprocessing.get_context("forkserver")
RACERS = 4


def take_lock(url, gate, answers, number):
    with Ledger.open(url) as mine:
        gate.wait(30)
        try:
            answers.put(mine.start_action("web", "out", owner=f"racer-{number}", ttl=600))
        except ConflictError as error:
            answers.put(error.result["code"])


def take_addresses(url, gate, answers, number):
    """Each group wants two of the same five addresses: two groups win, the others get nothing."""
    group = f"group-{number}"
    with Ledger.open(url) as mine:
        name = mine.start_action(group, "out", owner="me", ttl=600)
        gate.wait(30)
        try:
            found = mine.lease_addresses(name, group, ["a", "b"], [f"10.0.0.{n}" for n in range(5)])
            answers.put(sorted(found.values()))
        except RefusedError as error:
            answers.put(error.result["code"])


def make_store(url, gate, answers, number):
    gate.wait(30)
    with Ledger.open(url) as mine:
        answers.put(len(mine.groups()))


def die_in_a_transaction(url, gate, answers, number):
    with Ledger.open(url) as mine, mine.write() as connection:
        mine._take(connection, "web", "web-9", "dead", 600)
        mine._put_member(connection, "web", {"name": "ghost"})
        gate.wait(30)
        time.sleep(60)


def race(work, url):
    gate, answers = FRESH.Barrier(RACERS), FRESH.Queue()
    racers = [FRESH.Process(target=work, args=(url, gate, answers, number)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=60) for _racer in racers]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    return found


def test_one_of_several_processes_gets_the_lock(ledger, url):
    """Invariant 6."""
    answers = race(take_lock, url)
    assert sorted(answers) == ["locked"] * (RACERS - 1) + ["web-1"]
    state = ledger.group_state("web")
    assert state["lock"]["action"] == state["action"]["name"] == "web-1"
    assert state["lock"]["owner"] == state["action"]["owner"]


def test_no_address_is_won_twice(ledger, url):
    """Invariant 3, and all or none: no group is left with half of what it needs."""
    answers = race(take_addresses, url)
    won = [answer for answer in answers if answer != "no_address"]
    assert len(won) == 2
    flat = [address for pair in won for address in pair]
    assert len(flat) == len(set(flat)) == 4 == len(ledger.leased_addresses())


def test_several_processes_make_the_store_at_once(url):
    """The receiver and a play may both meet an empty folder."""
    assert race(make_store, url) == [0] * RACERS


@pytest.mark.parametrize("_round", range(2))
def test_kill_in_a_transaction_leaves_nothing_behind(ledger, url, _round):
    """Invariant 7: kill -9 between two statements; the next one neither waits nor sees half of it."""
    gate = FRESH.Barrier(2)
    victim = FRESH.Process(target=die_in_a_transaction, args=(url, gate, None, 0))
    victim.start()
    gate.wait(30)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(30)
    began = time.monotonic()
    assert ledger.start_action("web", "out", owner="alive", ttl=600) == "web-1"
    assert time.monotonic() - began < 5
    assert ledger.members("web") == []
    if url.startswith("sqlite"):
        with ledger.read() as connection:
            assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"
