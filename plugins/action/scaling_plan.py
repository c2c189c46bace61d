# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide about one signal of a group; documented in plugins/modules/scaling_plan.py."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import NotFoundError
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import (
    Cooldowns,
    Signal,
    decide,
    observe,
    parse_spec,
)
from ansible_collections.onprem.autoscale.plugins.plugin_utils._launch_count import controls_of
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import Args, LedgerAction
from ansible_collections.onprem.autoscale.plugins.plugin_utils._resume import resume

ROWS = {"type": "list", "elements": "dict"}


class ActionModule(LedgerAction):
    """Read the ledger, merge what was observed, ask the planner. Changes nothing."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "spec": {"type": "dict", "required": True},
        "signal": {
            "type": "dict",
            "required": True,
            "options": {
                "direction": {"type": "str", "required": True, "choices": ["out", "in"]},
                "source": {"type": "str", "default": "person", "choices": ["alert", "schedule", "person", "sweep"]},
                "reason": {"type": "str", "default": ""},
                "count": {"type": "int"},
                "ignore_cooldown": {"type": "bool", "default": False},
                "minimum": {"type": "int"},
                "maximum": {"type": "int"},
            },
        },
        "name": {"type": "str", "aliases": ["action"]},
        "vms": ROWS,
        "pool_members": ROWS,
        "targets": ROWS,
        "epoch": {"type": "dict"},
    }

    def looks_only(self, args: Args) -> bool:
        return True

    def work(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        spec = parse_spec(args["spec"])
        signal = Signal(**args["signal"])
        controls = controls_of(ledger, spec.name, args["epoch"])
        now, stored = time.time(), None
        if args["name"] and not (self.check_mode and args["name"] == "check-mode"):
            action = ledger.action(args["name"])
            if action is None:
                raise NotFoundError(
                    f"the ledger {ledger.name} has no action {args['name']}",
                    remedy="Start it with onprem.autoscale.scaling_action, state=started",
                )
            # A repeated action decides at the time of its start, so that its VMs get the same names.
            now, stored = action["started_at"], action["plan"]
        observed = observe(
            spec,
            vms=args["vms"],
            pool_members=args["pool_members"],
            targets=args["targets"],
            ledger_members=ledger.members(spec.name),
        )
        if stored:
            plan = resume(stored, spec, observed, controls.not_holder)
        else:
            until = ledger.cooldowns(spec.name)
            plan = decide(
                spec,
                observed,
                Cooldowns(until.get("out"), until.get("in")),
                signal,
                now,
                controls,
            )
        return {"plan": plan.as_dict(), "resumed": bool(stored), "observed": observed.as_dict()}
