# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: alert_rules
short_description: Build the Prometheus alert rules of a scaling group
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Returns the content of a rule file with one alert for each direction that the group's policy has thresholds for.
  - Scale-out asks whether the highest instance is above the CPU or the memory threshold.
  - Scale-in asks whether the highest instance is below both.
  - No scale-in alert fires while a target of the job cannot be scraped, unless the group sets
    C(monitoring.scale_in_needs_all_targets) to V(false).
  - For scale-out, the CPU of a member counts only when it was there for the whole window, unless the group sets
    C(monitoring.scale_out_needs_whole_window) to V(false).
  - For a model endpoint, scale-out asks for its queue, its time to the first token, its KV cache and what it turns
    away; scale-in whether one endpoint less would do. There are alerts for people besides, without the label
    C(onprem_autoscale), so that they go wherever the site's own routes send them.
requirements:
  - jsonschema (Python library on the controller)
options:
  _input:
    description: The declaration of one scaling group, with or without its defaults.
    type: dict
    required: true
  runbook_base_url:
    description: Where the runbooks of the alerts for people are. Without it they carry no C(runbook_url).
    type: str
    default: ""
  alerts_off:
    description: Names of alerts for people that are not wanted.
    type: list
    elements: str
    default: []
  alert_labels:
    description: Further labels of the alerts for people; C(severity) may be replaced.
    type: dict
seealso:
  - plugin: onprem.autoscale.group_spec
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the rules
  ansible.builtin.debug:
    msg: "{{ group | onprem.autoscale.alert_rules | to_nice_yaml }}"
"""

RETURN = r"""
_value:
  description:
    - A rule file with the one key C(groups). Each alert has the label C(group); what the autoscaler answers has
      C(action) besides.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils import _planning
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError

try:
    # Since ansible-core 2.19 what a filter returns is data; before, its "{{ $value }}" would be taken for a template.
    from ansible.template import is_trusted_as_template as _is_trusted  # noqa: F401

    _as_data = None
except ImportError:
    from ansible.utils.unsafe_proxy import wrap_var as _as_data


def alert_rules(
    value: t.Mapping[str, t.Any],
    runbook_base_url: str = "",
    alerts_off: t.Collection[str] = (),
    alert_labels: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """The content of a rule file."""
    try:
        rules = _planning.alert_rules(
            _planning.parse_spec(value),
            runbook_base_url=runbook_base_url,
            alerts_off=alerts_off,
            alert_labels=alert_labels,
        )
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.alert_rules: {error}") from error
    return _as_data(rules) if _as_data else rules


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"alert_rules": alert_rules}
