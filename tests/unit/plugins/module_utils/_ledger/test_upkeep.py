# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controllers that share the ledger, and what becomes of old history."""

from __future__ import annotations

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._controllers import KEEP_HISTORY_S

DAY = 86400.0


def run(ledger, group="web", direction="out", **kwargs):
    ident = ledger.start_action(group, direction, owner="me")
    ledger.begin_step(ident, "clone")
    ledger.finish_action(ident, **{"state": "succeeded", **kwargs})
    return ident


def test_a_controller_lives_as_long_as_it_says_so(ledger, clock):
    began = clock.now
    assert ledger.controllers() == []
    assert ledger.controller_alive("b", 30) is False, "a new one"
    ledger.controller_alive("a", 60)
    clock.tick(20)
    assert ledger.controller_alive("b", 30) is True
    assert ledger.controllers() == [
        {"node": "a", "started_at": began, "heartbeat_at": began, "expires_at": began + 60, "alive": True},
        {"node": "b", "started_at": began, "heartbeat_at": began + 20, "expires_at": began + 50, "alive": True},
    ]
    clock.tick(30)
    assert [row["alive"] for row in ledger.controllers()] == [True, False]
    assert ledger.controller_alive("b", 30) is False, "others may have taken over what it did"
    assert ledger.controllers()[1]["started_at"] == clock.now
    assert (ledger.forget_controller("a"), ledger.forget_controller("a")) == (True, False)
    assert [row["node"] for row in ledger.controllers()] == ["b"]
    assert ledger.groups() == []


def test_old_history_goes_and_what_runs_stays(ledger, clock):
    old, web = run(ledger), ledger.start_action("web", "out", owner="me")
    ledger.lease_addresses(web, "web", ["web-a"], ["10.0.0.1"])
    clock.tick(KEEP_HISTORY_S + 1)
    recent = run(ledger, "db")
    assert ledger.prune_history(keep_events=0) == {"events": 1, "actions": 1}
    assert ledger.action(old) is None
    assert ledger.action(web)["state"] == "running"
    assert ledger.action(recent)["steps"] != []
    assert [row["action"] for row in ledger.events()] == [recent]
    assert ledger.leased_addresses() == {"10.0.0.1"}
    assert ledger.prune_history(keep_events=0) == {"events": 0, "actions": 0}
    ledger.finish_action(web, state="failed")
    assert ledger.start_action("web", "out", owner="me") == "web-3", "a number is never given out again"


def test_the_newest_events_of_a_group_stay_with_their_actions(ledger, clock):
    """A group that was quiet for a year still shows what happened last."""
    idents = [run(ledger) for _number in range(4)]
    quiet = run(ledger, direction="reconcile", quiet=True)
    run(ledger, "db")
    clock.tick(400 * DAY)
    assert ledger.prune_history(keep_events=2) == {"events": 2, "actions": 3}
    assert [row["action"] for row in ledger.events(["web"])] == idents[:1:-1]
    assert all(row["direction"] == "out" for row in ledger.events()), "their actions are still there"
    assert ledger.action(quiet) is None
    assert len(ledger.events(["db"])) == 1


def test_how_old_is_old_is_for_the_caller(ledger, clock):
    run(ledger)
    clock.tick(10)
    assert ledger.prune_history(keep_s=11, keep_events=0)["events"] == 0
    assert ledger.prune_history(keep_s=9, keep_events=0)["events"] == 1


@pytest.mark.parametrize(("seconds", "left"), [(DAY, ["a"]), (DAY + 1, [])])
def test_a_controller_that_is_long_gone_is_forgotten(ledger, clock, seconds, left):
    ledger.controller_alive("a", 30)
    clock.tick(30 + seconds)
    ledger.prune_history()
    assert [row["node"] for row in ledger.controllers()] == left
