# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the executor reads what ansible-runner leaves behind: stale pid, rc None, missing rc (facts 5)."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._config import ExecutorConfig
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor import Job, LaunchError, State
from ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor_runner import MARK, RunnerExecutor

NAME = "web-7-1"
JOB = Job("web-7", 1, "web", "out", "alert", "reason", "play.yml")


class Place:
    """A folder of attempts and a made-up /proc."""

    def __init__(self, folder: Path, **config: t.Any) -> None:
        self.proc = folder / "proc"
        self.proc.mkdir()
        (self.proc / "self").mkdir()
        self.root = folder / "runs"
        self.executor = RunnerExecutor(ExecutorConfig("runner", self.root, **config), proc=self.proc)

    def process(self, pid: int, name: str = NAME, command: bytes = b"python\0-m\0ansible_runner") -> None:
        """One that carries the mark of the attempt."""
        entry = self.proc / str(pid)
        entry.mkdir()
        (entry / "environ").write_bytes(f"A=1\0{MARK}={self.root / name}\0B=2\0".encode())
        (entry / "cmdline").write_bytes(command)

    def wrote(self, name: str = NAME, **files: str) -> Path:
        """What ansible-runner wrote."""
        artifacts = self.root / name / "artifacts" / name
        artifacts.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (artifacts / file).write_text(text)
        return artifacts


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One for each test."""
    return Place(tmp_path)


def test_absent_running_finished(place: Place) -> None:
    """The plain course of things."""
    assert place.executor.look(NAME).state is State.ABSENT
    place.process(42)
    assert place.executor.look(NAME).state is State.RUNNING, "its folder was deleted, and still it runs"
    place.wrote()
    assert place.executor.look(NAME).state is State.RUNNING
    place.wrote(rc="0", status="successful")
    found = place.executor.look(NAME)
    assert (found.state, found.rc, found.good) == (State.FINISHED, 0, True)


@pytest.mark.parametrize(("rc", "status"), [("2", "failed"), ("127", "failed"), ("254", "canceled")])
def test_bad_ends(place: Place, rc: str, status: str) -> None:
    """127 = no ansible-playbook; 254 = canceled."""
    place.wrote(rc=rc, status=status)
    found = place.executor.look(NAME)
    assert (found.state, found.rc, found.status) == (State.FINISHED, int(rc), status)
    assert found.message == f"{status} with rc {rc}"


def test_rc_none_is_death_but_only_when_nothing_runs_any_more(place: Place) -> None:
    """kill -9 of ansible-playbook: workers finish the task that they are in."""
    place.wrote(rc="None", status="failed")
    place.process(42)
    assert place.executor.look(NAME).state is State.RUNNING
    (place.proc / "42" / "environ").write_bytes(b"")
    assert place.executor.look(NAME).state is State.DEAD


def test_a_canceled_attempt_runs_until_its_last_worker_is_gone(place: Place) -> None:
    """Its action is closed and its lock freed then: nothing may act on the group any more."""
    place.wrote(rc="254", status="canceled")
    place.process(42, command=b"python\0module.py")
    assert place.executor.look(NAME).state is State.RUNNING
    (place.proc / "42" / "environ").write_bytes(b"")
    assert place.executor.look(NAME).status == "canceled"


def test_no_rc_for_ever_is_death_but_only_when_nothing_runs_any_more(place: Place) -> None:
    """kill -9 of the runner; and what it said last is kept."""
    place.wrote()
    (place.root / NAME / "runner.log").write_text("Traceback\nOSError: disk full\n\n")
    place.process(42, command=b"python\0module.py")
    assert place.executor.look(NAME).state is State.RUNNING
    (place.proc / "42" / "cmdline").write_bytes(b"")
    found = place.executor.look(NAME)
    assert (found.state, found.message) == (State.DEAD, "OSError: disk full")


@pytest.mark.parametrize("files", [{"rc": "0"}, {"rc": "", "status": "successful"}, {"status": "failed"}])
def test_a_half_written_end_is_no_end(place: Place, files: dict[str, str]) -> None:
    """status is written before rc, and either may be cut."""
    place.wrote(**files)
    place.process(42)
    assert place.executor.look(NAME).state is State.RUNNING


def test_only_processes_of_this_very_attempt_count(place: Place) -> None:
    """web-7-1 is not web-7-11; an idle shared ssh connection is nobody's play."""
    place.wrote()
    place.process(42, "web-7-11")
    place.process(43, NAME, b"ssh: /home/x/.ansible/cp/abc [mux]\0")
    assert place.executor.processes(NAME) == []
    assert place.executor.processes("web-7-11") == [42]
    assert place.executor.look(NAME).state is State.DEAD


