# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: what came of a play on hosts, a row a host whatever became of the play."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_results
short_description: What came of a play on hosts, a row a host
version_added: 0.3.0
author: The onprem.autoscale authors
description:
  - A play on hosts writes a row for each host that it worked on. This filter gives every host a row, also those that
    the play lost, with a reason that names the host.
options:
  _input:
    description: The hosts, each with C(name) and C(address).
    type: list
    elements: dict
    required: true
  found:
    description: The rows that were written, each with C(name), C(failed), C(reached), C(msg) and C(seconds).
    type: list
    elements: dict
    required: true
  play:
    description: How the command that ran the play ended, with C(rc), C(stdout) and C(stderr).
    type: dict
    required: true
  timeout:
    description: Seconds that the play was given.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Keep the results
  ansible.builtin.set_fact:
    hosts_result:
      members: "{{ hosts_rows | onprem.autoscale.host_results(found, hosts_play, 600) }}"
"""

RETURN = r"""
_value:
  description: A row a host - C(name), C(address), C(failed), C(reached), C(msg) and C(seconds).
  type: list
  elements: dict
"""

import re
import typing as t

Row = t.Mapping[str, t.Any]
#: Exit statuses of flock with --conflict-exit-code=75, and of timeout.
_LOCKED = 75
_TOO_LONG = 124
_KILLED = 137
_END = 400


def _lost(name: str, play: Row, timeout: int) -> tuple[bool, str]:
    """Why a host has no row: whether it was reached as far as one can tell, and the reason."""
    said = f"{play.get('stdout') or ''}\n{play.get('stderr') or ''}"
    gone = re.search(rf"^fatal: \[{re.escape(name)}\]: UNREACHABLE! => (.*)$", said, flags=re.MULTILINE)
    if gone:
        return False, f"it cannot be reached any more: {gone.group(1)[:_END]}"
    code = play.get("rc")
    if code == _LOCKED:
        return True, f"another play works on hosts of this group, and did not end within {timeout} s"
    if code in (_TOO_LONG, _KILLED):
        return True, f"the play did not end within {timeout} s"
    return True, f"the play ended with {code} before it came to this host: {said.strip()[-_END:]}"


def host_results(hosts: t.Iterable[Row], found: t.Iterable[Row], play: Row, timeout: int) -> list[dict[str, t.Any]]:
    """See DOCUMENTATION."""
    written = {row["name"]: row for row in found}
    rows = []
    for host in hosts:
        name, address = host["name"], host["address"]
        row = written.get(name)
        if row is None:
            reached, reason = _lost(name, play, timeout)
            row = {"failed": True, "reached": reached, "msg": reason, "seconds": 0.0}
        rows.append(
            {
                "name": name,
                "address": address,
                "failed": bool(row["failed"]),
                "reached": bool(row["reached"]),
                "msg": f"{name} ({address}): {row['msg']}" if row["failed"] else "",
                "seconds": row["seconds"],
            }
        )
    return rows


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"host_results": host_results}
