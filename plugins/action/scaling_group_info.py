# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger knows of groups; documented in plugins/modules/scaling_group_info.py."""

from __future__ import annotations

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import GroupSpec, parse_spec
from ansible_collections.onprem.autoscale.plugins.plugin_utils._ledger_action import Args, LedgerAction


class ActionModule(LedgerAction):
    """Read; changes nothing."""

    OPTIONS: t.ClassVar[dict[str, t.Any]] = {
        "groups": {"type": "list", "elements": "str", "default": []},
        "specs": {"type": "list", "elements": "dict", "default": []},
        "events": {"type": "int", "default": 20},
        "since": {"type": "float"},
    }

    def looks_only(self, args: Args) -> bool:
        return True

    def work(self, ledger: Ledger, args: Args) -> dict[str, t.Any]:
        specs = {spec.name: spec for spec in map(parse_spec, args["specs"])}
        names = args["groups"] or sorted({*ledger.groups(), *specs})
        limit = max(0, args["events"])
        groups = [{**ledger.group_state(name, events=limit), "spec": _summary(specs.get(name))} for name in names]
        return {"groups": groups, "events": ledger.events(names, limit=limit, since=args["since"])}


def _summary(spec: GroupSpec | None) -> dict[str, t.Any] | None:
    """What a reader wants beside the counts."""
    if spec is None:
        return None
    full = spec.as_dict()
    return {key: full[key] for key in ("kind", "enabled", "tenant", "site", "size", "cooldown", "recovery")}
