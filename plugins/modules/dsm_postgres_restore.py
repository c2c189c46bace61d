#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a PostgreSQL cluster of VMware Data Services Manager into a new one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsm_postgres_restore
short_description: Restore a PostgreSQL cluster of VMware Data Services Manager into a new one
version_added: 0.3.0
description:
  - Makes a new PostgresCluster from the backups of another one, at a time or at the latest, and waits until it is
    ready. DSM never restores in place.
  - What is not given is the source's. Its fence (C(blockDatabaseConnections)), lock, owner, and fields that have no
    option here are not taken over.
  - A cluster of that name that was restored from the same, at the same time, is as wanted; any other one is refused.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_dsm
  - onprem.autoscale._dsm
  - onprem.autoscale._wait
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the new cluster.
    type: str
    required: true
  source:
    description:
      - Name of the cluster that was backed up. It may be deleted while its backups are kept; O(version), O(vm_class),
        O(storage_space), O(storage_policy) and O(infrastructure_policy) are needed then.
    type: str
    required: true
  timestamp:
    description:
      - Time to restore, as of RFC 3339 with a zone, such as C(2026-05-01T12:00:00Z). If not set, the latest.
    type: str
  version:
    description: Version of PostgreSQL.
    type: str
  replicas:
    description: Replicas.
    type: int
    choices: [0, 1, 3]
  vm_class:
    description: Name of a VM class.
    type: str
  storage_space:
    description: Size of the data disk, at least that of the source.
    type: str
  storage_policy:
    description: Name of a storage policy.
    type: str
  infrastructure_policy:
    description: Name of an infrastructure policy.
    type: str
  admin_password_secret:
    description: Name of a Secret with the administrator's password under C(password).
    type: str
  labels:
    description: Labels of the new cluster.
    type: dict
  spec_extra:
    description: Fields of the spec that have no option here, merged last; V(null) takes one away.
    type: dict
  based_on_field:
    description:
      - Field of the spec that names the source. The vendor shows the default for MySQL; verify it on a live DSM.
    type: str
    default: basedOn
  wait_timeout:
    default: 1800
seealso:
  - module: onprem.autoscale.dsm_postgres_cluster
  - module: onprem.autoscale.dsm_backup_info
"""

EXAMPLES = r"""
- name: As it was before the mistake
  onprem.autoscale.dsm_postgres_restore:
    url: https://dsm.example.org
    email: vectors@example.org
    password: "{{ dsm_password }}"
    ca_path: /etc/ssl/dsm.pem
    name: docs-noon
    source: docs
    timestamp: "2026-05-01T12:00:00Z"
    replicas: 0
"""

RETURN = r"""
cluster:
  description: The new cluster, as M(onprem.autoscale.dsm_postgres_cluster) returns it.
  returned: success, and when a wait ended without it being ready
  type: dict
  sample:
    name: docs-noon
    namespace: default
    generation: 1
    ready: true
    reason: Ready
    message: ""
    version: 16.8+vmware.v9.0.1
    replicas: 0
    vm_class: medium
    storage_space: 100Gi
    locked: false
    lock: ""
    connection: {host: 192.0.2.20, port: 5432, database: docs, username: pgadmin, secret: docs-admin}
    conditions: [{type: Ready, status: "True", reason: Ready, message: "", observed_generation: 1}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _dsm
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
    wait_spec,
    waiter_maker,
)

SPEC = _dsm.CONNECTION_SPEC.merge(
    wait_spec(1800),
    ArgumentSpec(
        {
            "name": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "timestamp": {"type": "str"},
            "version": {"type": "str"},
            "replicas": {"type": "int", "choices": [0, 1, 3]},
            "vm_class": {"type": "str"},
            "storage_space": {"type": "str"},
            "storage_policy": {"type": "str"},
            "infrastructure_policy": {"type": "str"},
            "admin_password_secret": {"type": "str", "no_log": False},
            "labels": {"type": "dict"},
            "spec_extra": {"type": "dict"},
            "based_on_field": {"type": "str", "default": "basedOn"},
        }
    ),
)


def work(module: AnsibleModule) -> dict:
    """Make it, or find it."""
    params = module.params
    with _dsm.connect(params) as api:
        objects = _dsm.Objects(api)
        outcome = _dsm.restore(objects, params, check=module.check_mode, waiter=waiter_maker(params))
    return outcome.result(diff=module._diff)


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "kubernetes", _dsm.HAS_KUBERNETES, _dsm.KUBERNETES_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
