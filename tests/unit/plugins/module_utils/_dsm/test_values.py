# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that are the same although they are written differently, a spec's merge, times of schedules."""

from __future__ import annotations

import typing as t
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._dsm import _cluster, _cron, _values

JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("one", "other"), [("1Ti", "1024Gi"), ("1G", "1000M"), ("500m", "0.5"), ("2", 2), ("8Gi", "8Gi")]
)
def test_the_same_quantity(one: t.Any, other: t.Any) -> None:
    assert _values.same_quantity(one, other)


@pytest.mark.parametrize(("one", "other"), [("1G", "1Gi"), ("much", "more"), ("1..2G", "1.2G")])
def test_another_quantity(one: str, other: str) -> None:
    assert not _values.same_quantity(one, other)


def test_durations() -> None:
    assert _values.same_duration("4h0m0s", "4h")
    assert _values.same_duration("90m", "1h30m")
    assert not _values.same_duration("4h", "4m")
    assert _values.duration("four hours") is None


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ("16.8+vmware.v9", "16", True),
        ("16.8+vmware.v9", "16.8", True),
        ("16.8+vmware.v9", "16.8+vmware.v9", True),
        ("16.8+vmware.v9", "1", False),
        ("16.10", "16.1", False),
        ("16", "16.8", False),
    ],
)
def test_a_version_is_what_the_server_made_of_it(live: str, wanted: str, same: bool) -> None:
    assert _values.same_version(live, wanted) is same


def test_instants_are_compared_whatever_their_zone() -> None:
    assert _values.instant("2026-05-01T12:00:00Z") == _values.instant("2026-05-01T14:00:00+02:00")
    assert _values.instant("2026-05-01T12:00:00.25Z").microsecond == 250000
    for text in ("2026-05-01", "2026-05-01T12:00:00", "2026-13-01T12:00:00Z", "now"):
        with pytest.raises(InvalidSpecError, match="RFC 3339"):
            _values.instant(text)


@given(JSON, JSON)
def test_what_was_merged_is_merged_once(live: t.Any, wanted: t.Any) -> None:
    """Idempotence: a second run finds nothing to do."""
    once = _cluster.merge(live, wanted)
    assert _cluster.merge(once, wanted) == once


def test_a_merge_keeps_what_the_server_writes_differently_and_what_nobody_speaks_of() -> None:
    live = {
        "version": "16.8+v9",
        "storageSpace": "1Ti",
        "maintenanceWindow": {"startDay": "SUNDAY", "duration": "4h0m0s"},
        "gone": 1,
        "other": {"a": 1},
    }
    wanted = {
        "version": "16",
        "storageSpace": "1024Gi",
        "maintenanceWindow": {"duration": "4h"},
        "gone": None,
        "other": {"b": 2},
    }
    assert _cluster.merge(live, wanted) == {
        "version": "16.8+v9",
        "storageSpace": "1Ti",
        "maintenanceWindow": {"startDay": "SUNDAY", "duration": "4h0m0s"},
        "other": {"a": 1, "b": 2},
    }


def test_schedules_are_merged_by_name() -> None:
    def spec(*rows: tuple[str, str]) -> dict[str, t.Any]:
        return {"backupConfig": {"schedules": [{"name": name, "schedule": when} for name, when in rows]}}

    live = spec(("full", "0 1 * * 6"), ("daily", "0 2 * * *"))
    assert _cluster.merge(live, spec(("daily", "0 3 * * *"), ("new", "0 4 * * *"))) == spec(
        ("full", "0 1 * * 6"), ("daily", "0 3 * * *"), ("new", "0 4 * * *")
    )


NOW = datetime(2026, 4, 29, 12, 30, 20, tzinfo=timezone.utc)  # a Wednesday


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 1 * * 6", "2026-05-02T01:00:00Z"),
        ("0 1 * * SAT", "2026-05-02T01:00:00Z"),
        ("0 1 * * 7", "2026-05-03T01:00:00Z"),
        ("59 23 1/1 * *", "2026-04-29T23:59:00Z"),
        ("31 12 * * *", "2026-04-29T12:31:00Z"),
        ("30 12 * * *", "2026-04-30T12:30:00Z"),
        ("*/20 * * * *", "2026-04-29T12:40:00Z"),
        ("0 8-18/4 * * *", "2026-04-29T16:00:00Z"),
        ("0 0 1 JAN,JUL *", "2026-07-01T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2026-05-01T00:00:00Z"),
        ("0 0 31 2 *", ""),
        ("61 0 * * *", ""),
        ("hourly", ""),
        ("0 0 * * */0", ""),
    ],
)
def test_when_a_schedule_is_due(schedule: str, expected: str) -> None:
    assert _cron.following(schedule, NOW) == expected
