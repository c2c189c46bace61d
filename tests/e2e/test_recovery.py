# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of two sites where nobody answers: refused with the reason, before anything changes (D3, D5).

Whole runs are `make demo-dr` and tests/chaos/kill_dr.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e.recovery_lab import Recovery, plan

from lab.kit import free_port


class Nowhere(Recovery):
    """Two sites of which nobody is at home."""

    def __init__(self, folder: Path) -> None:
        device = {"hostname": "127.0.0.1", "port": free_port(), "username": "admin", "password": "none"}
        site = {
            "vsphere": {"hostname": "127.0.0.1", "username": "admin", "password": "none"},
            "f5": device,
            "prometheus": {"url": f"http://127.0.0.1:{free_port()}", "file_sd_dir": str(folder)},
            "alertmanager": {"url": f"http://127.0.0.1:{free_port()}"},
            "ledger": f"sqlite:///{folder}/ledger.db",
            "scaling_groups_dir": str(folder),
        }
        stores = {name: f"sqlite:///{folder}/{name}.db" for name in ("a", "b", "witness")}
        super().__init__(folder, {"a": site, "b": site}, autoscale_epoch_stores=stores)
        settings = {"name": "settings", "kind": "settings", "folder": "settings/shop"}
        self.plan = plan([settings], targets={"rto": 300, "rpo": 60})
        self.plan["check"]["port"] = free_port()

    def play(self, name: str, *arguments: str, **variables: Any) -> tuple[int, str]:
        """Status and output of a playbook, with the plan as it is now."""
        self.write("recovery_plans/shop.yml", self.plan)
        return self.run(name, *arguments, **variables)

    def journal(self) -> dict[str, Any]:
        """Of the one run that is not finished."""
        (journal,) = self.journals()
        return journal

    def untouched(self) -> bool:
        """No run, no epoch."""
        return not list(self.reports.glob("*")) and not list(self.folder.glob("*.db"))


@pytest.fixture
def nowhere(tmp_path: Path) -> Nowhere:
    return Nowhere(tmp_path)


def test_a_plan_that_is_wrong_is_refused_by_its_line_before_anything_changes(nowhere: Nowhere) -> None:
    """D1, D3."""
    nowhere.plan["services"][0]["kind"] = "setings"
    status, said = nowhere.play("dr_failover", to="b")
    assert status
    assert "shop.yml:" in said
    assert "services[0].kind" in said
    assert nowhere.untouched()


@pytest.mark.parametrize(
    ("changes", "variables", "word"),
    [
        ({"sites": {"primary": "a", "secondary": "c"}}, {"to": "a"}, "sites"),
        ({}, {}, "Give -e to=SITE"),
        ({}, {"to": "c"}, "sites of the plan: a, b"),
        ({}, {"to": "b", "plan": "shopp"}, "There is no plan shopp"),
    ],
    ids=["site-of-no-inventory", "no-target", "target-of-another-plan", "no-plan"],
)
def test_what_does_not_fit_is_refused_with_what_is_there(
    nowhere: Nowhere, changes: dict[str, Any], variables: dict[str, Any], word: str
) -> None:
    """D3: a person reads what is allowed."""
    nowhere.plan.update(changes)
    status, said = nowhere.play("dr_failover", **variables)
    assert status
    assert word in said
    assert nowhere.untouched()


def test_stores_of_one_plan_inherit_nothing_from_each_other(nowhere: Nowhere) -> None:
    """D1: what one declaration leaves out would be what the other one says."""
    nowhere.write("vector_stores/docs.yml", {"vector_store_name": "docs", "vector_store_owner": "app"})
    nowhere.write("vector_stores/chats.yml", {"vector_store_name": "chats"})
    data = {"kind": "data", "data": "vectors", "replication": "asynchronous"}
    nowhere.plan["services"] = [{"name": store, "store": store, **data} for store in ("docs", "chats")]
    status, said = nowhere.play("dr_failover", to="b")
    assert status
    assert "chats lacks vector_store_owner" in said
    assert nowhere.untouched()


def test_check_mode_tells_the_steps_and_writes_nothing(nowhere: Nowhere) -> None:
    """D3: also what a person is asked for."""
    nowhere.plan["steps"] = {"traffic_on": {"gate": "manual"}}
    status, said = nowhere.play("dr_failover", "--check", to="b")
    assert not status, said
    assert "settings:settings: Settings settings are as declared at site b" in said
    assert "traffic_on: Traffic goes to site b (a person approves)" in said
    assert "NOT READY" in said
    assert "now: target_ready: The site that is to serve is not ready" in said
    assert nowhere.untouched()


def test_a_gate_waits_for_a_person_and_status_says_for_whom(nowhere: Nowhere) -> None:
    """D3: the run is resumed with the same command; a site where nothing is ready is refused behind the gate."""
    nowhere.plan["steps"] = {"ready": {"gate": "manual"}}
    status, said = nowhere.play("dr_failover", to="b")
    assert status
    assert "-e approve=ready" in said
    assert [row["state"] for row in nowhere.journal()["steps"][:2]] == ["waiting", "pending"]

    status, said = nowhere.play("dr_status")
    assert not status, said
    assert "go on with dr_failover -e plan=shop -e to=b -e approve=ready" in said

    status, said = nowhere.play("dr_failover", to="b", approve="ready")
    assert status
    assert "Site b is not ready" in said
    assert "traffic: www.shop.example cannot be steered" in said
    assert "Nothing was changed" in said
    states = [row["state"] for row in nowhere.journal()["steps"]]
    assert states == ["failed", *["pending"] * (len(states) - 1)]
    assert not [row for row in nowhere.journal()["steps"] if row["action"] == "epoch" and row["began_at"]]

    status, said = nowhere.play("dr_failback", to="a")
    assert status
    assert "is not finished" in said, "another direction has to wait"


def test_readiness_is_a_table_a_metric_and_a_status(nowhere: Nowhere) -> None:
    """D3: continuous, so that an alert tells when a plan is not ready any more."""
    file = nowhere.folder / "shop.prom"
    status, said = nowhere.play("dr_readiness", textfile=str(file))
    assert status
    assert "site b is not ready" in said
    assert "settings:settings" in said
    assert 'onprem_autoscale_recovery_ready{plan="shop",site="b"} 0' in file.read_text()
