# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``dr_drill`` (D3): nothing is left of it, however it ends, and production was not touched.

Both sites of the plan are the one lab of these tests; a drill of two sites with their databases, under load, is in
`make demo-dr`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from e2e.conftest import Site
from e2e.recovery_lab import Recovery

DRILL = "drill-shop"


class Rehearsal:
    """A plan for the lab's group, and BIG-IP DNS that sends clients to site a."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, lab = site, site.description
        self.password = Path(lab["bigip"]["password_file"]).read_text()
        connections: dict[str, Any] = {
            name: {
                **{key: lab[part][key] for key in ("hostname", "port", "username", "ca_path")},
                "password": Path(lab[part]["password_file"]).read_text(),
            }
            for name, part in (("vsphere", "vcenter"), ("f5", "bigip"))
        }
        row = {
            **connections,
            **{name: lab[name] for name in ("prometheus", "alertmanager", "ledger")},
            "f5_dns": connections["f5"],
            "scaling_groups_dir": str(site.groups),
        }
        self.recovery = Recovery(folder, {"a": row, "b": row})

    def declare(self, **changes: Any) -> None:
        subnet = self.site.settings.subnet
        drill = {
            "network": "DC0_DVPG0",
            "pool": {"start": f"{subnet}.240", "end": f"{subnet}.244"},
            "cidr": f"{subnet}.0/24",
            "vip": f"{subnet}.105",
            "port": 8080,
        }
        group = {"name": "web", "kind": "group", "group": "web", "serving": 2, "standby": 1}
        self.recovery.write_plan([group], drill={**drill, **changes.pop("drill", {})}, **changes)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Straight to the BIG-IP."""
        bigip = self.site.description["bigip"]
        answer = requests.request(
            method,
            f"https://{bigip['hostname']}:{bigip['port']}/mgmt/tm/{path}",
            json=body,
            auth=(bigip["username"], self.password),
            verify=bigip["ca_path"],
            timeout=10,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else {}

    def gslb(self) -> dict[str, bool]:
        rows = self.rest("GET", "gtm/pool/a/~Common~shop/members")["items"]
        return {row["name"]: bool(row.get("enabled")) for row in rows}

    def left(self) -> dict[str, list[str]]:
        """What is a drill's, by kind."""
        names = {kind: self.rest("GET", f"ltm/{kind}").get("items", []) for kind in ("virtual", "pool", "node")}
        found = {kind: sorted(row["name"] for row in rows) for kind, rows in names.items()}
        mine = (DRILL, *(f"{self.site.settings.subnet}.{last}" for last in range(240, 245)))
        return {
            "vms": sorted(name for name in self.site.vms() if name.startswith("drill-")),
            **{kind: [name for name in rows if name.startswith(mine)] for kind, rows in found.items()},
        }


@pytest.fixture
def rehearsal(site: Site, tmp_path: Path) -> Rehearsal:
    made = Rehearsal(site, tmp_path)
    subnet = site.settings.subnet
    for name, address in (("site-a", f"{subnet}.11"), ("site-b", f"{subnet}.12")):
        made.rest("POST", "gtm/datacenter", {"name": name})
        made.rest(
            "POST",
            "gtm/server",
            {
                "name": name,
                "datacenter": f"/Common/{name}",
                "product": "generic-host",
                "devices": [{"name": name, "addresses": [{"name": address}]}],
                "virtualServers": [{"name": "shop-vip", "destination": f"{address}:8080"}],
            },
        )
    members = [{"name": "site-a:shop-vip", "enabled": True}, {"name": "site-b:shop-vip", "disabled": True}]
    made.rest("POST", "gtm/pool/a", {"name": "shop", "members": members})
    return made


def test_nothing_is_left_after_a_kill_and_a_failure_and_production_was_not_touched(rehearsal: Rehearsal) -> None:
    """D3: the next drill takes away what the killed one left, and its own, though its members pass no gate.

    force: of this one lab not all is ready for a second site.
    """
    site = rehearsal.site
    before, gslb = site.snapshot(), rehearsal.gslb()

    rehearsal.declare(drill={"network": site.write_group()["network"]["name"]})
    rc, output = rehearsal.recovery.run("dr_drill")
    assert rc != 0
    assert "its own production network" in output
    assert not rehearsal.recovery.journals(), "refused before anything began"

    rehearsal.declare()
    rehearsal.recovery.killed("dr_drill", lambda: rehearsal.left()["virtual"], force=True)
    assert all(rehearsal.left().values()), "members, pool, nodes and virtual server are there when it dies"

    site.write_group({"gates": [{"type": "http", "port": 8080, "path": "/none"}], "timeouts": {"gate": 2}})
    rc, output = rehearsal.recovery.run("dr_drill", force=True)
    assert rc != 0, output
    assert "Everything that the drill made was taken away again" in output
    assert not any(rehearsal.left().values()), rehearsal.left()
    assert (site.snapshot(), rehearsal.gslb()) == (before, gslb)
    assert rehearsal.recovery.journals() == []
    report = rehearsal.recovery.report()
    states = {row["name"]: row["state"] for row in report["steps"]}
    assert states == {
        "drill_clean:first": "done",
        "ready": "done",
        "drill_group:web": "failed",
        "drill_vip": "pending",
        "drill_check": "pending",
        "drill_clean": "done",
    }
    assert report["result"] == "failed"
