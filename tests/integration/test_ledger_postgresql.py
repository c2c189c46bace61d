# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes on one PostgreSQL with fsync on: who wins, who dies, and a killed server (invariants 3, 6, 7)."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError, RefusedError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError, _postgresql
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._schema import tables
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from lab.postgres import Postgres

# Forked from a process that has imported these and has no connection.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "psycopg", "sqlalchemy.dialects.postgresql", Ledger.__module__])

HOLDERS, ROUNDS = 4, 25
POOL = [f"10.0.0.{number}" for number in range(1, 41)]


@pytest.fixture(scope="module")
def server():
    """With fsync: one of these tests kills it."""
    with Postgres.temporary(durable=True) as started:
        yield started


@pytest.fixture
def url(server):
    """Of an empty database."""
    name = f"ledger_{time.monotonic_ns()}"
    yield server.create_database(name)
    server.drop_database(name)


def start(work, *arguments, count):
    """*count* processes that run ``work(*arguments, number, answers)``; they and their answers."""
    answers = PROCESSES.Queue()
    started = [PROCESSES.Process(target=work, args=(*arguments, number, answers)) for number in range(count)]
    for process in started:
        process.start()
    return started, answers


def together(work, *arguments, count):
    """One answer of each of *count* processes, all of which must end well."""
    started, answers = start(work, *arguments, count=count)
    found = [answers.get(timeout=200) for _process in started]
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return found


def hold(url, witness, number, answers):
    """Win the group *ROUNDS* times; a file that only one may make tells whether anybody else holds it too."""
    refused = 0
    with Ledger.open(url) as ledger:
        for _round in range(ROUNDS):
            while True:
                try:
                    ident = ledger.start_action("web", "out", owner=f"holder-{number}", ttl=600)
                    break
                except ConflictError:
                    refused += 1
                    time.sleep(random.uniform(0.002, 0.02))
            os.close(os.open(witness, os.O_CREAT | os.O_EXCL))
            ledger.begin_step(ident, "work", owner=f"holder-{number}")
            os.unlink(witness)
            ledger.finish_action(ident, state="succeeded", owner=f"holder-{number}")
    answers.put(refused)


def test_at_most_one_holder_at_any_time(url, tmp_path):
    """Invariant 6: 4 processes, 25 rounds each, one group."""
    refused = together(hold, url, str(tmp_path / "held"), count=HOLDERS)
    assert sum(refused) > 0, "they did meet"
    with Ledger.open(url) as ledger:
        events = ledger.events(["web"], limit=1000)
        assert sorted(int(event["action"].rpartition("-")[2]) for event in events) == [*range(1, HOLDERS * ROUNDS + 1)]
        assert {event["result"] for event in events} == {"succeeded"}
        assert ledger.group_state("web")["lock"] is None


def lease(url, number, answers):
    """Five addresses, one call each, from the pool that all groups share."""
    group, got = f"group-{number}", {}
    with Ledger.open(url) as ledger:
        ident = ledger.start_action(group, "out", owner="me", ttl=600)
        for member in "abcde":
            got |= ledger.lease_addresses(ident, group, [member], POOL)
    answers.put((group, got))


def test_no_address_is_leased_twice(url):
    """Invariant 3: 8 processes take all 40 addresses of one pool, and the next one gets none."""
    got = dict(together(lease, url, count=8))
    addresses = [address for members in got.values() for address in members.values()]
    assert sorted(addresses) == sorted(POOL)
    with Ledger.open(url) as ledger:
        for group, members in got.items():
            assert {row["member"]: row["address"] for row in ledger.group_state(group)["leases"]} == members
        late = ledger.start_action("late", "out", owner="me", ttl=600)
        with pytest.raises(RefusedError) as caught:
            ledger.lease_addresses(late, "late", ["a"], POOL)
        assert caught.value.result["code"] == "no_address"


def dispatch(url, number, answers):
    """Claim whatever is ready until nothing is, in an order of one's own."""
    claimed = []
    with Ledger.open(url) as ledger:
        queue = WorkQueue(ledger)
        while ready := queue.ready_groups(time.time()):
            for group in random.sample(ready, len(ready)):
                claim = queue.claim(group.group, "out", node=f"node-{number}")
                if claim and queue.begin_attempt(claim):
                    claimed.append(claim.ident)
    answers.put(claimed)


def test_each_group_is_claimed_once(url):
    """Two dispatchers, 100 groups alerted at once: each action is launched by one of them."""
    groups = [f"group-{number}" for number in range(100)]
    with Ledger.open(url) as ledger:
        WorkQueue(ledger).accept_alerts(
            Alert(group, "2026-01-01T00:00:00Z", "firing", group, "out", "busy") for group in groups
        )
    first, second = together(dispatch, url, count=2)
    assert sorted(first + second) == sorted(f"{group}-1" for group in groups)
    with Ledger.open(url) as ledger:
        running = WorkQueue(ledger).running()
        assert sorted(claim.ident for claim in running) == sorted(first + second)
        assert {claim.attempts for claim in running} == {1}


