# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dispatcher with the real ansible-runner: one action a group, whatever is killed (T2, T3, T4, A10)."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import typing as t
from pathlib import Path

import pytest
from integration.receiver_kit import ReceiverKit, alert, notification, until


@pytest.fixture
def kit(tmp_path: Path) -> t.Iterator[ReceiverKit]:
    """A receiver that is not started yet."""
    kit = ReceiverKit(tmp_path)
    yield kit
    kit.close()


def test_an_alert_becomes_one_play_and_leaves_no_file(kit: ReceiverKit) -> None:
    """T2: accepted, run by its ident, closed in the ledger; a good run's folder with its values in clear is gone."""
    kit.start()
    assert kit.post(notification(alert())).status_code == 202
    until(lambda: kit.runs("end"), "the play's end")
    until(kit.idle, "the end of the action")
    assert kit.runs() == ["web-1"]
    assert [row["state"] for row in kit.rows("select state from actions")] == ["succeeded"]
    until(lambda: not (kit.folder / "runs" / "web-1-1").exists(), "the folder's removal")
    assert kit.metric('onprem_autoscale_actions_total{direction="out",group="web",result="succeeded"}') == 1
    assert kit.end() == 0


def test_a_storm_during_a_slow_action_makes_one_run_and_one_that_waits(kit: ReceiverKit) -> None:
    """T3: twenty alerts at once, then twenty new ones and their repeats while the action runs."""
    kit.control(web={"seconds": 60})
    kit.start()
    first = [alert(fingerprint=f"aa{n:02}") for n in range(20)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert {a.status_code for a in pool.map(lambda a: kit.post(notification(a)), first)} == {202}
    until(kit.runs, "the first run")
    assert kit.post(notification(*first)).json()["set"] == 0, "a repeat does not queue behind the running action"
    assert kit.work()["dirty_out"] is None
    second = [alert(fingerprint=f"bb{n:02}") for n in range(20)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = [a.json() for a in pool.map(lambda a: kit.post(notification(a)), second + second)]
    assert sum(answer["set"] for answer in answers) == 1, "exactly one waits"
    assert kit.runs() == ["web-1"]
    kit.go()
    until(lambda: kit.runs("end") == ["web-1", "web-2"], "the second run")
    until(kit.idle, "the end of the second action")
    assert kit.runs() == ["web-1", "web-2"]
    assert kit.rows("select max(seen) as seen from inbox")[0]["seen"] == 2


def test_kill_9_of_the_receiver_leaves_the_play_and_finds_it_again(kit: ReceiverKit) -> None:
    """T4: the play ends on its own, the next receiver follows it to its end, nothing runs twice."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert()))
    until(kit.runs, "the run")
    kit.end(signal.SIGKILL)
    assert kit.play_processes("web-1-1"), "the play outlives the receiver"
    kit.start()
    assert kit.get("/actions").json()["groups"][0]["running"]["action"] == "web-1"
    kit.go()
    until(kit.idle, "the end, seen by the second receiver")
    assert kit.runs() == kit.runs("end") == ["web-1"]


def test_a_play_that_ended_while_nobody_looked_is_not_run_again(kit: ReceiverKit) -> None:
    """T4: SIGTERM in the middle of an action; it ends before the receiver comes back."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert()))
    until(kit.runs, "the run")
    assert kit.end(signal.SIGTERM) == 0
    kit.go()
    until(lambda: kit.runs("end") and not kit.play_processes("web-1-1"), "the play's end")
    kit.start()
    until(kit.idle, "the verdict")
    assert kit.runs() == ["web-1"]


@pytest.mark.parametrize("victim", ["ansible_runner", "ansible-playbook"])
def test_a_killed_play_is_attempted_again_under_the_same_ident(kit: ReceiverKit, victim: str) -> None:
    """T4: kill -9 of the runner (no rc for ever) or of the playbook (rc is the text None); one ident, one action."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert()))
    until(kit.runs, "the first attempt")
    for pid, command in kit.command_lines().items():
        if victim in command and "web-1-1" in command:
            os.kill(pid, signal.SIGKILL)
    # Whatever task is in flight runs to its own end, and until then nothing new may start.
    assert until(lambda: kit.play_processes("web-1-1"), "a process in flight")
    assert len(kit.runs()) == 1
    kit.go()
    until(kit.idle, "the end of the second attempt")
    assert set(kit.runs()) == {"web-1"}
    assert kit.runs("end") == ["web-1"]
    assert [row["state"] for row in kit.rows("select state from actions")] == ["succeeded"]
    assert kit.metric('onprem_autoscale_action_attempts_total{group="web"}') == 2


def test_a_canceled_action_is_over_in_the_ledger_and_its_group_free(tmp_path: Path) -> None:
    """Invariant 6, A9: no lock is left once the task in flight has ended, and an event says who ended the action."""
    kit = ReceiverKit(tmp_path, executor={"max_failures": 1})
    kit.control(web={"seconds": 60})
    try:
        kit.start()
        kit.post(notification(alert()))
        until(kit.runs, "the attempt")
        for pid, command in kit.command_lines().items():
            if "ansible_runner" in command:
                os.kill(pid, signal.SIGTERM)
        until((kit.folder / "runs/web-1-1/artifacts/web-1-1/rc").exists, "the runner's last word")
        if kit.play_processes("web-1-1"):
            assert kit.work()["running"] == "web-1", "not before the task in flight has ended"
        kit.go()
        until(kit.idle, "the end of the action")
        (event,) = kit.rows("select action, result, code, message from events")
        assert (event["action"], event["result"], event["code"]) == ("web-1", "failed", "canceled")
        assert event["message"].startswith("canceled by a person; ")
        assert kit.rows("select state from actions") == [{"state": "failed"}]
        assert kit.rows("select * from locks") == []
    finally:
        kit.close()


def test_a_blocked_group_keeps_no_other_waiting(kit: ReceiverKit) -> None:
    """A10: web hangs, api runs."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert("web"), alert("api", fingerprint="cafe")))
    until(lambda: kit.runs("end", "api"), "the other group's end")
    assert kit.work("web")["running"] == "web-1"
    assert kit.runs("end", "web") == []
    kit.go()
    until(lambda: kit.idle("web"), "the end")


def test_the_next_step_of_a_lasting_overload_waits_for_the_cooldown(kit: ReceiverKit) -> None:
    """T3: the same alert, seen again after the action ended, waits out the cooldown; out wins over in."""
    kit.control(web={"seconds": 0, "cooldown": 6})
    kit.start()
    kit.post(notification(alert()))
    until(lambda: kit.runs("end"), "the first step")
    until(kit.idle, "the end of the first action")
    assert kit.post(notification(alert(), alert(action="scale_in", fingerprint="beef"))).json()["set"] == 2
    until(lambda: len(kit.runs("end")) == 2, "the second step")
    until(kit.idle, "the end of the second action")
    actions = kit.rows("select direction, started_at, ended_at from actions order by started_at")
    assert [row["direction"] for row in actions] == ["out", "out"]
    assert actions[1]["started_at"] - actions[0]["ended_at"] >= 6


def test_a_failing_action_pauses_longer_and_then_asks_for_a_person(tmp_path: Path) -> None:
    """Growing pause, limit, needs-attention metric; the artifacts of what failed stay, without the environment."""
    kit = ReceiverKit(tmp_path, executor={"max_failures": 2})
    kit.control(web={"fail": True, "seconds": 0})
    try:
        kit.start()
        kit.post(notification(alert()))
        until(lambda: kit.metric('onprem_autoscale_needs_attention{group="web"}') == 1, "the cry for help")
        assert kit.runs() == ["web-1", "web-2"]
        shown = kit.get("/actions").json()["groups"][0]
        assert shown["failures"] == 2
        assert shown["needs_attention"] == "told to fail"
        assert kit.work()["dirty_out"] is None, "from here on only a new delivery starts one"
        command = json.loads((tmp_path / "runs/web-1-1/artifacts/web-1-1/command").read_text())
        assert command["env"] == {}
        for path in tmp_path.joinpath("runs").rglob("*"):
            if path.is_file():
                assert b"swordfish-42" not in path.read_bytes(), path
        assert "swordfish-42" not in kit.log.read_text()
        kit.control(web={"seconds": 0})
        kit.post(notification(alert()))
        until(lambda: kit.runs("end"), "the good run")
        until(lambda: kit.metric('onprem_autoscale_needs_attention{group="web"}') == 0, "peace")
    finally:
        kit.close()


def test_nothing_of_an_alert_reaches_the_play_but_ids(kit: ReceiverKit) -> None:
    """A15: extra variables are ids and plain words; a template in a label or an annotation is no template any more."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert(alertname="{{ lookup('pipe', 'touch /tmp/owned') }}")))
    until(kit.runs, "the run")
    folder = kit.folder / "runs" / "web-1-1"
    given = json.loads((folder / "env" / "extravars").read_text())
    ids = {"group", "action_id", "action_attempt", "signal_direction", "signal_source", "signal_reason"}
    assert set(given) == ids | {"folder", "scaling_groups_dir"}
    assert "{" not in given["signal_reason"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "swordfish-42" not in " ".join(kit.command_lines().values())
    kit.go()
    until(kit.idle, "the end")


def test_no_ansible_playbook_is_a_failure_that_says_so(tmp_path: Path) -> None:
    """A runner that dies at once, each time: attempts are counted, and a person is asked."""
    program = tmp_path / "bin" / "ansible-playbook"
    program.parent.mkdir()
    program.write_text("#!/nonexistent\n")
    program.chmod(0o755)
    kit = ReceiverKit(tmp_path, executor={"ansible_playbook": str(program), "max_failures": 1, "max_attempts": 2})
    try:
        kit.start()
        kit.post(notification(alert()))
        until(lambda: kit.metric('onprem_autoscale_needs_attention{group="web"}') == 1, "the cry for help")
        attention = kit.get("/actions").json()["groups"][0]["needs_attention"]
        assert attention.startswith("given up after 2 attempts: ")
        assert "No such file or directory" in attention
        assert kit.work()["running"] is None
    finally:
        kit.close()


def test_a_second_receiver_of_the_same_folder_refuses_to_start(kit: ReceiverKit) -> None:
    """Two would each take the other's plays for dead."""
    kit.start()
    first = kit.process
    with pytest.raises(AssertionError, match="another receiver uses"):
        kit.start()
    assert first is not None
    first.terminate()
    first.wait(15)


def test_the_ledger_is_deleted_under_the_receiver(kit: ReceiverKit) -> None:
    """Issue 4: it goes on with an empty one; no ident is used twice, and no play beside the old one in the group."""
    kit.control(web={"seconds": 60})
    kit.start()
    kit.post(notification(alert()))
    until(kit.runs, "the run")
    for file in kit.folder.glob("ledger.db*"):
        file.unlink()
    until(lambda: kit.post(notification(alert())).status_code == 202, "the delivery")
    until(lambda: "of which this ledger does not know" in kit.log.read_text(), "the wait")
    assert kit.runs() == ["web-1"]
    kit.go()
    until(lambda: kit.runs("end"), "the end of the second play")
    until(kit.idle, "the end of the second action")
    assert (kit.runs(), kit.runs("end")) == (["web-1", "web-2"], ["web-2"])
    assert kit.rows("select ident, state from actions") == [{"ident": "web-2", "state": "succeeded"}]
    assert kit.get("/healthz").status_code == 200


def test_every_group_is_reconciled_once_a_period(tmp_path: Path) -> None:
    """Issue 4: without any alert; and soon after an action that failed."""
    kit = ReceiverKit(tmp_path, reconcile_period=8, reconcile_soon=0.5)
    kit.control(web={"seconds": 0}, api={"seconds": 0})
    try:
        kit.start()
        until(lambda: kit.runs("end", "web") and kit.runs("end", "api"), "both groups")
        assert {row["direction"] for row in kit.rows("select direction from actions")} == {"reconcile"}
        claimed = kit.work()["reconciled_at"]
        until(lambda: kit.work()["reconciled_at"] > claimed, "the next one")
        assert kit.work()["reconciled_at"] - claimed >= 8
        until(kit.idle, "its end")
        kit.control(web={"seconds": 0, "fail": True}, api={"seconds": 0})
        kit.post(notification(alert()))
        failed = "select action from events where result = 'failed' and kind = 'scale_out'"
        ident = until(lambda: kit.rows(failed), "the failure")[0]["action"]
        kit.control(web={"seconds": 0}, api={"seconds": 0})
        reason = f"(reconcile) because of after {ident}, which failed"
        until(lambda: reason in kit.log.read_text(), "the reconcile behind it")
    finally:
        kit.close()


def test_a_second_receiver_goes_on_with_the_actions_of_one_that_is_gone(tmp_path: Path) -> None:
    """T4: kill -9 of a receiver and of its play; the other waits for the lock, then goes on under the same ident."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = ReceiverKit(tmp_path / "a", node="a", controller_ttl=3)
    shared = {"ledger": first.config["ledger"], "scaling_groups_dir": str(tmp_path / "a" / "groups")}
    extra = {"extra_vars": {"folder": str(tmp_path / "a")}}
    second = ReceiverKit(tmp_path / "b", node="b", controller_ttl=3, executor=extra, **shared)
    first.control(web={"seconds": 60, "ttl": 15})
    try:
        first.start()
        first.post(notification(alert()))
        until(first.runs, "the run")
        second.start()
        until(lambda: second.metric("onprem_autoscale_controllers_alive") == 2, "both alive")
        expires = first.rows("select expires_at from locks")[0]["expires_at"]
        first.close()
        taken = 'onprem_autoscale_actions_taken_over_total{group="web"}'
        until(lambda: second.metric(taken) == 1, "the take-over")
        until(lambda: len(first.runs()) == 2, "the second attempt")
        assert [row["attempt"] for row in first.rows("select attempt from locks")] == [2]
        assert first.rows("select acquired_at from locks")[0]["acquired_at"] >= expires, "not before the lock ran out"
        first.go()
        until(first.idle, "the end")
        assert set(first.runs()) == {"web-1"}
        assert first.runs("end") == ["web-1"]
        assert second.metric("onprem_autoscale_controllers_alive") == 1
    finally:
        first.close()
        second.close()
