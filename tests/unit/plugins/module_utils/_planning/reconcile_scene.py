# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of reconcile look at: a group whose sources are written down member by member."""

from __future__ import annotations

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Breaker,
    Controls,
    Reconciliation,
    reconcile,
)

NOW = 1_800_000_000.0
Row = dict[str, t.Any]


def at(number: int) -> str:
    return f"10.255.48.{220 + number}"


class Scene:
    """A group of min 1 and max 4 with one base member that serves; members are added by number."""

    def __init__(self, spec: t.Any) -> None:
        self.spec = spec
        self.vms: list[Row] = []
        self.pool: list[Row] = [
            {"address": base.address, "port": 8080, "availability": "available", "in_service": True}
            for base in spec.base_members
        ]
        self.targets: list[Row] = []
        self.rows: list[Row] = []
        self.leases: list[Row] = []
        self.actions: dict[str, str] = {}

    def row(
        self, number: int, state: str = "in_service", *, age: float = 9000, lease: bool = True, **more: t.Any
    ) -> Row:
        name = f"web-{number}"
        row = {"name": name, "address": at(number), "state": state, "action": f"act-{number}"}
        row |= {
            "created_at": NOW - age,
            "updated_at": NOW - age,
            "unhealthy_since": None,
            "missing_since": None,
            **more,
        }
        self.rows.append(row)
        if lease:
            self.leases.append(
                {"member": name, "address": at(number), "action": f"act-{number}", "leased_at": NOW - age}
            )
        return row

    def vm(self, number: int, *, on: bool = True, **marks: str) -> Row:
        marks = {"group": "web", "action": f"act-{number}", "address": at(number), **marks}
        row = {"name": f"web-{number}", "moid": f"vm-{number}", "address": at(number) if on else "", "marks": marks}
        self.vms.append({**row, "power_state": "poweredOn" if on else "poweredOff"})
        return self.vms[-1]

    def member(self, number: int, how: str = "available", **more: t.Any) -> Row:
        description = f"web-{number}, onprem.autoscale group web, action act-{number}"
        row = {"address": at(number), "port": 8080, "description": description, "availability": how}
        self.pool.append({**row, "session": "monitor-enabled", "in_service": how == "available", **more})
        return self.pool[-1]

    def target(self, number: int, **labels: str) -> None:
        found = {"job": "web", "group": "web", "member": f"web-{number}", **labels}
        self.targets.append({"address": f"{at(number)}:9100", "labels": found})

    def serving(self, *numbers: int, **marks: str) -> None:
        for number in numbers:
            self.row(number)
            self.vm(number, **marks)
            self.member(number)
            self.target(number)

    def look(
        self,
        *,
        suspended: t.Collection[str] = (),
        breaker: Breaker | None = None,
        not_holder: str = "",
        **sources: t.Any,
    ) -> Reconciliation:
        ledger = {"members": self.rows, "leases": self.leases, "actions": self.actions}
        shown: Row = {"vms": self.vms, "pool_members": self.pool, "targets": self.targets, "ledger": ledger}
        controls = Controls(frozenset(suspended), breaker or Breaker(), not_holder)
        return reconcile(self.spec, **{**shown, "vms_again": [], **sources}, controls=controls, now=NOW)


def kinds(found: Reconciliation) -> list[tuple[str, str, str]]:
    return [(row.kind, row.name, row.repair) for row in found.findings]


def names(rows: t.Iterable[t.Any]) -> list[str]:
    return [row["name"] if isinstance(row, dict) else row.name for row in rows]


OPEN = Breaker("open", ({"at": NOW, "member": "x", "reason": "y"},), NOW - 5, NOW + 60)
