# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that prolongs a play's lock, beside a real process that stands in for the play."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import BackendDownError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.plugin_utils import _heartbeat, _heartbeat_process
from ansible_collections.onprem.autoscale.plugins.plugin_utils._heartbeat import start_heartbeat

TTL = 1.5
LONG_S = 20.0  # for what must happen at last, on a busy machine

# The worker of a play: it starts the heartbeat, tells its id and how many children it has, and goes on living.
WORKER = """
import os, sys, time
from ansible_collections.onprem.autoscale.plugins.plugin_utils._heartbeat import start_heartbeat
pid = start_heartbeat(sys.argv[1], "web-1", "me", float(sys.argv[2]), os.getpid())
try:
    os.waitpid(-1, os.WNOHANG)
    children = "some"
except ChildProcessError:
    children = "none"
print(pid, children, flush=True)
if len(sys.argv) > 3:
    sys.exit()
time.sleep(300)
"""


def until(true, seconds=LONG_S):
    """Seconds that it took, or an AssertionError."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


def alive(pid):
    return _heartbeat_process.status(pid)[0] not in ("", "Z", "X")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url):
    with Ledger.open(url) as opened:
        opened.start_action("web", "out", owner="me", ttl=TTL)
        yield opened


@pytest.fixture
def start(ledger, url):
    """Start a play and its heartbeat; both are gone at the end of the test."""
    plays, beats = [], []

    def go(ttl=TTL, **kwargs):
        play = subprocess.Popen([sys.executable, "-c", WORKER, url, str(ttl)], stdout=subprocess.PIPE, **kwargs)
        plays.append(play)
        pid, children = play.stdout.readline().split()
        beats.append(int(pid))
        assert children == b"none", "the worker has nobody to reap"
        return play, int(pid)

    yield go
    for play in plays:
        play.kill()
        play.wait(10)
        play.stdout.close()
    for pid in beats:
        with contextlib.suppress(AssertionError):
            until(lambda: not alive(pid), 5)  # noqa: B023 - called at once
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def beaten(ledger):
    return ledger.lock_state("web")["heartbeat_at"]


def test_the_lock_is_prolonged_while_the_play_lives_and_no_longer(start, ledger):
    """Invariant 6: a short ttl covers a long step, and after kill -9 it runs out by itself."""
    play, pid = start()
    first = beaten(ledger)
    until(lambda: beaten(ledger) > first + TTL)
    assert ledger.lock_state("web")["expired"] is False
    assert ledger.cut_off("web") is None
    play.kill()
    play.wait(10)
    assert until(lambda: not alive(pid)) < 3, "it ends within 2 s of its play (and 1 s for a busy machine)"
    until(lambda: ledger.lock_state("web")["expired"])
    assert ledger.cut_off("web")["ident"] == "web-1"


def test_it_ends_when_the_action_has_ended(start, ledger):
    play, pid = start()
    ledger.finish_action("web-1", state="succeeded")
    until(lambda: not alive(pid))
    assert play.poll() is None, "the play goes on"
    assert ledger.lock_state("web") is None


def test_it_ends_when_another_run_has_the_lock(start, ledger):
    """Invariant 6: a taken lock is not taken back."""
    _play, pid = start()
    ledger.start_action("web", "out", ident="web-1", owner="other", ttl=60, takeover=True)
    until(lambda: not alive(pid))
    assert ledger.lock_state("web")["owner"] == "other"


def test_a_stopped_play_loses_its_lock(start, ledger):
    """A play that hangs is as good as dead: another goes on with its action, and its own next entry is refused."""
    play, pid = start()
    play.send_signal(signal.SIGSTOP)
    until(lambda: ledger.lock_state("web")["expired"])
    assert alive(pid), "it would go on if the play did"
    play.send_signal(signal.SIGCONT)
    until(lambda: not ledger.lock_state("web")["expired"])


def test_it_outlives_a_ledger_that_is_away_for_a_moment(start, ledger, tmp_path):
    _play, pid = start()
    before = beaten(ledger)
    ledger.close()
    moved = {path: path.rename(tmp_path / f"away-{path.name}") for path in tmp_path.glob("ledger.db*")}
    (tmp_path / "ledger.db").mkdir()  # which cannot be opened
    time.sleep(TTL)
    assert alive(pid)
    (tmp_path / "ledger.db").rmdir()
    for path, away in moved.items():
        away.rename(path)
    until(lambda: beaten(ledger) > before)
    assert alive(pid)


def test_it_makes_no_ledger_where_one_was_deleted(start, ledger, tmp_path):
    """Rebuilding is the business of reconcile, which finds no empty store in its way."""
    _play, pid = start()
    ledger.close()
    for path in tmp_path.iterdir():
        path.unlink()
    until(lambda: not alive(pid))
    assert list(tmp_path.iterdir()) == []


def test_it_holds_nothing_of_the_play_open(start, ledger):
    """Who reads the output of a play must not wait for its heartbeat."""
    _play, pid = start(ttl=60)
    files = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    assert {file for file in files if file.startswith(("pipe", "socket"))} == set()
    assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)] == ["/dev/null"] * 3
    assert os.getsid(pid) not in (pid, os.getsid(0)), "a session of its own, which it does not lead"


def test_a_play_that_ends_at_once_leaves_nothing(ledger, url):
    """Its output ends with it, although its heartbeat has just been started."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WORKER, url, "60", "end"], stdout=subprocess.PIPE, timeout=60, check=True
    )
    assert time.monotonic() - began < 30
    until(lambda: not alive(int(done.stdout.split()[0])))


def test_signals_do_what_they_do_by_default(start, ledger):
    """A worker that ignores SIGTERM does not make a heartbeat that does."""
    ignored = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _play, pid = start(ttl=60)
    finally:
        signal.signal(signal.SIGTERM, ignored)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid))


def test_a_heartbeat_that_cannot_start_fails_the_play(ledger, url, monkeypatch):
    monkeypatch.setattr(_heartbeat.sys, "executable", "/bin/false")
    with pytest.raises(BackendDownError, match="heartbeat of action web-1 did not start"):
        start_heartbeat(url, "web-1", "me", 2, os.getpid())


def test_no_password_in_the_list_of_processes(start, ledger):
    """A15."""
    _play, pid = start(ttl=60)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        said = file.read()
    assert b"web-1" in said
    assert b"sqlite" not in said


def test_another_process_with_the_same_id_is_not_the_play():
    """An id may be given out again between two looks: the start time tells them apart."""
    state, started = _heartbeat_process.status(os.getpid())
    assert state == "R"
    play = _heartbeat_process._Play(os.getpid(), started)
    assert play._there()
    assert not _heartbeat_process._Play(os.getpid(), str(int(started) + 1))._there()
    dead = subprocess.Popen(["true"])
    assert until(lambda: _heartbeat_process.status(dead.pid)[0] == "Z") is not None
    assert not _heartbeat_process._Play(dead.pid, _heartbeat_process.status(dead.pid)[1])._there()
    dead.wait()
    assert not _heartbeat_process._Play(dead.pid, "")._there()


def test_without_pidfd_the_end_is_seen_within_a_second(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(_heartbeat_process, "LOOK_EVERY_S", 0.1)
    process = subprocess.Popen(["sleep", "0.5"])
    play = _heartbeat_process._Play(process.pid, _heartbeat_process.status(process.pid)[1])
    began = time.monotonic()
    play.wait_for_end()
    assert 0.2 < time.monotonic() - began < 10
    process.wait()
