# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A day on which no clone boots, while an alert asks for more all the time (invariants 1 and 8, A5).

Another product made 2,296 VMs in a group of two that way. The playbooks, ledger, dispatcher and planner are the real
ones; the site and the clock are not.
"""

from __future__ import annotations

import math
import typing as t

import pytest
from unit.world.autoscaler import Autoscaler
from unit.world.fake_node import Node
from unit.world.site_checks import Violation
from unit.world.world_machine import check_converged, declare

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._work_rows import Alert
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._breaker import Breaker

DAY_S = 86_400


class Day:
    """One group, one dispatcher, one alert that never ends."""

    def __init__(self, **size: int) -> None:
        self.world = Autoscaler(declare(**size))
        self.site = self.world.site
        self.node = Node(self.world, "node-a")
        self.rule = self.site.spec["breaker"]
        self.deliveries = 0

    def pass_by(self, seconds: float, every: float, done: t.Callable[[], bool] = lambda: False) -> None:
        """The alert is delivered *every* so many seconds, the dispatcher looks, and what it starts runs to its end."""
        until = self.site.clock() + seconds
        while self.site.clock() < until and not done():
            alert = Alert("busy", "since-morning", "firing", "web", "out", "cpu 97 %", self.site.clock())
            self.node.accept([alert])
            self.world.alerts.delivered("busy", "out", "firing")
            self.deliveries += 1
            before = len(self.world.plays)
            self.node.look()
            for play in self.world.plays[before:]:
                play.finish()
            self.site.checks.leases(dict(self.world.look("SELECT address, member FROM leases")))
            self.site.clock.advance(every)

    @property
    def breaker(self) -> str:
        return (self.world.ledger.controls("web")["breaker"] or {}).get("state") or "closed"

    def told(self, name: str) -> int:
        return sum(row["name"] == name for row in self.site.notifications)


@pytest.mark.parametrize(
    ("size", "every"),
    [({"min": 1, "max": 2}, 30), ({"min": 2, "max": 2}, 240), ({"min": 1, "max": 4, "step_out": 2}, 240)],
)
def test_a_day_of_clones_that_never_boot_makes_no_more_than_the_breaker_allows(size, every, capsys):
    day = Day(**size)
    site, rule = day.site, day.rule
    room = size["max"] - len(site.base_healthy)
    site.clones_boot = False
    day.pass_by(DAY_S, every)
    launches = site.created
    # Three failures open it; then one probe after 1800 s, 3600 s, 7200 s and so on.
    probes = math.ceil(math.log2(DAY_S / rule["probe_after"] + 1))
    with capsys.disabled():
        print(
            f"\nsize {size}: {day.deliveries} deliveries, {len(day.world.plays)} plays, {launches} VMs made, "
            f"at most {site.most} at once, {len(site.vms)} left, breaker {day.breaker}, "
            f"told {day.told('AutoscaleBreakerOpen')} time(s)"
        )
    assert site.most <= room
    assert len(site.vms) <= min(rule["failures"], site.spec["quarantine"]["keep"])
    assert rule["failures"] <= launches <= rule["failures"] - 1 + size.get("step_out", 1) + probes
    assert day.breaker == "open"
    assert day.told("AutoscaleBreakerOpen") == 1, "one notification an opening; a probe that fails is no news"
    assert {member.address for member in site.pool.values()} == set(site.base_healthy)
    # Somebody mends the template: the next probe closes the breaker, and the group grows to its maximum.
    site.clones_boot = True
    day.pass_by(DAY_S, 240, lambda: len(site.serving()) == size["max"])
    assert day.breaker == "closed"
    assert len(site.serving()) == size["max"]
    assert site.checks.asked[8] == site.created
    day.world.start("reconcile").finish()
    check_converged(day.world)
    day.world.close()


def test_a_second_series_of_failures_is_told_again():
    day = Day(min=1, max=4)
    day.site.clones_boot = False
    day.pass_by(7200, 120)
    assert (day.breaker, day.told("AutoscaleBreakerOpen")) == ("open", 1)
    day.world.ledger.resume("web", ["launch"], by="person", reason="the template is mended")
    day.site.checks.breaker.forget()
    day.pass_by(7200, 120)
    assert (day.breaker, day.told("AutoscaleBreakerOpen")) == ("open", 2)
    day.world.close()


def test_a_breaker_that_never_opens_is_seen(monkeypatch):
    """The check of invariant 8 can fail: random histories hardly ever have so many failures in one hour."""
    monkeypatch.setattr(Breaker, "note", lambda self, *_args, **_kwargs: self)
    day = Day(min=1, max=4, step_out=1)
    day.site.clones_boot = False
    with pytest.raises(Violation) as found:
        day.pass_by(7200, 120)
    assert found.value.number == 8
    assert day.site.created == day.rule["failures"]
    day.world.close()
