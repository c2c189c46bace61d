# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of backups as DSM takes them (C3)."""

from __future__ import annotations

from datetime import datetime

import pytest

from lab.dsm.cron import matches, parse

SATURDAY = datetime(2026, 11, 21, 1, 30)


@pytest.mark.parametrize(
    ("schedule", "meant"),
    [
        ("* * * * *", True),
        ("30 1 * * 6", True),
        ("30 1 * * SAT", True),
        ("30 1 * * 0", False),
        ("30 1 * * 7", False),
        ("30 1 1 * 6", True),  # either of day and weekday
        ("30 1 21 * 1-5", True),
        ("30 1 20 * 1-5", False),
        ("0/15 * * * *", True),
        ("1/2 * * * *", False),
        ("0,30 1/1 1/1 1/1 *", True),
        ("30 2-23/2 * * *", False),
        ("30 1 * nov *", True),
    ],
)
def test_a_minute_is_meant_or_not(schedule, meant):
    assert matches(schedule, SATURDAY) is meant


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "60 * * * *", "* 24 * * *", "x * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match=r"fields|range|number"):
        parse(schedule)
