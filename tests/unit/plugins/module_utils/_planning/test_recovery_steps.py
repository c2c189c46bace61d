# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D3: the steps of each kind of run, and the order in which traffic moves."""

from __future__ import annotations

import pytest
from unit.kit.recovery import OF_PATTERN, declared, plan_of

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan, steps_of
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_schema import ACTIONS
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_steps import KINDS, cleaning_first

SWITCH = [
    *("epoch", "data:database", "models:models", "settings:settings", "group:web"),
    *("verify", "traffic_on", "traffic_off", "served"),
]
SERVICES = ["database", "models", "settings", "web"]


def names(kind: str, pattern: str = "warm_standby", *, planned: bool = False, source: str = "a") -> list[str]:
    plan = plan_of(pattern)
    return [step.name for step in steps_of(plan, kind, source, plan.sites.other(source), planned=planned)]


def test_failover() -> None:
    assert names("failover") == ["ready", *SWITCH]
    assert names("failover", planned=True) == ["ready", *SWITCH, "standby:web"]


def test_failback_is_a_planned_failover_between_two_reprotects() -> None:
    returned = [f"reprotect:{name}@a" for name in SERVICES]
    left = [f"reprotect:{name}@b" for name in SERVICES]
    assert names("failback", source="b") == ["ready", *returned, *SWITCH, "standby:web", *left]
    both_on = names("failback", "active_active", source="b")
    assert both_on == ["ready", *returned, *SWITCH, *left, "traffic_on@b"]


def test_the_same_steps_with_the_sites_swapped() -> None:
    plan = plan_of()
    one, other = steps_of(plan, "failover", "a", "b"), steps_of(plan, "failover", "b", "a")
    swap = {"a": "b", "b": "a"}
    assert [(step.name, step.action, swap[step.site]) for step in one] == [(s.name, s.action, s.site) for s in other]


def test_drill_and_backup() -> None:
    assert names("drill") == [
        "ready",
        "drill_data:database",
        "drill_group:web",
        "drill_vip",
        "drill_check",
        "drill_clean",
    ]
    assert names("backup") == ["backup_data:database", "backup_models:models", "backup_settings:settings"]
    plan = plan_of()
    again = cleaning_first(plan, steps_of(plan, "drill", "a", "b"))
    assert [step.name for step in again[:2]] == ["drill_clean:first", "ready"]
    assert again[0].action == "drill_clean"


@pytest.mark.parametrize("pattern", OF_PATTERN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["a", "b"])
def test_names_are_unique_actions_known_and_each_service_is_behind_its_needs(
    kind: str, pattern: str, source: str
) -> None:
    plan = plan_of(pattern)
    steps = steps_of(plan, kind, source, plan.sites.other(source), planned=True)
    assert len({step.name for step in steps}) == len(steps)
    for step in steps:
        assert step.action in ACTIONS
        assert step.site in ("a", "b")
        assert 0 < step.expected <= step.timeout
        assert "{" not in step.title
    order = [step.action for step in steps]
    if "traffic_off" in order:
        before_traffic = order[: order.index("traffic_on")]
        # Fence, promote, check the site itself; only then is traffic led there, and last it is taken from the other.
        assert before_traffic.index("epoch") < before_traffic.index("data") < before_traffic.index("verify")
        assert order.index("traffic_on") < order.index("traffic_off") < order.index("served")


def test_what_the_plan_says_of_steps_by_action_and_by_step() -> None:
    said = {"data": {"timeout": 700, "expected": 10}, "data:database": {"timeout": 20, "gate": "manual"}}
    plan = parse_plan(declared(steps={**said, "verify": {"timeout": 3}}))
    steps = {step.name: step for step in steps_of(plan, "failover", "a", "b")}
    data = steps["data:database"]
    assert (data.timeout, data.expected, data.gate) == (20, 10, "manual")
    assert steps["verify"].expected == 3  # nothing is planned to take longer than it may
    assert steps["traffic_on"].gate == "none"


@pytest.mark.parametrize(
    ("kind", "source", "target", "words"),
    [
        ("failover", "c", "b", "source: value is 'c'; allowed: a or b (plan shop)"),
        ("failover", "a", "c", "target: value is 'c'; allowed: a or b (plan shop)"),
        ("failover", "a", "a", "target: value is 'a'; allowed: another site than the source"),
        ("walkover", "a", "b", "kind: value is 'walkover'; allowed: one of failover, failback, drill, backup"),
    ],
)
def test_what_has_no_steps_is_refused(kind: str, source: str, target: str, words: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        steps_of(plan_of(), kind, source, target)
    assert words in str(caught.value)


def test_a_plan_without_a_drill_or_without_anything_to_back_up() -> None:
    with pytest.raises(InvalidSpecError, match=r"Plan shop has no .drill."):
        steps_of(plan_of(drill=None), "drill", "a", "b")
    only = parse_plan(declared(services=[{"name": "web", "kind": "group", "group": "web", "serving": 2, "standby": 1}]))
    with pytest.raises(InvalidSpecError, match="nothing to back up"):
        steps_of(only, "backup", "a", "b")
