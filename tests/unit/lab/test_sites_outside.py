# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a recovery is judged from outside: the outage, the lost rows, and that there never were two writers (D3, D4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.sites.outside import Commit, Request, failures, gap, lost_rows, read_commits, read_requests, served_by, writers


def asked(text: str, start: float = 100.0) -> list[Request]:
    """A request a second: ``1`` served, ``0`` failed."""
    return [Request(start + number, mark == "1") for number, mark in enumerate(text)]


def wrote(text: str, start: float = 100.0) -> list[Commit]:
    """A commit a second at the site that the letter names; it takes half a second."""
    return [
        Commit(mark, number, start + number, start + number + 0.5) for number, mark in enumerate(text) if mark != "."
    ]


def test_an_outage_is_from_the_last_answer_before_to_the_first_one_after() -> None:
    found = gap(asked("1110000111111"), since=102.5)
    assert found is not None
    assert (found.lost, found.served, found.seconds, found.failed) == (102.0, 107.0, 5.0, 4)


def test_a_short_answer_does_not_end_an_outage() -> None:
    found = gap(asked("11001100111111111"), since=102.0)
    assert found is not None
    assert (found.lost, found.served, found.failed) == (101.0, 108.0, 4)


def test_a_failure_long_after_is_another_outage() -> None:
    found = gap(asked("1100111111100011"), since=102.0)
    assert found is not None
    assert (found.served, found.failed) == (104.0, 2)


def test_failures_before_do_not_count() -> None:
    assert gap(asked("1001111111"), since=104.0) is None


def test_a_service_that_never_came_back_has_no_figure() -> None:
    with pytest.raises(ValueError, match="none was served since"):
        gap(asked("11000"), since=102.0)
    with pytest.raises(ValueError, match="none was served before"):
        gap(asked("00011"), since=100.0)


def test_failures_are_counted_within_their_time() -> None:
    assert failures(asked("0101010"), 101.0, 105.0) == 2


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("aaaa....bbbb", 1),
        ("aaaabbbbbbbb", 1),
        ("aaaa........", 1),
        ("............", 0),
        ("aaaabbabbbbb", 2),
        ("abababababab", 2),
        ("bbbbaaaabbbb", 2),
    ],
)
def test_two_sites_that_take_writes_in_turns_are_two_writers(text: str, most: int) -> None:
    assert writers(wrote(text), 100.0, 200.0) == most


def test_a_commit_that_was_under_way_at_the_change_is_no_second_writer() -> None:
    rows = [Commit("a", 1, 100.0, 100.1), Commit("a", 2, 101.0, 109.0), Commit("b", 3, 102.0, 102.1)]
    assert writers(rows, 100.0, 200.0) == 1
    assert writers([*rows, Commit("a", 4, 103.0, 103.1)], 100.0, 200.0) == 2


def test_each_way_of_a_service_is_judged_for_itself() -> None:
    """There and back again is not two writers."""
    rows = wrote("aaaabbbbaaaa")
    assert writers(rows, 100.0, 107.9) == writers(rows, 104.0, 200.0) == 1


def test_lost_rows_are_those_that_were_acknowledged_and_are_not_found() -> None:
    rows = wrote("aaaaab")
    assert lost_rows(rows, [0, 1, 2], "a", 200.0) == (2, 102.5)
    assert lost_rows(rows, [0, 1, 2, 3, 4, 99], "a", 200.0) == (0, 104.5)
    assert lost_rows(rows, [], "a", 102.0) == (2, None)


def test_answers_by_site() -> None:
    rows = [Request(1.0, True, "192.0.2.1"), Request(2.0, True, "192.0.2.2"), Request(3.0, False, "192.0.2.1")]
    assert served_by(rows, {"a": "192.0.2.1", "b": "192.0.2.2"}) == {"a": 1, "b": 1}


def test_a_line_that_was_cut_does_not_count(tmp_path: Path) -> None:
    requests, commits = tmp_path / "requests", tmp_path / "commits"
    row = json.dumps({"at": 2.0, "ok": True, "by": "x"})
    requests.write_text(f"{row}\n{row.replace('2.0', '1.0')}\n{row[:9]}")
    commits.write_text('["a", 1, 1.0, 1.1]\n["a", 2')
    assert [request.at for request in read_requests(requests)] == [1.0, 2.0]
    assert read_commits(commits) == [Commit("a", 1, 1.0, 1.1)]
    assert read_requests(tmp_path / "none") == read_commits(tmp_path / "none") == []