def test_a_stale_pid_file_means_nothing(place: Place) -> None:
    """Facts 5: `ansible-runner start` would run nothing and answer 0. Here nobody reads it."""
    place.wrote()
    (place.root / NAME / "pid").write_text(str(os.getpid()))
    assert place.executor.look(NAME).state is State.DEAD


def test_an_attempts_folder_is_never_used_twice(place: Place) -> None:
    """The old rc would be taken for the new one's."""
    (place.root / NAME).mkdir()
    with pytest.raises(LaunchError, match=NAME):
        place.executor.launch(JOB)


def test_what_an_older_ledger_left_here_is_seen(place: Place) -> None:
    """Its idents are not given out again, and what still runs of a group is named; web-1 is another group than web."""
    place.wrote("web-7-1")
    place.wrote("web-1-7-2")
    place.process(42, "web-1-7-2")
    assert place.executor.knows("web-7")
    assert not place.executor.knows("web-8")
    assert not place.executor.knows("web-1")
    assert place.executor.busy("web") == []
    assert place.executor.busy("web-1") == ["web-1-7-2"]


def test_passwords_do_not_stay_in_the_noted_environment(place: Place) -> None:
    """A15: ansible-runner notes its whole environment in clear."""
    noted = {"command": ["ansible-playbook"], "cwd": "/", "env": {"VMWARE_PASSWORD": "swordfish"}}
    artifacts = place.wrote(command=json.dumps(noted))
    place.process(42)
    place.executor.look(NAME)
    assert json.loads((artifacts / "command").read_text()) == {**noted, "env": {}}
    assert (artifacts / "command").stat().st_mode & 0o777 == 0o600
    place.wrote(command='{"command": ["half')
    assert place.executor.look(NAME).state is State.RUNNING


def test_only_ids_are_passed_and_never_in_argv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A15: the command line names files; the values are ids, the configured ones never override them."""
    place = Place(tmp_path, extra_vars={"group": "evil", "site": "main"}, environment={"SECRET": "swordfish"})
    seen: dict[str, t.Any] = {}

    def popen(command: list[str], **kwargs: t.Any) -> t.Any:
        seen.update(kwargs, command=command)
        return object()

    monkeypatch.setattr(
        "ansible_collections.onprem.autoscale.plugins.plugin_utils._intake._executor_runner.subprocess.Popen", popen
    )
    place.executor.launch(JOB)
    assert seen["start_new_session"] is True
    assert seen["env"]["SECRET"] == "swordfish"
    assert "swordfish" not in " ".join(seen["command"])
    assert seen["command"][:4] == [sys.executable, "-m", "ansible_runner", "run"]
    extravars = json.loads((place.root / NAME / "env" / "extravars").read_text())
    assert extravars == {
        "site": "main",
        "group": "web",
        "action_id": "web-7",
        "action_attempt": 1,
        "signal_direction": "out",
        "signal_source": "alert",
        "signal_reason": "reason",
    }
    assert {path.stat().st_mode & 0o077 for path in place.root.rglob("*")} == {0}


def test_forget_and_prune(tmp_path: Path) -> None:
    """Good runs go at once; of the failed ones the youngest stay, and nothing that runs or is needed goes."""
    place = Place(tmp_path, keep_failed_artifacts=1)
    for number in range(1, 6):
        folder = place.root / f"web-{number}-1"
        (folder / "env").mkdir(parents=True)
        (folder / "env" / "extravars").write_text("{}")
        os.utime(folder, (number, number))
    place.process(42, "web-2-1")
    place.executor.forget("web-4-1", good=True)
    place.executor.forget("web-5-1", good=False)
    assert place.executor.prune({"web-1-1"}) == 1
    assert sorted(path.name for path in place.root.iterdir()) == ["web-1-1", "web-2-1", "web-5-1"]


def test_a_root_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever writes there runs code as this user."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    with pytest.raises(LaunchError, match="written by others"):
        RunnerExecutor(ExecutorConfig("runner", tmp_path / "runs"))
