# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From samples to the time for which a service was away (D4)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._http import ResponseError
from ansible_collections.onprem.autoscale.plugins.module_utils._prometheus import _outage


def series(text: str, start: float = 100.0, step: float = 1.0, **labels: str) -> dict[str, Any]:
    """A series of ``1``, ``0`` and ``.`` for no sample, one a *step*."""
    values = [(start + number * step, mark) for number, mark in enumerate(text) if mark != "."]
    return {"labels": labels, "values": values}


class Server:
    """A Prometheus that has these series."""

    def __init__(self, *rows: dict[str, Any], now: float) -> None:
        self.rows, self.now, self.queries = rows, now, list[str]()

    def get(self, path: str, *, query: str, time: str = "") -> Any:
        assert path == "query"
        if query == "time()":
            return {"resultType": "scalar", "result": [self.now, repr(self.now)]}
        self.queries.append(query)
        values = [{"metric": row["labels"], "values": row["values"]} for row in self.rows]
        return {"resultType": "matrix", "result": values}


def look(*texts: str, now: float | None = None, since: float | None = None, settle: float = 0.0) -> dict[str, Any]:
    rows = [series(text, number=str(number)) for number, text in enumerate(texts)]
    longest = max(map(len, texts), default=0)
    return _outage.look(Server(*rows, now=100.0 + longest if now is None else now), "x", 3600, since, settle)


def test_the_last_success_before_and_the_first_one_after() -> None:
    found = look("111000011")
    assert (found["lost_at"], found["served_at"]) == (102.0, 107.0)
    assert found["outages"] == [
        {"lost_at": 102.0, "served_at": 107.0, "failed_at": 103.0, "failures": 4, "unknown_s": 0.0}
    ]
    assert found["sample_s"] == 1.0
    assert not found["failing"]


def test_while_it_lasts_nothing_is_served() -> None:
    found = look("11100")
    assert (found["lost_at"], found["served_at"], found["failing"]) == (102.0, None, True)


def test_of_two_outages_the_newest_stands_alone_and_both_are_listed() -> None:
    found = look("1001101")
    assert (found["lost_at"], found["served_at"]) == (104.0, 106.0)
    assert [row["lost_at"] for row in found["outages"]] == [100.0, 104.0]


def test_a_short_success_does_not_end_an_outage() -> None:
    """Clients' resolvers go back and forth between a dead site and one that lives."""
    found = look("1100100110111111", settle=3.0)
    assert (found["lost_at"], found["served_at"]) == (101.0, 110.0)
    assert [row["failures"] for row in found["outages"]] == [5]
    assert len(look("1100100110111111")["outages"]) == 3
    assert len(look("110011100111", settle=3.0)["outages"]) == 2, "it lasted for three seconds"
    assert look("11001", settle=3.0)["served_at"] == 104.0, "nothing has followed yet"


def test_what_ended_before_since_is_left_out() -> None:
    assert look("1001101", since=103.5)["outages"] == look("1001101", since=106.0)["outages"]
    assert len(look("1001101", since=103.0)["outages"]) == 2, "it ended at that very sample"
    assert look("1001111", since=105.0)["lost_at"] is None


def test_no_success_before_an_outage_means_that_nobody_knows_when_it_began() -> None:
    found = look("0011")
    assert (found["lost_at"], found["served_at"]) == (None, 102.0)


def test_a_series_that_disappears_is_unknown_and_not_lost() -> None:
    """The exporter died, or Prometheus: the service may be well."""
    found = look("1111", now=160.0)
    assert (found["lost_at"], found["blind"], found["failing"], found["seen_until"]) == (None, True, False, 103.0)
    assert look("1111..........1111")["outages"] == []


def test_an_outage_that_nobody_watches_to_its_end_does_not_fail_any_longer() -> None:
    found = look("1100", now=160.0)
    assert (found["lost_at"], found["served_at"], found["failing"], found["blind"]) == (101.0, None, False, True)


def test_a_hole_within_an_outage_counts_and_is_told() -> None:
    found = look("110..........011")
    assert (found["lost_at"], found["served_at"]) == (101.0, 114.0)
    assert found["outages"][0]["unknown_s"] == 11.0


def test_one_late_sample_is_no_hole() -> None:
    assert look("111..1110011")["outages"][0]["unknown_s"] == 0.0


def test_a_service_is_there_while_one_of_several_watchers_reaches_it() -> None:
    assert look("1110000111", "1111111111")["outages"] == []
    found = look("1110000111", "1100001111")
    assert (found["lost_at"], found["served_at"]) == (102.0, 106.0)


def test_a_watcher_that_died_says_nothing_any_longer() -> None:
    """Its last word was 1; the other one knows better."""
    found = look("111", "1110000000011")
    assert found["lost_at"] is not None
    assert found["served_at"] == 111.0


def test_what_is_no_number_or_not_one_is_no_success() -> None:
    server = Server({"labels": {}, "values": [(1.0, "1"), (2.0, "NaN"), (3.0, "2"), (4.0, "1")]}, now=5.0)
    assert _outage.look(server, "x", 60)["outages"][0]["failures"] == 2


def test_no_series_is_nothing_known() -> None:
    found = look()
    assert (found["series"], found["seen_until"], found["blind"], found["sample_s"]) == ([], None, True, 0.0)


def test_it_looks_back_to_since_in_any_case() -> None:
    server = Server(now=10_000.0)
    _outage.look(server, "x", 60, since=9_000.0)
    _outage.look(server, "x", 3600, since=9_999.0)
    assert server.queries == ["x[1060000ms]", "x[3600000ms]"]


def test_a_bad_selector_is_told_in_the_servers_words() -> None:
    class Refusing(Server):
        def get(self, path: str, *, query: str, time: str = "") -> Any:
            if query != "time()":
                raise ResponseError("GET /api/v1/query: 400", status=400, text="parse error: unexpected <op:->")
            return super().get(path, query=query)

    with pytest.raises(InvalidSpecError, match="unexpected <op:->"):
        _outage.look(Refusing(now=1.0), "a - b", 60)
