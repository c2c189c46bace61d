# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scaling_group_info: groups, specs and events (A9)."""

from __future__ import annotations


def end(run, group, reason):
    name = run("scaling_action", {"group": group, "state": "started", "direction": "out", "reason": reason})["name"]
    run("scaling_action", {"group": group, "state": "refused", "name": name})


def test_all_groups_and_their_events_newest_first(run, spec):
    end(run, "web", "first")
    end(run, "db", "second")
    end(run, "web", "third")
    got = run("scaling_group_info", {})
    assert got["changed"] is False
    assert [group["name"] for group in got["groups"]] == ["db", "web"]
    assert [event["reason"] for event in got["events"]] == ["third", "second", "first"]
    assert [event["reason"] for event in got["groups"][1]["events"]] == ["third", "first"]
    got = run("scaling_group_info", {"groups": ["web"], "events": 1})
    assert [event["reason"] for event in got["events"]] == ["third"]
    assert [event["reason"] for event in got["groups"][0]["events"]] == ["third"]
    last = got["events"][0]["at"]
    assert run("scaling_group_info", {"since": last + 1})["events"] == []
    assert len(run("scaling_group_info", {"since": last})["events"]) == 1


def test_a_spec_adds_its_group_and_bounds(run, spec, tmp_path):
    got = run("scaling_group_info", {"specs": [spec]})["groups"][0]
    assert got["name"] == "web"
    assert got["spec"]["size"]["max"] == 4
    assert got["spec"]["cooldown"] == {"out": 300, "in": 120}
    assert got["lock"] is None
    assert not list(tmp_path.iterdir()), "a look makes no ledger"


def test_no_events_when_none_are_wanted(run):
    end(run, "web", "x")
    got = run("scaling_group_info", {"events": 0})
    assert got["events"] == got["groups"][0]["events"] == []
