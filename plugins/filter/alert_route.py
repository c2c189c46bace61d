# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: alert_route
short_description: Build the Alertmanager route and receiver of a scaling group
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Returns a route that matches the group's own alerts and a webhook receiver for them.
requirements:
  - jsonschema (Python library on the controller)
options:
  _input:
    description: The declaration of one scaling group, with or without its defaults.
    type: dict
    required: true
  receiver_url:
    description: URL that Alertmanager posts the alerts to.
    type: str
    required: true
  token_file:
    description: Absolute path, on the Alertmanager host, of the file that holds the Bearer token.
    type: str
  ca_file:
    description: Absolute path, on the Alertmanager host, of the CA that signed the receiver's certificate.
    type: str
  receiver_name:
    description: Name of the receiver. Without it, C(autoscale-) and the group's name.
    type: str
  timeout:
    description:
      - How long one POST may take, in seconds.
      - Only Alertmanager 0.28 and later knows this setting; older ones refuse a configuration that has it.
    type: int
  continue:
    description: Whether later routes see the alert too.
    type: bool
    default: false
seealso:
  - plugin: onprem.autoscale.group_spec
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show route and receiver
  ansible.builtin.debug:
    msg: "{{ group | onprem.autoscale.alert_route('https://autoscale.example.org:9087/alerts', token_file) }}"
  vars:
    token_file: /etc/alertmanager/autoscale.token
"""

RETURN = r"""
_value:
  description: The keys C(route) and C(receiver), each as Alertmanager's configuration wants it.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.onprem.autoscale.plugins.module_utils import _planning
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import AutoscaleError


def alert_route(
    value: t.Mapping[str, t.Any], receiver_url: str, token_file: str | None = None, **options: t.Any
) -> dict[str, t.Any]:
    """Route and receiver; the options are those of the documentation."""
    unknown = sorted(set(options) - {"ca_file", "receiver_name", "timeout", "continue"})
    if unknown:
        raise AnsibleFilterError(f"onprem.autoscale.alert_route: there is no option {', '.join(unknown)}")
    options["continue_"] = options.pop("continue", False)
    try:
        return _planning.alert_route(_planning.parse_spec(value), receiver_url, token_file, **options)
    except AutoscaleError as error:
        raise AnsibleFilterError(f"onprem.autoscale.alert_route: {error}") from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"alert_route": alert_route}
