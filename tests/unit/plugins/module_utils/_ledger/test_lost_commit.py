# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COMMIT is carried out and its answer never comes: every entry of an action can be repeated (invariant 7)."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import ConflictError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger, LedgerError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work import WorkQueue
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert


@pytest.fixture
def shared(postgresql_url, clock):
    with Ledger.open(postgresql_url, clock=clock) as opened:
        yield opened


class CommitCutter:
    """A proxy that can swallow the server's answer to the next COMMIT, and the connection with it."""

    def __init__(self, target):
        self.target = target
        self.armed = False
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _address = self.listener.accept()
                server = socket.create_connection(self.target)
                doomed = threading.Event()
                for work in (self._to_server, self._to_client):
                    threading.Thread(target=work, args=(client, server, doomed), daemon=True).start()

    def _to_server(self, client, server, doomed):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.armed and b"COMMIT\x00" in data:
                    self.armed = False
                    doomed.set()
                server.sendall(data)
            server.close()

    def _to_client(self, client, server, doomed):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if doomed.is_set():
                    self.cuts += 1
                    break
                client.sendall(data)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self):
        self.listener.close()


@pytest.fixture
def cutter(postgresql_server):
    proxy = CommitCutter(("127.0.0.1", postgresql_server.port))
    yield proxy
    proxy.close()


@pytest.fixture
def cut_ledger(postgresql_server, shared, cutter, clock):
    """The same store, through the proxy."""
    url = postgresql_server.url("ledger", user="ledger", port=cutter.port)
    with Ledger.open(url, clock=clock) as opened:
        yield opened


def life(ledger, queue, group, call):
    """An action from its alert to its end; *call* carries out each entry. No entry depends on an answer."""
    ident, names = f"{group}-1", ["a", "b"]
    alerts = [Alert("f1", "2026-01-01T00:00:00Z", "firing", group, "out", "busy")]
    plan = {"launches": [{"name": name} for name in names], "size_before": 2, "code": "scale_out"}
    call(lambda: queue.accept_alerts(alerts))
    call(lambda: queue.claim(group, "out", node="here"))
    call(lambda: queue.begin_attempt(queue.running()[0]) if not queue.running()[0].attempts else None)
    call(lambda: ledger.start_action(group, "out", ident=ident, owner="play", ttl=100, attempt=1))
    call(lambda: ledger.record_plan(ident, plan, []))
    call(lambda: ledger.lease_addresses(ident, group, names, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]))
    call(lambda: ledger.begin_step(ident, "clone", members=[{"name": name, "state": "launching"} for name in names]))
    call(lambda: ledger.update_members(group, [{"name": "a", "moid": "vm-1"}], ident=ident, owner="play"))
    call(lambda: ledger.heartbeat(ident, "play", 100))
    call(lambda: ledger.end_step(ident, "done", {"seconds": 3}, owner="play"))
    members = [{"name": name, "state": "in_service"} for name in names]
    call(lambda: ledger.finish_action(ident, state="succeeded", count_after=4, cooldown=300, members=members))
    call(lambda: queue.finish_work(queue.running()[0]) if queue.running() else None)


def end_state(ledger, queue):
    """What is left; without the second row of a step that was begun twice, and without how often alerts were seen."""
    state = ledger.group_state("web")
    for event in state["events"]:
        event["id"] = None
        names = [(step["step"], step["state"]) for step in event["steps"]]
        event["steps"] = [name for number, name in enumerate(names) if name not in names[:number]]
    alerts = [{**row, "seen": None} for row in queue.recent_alerts()]
    return state, ledger.leased_addresses(), alerts, queue.groups()


def test_an_entry_whose_answer_was_lost_can_be_repeated(cut_ledger, cutter, shared, new_life):
    """Invariant 7: done, but answered with an error. Every entry of an action: an error first, then the same again."""
    expected = new_life()
    queue = WorkQueue(cut_ledger)
    calls = 0

    def twice(work):
        nonlocal calls
        calls += 1
        cutter.armed = True
        with pytest.raises(LedgerError, match=r"not known whether the last entry was stored\. Run the same again"):
            work()
        assert cutter.cuts == calls
        work()

    life(cut_ledger, queue, "web", twice)
    assert calls == 12
    assert end_state(shared, WorkQueue(shared)) == expected


@pytest.fixture
def new_life(sqlite_url, clock):
    """A function: what an undisturbed life leaves, on the other database."""

    def live():
        with Ledger.open(sqlite_url, clock=clock) as ledger:
            queue = WorkQueue(ledger)
            life(ledger, queue, "web", lambda work: work())
            return end_state(ledger, queue)

    return live


def test_a_start_without_a_name_whose_answer_was_lost_holds_the_group_until_its_lock_runs_out(
    cut_ledger, cutter, shared, clock
):
    """Nobody knows the name of what was started: it is gone on with, once its lock has run out. Nothing runs twice."""
    cutter.armed = True
    with pytest.raises(LedgerError, match="not known"):
        cut_ledger.start_action("web", "out", owner="play", ttl=100)
    with pytest.raises(ConflictError, match="locked by action web-1"):
        cut_ledger.start_action("web", "out", owner="play", ttl=100)
    clock.tick(101)
    assert cut_ledger.start_action("web", "out", owner="play", ttl=100) == "web-1"
