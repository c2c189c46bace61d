# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the ledger with the backends; documented in plugins/modules/scaling_reconcile.py."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import names_unseen, parse_spec, reconcile
from ansible_collections.onprem.autoscale.plugins.plugin_utils._launch_count import controls_of
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import Args, LedgerAction, default_owner

#: What other modules have to do; the rest is stored here.
REPAIRS = ("pool_remove", "target_remove", "retire", "launches", "replaced")
ROWS = {"type": "list", "elements": "dict"}


class ActionModule(LedgerAction):
    """What the planner finds; what only the ledger has to learn is stored at once."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "spec": {"type": "dict", "required": True},
        "name": {"type": "str", "required": True, "aliases": ["action"]},
        "state": {"type": "str", "choices": ["unseen", "compared"], "default": "compared"},
        "owner": {"type": "str"},
        "vms": ROWS,
        "vms_again": ROWS,
        "pool_members": ROWS,
        "targets": ROWS,
        "epoch": {"type": "dict"},
    }

    def work(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        spec = parse_spec(args["spec"])
        state = ledger.group_state(spec.name, events=0)
        rows = {key: state[key] for key in ("members", "leases")}
        backends = {key: args[key] for key in ("pool_members", "targets")}
        if args["state"] == "unseen":
            names = names_unseen(spec, vms=args["vms"], ledger=rows, **backends) if args["vms"] is not None else []
            return {"names": names}
        states = ledger.action_states(row["action"] for row in (*rows["members"], *rows["leases"]))
        found = reconcile(
            spec,
            vms=args["vms"],
            vms_again=args["vms_again"],
            **backends,
            # What an earlier, killed run of this very reconcile adopted is nobody's work in progress.
            ledger={**rows, "actions": {ident: what for ident, what in states.items() if ident != args["name"]}},
            controls=controls_of(ledger, spec.name, args["epoch"]),
            now=time.time(),
        ).as_dict()
        conflicts: list[t.Any] = []
        if not self.check_mode:
            conflicts = ledger.reconciled(
                args["name"],
                owner=args["owner"] or default_owner(),
                **{key: found[key] for key in ("adopt", "forget", "states", "findings", "leaked")},
            )["conflicts"]
        found["plan"] = found["plan"] or {"launches": [], "size_before": None}
        return {
            **found,
            "conflicts": conflicts,
            "repairs": any(found[key] for key in REPAIRS),
            "changed": bool(found["adopt"] or found["forget"]),
        }
