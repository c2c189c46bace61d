#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what is backed up of the clusters of VMware Data Services Manager."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsm_backup_info
short_description: Read the backup plans of clusters of VMware Data Services Manager
version_added: 0.3.0
description:
  - Returns where and when clusters are backed up, when that is due next, and whether there is something to restore
    from.
  - Clusters that were deleted and whose backups are kept are told too.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_dsm
  - onprem.autoscale._dsm
options:
  name:
    description: Name of a cluster; all of the namespace without it.
    type: str
  status_query:
    description:
      - A JMESPath on the status of a cluster that gives what DSM says of its backups. It needs the Python library
        jmespath.
    type: str
notes:
  - DSM has no list of single backups, hence O(status_query).
seealso:
  - module: onprem.autoscale.dsm_postgres_restore
"""

EXAMPLES = r"""
- name: Read the backup plans
  onprem.autoscale.dsm_backup_info:
    url: https://dsm.example.org
    email: vectors@example.org
    password: "{{ dsm_password }}"
    ca_path: /etc/ssl/dsm.pem
  register: seen

- name: Show clusters that could not be restored
  ansible.builtin.debug:
    msg: "{{ seen.backups | rejectattr('restorable') | map(attribute='cluster') }}"
"""

RETURN = r"""
backups:
  description: One row for each cluster, those that were deleted last; none when there is no cluster of that name.
  returned: success
  type: list
  elements: dict
  contains:
    cluster:
      description: Its name.
      type: str
      sample: docs
    archived:
      description: Whether it was deleted.
      type: bool
      sample: false
    location:
      description: Its BackupLocation; empty where it has none.
      type: str
      sample: s3-a
    location_ready:
      description: Whether that is ready; none where it does not say, or may not be read.
      type: bool
      sample: true
    retention_days:
      description: Days that backups are kept; C(0) where nothing is said.
      type: int
      sample: 14
    schedules:
      description: Its schedules; V(next) is when they are due in UTC, empty where that cannot be told.
      type: list
      elements: dict
      sample: [{name: full, type: full, schedule: 0 1 * * 6, next: "2026-05-02T01:00:00Z"}]
    restorable:
      description:
        - Whether there is a plan that leaves something to restore from, a full backup to a location that is not known
          to be out of order; or backups of a deleted cluster. It is no proof that a backup is good.
      type: bool
      sample: true
    status:
      description: What O(status_query) found.
      type: raw
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _dsm
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)

SPEC = _dsm.CONNECTION_SPEC.merge(ArgumentSpec({"name": {"type": "str"}, "status_query": {"type": "str"}}))


def work(module: AnsibleModule) -> dict:
    """Read."""
    params = module.params
    with _dsm.connect(params) as api:
        rows = _dsm.backups(_dsm.Objects(api), params["name"], params["status_query"])
    return {"changed": False, "backups": rows}


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "kubernetes", _dsm.HAS_KUBERNETES, _dsm.KUBERNETES_IMPORT_ERROR)
    if module.params["status_query"]:
        require_library(module, "jmespath", _dsm.HAS_JMESPATH, _dsm.JMESPATH_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
