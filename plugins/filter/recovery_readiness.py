# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recovery_readiness
short_description: Whether the other site could take over now, as a score with reasons
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Weighs what was seen of both sites. What nobody looked at does not count as well.
  - The plan is ready when each check that is a must is well, whatever the score.
options:
  _input:
    description: The plan, as P(onprem.autoscale.recovery_plan#filter) returns it.
    type: dict
    required: true
  facts:
    description:
      - What was seen; each dictionary may have C(said), a sentence for the reason.
      - C(backends), of the target, a dictionary of name and C(ok).
      - C(epoch) with C(stores) and C(reached), numbers.
      - C(services), a dictionary of name and, for data, C(following) and C(lag_s), or C(copied_at) for dumps; for
        models and settings C(copied_at) (null when there is no copy); for a group C(members) in service, C(room)
        (members that there are addresses for, those it has included), C(template) (true when it is there).
      - C(traffic) with C(ok) and C(sites_on); C(resolvers), a list of C(address) and C(ok); C(check), a dictionary of
        site and C(ok).
      - C(outage) with C(series), a number or a list; C(drill), the report of the last drill; C(unfinished), runs
        without an end.
      - Times are seconds since 1970.
    type: dict
    required: true
  source:
    description: The site that serves. Without it, the plan's primary.
    type: str
  target:
    description: The site that could take over. Without it, the other one.
    type: str
  now:
    description: The time, in seconds since 1970. Without it, the clock's.
    type: float
"""

EXAMPLES = r"""
- name: Could site b take over?
  ansible.builtin.debug:
    msg: "{{ recovery | onprem.autoscale.recovery_readiness(seen, target='b') | onprem.autoscale.recovery_lines }}"
"""

RETURN = r"""
_value:
  description: C(score) (0 to 100), C(ready), C(checks) with C(name), C(ok), C(weight), C(must), C(reason).
  type: dict
"""

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan, readiness


def recovery_readiness(
    plan: t.Mapping[str, t.Any],
    facts: t.Mapping[str, t.Any],
    source: str = "",
    target: str = "",
    now: float | None = None,
) -> dict[str, t.Any]:
    """See DOCUMENTATION."""
    try:
        parsed = parse_plan(plan)
        source = source or (parsed.sites.other(target) if target else parsed.sites.primary)
        seen = readiness(
            parsed, source, target or parsed.sites.other(source), facts, time.time() if now is None else now
        )
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.recovery_readiness: {error}") from error
    return seen.as_dict()


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"recovery_readiness": recovery_readiness}
