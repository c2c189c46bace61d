# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3: the journal of a run survives a kill between any two lines, and belongs to one owner at a time."""

from __future__ import annotations

import json
import os
import signal
import sys
import typing as t
from pathlib import Path
from types import FrameType

import pytest
from unit.kit.recovery import plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    AutoscaleError,
    ConflictError,
    InvalidSpecError,
    NotFoundError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._files import Files
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._journal import Journal, Outcome
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._owner import Owner

PLAN = plan_of()
NOW = 1773144000.0
NAME = "20260310120000"


def owner(pid: int, host: str = "controller") -> Owner:
    return Owner(host=host, boot="boot", numbers="pid:[1]", pid=pid, started=str(pid))


class Site:
    """A folder, and owners of which a test says whether they live."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dead: set[int] = set()
        self.elsewhere: set[int] = set()

    def journal(self, pid: int = 1, *, now: float = NOW, check_mode: bool = False) -> Journal:
        def alive(other: Owner) -> bool | None:
            return None if other.pid in self.elsewhere else other.pid not in self.dead

        return Journal(Files(self.folder, "shop"), owner(pid), now=now, check_mode=check_mode, alive=alive)

    def start(self, pid: int = 1, kind: str = "failover", **options: t.Any) -> Outcome:
        source, target = options.pop("way", ("b", "a") if kind == "failback" else ("a", "b"))
        now, check_mode = options.pop("now", NOW), options.pop("check_mode", False)
        plan = options.pop("plan", PLAN)
        return self.journal(pid, now=now, check_mode=check_mode).start(plan, kind, source, target, **options)

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.folder.iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def go_through(journal: Journal, run: t.Mapping[str, t.Any]) -> Outcome:
    """What a play does: each open step begins and ends, then the run ends."""
    for row in run["steps"]:
        if row["state"] not in ("done", "skipped"):
            journal.step(run["run"], row["name"], "running")
            journal.step(run["run"], row["name"], "done", facts={"findings": [f"{row['name']} is done"]})
    return journal.end(run["run"], facts={"lost_at": NOW - 60, "served_at": NOW + 30})


def test_a_run_leaves_a_report_and_nothing_else(site: Site) -> None:
    run = site.start().after
    assert site.names() == [f"shop-{NAME}.journal.json"]
    ended = go_through(site.journal(), run)
    assert site.names() == [f"shop-{NAME}.html", f"shop-{NAME}.json"]
    stored = json.loads((site.folder / f"shop-{NAME}.json").read_text(encoding="utf-8"))
    assert stored == ended.after
    assert (stored["result"], stored["rto_s"], stored["kind"]) == ("done", 90.0, "failover")
    assert not site.journal().end(NAME).changed


def test_two_runs_in_a_second_have_two_names(site: Site) -> None:
    go_through(site.journal(), site.start().after)
    run = site.start(kind="failback").after
    assert run["run"] == f"{NAME}-2"
    go_through(site.journal(), run)
    assert [row["run"] for row in site.journal().files.reports()] == [NAME, f"{NAME}-2"]


def test_the_same_owner_goes_on_and_a_second_one_is_refused_while_it_lives(site: Site) -> None:
    run = site.start().after
    assert site.start().after == run
    with pytest.raises(ConflictError, match=r"is at work: ansible-playbook, process 1 on controller"):
        site.start(2, takeover=True)
    site.dead.add(1)
    assert site.start(2).after["resumed"] == 1
    with pytest.raises(ConflictError, match="is at work"):
        site.start(3)


def test_an_owner_that_lost_its_run_writes_nothing_more(site: Site) -> None:
    site.start()
    site.dead.add(1)
    site.start(2)
    for call in (lambda: site.journal(1).step(NAME, "ready", "running"), lambda: site.journal(1).end(NAME)):
        with pytest.raises(ConflictError, match="is at work"):
            call()
    site.dead.add(2)
    with pytest.raises(ConflictError, match=r"belongs to .* process 2 on controller, not to this play"):
        site.journal(1).step(NAME, "ready", "running")


def test_an_owner_elsewhere_keeps_its_run_until_a_person_says_takeover(site: Site) -> None:
    site.start()
    site.elsewhere.add(1)
    with pytest.raises(ConflictError, match="cannot be told here"):
        site.start(2)
    assert site.start(2, takeover=True).after["resumed"] == 1


@pytest.mark.parametrize(
    ("unfinished", "begins", "refused"),
    [
        ("failover", "failback", True),
        ("failback", "failover", True),
        ("failover", "drill", True),
        ("failover", "backup", False),
        ("backup", "failover", False),
        ("drill", "failover", False),
        ("drill", "backup", False),
    ],
)
def test_what_holds_up_what_when_it_was_cut_off(site: Site, unfinished: str, begins: str, refused: bool) -> None:
    site.start(1, unfinished)
    site.dead.add(1)
    if not refused:
        assert site.start(2, begins).after["resumed"] == 0
        return
    with pytest.raises(ConflictError, match=rf"The {unfinished} from .* is not finished, so no {begins} to"):
        site.start(2, begins)


def test_a_drill_that_lives_holds_up_a_failover_and_a_backup_does_not(site: Site) -> None:
    site.start(1, "drill")
    with pytest.raises(ConflictError, match=r"The drill from a to b .* is at work"):
        site.start(2)
    site.dead.add(1)
    site.start(3, "backup")
    assert site.start(2).after["kind"] == "failover"


def test_a_backup_of_the_other_direction_gives_way_when_it_was_cut_off(site: Site) -> None:
    site.start(1, "backup")
    site.dead.add(1)
    site.start(2, "backup", way=("b", "a"))
    reports = site.journal().files.reports()
    assert [(row["kind"], row["result"]) for row in reports] == [("backup", "abandoned")]


def test_the_other_direction_is_refused_and_a_run_can_be_given_up(site: Site) -> None:
    site.start(1)
    site.dead.add(1)
    with pytest.raises(ConflictError, match="is not finished, so no failover to a can begin"):
        site.start(2, way=("b", "a"))
    with pytest.raises(ConflictError, match="not to this play"):
        site.journal(2).end(NAME)
    assert site.journal(2).end(NAME, takeover=True).after["result"] == "abandoned"
    assert site.start(2, way=("b", "a")).after["target"] == "a"


def test_a_run_that_lives_cannot_be_given_up(site: Site) -> None:
    site.start(1)
    with pytest.raises(ConflictError, match="is at work"):
        site.journal(2).end(NAME, takeover=True)


def test_check_mode_writes_nothing(site: Site) -> None:
    assert site.start(check_mode=True).changed
    assert site.names() == []
    site.start()
    before = (site.folder / f"shop-{NAME}.journal.json").read_bytes()
    look = site.journal(check_mode=True)
    assert look.step(NAME, "ready", "running").changed
    assert look.end(NAME).after["result"] == "abandoned"
    assert (site.folder / f"shop-{NAME}.journal.json").read_bytes() == before
    assert site.names() == [f"shop-{NAME}.journal.json"]


def test_what_was_seen_from_outside_comes_into_the_report(site: Site) -> None:
    with pytest.raises(NotFoundError, match="has no report"):
        site.journal().observe(None, {"rto_outside_s": 1})
    go_through(site.journal(), site.start().after)
    outside = {"rto_outside_s": 89.5, "rpo_outside_rows": 0, "requests_failed": "12", "writers_max": 1}
    first = site.journal().observe(None, outside)
    assert first.changed
    assert first.after["requests_failed"] == 12
    assert "89.5 s" in (site.folder / f"shop-{NAME}.html").read_text(encoding="utf-8")
    assert not site.journal().observe(NAME, outside).changed
    with pytest.raises(InvalidSpecError, match="outside: value is 'rto'"):
        site.journal().observe(NAME, {"rto": 1})


def test_other_plans_and_other_files_in_the_folder_are_left_alone(site: Site) -> None:
    """A plan named shop-2 shares the folder, and its files begin alike."""
    other = Files(site.folder, "shop-2")
    Journal(other, owner(9), now=NOW).start(plan_of(name="shop-2"), "failover", "a", "b")
    (site.folder / "notes.json").write_text("{}", encoding="utf-8")
    left = site.folder / f".shop-{NAME}.json.abc.tmp"
    theirs = site.folder / f".shop-2-{NAME}.json.abc.tmp"
    for path in (left, theirs):
        path.write_text("half", encoding="utf-8")
    with Files(site.folder, "shop").alone():
        assert site.start().after["run"] == NAME
    assert len(site.journal().files.journals()) == 1
    assert not left.exists()
    assert theirs.exists()


def test_a_journal_that_somebody_changed_is_named(site: Site) -> None:
    site.start()
    (site.folder / f"shop-{NAME}.journal.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConflictError, match=rf"shop-{NAME}.journal.json is no journal or report"):
        site.start(2)


#: Two steps: what is on disk before and after each is the same however many there are.
SHORT = plan_of(services=PLAN.as_dict()["services"][2:])


def whole_run(site: Site, pid: int) -> None:
    """As a play does it: begin or take up, go on, end; each call under the lock."""
    files = Files(site.folder, "shop")
    with files.alone():
        run = site.start(pid, "backup", plan=SHORT).after
    for row in run["steps"]:
        if row["state"] not in ("done", "skipped"):
            for state in ("running", "done"):
                with files.alone():
                    site.journal(pid).step(NAME, row["name"], state)
    with files.alone():
        site.journal(pid).end(NAME, facts={"findings": ["seen"]})


def lines_until_killed(site: Site, pid: int, kill_at: int) -> int | None:
    """Go through the run in a child that is killed at that line of ours; None when it came to its end."""
    child = os.fork()
    if not child:
        seen = 0

        def count(frame: FrameType, event: str, _argument: t.Any) -> t.Any:
            nonlocal seen
            if event == "line":
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return count

        def enter(frame: FrameType, _event: str, _argument: t.Any) -> t.Any:
            name = frame.f_code.co_filename
            return count if "/_recovery/" in name or name.endswith(("/_atomic_file.py", "/tempfile.py")) else None

        try:
            sys.settrace(enter)
            whole_run(site, pid)
            sys.settrace(None)
            (site.folder.parent / "lines").write_text(str(seen), encoding="utf-8")
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.WEXITSTATUS(status) == 0
    return int((site.folder.parent / "lines").read_text(encoding="utf-8"))


def outcome_of(folder: Path) -> dict[str, t.Any]:
    """What must be the same however often a run was cut off."""
    report = json.loads((folder / f"shop-{NAME}.json").read_text(encoding="utf-8"))
    for row in report["steps"]:
        del row["attempts"]
    assert "seen" in [row["text"] for row in report["findings"]]
    return {**report, "findings": []}


def test_killed_anywhere_the_same_command_ends_as_an_undisturbed_run(tmp_path: Path) -> None:
    """D3: kills spread over every line that begins, keeps and ends a run; the next owner takes up what is there."""
    (tmp_path / "undisturbed").mkdir()
    undisturbed = Site(tmp_path / "undisturbed")
    lines = lines_until_killed(undisturbed, 1, 0)
    assert lines is not None
    assert lines > 500
    wanted = outcome_of(undisturbed.folder)
    ends = [1, lines - 1, *range(lines - 60, lines, 6)]
    for number, kill_at in enumerate([*range(20, lines, lines // 40), *ends]):
        folder = tmp_path / str(number)
        folder.mkdir()
        site = Site(folder)
        assert lines_until_killed(site, 1, kill_at) is None
        site.dead.add(1)
        files = Files(folder, "shop")
        if files.journal(NAME) is not None or files.report(NAME) is None:
            whole_run(site, 2)
        assert outcome_of(folder) == wanted, kill_at
        with files.alone():
            pass
        assert site.names() == [f"shop-{NAME}.html", f"shop-{NAME}.json"], kill_at


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(AutoscaleError, match="Cannot make the folder"), Files(tmp_path / "file" / "dr", "shop").alone():
        pass
