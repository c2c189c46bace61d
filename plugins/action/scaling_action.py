# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journal an action of a group; documented in plugins/modules/scaling_action.py."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._gates import _probe
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._actions import DEFAULT_TTL_S
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._locks import iso
from ansible_collections.onprem.autoscale.plugins.module_utils._ledger._members import MEMBER_STATES
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import GroupSpec, free_addresses, parse_spec
from ansible_collections.onprem.autoscale.plugins.plugin_utils._begin import begin
from ansible_collections.onprem.autoscale.plugins.plugin_utils._heartbeat import start_heartbeat
from ansible_collections.onprem.autoscale.plugins.plugin_utils._launch_count import begin_probe, breaker_after
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import Args, LedgerAction, default_owner

CHECK_MODE_NAME = "check-mode"
DEFAULT_COOLDOWN_S = 300  # A4
ENDS = ("succeeded", "refused", "failed")
Result = dict[str, t.Any]


class ActionModule(LedgerAction):
    """One journal entry; what it means depends on ``state``."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "group": {"type": "str", "required": True},
        "state": {"type": "str", "required": True, "choices": ["started", "observed", "planned", "running", *ENDS]},
        "name": {"type": "str"},
        "owner": {"type": "str"},
        "lock_ttl": {"type": "int", "default": int(DEFAULT_TTL_S)},
        "lock_wait": {"type": "int"},
        "attempt": {"type": "int"},
        "takeover": {"type": "bool", "default": False},
        "direction": {"type": "str", "choices": ["out", "in", "reconcile"]},
        "source": {"type": "str", "default": "person", "choices": ["alert", "schedule", "person", "sweep"]},
        "reason": {"type": "str", "default": ""},
        "spec": {"type": "dict"},
        "vms": {"type": "list", "elements": "dict"},
        "plan": {"type": "dict"},
        "taken": {"type": "list", "elements": "str", "default": []},
        "probe": {"type": "bool", "default": True},
        "step": {"type": "str"},
        "detail": {"type": "dict"},
        "members": {
            "type": "list",
            "elements": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str"},
                "moid": {"type": "str"},
                "state": {"type": "str", "choices": list(MEMBER_STATES)},
            },
        },
        "removed": {"type": "list", "elements": "str", "default": []},
        "quarantined": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"name": {"type": "str", "required": True}, "note": {"type": "str", "default": ""}},
        },
        "launched": {"type": "int", "default": 0},
        "launch_failures": {"type": "list", "elements": "dict", "default": []},
        "cold_start": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "host": {"type": "str", "required": True},
                "stage": {"type": "str", "required": True},
                "seconds": {"type": "float", "required": True},
            },
        },
        "quiet": {"type": "bool", "default": False},
        "code": {"type": "str", "default": ""},
        "message": {"type": "str", "default": ""},
        "count_after": {"type": "int"},
        "cooldown": {"type": "int"},
        "cooldown_until": {"type": "float"},
    }
    RULES: t.ClassVar[dict[str, t.Any]] = {
        "required_if": [
            ("state", "started", ["direction"]),
            ("state", "observed", ["name", "spec", "vms"]),
            ("state", "planned", ["name", "spec", "plan"]),
            ("state", "running", ["name", "step"]),
            *(("state", end, ["name"]) for end in ENDS),
        ],
        "mutually_exclusive": [("cooldown", "cooldown_until")],
    }

    def work(self, ledger: Ledger, args: Args) -> Result:
        args["owner"] = args["owner"] or default_owner()
        state = args["state"]
        do = {
            "started": self._started,
            "observed": self._observed,
            "planned": self._planned,
            "running": self._running,
        }.get(state, self._ended)
        if not self.wants_diff:
            return do(ledger, args)
        before = self._summary(ledger, args["group"])
        result = do(ledger, args)
        after = self._expected(before, args, result) if self.check_mode else self._summary(ledger, args["group"])
        return {**result, "diff": {"before": before, "after": after}}

    # ---- states

    def _started(self, ledger: Ledger, args: Args) -> Result:
        if not self.check_mode:
            started = begin(ledger, args)
            start_heartbeat(args["ledger"], started["name"], args["owner"], float(args["lock_ttl"]), os.getppid())
            return {"changed": True, "owner": args["owner"], **started}
        group, name = args["group"], args["name"]
        found = ledger.action(name) if name else None
        ledger.check_start(group, args["direction"], ident=name)
        return {
            "changed": True,
            "name": name or CHECK_MODE_NAME,
            "direction": args["direction"],
            "owner": args["owner"],
            "started_at": found["started_at"] if found else time.time(),
            "resumed": bool(found),
        }

    def _observed(self, ledger: Ledger, args: Args) -> Result:
        if args["vms"] is None:
            raise RefusedError(
                f"vms is null: what vCenter shows of group {args['group']} is unknown, nothing is released on a guess",
                remedy="Pass vms of onprem.autoscale.vsphere_clone_info; an empty list says that there are none",
            )
        self._action(ledger, args)
        name, group, vms = args["name"], args["group"], args["vms"]
        shown = {
            "names": {row["name"] for row in vms},
            "addresses": {row.get("address") for row in vms} | {(row.get("marks") or {}).get("address") for row in vms},
            "grace": float(parse_spec(args["spec"]).timeouts.clone),
        }
        if self.check_mode:
            released = ledger.preview_unseen(group, name, **shown)
        else:
            released = ledger.release_unseen(name, owner=args["owner"], **shown)
        return {"changed": bool(released), "name": name, "released": released}

    def _planned(self, ledger: Ledger, args: Args) -> Result:
        spec, plan, name = parse_spec(args["spec"]), args["plan"], args["name"]
        action = self._action(ledger, args)
        wanted = [row["name"] for row in plan.get("launches") or ()]
        leases: dict[str, str] = {}
        if not self.check_mode:
            ledger.begin_step(name, "decide", owner=args["owner"])
            ledger.record_plan(name, plan, self._victim_rows(plan), owner=args["owner"])
            begin_probe(ledger, spec, plan)
        if wanted:
            if not self.check_mode:
                ledger.begin_step(name, "lease", owner=args["owner"])
            leases = self._lease(ledger, args, spec, wanted)
        if not self.check_mode:
            if args["step"]:
                ledger.begin_step(
                    name, args["step"], args["detail"], members=args["members"] or (), owner=args["owner"]
                )
            else:
                ledger.end_step(name, owner=args["owner"])
        return {
            "changed": action["plan"] != plan,
            "name": name,
            "vms": self._vms(args["group"], name, action["started_at"], plan, leases),
        }

    def _running(self, ledger: Ledger, args: Args) -> Result:
        self._action(ledger, args)
        if not self.check_mode:
            ledger.begin_step(
                args["name"],
                args["step"],
                args["detail"],
                members=args["members"] or (),
                removed=args["removed"],
                owner=args["owner"],
            )
        return {"changed": True, "name": args["name"], "step": args["step"]}

    def _ended(self, ledger: Ledger, args: Args) -> Result:
        action, state = self._action(ledger, args), args["state"]
        plan = args["plan"] or action["plan"] or {}
        if args["count_after"] is None and state != "failed":
            args["count_after"] = plan.get("size_after")
        if self.check_mode:
            return {"changed": action["state"] == "running", "name": args["name"], "event": self._event(args, action)}
        if args["plan"] and action["state"] == "running" and not action["plan"]:
            ledger.record_plan(args["name"], args["plan"], [], owner=args["owner"])
        event = ledger.finish_action(
            args["name"],
            state=state,
            code=args["code"] or plan.get("code") or "",
            message=args["message"],
            count_after=args["count_after"],
            members=args["members"],
            removed=args["removed"],
            quarantined=args["quarantined"],
            breaker=breaker_after(ledger, args),
            quiet=args["quiet"],
            cold_start=args["cold_start"],
            owner=args["owner"],
            **self._rest(args, action, plan),
        )
        if event.get("breaker_opened"):
            event["breaker"] = ledger.controls(args["group"])["breaker"]
        return {"changed": action["state"] == "running", "name": args["name"], "event": event}

    # ---- pieces

    def _action(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        """The stored action, which must be one of the group; in check mode also the one that was never started."""
        action = ledger.action(args["name"])
        if action is None and self.check_mode:
            return {"started_at": time.time(), "plan": None, "state": "running", "direction": args["direction"] or ""}
        if action is None:
            raise NotFoundError(
                f"the ledger {ledger.name} has no action {args['name']}", remedy="Start it first (state=started)"
            )
        if action["group_name"] != args["group"]:
            raise ConflictError(f"action {args['name']} belongs to group {action['group_name']}, not {args['group']}")
        return action

    def _lease(self, ledger: Ledger, args: Args, spec: GroupSpec, wanted: list[str]) -> dict[str, str]:
        network = spec.network
        candidates = free_addresses(network, args["taken"])
        pool = f"{network.start}-{network.end}"
        answers: dict[str, str] = {}

        def usable(address: str) -> bool:
            if not args["probe"]:
                return True
            probe = network.probe
            answer = _probe.answers(address, probe.methods, probe.ports, probe.timeout)
            if answer is not None:
                answers[address] = answer
            return answer is None

        try:
            if self.check_mode:
                return ledger.preview_leases(args["group"], wanted, candidates, usable, pool=pool)
            return ledger.lease_addresses(
                args["name"], args["group"], wanted, candidates, usable, owner=args["owner"], pool=pool
            )
        except RefusedError as error:
            error.result["answers"] = answers
            raise

    @staticmethod
    def _victim_rows(plan: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """A victim that the ledger did not know is in service until the play says else."""
        return [
            {"name": row["name"], "address": row.get("address"), "moid": row.get("moid"), "state": "in_service"}
            for row in plan.get("victims") or ()
        ]

    @staticmethod
    def _vms(
        group: str, name: str, started_at: float, plan: t.Mapping[str, t.Any], leases: t.Mapping[str, str]
    ) -> list[dict[str, t.Any]]:
        """Rows for vsphere_clone. Marks are strings, as vCenter stores them."""
        launches = [
            {
                "name": row["name"],
                "address": leases[row["name"]],
                # A VM that is there already keeps the marks that it was made with.
                "marks": row.get("marks")
                or {
                    "group": group,
                    "action": name,
                    "address": leases[row["name"]],
                    "slot": str(row["slot"]),
                    "created": iso(started_at),
                },
            }
            for row in plan.get("launches") or ()
        ]
        victims = [
            {"name": row["name"], "address": row.get("address") or "", "marks": {"group": group}}
            for row in plan.get("victims") or ()
        ]
        return launches + victims

    @staticmethod
    def _rest(args: Args, action: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The cooldown that the end starts: after a success or a failure the group's, after a refusal the plan's."""
        if args["cooldown_until"] is not None:
            return {"cooldown_until": args["cooldown_until"]}
        if args["cooldown"] is not None:
            return {"cooldown": args["cooldown"] or None}
        if action["direction"] not in ("out", "in"):
            return {}
        if args["state"] == "refused":
            return {"cooldown_until": plan.get("cooldown_until")}
        if args["spec"]:
            return {"cooldown": parse_spec(args["spec"]).cooldown.of(action["direction"])}
        return {"cooldown": DEFAULT_COOLDOWN_S}

    @staticmethod
    def _event(args: Args, action: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The event as far as check mode can know it."""
        return {
            "id": None,
            "group": args["group"],
            "action": args["name"],
            "direction": action["direction"],
            "result": args["state"],
            "code": args["code"],
            "message": args["message"],
            "members": args["members"] or [],
            "count_before": (action["plan"] or {}).get("size_before"),
            "count_after": args["count_after"],
            "steps": [],
            "cold_start": args["cold_start"],
        }

    # ---- diff

    @staticmethod
    def _summary(ledger: Ledger, group: str) -> dict[str, t.Any]:
        """What a diff shows of the group."""
        state = ledger.group_state(group, events=0)
        action = state["action"] or {}
        return {
            "lock": (state["lock"] or {}).get("action"),
            "step": next((row["step"] for row in action.get("steps", ()) if row["state"] == "running"), None),
            "members": {row["name"]: row["state"] for row in state["members"]},
            "leases": {row["member"]: row["address"] for row in state["leases"]},
        }

    @staticmethod
    def _expected(before: t.Mapping[str, t.Any], args: Args, result: Result) -> dict[str, t.Any]:
        """*before* as this call would leave it."""
        state = args["state"]
        step = {"started": "observe", "observed": before["step"], "planned": args["step"], "running": args["step"]}.get(
            state
        )
        gone = {*args["removed"], *result.get("released", ())}
        members = {**before["members"], **{row["name"]: row["state"] for row in args["members"] or () if row["state"]}}
        leases = dict(before["leases"])
        if state == "planned":
            members.update({row["name"]: "planned" for row in result["vms"] if row["name"] not in members})
            leases.update({row["name"]: row["address"] for row in result["vms"] if "action" in row["marks"]})
        return {
            "lock": None if state in ENDS else result["name"],
            "step": step,
            "members": {name: state for name, state in members.items() if name not in gone},
            "leases": {name: address for name, address in leases.items() if name not in gone},
        }
