#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: role_options
short_description: Refuse variables that look like options of a role and are none
version_added: 0.2.0
description:
  - Ansible's argument specification of a role checks the values of options, but takes no notice of a name that it does
    not know, so a misspelt option is silently without effect.
  - As the first task of a role, this one fails when a variable of the host begins with the role's name and an
    underscore, and is not an option of any entry point in the role's C(meta/argument_specs.yml). It says which option
    was probably meant.
  - Variables that the role makes itself need another beginning, such as two underscores.
  - Nothing is sent to the host.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: It changes nothing.
  idempotent:
    support: full
extends_documentation_fragment:
  - onprem.autoscale._attributes
author:
  - The onprem.autoscale authors (@onprem)
"""

EXAMPLES = r"""
- name: Options that do not exist are refused
  onprem.autoscale.role_options:
  tags: [always]
"""

RETURN = r"""
options:
  description: Names of the role's options.
  returned: success
  type: list
  elements: str
  sample: [node_exporter_listen_address, node_exporter_state]
"""
