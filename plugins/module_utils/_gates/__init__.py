# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Asks machines from outside: does a new member serve (gates), does somebody use an address (probes).
"""

from __future__ import annotations

from ._probe import answers, probe_many
from ._run import GateResult, MemberResult, run_gates

__all__ = ["GateResult", "MemberResult", "answers", "probe_many", "run_gates"]
