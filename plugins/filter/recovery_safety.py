# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recovery_safety
short_description: Whether a change of traffic or of writers is safe
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - Holds a change against the rules of a recovery plan (D5) - at least one site on, at most one writer, the target is
    ready, the source is fenced. What is not known does not hold.
options:
  _input:
    description: The plan, as P(onprem.autoscale.recovery_plan#filter) returns it.
    type: dict
    required: true
  change:
    description:
      - Lists of sites - C(on) that traffic is led to (made first), C(off) that it is taken from, C(write) that get the
        right to write.
    type: dict
    required: true
  facts:
    description:
      - C(sites_on) and C(writers) (lists; null when not known), C(target_ready) and C(source_fenced) (true, false,
        null), C(said), a dictionary of rule and what was seen of it.
    type: dict
    required: true
  force:
    description: Go on all the same, but never without a site; the result says what that gives up.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: May traffic leave site a?
  ansible.builtin.assert:
    that: verdict.allowed
    fail_msg: "{{ verdict.refused | join(' ') }}"
  vars:
    verdict: "{{ recovery | onprem.autoscale.recovery_safety(change={'off': ['a']}, facts=seen, force=force) }}"
"""

RETURN = r"""
_value:
  description: C(allowed); C(breaches), each with C(rule), C(message), C(gives_up); C(refused) and C(gives_up), lists of
    sentences.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError
from ansible_collections.onprem.autoscale.plugins.module_utils._planning import parse_plan, safety, verdict


def recovery_safety(
    plan: t.Mapping[str, t.Any],
    change: t.Mapping[str, t.Any],
    facts: t.Mapping[str, t.Any],
    force: bool = False,
) -> dict[str, t.Any]:
    """See DOCUMENTATION."""
    try:
        return verdict(safety(parse_plan(plan), change, facts), force=force)
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.recovery_safety: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"recovery_safety": recovery_safety}
