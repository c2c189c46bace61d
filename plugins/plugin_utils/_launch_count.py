# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What launches mean for the group's breaker (invariant 8): counted when an action ends, and marked when one is the probe.
"""

from __future__ import annotations

import typing as t

from ansible_collections.onprem.autoscale.plugins.module_utils._ledger import Ledger
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import Breaker, Controls, GroupSpec, parse_spec


def stored_breaker(ledger: Ledger, group: str) -> Breaker:
    """The group's breaker as the ledger has it; closed when it has none."""
    row = ledger.controls(group)["breaker"]
    return Breaker.from_dict(row) if row else Breaker()


def controls_of(ledger: Ledger, group: str, epoch: t.Mapping[str, t.Any] | None = None) -> Controls:
    """What may be done to *group* at all: suspended processes, its breaker, and what ``site_epoch`` said, if it did."""
    return Controls(
        suspended=frozenset(ledger.controls(group)["suspended"]),
        breaker=stored_breaker(ledger, group),
        not_holder="" if epoch is None else not_holder(epoch),
    )


def not_holder(epoch: t.Mapping[str, t.Any]) -> str:
    """Why the site may not act, from the result of ``site_epoch``; empty: it may."""
    if epoch.get("may_act") is True:
        return ""
    return str(epoch.get("reason") or "nobody could say whether this site holds the group's epoch")


def begin_probe(ledger: Ledger, spec: GroupSpec, plan: t.Mapping[str, t.Any]) -> None:
    """Before the launch of *plan*: with an open breaker it is the probe, and no second one may start beside it."""
    before = stored_breaker(ledger, spec.name)
    # Putting back who only lost its pool member proves nothing.
    tries = any(not row.get("keep") for row in plan.get("launches") or ())
    if tries and before.state == "open":
        ledger.save_breaker(spec.name, before.begin_probe(spec.breaker, ledger.clock()).as_dict())


def breaker_after(ledger: Ledger, args: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """The breaker after the launches that ``launched`` and ``launch_failures`` tell of; None when it did not change."""
    failed = [{"member": row["name"], "reason": row.get("reason", "")} for row in args["launch_failures"]]
    before = stored_breaker(ledger, args["group"])
    # A probe that made no VM says nothing, but must be noted, so that the next launch is the probe.
    if not args["spec"] or not (failed or args["launched"] or before.state == "probing"):
        return None
    spec = parse_spec(args["spec"])
    after = before.note(spec.breaker, ledger.clock(), failed=failed, succeeded=args["launched"])
    return None if after == before else after.as_dict()
