# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""D6: a site that does not hold the epoch of a group's scope changes nothing, whatever it is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Site

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Launch, Plan


@pytest.fixture
def stores(site: Site, tmp_path: Path) -> dict[str, Any]:
    """The lab is site a, and site b holds the scope of its group; as extra variables."""
    site.write_group({"recovery": {"scope": "shop"}, "size": {"min": 3, "max": 4}})
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("a", "b", "witness")}
    for url in urls.values():
        with Ledger.open(url) as ledger:
            ledger.write_epoch("shop", 2, "b")
    return {"autoscale_epoch_stores": urls, "autoscale_site": "a"}


def last_event(site: Site) -> tuple[str, str]:
    (event,) = site.ledger("select * from events order by id desc limit 1")
    return event["code"], event["result"]


def test_the_site_that_lost_the_epoch_changes_nothing(site: Site, stores: dict[str, Any]):
    """Neither on demand, nor by reconcile, though the group is below its minimum, nor to finish what was cut off."""
    why = "epoch 2 of shop is held by b, not by a"
    before = site.snapshot()
    out = site.playbook("scale_out", ignore_cooldown=True, **stores)
    assert out.rc == 0, out.output
    assert why in out.output
    assert last_event(site) == ("not_holder", "refused")
    with Ledger.open(f"sqlite:///{site.ledger_file}") as ledger:
        cut_off = ledger.start_action("web", "out", owner="gone/1", ttl=0.001)
        plan = Plan("act", "scale_out", "out", "CPU 93 %", 1, 2, 3, (Launch("web-20260102030405", 1),))
        ledger.record_plan(cut_off, plan.as_dict(), [], owner="gone/1")
    reconciled = site.playbook("reconcile", **stores)
    assert reconciled.rc == 0, reconciled.output
    assert f"carried on {cut_off}: refused, not_holder" in reconciled.output
    assert f"2 members are there and the minimum is 3; nothing is launched: {why}" in reconciled.output
    assert site.snapshot() == before
    status = site.playbook("status", **stores)
    assert f"scope shop: epoch 2, holder b; site a may not act: {why}" in status.output


def test_the_site_that_holds_it_acts(site: Site, stores: dict[str, Any]):
    """And an inventory that says which stores there are, and not which site it is, is refused."""
    act = site.playbook("scale_out", "--check", ignore_cooldown=True, **{**stores, "autoscale_site": "b"})
    assert act.rc == 0, act.output
    assert "plan: act, scale_out" in act.output
    shrink = site.playbook("scale_in", "--check", ignore_cooldown=True, minimum=0, **{**stores, "autoscale_site": "b"})
    assert "plan: refuse, no_victim" in shrink.output, "below its minimum of 3, and only base members are left"
    nobody = site.playbook("scale_out", "--check", **{**stores, "autoscale_site": ""})
    assert nobody.rc != 0, nobody.output
    assert "site: value is ''; allowed: a name" in nobody.output
