# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four filters over recovery plans, as a playbook calls them."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from unit.kit.recovery import declared, plan_of

from ansible_collections.onprem.autoscale.plugins.filter import (
    recovery_lines,
    recovery_plan,
    recovery_readiness,
    recovery_safety,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._planning._recovery_run import (
    ended,
    new_run,
    report_of,
    with_facts,
    with_step,
)

FULL = plan_of().as_dict()


def call(plugin: t.Any, *args: t.Any, **options: t.Any) -> t.Any:
    (found,) = plugin.FilterModule().filters().values()
    return found(*args, **options)


def test_a_plan_as_text_and_as_data() -> None:
    assert call(recovery_plan, yaml.safe_dump(declared()), origin="shop.yml") == FULL
    assert call(recovery_plan, FULL) == FULL
    text = yaml.safe_dump(declared()).replace("rto: 300", "rto: -1")
    line = 1 + text[: text.index("rto: -1")].count("\n")
    with pytest.raises(AnsibleFilterError, match=rf"recovery_plan: .*\nshop.yml:{line}: targets.rto: value is -1"):
        call(recovery_plan, text, origin="shop.yml")


def test_safety() -> None:
    facts = {"sites_on": ["a"], "writers": ["b"], "target_ready": True, "source_fenced": None}
    assert not call(recovery_safety, FULL, {"on": ["b"]}, facts)["allowed"]
    forced = call(recovery_safety, FULL, {"on": ["b"]}, facts, force=True)
    assert forced["allowed"]
    assert [row["rule"] for row in forced["breaches"]] == ["source_fenced"]
    with pytest.raises(AnsibleFilterError, match=r"recovery_safety: change.on"):
        call(recovery_safety, FULL, {"on": ["x"]}, facts)


def test_readiness_and_its_table() -> None:
    seen = call(recovery_readiness, FULL, {"backends": {"f5": {"ok": True}}, "unfinished": []}, target="a", now=0.0)
    assert (seen["source"], seen["target"], seen["ready"]) == ("b", "a", False)
    head, columns, *rows = call(recovery_lines, seen)
    assert head == f"shop: site a is NOT READY, {seen['score']} of 100"
    assert columns.split() == ["check", "weight", "reason"]
    assert len(rows) == len(seen["checks"])
    assert rows[0].split()[0] == "MUST"
    assert rows[-1].split()[0] == "well"
    with pytest.raises(AnsibleFilterError, match="source: value is 'x'"):
        call(recovery_readiness, FULL, {}, source="x")


def test_a_run_and_its_report_as_tables() -> None:
    run = new_run(plan_of(), "failover", "a", "b", planned=False, name="20260310120000", now=1773144000.0)
    run = with_step(
        with_step(run, "ready", "running", now=1773144001.0), "ready", "done", now=1773144003.5, detail="fine"
    )
    run = with_facts(run, {"findings": ["forced"], "lost_at": 10, "served_at": 40})
    shown = call(recovery_lines, {**run, "plan": "shop"})
    assert shown[0] == "shop 20260310120000: failover from a to b, unfinished"
    unfinished = {**run, "plan": "shop", "owner": "ansible-playbook, process 7 on c", "alive": False}
    assert call(recovery_lines, unfinished)[1] == "  ansible-playbook, process 7 on c: gone"
    assert "12:00:01  ready" in shown[2]
    assert shown[2].split()[2:] == ["b", "done", "10", "s", "2.5", "s", "fine"]
    assert shown[-1] == "  warning: forced"
    told = call(
        recovery_lines, {**report_of(ended(run, now=1773144009.0)), "rto_outside_s": 29.5, "rpo_outside_rows": 0}
    )
    assert told[:3] == [
        "shop 20260310120000: failover from a to b, abandoned",
        "  RTO 30 s, target 300 s, kept, from outside 29.5 s",
        "  RPO -, target 60 s, NOT MEASURED, synchronous: database, not measured, from outside 0 rows",
    ]
