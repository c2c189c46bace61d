# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rows
short_description: Turn the rows of one step into the rows of the next
version_added: 0.1.0
author: The onprem.autoscale authors
description:
  - Every module of this collection takes a list of rows and returns a list of rows. This filter leaves out the rows
    that failed and gives the others the keys that the next module wants, without a loop in the playbook.
options:
  _input:
    description: Rows; each one a dictionary. A row whose C(failed) is true is left out.
    type: list
    elements: dict
    required: true
  template:
    description:
      - The keys of the new rows. A string is a L(format string,https://docs.python.org/3/library/string.html#format-strings)
        over the old row; anything else is taken as it is, dictionaries key by key.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: From cloned VMs to pool members
  ansible.builtin.debug:
    msg: "{{ cloned.vms | onprem.autoscale.rows({'address': '{address}', 'port': 8080}) }}"
"""

RETURN = r"""
_value:
  description: The new rows, in the order of the old ones.
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError


def _fill(template: t.Any, row: t.Mapping[str, t.Any]) -> t.Any:
    if isinstance(template, str):
        return template.format_map(row)
    if isinstance(template, t.Mapping):
        return {key: _fill(value, row) for key, value in template.items()}
    return template


def rows(value: t.Iterable[t.Mapping[str, t.Any]], template: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The rows that did not fail, with the keys of *template*."""
    try:
        return [_fill(template, row) for row in value if not row.get("failed")]
    except (KeyError, AttributeError, IndexError, ValueError) as error:
        raise AnsibleFilterError(
            f"onprem.autoscale.rows: template {dict(template)} does not fit the rows: {error!r}"
        ) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rows": rows}
