#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads PostgreSQL clusters of VMware Data Services Manager."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsm_postgres_cluster_info
short_description: Read PostgreSQL clusters of VMware Data Services Manager
version_added: 0.3.0
description:
  - Returns state, connection, origin and backup plan of clusters, with the password by the name of its Secret.
  - With O(passfile) the password is written into a password file of libpq, and returned by nobody.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_dsm
  - onprem.autoscale._dsm
attributes:
  check_mode:
    support: full
    details: The password file is not written.
  diff_mode:
    support: none
    details: A password file is not shown.
  idempotent:
    support: full
options:
  name:
    description: Name of a cluster; all of the namespace without it.
    type: str
  passfile:
    description:
      - Password file of libpq on the machine that runs the module, to write with the administrator's password of
        O(name). Mode 0600; its folder must exist.
      - There is one line for the cluster's address, and one for each of its nodes. They replace lines of the same
        server and user; others stay.
    type: path
  passfile_database:
    description: Database of these lines; V(*) is any.
    type: str
    default: "*"
  nodes_query:
    description:
      - A JMESPath on the status of a cluster that gives its nodes, a list of C({name, host, port, role}). It needs
        the Python library jmespath.
    type: str
notes:
  - DSM's own word for its nodes is not known, hence O(nodes_query).
seealso:
  - module: onprem.autoscale.dsm_postgres_cluster
  - module: onprem.autoscale.dsm_backup_info
"""

EXAMPLES = r"""
- name: Where the cluster is reached, and its password in a file
  onprem.autoscale.dsm_postgres_cluster_info:
    url: https://dsm.example.org
    email: vectors@example.org
    password: "{{ dsm_password }}"
    ca_path: /etc/ssl/dsm.pem
    name: docs
    passfile: ~/.autoscale/docs.pgpass
  register: docs

- name: Ask it something
  community.postgresql.postgresql_ping:
    login_host: "{{ docs.clusters[0].connection.host }}"
    login_port: "{{ docs.clusters[0].connection.port }}"
    login_user: "{{ docs.clusters[0].connection.username }}"
  environment:
    PGPASSFILE: "{{ docs.passfile }}"
"""

RETURN = r"""
clusters:
  description: One row for each cluster; none when there is no cluster of that name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: docs
    namespace:
      description: Its namespace.
      type: str
      sample: default
    generation:
      description: Number of its spec.
      type: int
      sample: 1
    ready:
      description: Whether it is ready with the spec that it has.
      type: bool
      sample: true
    reason:
      description: DSM's reason of the condition C(Ready).
      type: str
      sample: Ready
    message:
      description: DSM's words beside it.
      type: str
      sample: ""
    version:
      description: Its version.
      type: str
      sample: 16.8+vmware.v9.0.1
    replicas:
      description: Its replicas.
      type: int
      sample: 1
    vm_class:
      description: Its VM class.
      type: str
      sample: medium
    storage_space:
      description: Size of its data disk.
      type: str
      sample: 100Gi
    locked:
      description: Whether its spec is locked.
      type: bool
      sample: false
    lock:
      description: V(locked), V(unlocked_for_edit), V(unlocked_for_delete), or empty where it has no lock.
      type: str
      sample: unlocked_for_edit
    connection:
      description: Host, port, database, username, and secret, the name of the Secret with the password.
      type: dict
      sample: {host: 192.0.2.10, port: 5432, database: docs, username: pgadmin, secret: docs-admin}
    conditions:
      description: All conditions.
      type: list
      elements: dict
      sample: [{type: Ready, status: "True", reason: Ready, message: "", observed_generation: 1}]
    nodes:
      description: What O(nodes_query) found.
      type: list
      elements: dict
      sample: [{name: docs-0, host: 192.0.2.11, port: 5432, role: primary}]
    labels:
      description: Its labels.
      type: dict
      sample: {team: search}
    based_on:
      description: Name and timestamp of what it was restored from; none where it was not.
      type: dict
      sample: {name: docs, timestamp: "2026-05-01T12:00:00Z"}
    backup:
      description: Its backup plan.
      type: dict
      sample: {location: s3-a, retention_days: 14, schedules: [{name: full, type: full, schedule: 0 1 * * 6}]}
passfile:
  description: Path of the password file.
  returned: when O(passfile) is given
  type: str
  sample: /home/ansible/.autoscale/docs.pgpass
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils import _dsm
from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import NotFoundError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)

SPEC = _dsm.CONNECTION_SPEC.merge(
    ArgumentSpec(
        {
            "name": {"type": "str"},
            "passfile": {"type": "path", "no_log": False},
            "passfile_database": {"type": "str", "default": "*", "no_log": False},
            "nodes_query": {"type": "str"},
        },
        required_by={"passfile": ("name",)},
    )
)


def work(module: AnsibleModule) -> dict:
    """Read, and write the password file."""
    params = module.params
    with _dsm.connect(params) as api:
        objects = _dsm.Objects(api)
        rows = _dsm.clusters(objects, params["name"], params["nodes_query"])
        if not params["passfile"]:
            return {"changed": False, "clusters": rows}
        if not rows:
            raise NotFoundError(f"There is no PostgresCluster {params['name']} to write a password of")
        path, changed = _dsm.write_passfile(
            objects,
            rows[0],
            params["passfile"],
            database=params["passfile_database"],
            check=module.check_mode,
            hide=module.no_log_values.add,
        )
    return {"changed": changed, "clusters": rows, "passfile": path}


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "kubernetes", _dsm.HAS_KUBERNETES, _dsm.KUBERNETES_IMPORT_ERROR)
    if module.params["nodes_query"]:
        require_library(module, "jmespath", _dsm.HAS_JMESPATH, _dsm.JMESPATH_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
