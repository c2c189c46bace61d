# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chaos tests' summary passes only when everything was killed, tried, and found as undisturbed."""

from __future__ import annotations

from typing import Any

import pytest
from chaos.kill_report import text, write
from chaos.summary import summarize

FAULTS = [{"call": "out/vcenter: CloneVM_Task", "fault": "cut", "ok": True}]


def kill(part: str = "play", direction: str = "out", number: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of kills.json that says all is well."""
    row = {"label": f"{part}-{direction}-{number}", "part": part, "direction": direction, "number": number, "task": "T"}
    row |= {"inside": "" if part == "play" else "after-claim", "everything": False, "promised": "planned", "misses": []}
    return {**row, "leaked": {"vms": 0}, "left": ["vms"], "repeated": 0, "seconds": 1.0, **changes}


def kills(*more: dict[str, Any]) -> dict[str, Any]:
    """kills.json of a play with two boundaries out and one in, all done, and each service."""
    rows = [kill(number=1, promised="nothing"), kill(number=2), kill(direction="in", number=1)]
    rows += [kill(part) for part in ("receiver", "dispatcher", "alertmanager")]
    return {"complete": True, "boundaries": {"out": 2, "in": 1}, "kills": [*rows, *more], "seconds": 7.0}


def test_a_whole_run_has_no_misses_and_the_fields_that_were_asked_for() -> None:
    misses: list[str] = []
    summary = summarize(kills(), FAULTS, misses)
    assert misses == []
    assert (summary["boundaries"], summary["kills"], summary["repeated_actions"]) == (3, 6, 0)
    assert summary["leaked"] == {"vms": 0, "members": 0, "targets": 0, "leases": 0}
    assert summary["faults"] == FAULTS
    assert summary["before_anything_was_promised"] == 1


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (kill(misses=["VMs cloned: two"]), "two"),
        (kill(leaked={"leases": 2}), "2 leases leaked"),
        (kill(repeated=1), "1 actions were run twice"),
    ],
)
def test_whatever_is_amiss_is_a_miss(row: dict[str, Any], word: str) -> None:
    misses: list[str] = []
    summarize(kills(row), FAULTS, misses)
    assert any(word in miss for miss in misses)


def test_what_was_not_tried_is_a_miss() -> None:
    """A boundary that no kill reached, a service that was not killed, a matrix that did not run or failed."""
    misses: list[str] = []
    part = kills()
    part["kills"] = [row for row in part["kills"] if row["number"] != 2 and row["part"] != "receiver"]
    summarize(part, [], misses)
    assert misses == ["scale_out was not killed at boundary 2", "nothing killed receiver", "no fault was tried"]
    misses.clear()
    summarize(kills(), [{**FAULTS[0], "ok": False}], misses)
    assert misses == ["out/vcenter: CloneVM_Task x cut is not ok"]
    misses.clear()
    summarize({"complete": True, "boundaries": {}, "kills": [], "seconds": 0}, FAULTS, misses)
    assert "no step boundary was found" in misses


def test_a_sample_says_how_many_boundaries_it_tried() -> None:
    misses: list[str] = []
    part = {**kills(), "complete": False}
    part["kills"] = [row for row in part["kills"] if row["number"] != 2]
    summary = summarize(part, FAULTS, misses)
    assert (summary["boundaries"], summary["boundaries_killed"], misses) == (3, 2, [])


def test_kills_that_leave_nothing_undone_prove_nothing() -> None:
    misses: list[str] = []
    idle = kills()
    for row in idle["kills"]:
        row["left"] = ["locks"]
    summarize(idle, FAULTS, misses)
    assert misses == ["no kill left a VM undone: what is compared shows nothing"]


def test_people_see_every_kill(tmp_path: Any) -> None:
    amiss = kill(number=2, inside="gate", misses=["a <lease> is left"])
    rows = kills(amiss)
    assert text(rows["kills"]).count("\n") == len(rows["kills"])
    assert "MISS: a <lease> is left" in text(rows["kills"])
    write(tmp_path / "report.html", rows, summarize(rows, FAULTS, []))
    page = (tmp_path / "report.html").read_text()
    assert page.count("<tr><td>") == len(rows["kills"])
    assert "a &lt;lease&gt; is left" in page
