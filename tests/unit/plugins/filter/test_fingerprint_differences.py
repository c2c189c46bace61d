# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two copies of a store are the same, or it is said in what they differ (C4)."""

from __future__ import annotations

from typing import Any

from ansible_collections.onprem.autoscale.plugins.filter.fingerprint_differences import FilterModule

differences = FilterModule().filters()["fingerprint_differences"]


def info(rows: int = 3, checksum: str = "c1", name: str = "chunks", size: int = 8192) -> dict[str, Any]:
    table = {"schema": "public", "name": name, "rows": rows, "checksum": checksum, "size": size}
    return {"tables": [{**table, "neighbours": [{"probe": {"id": 1}, "nearest": [2, 3]}]}]}


def test_the_same_is_the_same_whatever_its_size() -> None:
    assert differences(info(), info(size=16384)) == []


def test_a_lost_row_is_said_with_both_numbers() -> None:
    assert differences(info(), info(rows=2, checksum="c2")) == ["public.chunks has 2 rows, and not 3"]


def test_other_content_in_as_many_rows_is_found() -> None:
    (line,) = differences(info(), info(checksum="c2"))
    assert "another checksum" in line


def test_other_neighbours_are_found() -> None:
    other = info()
    other["tables"][0]["neighbours"][0]["nearest"] = [3, 2]
    (line,) = differences(info(), other)
    assert "neighbours" in line


def test_tables_that_one_side_lacks() -> None:
    assert differences(info(), {"tables": []}) == ["public.chunks is missing"]
    assert differences({"tables": []}, info()) == ["public.chunks is there and should not be"]


def test_rows_that_were_written_meanwhile_bound_the_copy() -> None:
    before, after = info(3), info(9, "c9")
    assert differences(before, info(5, "c5"), after) == []
    assert differences(after, info(5, "c5"), before) == []
    assert differences(before, info(10, "cx"), after) == ["public.chunks has 10 rows, and not 3 to 9"]


def test_a_table_that_came_meanwhile_may_be_in_the_copy_or_not() -> None:
    before, after = {"tables": []}, info(4)
    assert differences(before, {"tables": []}, after) == []
    assert differences(before, info(2), after) == []
    assert differences(info(1), {"tables": []}, info(2)) == ["public.chunks is missing"]
    assert differences({"tables": []}, info(), {"tables": []}) == ["public.chunks is there and should not be"]