def claim_and_wait(url, number, answers):
    with Ledger.open(url) as ledger:
        queue = WorkQueue(ledger)
        queue.beat("lost", 2.0)
        for group in queue.ready_groups(time.time())[:5]:
            queue.begin_attempt(queue.claim(group.group, "out", node="lost"))
        answers.put(os.getpid())
        time.sleep(600)


def test_what_a_lost_dispatcher_claimed_is_taken_over(url):
    """Losing one loses nothing: its claims come back under the same idents, once it was not heard of."""
    groups = [f"group-{number}" for number in range(5)]
    with Ledger.open(url) as ledger:
        queue = WorkQueue(ledger)
        queue.beat("here", 600.0)
        queue.accept_alerts(Alert(group, "2026-01-01T00:00:00Z", "firing", group, "out", "busy") for group in groups)
        (lost,), answers = start(claim_and_wait, url, count=1)
        answers.get(timeout=60)
        os.kill(lost.pid, signal.SIGKILL)
        lost.join(30)
        claims = queue.running()
        assert {queue.take_over(claim, "here") for claim in claims} == {None}, "it was heard of a moment ago"
        deadline = time.monotonic() + 30
        while not all(group.orphan for group in queue.groups()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        taken = [queue.take_over(claim, "here") for claim in claims]
        assert sorted(claim.ident for claim in taken) == [f"{group}-1" for group in groups]
        assert {claim.node for claim in queue.running()} == {"here"}


def write_and_wait(url, number, answers):
    _postgresql.IDLE_TIMEOUT_S = 2.0
    with Ledger.open(url) as ledger, ledger.write() as connection:
        ledger.upsert(connection, tables.work, {"group_name": "ghost"}, {"sequence": 1})
        answers.put(os.getpid())
        time.sleep(600)


@pytest.mark.parametrize(("sent", "patience"), [(signal.SIGKILL, 5), (signal.SIGSTOP, 15)])
def test_a_writer_that_dies_or_freezes_in_its_transaction_holds_up_nobody(url, sent, patience):
    """Invariants 6 and 7: a kill is noticed at once, a frozen machine after the limit (2 s here); nothing stays."""
    with Ledger.open(url) as ledger:
        (victim,), answers = start(write_and_wait, url, count=1)
        answers.get(timeout=60)
        os.kill(victim.pid, sent)
        began = time.monotonic()
        assert ledger.start_action("web", "out", owner="alive", ttl=600) == "web-1"
        assert time.monotonic() - began < patience
        assert ledger.groups() == ["web"]
        if sent == signal.SIGSTOP:
            os.kill(victim.pid, signal.SIGKILL)
        victim.join(30)


def insist(call):
    """The same call until it is answered; the error of each one that was not."""
    for tries in itertools.count():
        try:
            return call(), tries
        except LedgerError:
            assert tries < 300
            time.sleep(0.1)
    raise AssertionError


def write_on(url, folder, number, answers):
    """Action after action; what was acknowledged is noted outside, right then. Errors lead to the same call again."""
    group, errors = f"group-{number}", 0
    notes = Path(folder, group)
    with Ledger.open(url) as ledger:
        for turn in itertools.count(1):
            ident = f"{group}-{turn}"
            name, address = f"vm-{turn}", f"10.{number}.0.{turn % 250}"
            for call in (
                lambda: ledger.start_action(group, "out", ident=ident, owner=group, ttl=600),  # noqa: B023
                lambda: ledger.lease_addresses(ident, group, [name], [address]),  # noqa: B023
                lambda: ledger.finish_action(ident, state="succeeded", removed=[name]),  # noqa: B023
            ):
                _answer, tries = insist(call)
                errors += tries
            with notes.open("a") as file:
                file.write(f"{ident}\n")
            if Path(folder, "enough").exists():
                break
    answers.put((group, turn, errors))


def test_a_server_that_is_killed_loses_nothing(url, server, tmp_path):
    """kill -9 of the whole server under load, twice: what was acknowledged is there, and every action ended once."""
    writers, answers = start(write_on, url, str(tmp_path), count=3)
    for _kill in range(2):
        acknowledged = sum(len(path.read_text().split()) for path in tmp_path.iterdir())
        deadline = time.monotonic() + 60
        while sum(len(path.read_text().split()) for path in tmp_path.iterdir()) < acknowledged + 30:
            assert time.monotonic() < deadline, "the writers write"
            time.sleep(0.05)
        server.kill()
        known = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
        server.start()
        with Ledger.open(url) as ledger:
            for group, idents in known.items():
                stored = {event["action"] for event in ledger.events([group], limit=100_000)}
                assert stored.issuperset(idents), "acknowledged and lost"
    (tmp_path / "enough").touch()
    ends = [answers.get(timeout=100) for _writer in writers]
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert sum(errors for _group, _turn, errors in ends) >= len(writers), "they were hit"
    with Ledger.open(url) as ledger:
        for group, turns, _errors in ends:
            ended = [event["action"] for event in ledger.events([group], limit=100_000)]
            assert sorted(ended) == sorted(f"{group}-{turn}" for turn in range(1, turns + 1)), "each once"
        assert ledger.leased_addresses() == set()
