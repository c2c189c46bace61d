# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a page: its verdict first, everything in one file."""

from __future__ import annotations

import re
import typing as t
from html.parser import HTMLParser

import pytest
from unit.kit.recovery import plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_run import (
    ended,
    new_run,
    report_of,
    with_facts,
    with_step,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._recovery._page import page

NOW = 1773144000.0


def report(kind: str = "failover", *, done: int = 99, **facts: t.Any) -> dict[str, t.Any]:
    run = new_run(plan_of(), kind, "a", "b", planned=False, name="20260310120000", now=NOW)
    for index, row in enumerate(run["steps"][:done]):
        run = with_step(run, row["name"], "running", now=NOW + 10 * index)
        run = with_step(run, row["name"], "done", now=NOW + 10 * index + 40)
    return report_of(ended(with_facts(run, facts), now=NOW + 300))


class Shape(HTMLParser):
    """Tags that are open, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: t.Any) -> None:
        if tag not in ("meta", "br", "th"):
            self.open.append(tag)
        assert not {"src", "href"} & {key for key, _value in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize(
    ("options", "tone", "head"),
    [
        ({"lost_at": NOW - 60, "served_at": NOW + 100}, "good", "Done, RTO and RPO kept"),
        ({"lost_at": NOW - 60, "served_at": NOW + 900}, "bad", "Done, RTO missed"),
        ({"lost_at": NOW, "served_at": NOW + 900, "rpo_s": 61}, "bad", "Done, RTO and RPO missed"),
        ({"served_at": NOW + 900}, "warn", "Done, RTO not measured"),
        (
            {"lost_at": NOW, "served_at": NOW + 9, "data_checks": [{"name": "rows", "ok": False}]},
            "bad",
            "data is not whole",
        ),
        ({"done": 3}, "bad", "Given up before its end"),
        ({"done": 0}, "bad", "Given up before its end"),
        ({"kind": "backup"}, "good", "Done"),
        ({"kind": "drill"}, "good", "Done, RTO and RPO kept"),
    ],
)
def test_the_verdict_stands_first_and_nothing_comes_from_outside(options: t.Any, tone: str, head: str) -> None:
    text = page(report(**options))
    shape = Shape(text)
    assert shape.open == []
    assert re.search(rf'<div class="verdict {tone}"><b>[^<]*{head}', text)
    assert text.index("verdict") < text.index("class=facts") < text.index("<h2>")
    assert "http" not in text
    assert "url(" not in text


def test_each_step_has_its_planned_and_its_actual_time() -> None:
    told = report(lost_at=NOW - 20, served_at=NOW + 120)
    text = page(told)
    assert text.count('<i class=planned style="') == len(told["steps"])
    assert text.count('<i class="actual') - 1 == len(told["steps"])  # and one in the key
    assert text.count('class="mark served" style="') == len(told["steps"])
    for row in told["steps"]:
        assert row["title"] in text
    assert all(0 <= float(left) <= 100 for left in re.findall(r"left:([0-9.-]+)%", text))


def test_what_others_wrote_is_text() -> None:
    finding = "<script>alert(1)</script>"
    text = page(report(findings=[finding], data_checks=[{"name": finding, "ok": True, "detail": finding}]))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 3


def test_what_was_seen_from_outside_is_shown() -> None:
    seen = {"rto_outside_s": 159.6, "rpo_outside_rows": 3, "requests_failed": 1412, "writers_max": 2}
    words = Shape(page({**report(lost_at=NOW, served_at=NOW + 9), **seen})).words
    for word in ("159.6 s", "committed rows lost", "1,412", "writers at once"):
        assert word in words
