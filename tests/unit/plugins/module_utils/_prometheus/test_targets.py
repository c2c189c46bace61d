# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for targets: what each row says, and what the error advises (A6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    BackendDownError,
    InvalidSpecError,
    WaitTimeoutError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._common._waiter import Waiter
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _targets


class Script:
    """Answers of Prometheus, one after the other; the last one stays."""

    def __init__(self, *answers: Any, known: bool = True) -> None:
        self.answers, self.known = list(answers), known

    def targets(self, job: str) -> list[dict[str, Any]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [{"address": address, "health": health, "last_error": "no route"} for address, health in answer.items()]

    def job_known(self, job: str) -> bool:
        return self.known


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def waiter(self, timeout: float = 10.0) -> Waiter:
        return Waiter(timeout, 1.0, clock=lambda: self.now, sleep=self.sleep)


def edit(tmp_path: Path, state: str = "present", *addresses: str) -> tuple[_targets.Edit, _targets.TargetFile]:
    wish = _targets.TargetFile(
        str(tmp_path / "web.json"), [{"address": address} for address in addresses or ("a:1", "b:1")], {}, state, "web"
    )
    return _targets.write(wish, check_mode=False, warn=pytest.fail), wish


def test_rows_say_how_long_each_took(tmp_path: Path) -> None:
    change, wish = edit(tmp_path)
    script = Script(
        {}, {"a:1": "unknown"}, {"a:1": "up", "b:1": "down"}, BackendDownError("starting"), {"a:1": "up", "b:1": "up"}
    )
    rows, failed = _targets.await_scrape(change, wish, script, Clock().waiter(), allow_partial=False)  # type: ignore[arg-type]
    assert failed == []
    assert [row["health"] for row in rows] == ["up", "up"]
    assert 0 < rows[0]["seconds"] < rows[1]["seconds"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (Script({}, known=False), "has no job web"),
        (Script({}), "name this file"),
        (Script({"a:1": "down", "b:1": "down"}), "exporter runs"),
        (Script(BackendDownError("gone")), "gone"),
    ],
)
def test_the_error_advises_what_is_most_likely(tmp_path: Path, script: Script, words: str) -> None:
    change, wish = edit(tmp_path)
    with pytest.raises(WaitTimeoutError, match=words) as caught:
        _targets.await_scrape(change, wish, script, Clock().waiter(), allow_partial=True)  # type: ignore[arg-type]
    assert caught.value.result["failed_targets"] == ["a:1", "b:1"]
    assert caught.value.result["changed"] is True


def test_gone(tmp_path: Path) -> None:
    edit(tmp_path)
    change, wish = edit(tmp_path, "absent", "a:1")
    rows, failed = _targets.await_scrape(
        change,
        wish,
        Script({"a:1": "up", "b:1": "up"}, {"b:1": "up"}),
        Clock().waiter(),
        allow_partial=False,  # type: ignore[arg-type]
    )
    assert (failed, rows[0]["changed"], rows[0]["failed"]) == ([], True, False)


def test_exact_within_a_scope(tmp_path: Path) -> None:
    """Base members follow the declaration, launched members stay (A2, A7)."""
    path = str(tmp_path / "web.json")
    for wish in (
        _targets.TargetFile(path, [{"address": "b1:1"}, {"address": "b2:1"}], {"base": True}),
        _targets.TargetFile(path, [{"address": "m1:1"}], {"group": "web"}),
        _targets.TargetFile(path, [{"address": "b2:1"}], {"base": True}, "exact", scope={"base": "true"}),
    ):
        done = _targets.write(wish, check_mode=False, warn=pytest.fail)
    assert done.registered == 2
    assert done.changed_addresses == {"b1:1"}
    assert not _targets.write(wish, check_mode=False, warn=pytest.fail).changed
    bare = _targets.TargetFile(path, [], {}, "exact")
    assert _targets.write(bare, check_mode=False, warn=pytest.fail).after == b"[]\n"


def test_targets_may_be_left_out_only_when_absent(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError):
        _targets.write(_targets.TargetFile(str(tmp_path / "x"), None), check_mode=False, warn=pytest.fail)


def test_absent_needs_no_folder(tmp_path: Path) -> None:
    wish = _targets.TargetFile(str(tmp_path / "no" / "x.json"), None, state="absent")
    assert not _targets.write(wish, check_mode=False, warn=pytest.fail).changed
