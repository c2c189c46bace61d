# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suspend and resume processes of a group; documented in plugins/modules/scaling_process.py."""

from __future__ import annotations

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import Args, LedgerAction, default_owner

PROCESSES = ("launch", "terminate", "replace")


class ActionModule(LedgerAction):
    """One row a suspended process."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "group": {"type": "str", "required": True},
        "processes": {"type": "list", "elements": "str", "choices": [*PROCESSES, "all"], "required": True},
        "state": {"type": "str", "choices": ["suspended", "active"], "default": "suspended"},
        "by": {"type": "str"},
        "reason": {"type": "str", "default": ""},
    }

    def work(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        group = args["group"]
        wanted = set(PROCESSES) if "all" in args["processes"] else set(args["processes"])
        stored = ledger.controls(group)
        before, breaker = set(stored["suspended"]), stored["breaker"]
        after = before | wanted if args["state"] == "suspended" else before - wanted
        closes = (
            args["state"] == "active" and "launch" in wanted and (breaker or {}).get("state") in ("open", "probing")
        )
        changed = after != before or closes
        if changed and not self.check_mode:
            if args["state"] == "suspended":
                ledger.suspend(group, sorted(wanted), by=args["by"] or default_owner(), reason=args["reason"])
            else:
                ledger.resume(group, sorted(wanted), by=args["by"] or default_owner(), reason=args["reason"])
        result: dict[str, t.Any] = {"changed": changed, "group": group, "suspended": sorted(after)}
        result["breaker"] = None if closes else breaker
        if self.wants_diff:
            result["diff"] = {
                "before": {"suspended": sorted(before), "breaker": (breaker or {}).get("state", "closed")},
                "after": {"suspended": sorted(after), "breaker": (result["breaker"] or {}).get("state", "closed")},
            }
        return result
