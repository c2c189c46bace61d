# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The planner: pure functions from a declaration, an observed state, a signal and a time to a plan. No I/O, no clock, no
Ansible import. The same functions run in modules, in the property tests and in the exhaustive model.
"""

from __future__ import annotations

from ._addresses import free_addresses
from ._breaker import Breaker
from ._controls import PROCESSES, Controls
from ._decision import decide, quarantine_room
from ._epoch import Claim as EpochClaim
from ._epoch import Seen as EpochSeen
from ._epoch import judge as epoch_verdict
from ._epoch import lacking as epoch_lacking
from ._epoch import wanted as epoch_wanted
from ._findings import Finding, Reconciliation
from ._model_alerts import MODEL_ALERTS
from ._monitoring import alert_route, alert_rules, scrape_companions, scrape_job
from ._names import member_names
from ._observe import observe
from ._reconcile import reconcile
from ._recovery import RecoveryPlan, parse_plan
from ._recovery_readiness import Readiness, readiness
from ._recovery_safety import Breach, safety, verdict
from ._recovery_schema import SCHEMA as RECOVERY_SCHEMA
from ._recovery_steps import steps_of
from ._schema import SCHEMA
from ._spec import GroupSpec, parse_spec
from ._state import Cooldowns, Launch, Member, Observed, Plan, Signal
from ._survey import names_unseen
from ._victims import choose_victims

__all__ = [
    "MODEL_ALERTS",
    "PROCESSES",
    "RECOVERY_SCHEMA",
    "SCHEMA",
    "Breach",
    "Breaker",
    "Controls",
    "Cooldowns",
    "EpochClaim",
    "EpochSeen",
    "Finding",
    "GroupSpec",
    "Launch",
    "Member",
    "Observed",
    "Plan",
    "Readiness",
    "Reconciliation",
    "RecoveryPlan",
    "Signal",
    "alert_route",
    "alert_rules",
    "choose_victims",
    "decide",
    "epoch_lacking",
    "epoch_verdict",
    "epoch_wanted",
    "free_addresses",
    "member_names",
    "names_unseen",
    "observe",
    "parse_plan",
    "parse_spec",
    "quarantine_room",
    "readiness",
    "reconcile",
    "safety",
    "scrape_companions",
    "scrape_job",
    "steps_of",
    "verdict",
]
