# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of model endpoints: the record of a cold start (B3), what came of a play on hosts."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.filter.cold_start import cold_start
from ansible_collections.onprem.autoscale.plugins.filter.cold_start_lines import cold_start_lines
from ansible_collections.onprem.autoscale.plugins.filter.host_results import host_results
from ansible_collections.onprem.autoscale.plugins.filter.status_lines import status_lines

VMS = [{"name": "gpu-1", "address": "10.0.0.1"}, {"name": "gpu-2", "address": "10.0.0.2"}]


def test_stages_come_from_phases_from_the_host_and_from_seconds():
    results = {
        "clone": {
            "vms": [{"name": "gpu-1", "seconds": 9, "phases": {"clone": 5.0, "customization": 0.0, "address": 4.0}}]
        },
        "prepare": {},
        "host": {"endpoints": [{"name": "gpu-1", "cold_start": [{"stage": "load", "seconds": 2.5}]}]},
        "health": {"skipped": True},
        "gate": {"members": [{"name": "gpu-1", "seconds": 1.2345}, {"name": "other", "seconds": 1}]},
        "join": {"members": [{"address": "10.0.0.1", "seconds": 3}, {"address": "10.0.0.2:8000", "seconds": 4}]},
    }
    assert [tuple(row.values()) for row in cold_start(VMS, results)] == [
        ("gpu-1", "clone", 5.0),
        ("gpu-1", "address", 4.0),
        ("gpu-1", "load", 2.5),
        ("gpu-1", "gate", 1.234),
        ("gpu-1", "join", 3.0),
        ("gpu-2", "join", 4.0),
    ]


def test_the_table_adds_up_what_happens_in_turn():
    rows = [
        {"host": "gpu-1", "stage": "clone", "seconds": 5.0},
        {"host": "gpu-1", "stage": "load", "seconds": 2.0},
        {"host": "gpu-1", "stage": "gate", "seconds": 3.0},
        {"host": "gpu-2", "stage": "clone", "seconds": 6.0},
    ]
    head, *body, total = (line.split() for line in cold_start_lines(rows))
    assert head[2:] == ["gpu-1", "gpu-2"]
    assert [line[0] for line in body] == ["clone", "load", "gate"]
    assert body[1][1:] == ["2.0", "s", "-"]
    assert total == ["total", "8.0", "s", "6.0", "s"]
    assert cold_start_lines([]) == []


def test_status_shows_the_last_cold_start():
    event = {
        "at": 0, "action": "gpu-2", "code": "scale_out", "count_before": 1, "count_after": 2, "result": "succeeded",
        "source": "alert", "cold_start": [{"host": "gpu-1", "stage": "gate", "seconds": 3.0}],
    }  # fmt: skip
    group = {"name": "gpu", "members": [], "lock": None, "events": [{**event, "cold_start": []}, event]}
    assert status_lines(group)[-1].split() == ["total", "3.0", "s"]


def test_each_host_has_its_row_and_its_reason():
    found = [
        {"name": "gpu-1", "failed": False, "reached": True, "msg": "", "seconds": 12.5},
        {"name": "gpu-2", "failed": True, "reached": True, "msg": "Licence: GPU 0 has none", "seconds": 3.0},
    ]
    first, second = host_results(VMS, found, {"rc": 0}, 60)
    assert (first["failed"], first["msg"], first["seconds"]) == (False, "", 12.5)
    assert (second["failed"], second["msg"]) == (True, "gpu-2 (10.0.0.2): Licence: GPU 0 has none")


@pytest.mark.parametrize(
    ("play", "reached", "reason"),
    [
        ({"rc": 75}, True, "another play works on hosts of this group"),
        ({"rc": 124}, True, "did not end within 60 s"),
        ({"rc": 137}, True, "did not end within 60 s"),
        ({"rc": 4, "stdout": 'x\nfatal: [gpu-1]: UNREACHABLE! => {"msg": "timed out"}'}, False, "timed out"),
        (
            {"rc": 1, "stderr": "ERROR! no such role"},
            True,
            "ended with 1 before it came to this host: ERROR",
        ),
    ],
)
def test_a_host_without_a_row_failed_and_the_play_says_why(play, reached, reason):
    (row,) = host_results(VMS[:1], [], play, 60)
    assert (row["failed"], row["reached"]) == (True, reached)
    assert reason in row["msg"]
    assert row["msg"].startswith("gpu-1 (10.0.0.1): ")
