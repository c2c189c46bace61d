#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declares a PostgreSQL cluster of VMware Data Services Manager."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dsm_postgres_cluster
short_description: Declare a PostgreSQL cluster of VMware Data Services Manager
version_added: 0.3.0
description:
  - Creates, grows, changes, locks, unlocks and deletes a PostgresCluster of DSM, and waits until it is ready.
  - What is not given is left as it is.
  - What DSM refuses late, or with half of a change taken, is refused before anything is sent. Nothing shrinks
    (replicas, VM class, storage), and what is locked stays as it is.
  - An object that somebody else changed meanwhile is read and compared again.
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
    details: Of the password it is told only that it changes.
  idempotent:
    support: full
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  state:
    description:
      - V(absent) deletes the cluster with its data, and then what this module made for it. It needs O(confirm_delete).
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - Version of PostgreSQL, such as V(16), V(16.8) or a full one. DSM expands it, and a cluster whose version begins
        with it is as wanted.
    type: str
  replicas:
    description:
      - V(0) is one VM, V(1) is a primary, a replica and a monitor, V(3) is five VMs.
    type: int
    choices: [0, 1, 3]
  vm_class:
    description: Name of a VM class of the infrastructure policy.
    type: str
  storage_space:
    description: Size of the data disk, such as V(100Gi).
    type: str
  storage_policy:
    description: Name of a storage policy of the infrastructure policy.
    type: str
  infrastructure_policy:
    description: Name of the infrastructure policy.
    type: str
  placement:
    description: Where its VMs must be.
    type: dict
    suboptions:
      cluster:
        description: A cluster of vSphere.
        type: str
      datacenter:
        description: A datacenter of vSphere.
        type: str
  admin_username:
    description: The administrator's name. DSM takes C(pgadmin) if it is not set.
    type: str
  admin_password:
    description:
      - The administrator's password. A Secret C(<name>-admin) is made of it.
      - Where this account may not read that Secret, it is written for a new cluster only.
    type: str
  admin_password_secret:
    description: Name of a Secret that is there, with the administrator's password under C(password).
    type: str
  replication_password:
    description:
      - The password by which this cluster follows another one. A Secret C(<name>-replication) is made of it, for
        O(spec_extra) to name.
      - Where this account may not read that Secret, it is written for a new cluster only.
    type: str
  database:
    description: Name of the first database. DSM takes that of the cluster if it is not set.
    type: str
  parameters:
    description:
      - Parameters of the server. A DatabaseConfig C(<name>-config) is made of them; V(null) takes one away, others that
        stand in it stay.
      - DSM takes strings. V(true) is written as C(on), V(false) as C(off).
    type: dict
  shared_memory:
    description: Size of the shared memory, such as V(2Gi).
    type: str
  block_connections:
    description: Whether clients are kept out.
    type: bool
  maintenance_window:
    description: When DSM may work on the cluster.
    type: dict
    suboptions:
      start_day:
        description: Day of the week.
        type: str
        choices: [SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY]
      start_time:
        description: Hour and minute, such as V(02:00).
        type: str
      duration:
        description: Such as V(4h0m0s).
        type: str
  backup:
    description: Where and when it is backed up.
    type: dict
    suboptions:
      location:
        description: Name of a BackupLocation.
        type: str
      retention_days:
        description: Days that backups are kept.
        type: int
      schedules:
        description: Schedules. Those of other names stay.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the schedule.
            type: str
            required: true
          type:
            description: What is copied.
            type: str
            choices: [full, incremental]
            required: true
          schedule:
            description: When, in five fields as of cron.
            type: str
            required: true
  lock:
    description:
      - The lock. V(locked) comes after all other changes of the call, unlocking before them.
      - A locked cluster is changed only by a call that unlocks it.
    type: str
    choices: [locked, unlocked_for_edit, unlocked_for_delete]
  unlock_reason:
    description: Why it is unlocked, for those who read it later.
    type: str
  owner:
    description: Mail address of the owner.
    type: str
  labels:
    description: Labels; others stay.
    type: dict
  annotations:
    description: Annotations; others stay.
    type: dict
  spec_extra:
    description:
      - Fields of the spec that have no option here, merged last; V(null) takes one away. It is shown in diffs, so no
        password belongs there.
      - Names that DSM does not know are dropped by it; the module then fails.
    type: dict
  confirm_delete:
    description: The name once more, for O(state=absent).
    type: str
  wait_timeout:
    default: 1800
notes:
  - Ready means that the condition C(Ready) is true of the present spec (C(observedGeneration) is the generation).
  - VM classes and infrastructure policies are looked at beforehand only where this account may read them.
  - Another password or other parameters of a cluster that exists change no spec, so nothing can be waited for. DSM
    takes them over in its own time.
  - A schedule is not removed by leaving it out; use DSM's own interface.
seealso:
  - module: onprem.autoscale.dsm_postgres_cluster_info
  - module: onprem.autoscale.dsm_postgres_restore
"""

EXAMPLES = r"""
- name: A cluster for vectors
  onprem.autoscale.dsm_postgres_cluster:
    url: https://dsm.example.org
    email: vectors@example.org
    password: "{{ dsm_password }}"
    ca_path: /etc/ssl/dsm.pem
    name: docs
    version: "16"
    replicas: 1
    vm_class: medium
    storage_space: 100Gi
    storage_policy: gold
    infrastructure_policy: ai
    parameters: {maintenance_work_mem: 2GB}
    backup:
      location: s3-a
      retention_days: 14
      schedules:
        - {name: full, type: full, schedule: "0 1 * * 6"}

- name: Grow it although it is locked
  onprem.autoscale.dsm_postgres_cluster:
    kubeconfig: ~/.kube/dsm
    name: docs
    storage_space: 200Gi
    lock: unlocked_for_edit
    unlock_reason: more documents

- name: Delete it
  onprem.autoscale.dsm_postgres_cluster:
    kubeconfig: ~/.kube/dsm
    name: docs
    state: absent
    confirm_delete: docs
    lock: unlocked_for_delete
"""

RETURN = r"""
cluster:
  description: The cluster as DSM shows it; none after it was deleted.
  returned: success, and when a wait ended without it being ready
  type: dict
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
      description: Number of its spec, C(0) before it is made.
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
      description: Its lock as O(lock) names it; empty where it has none.
      type: str
      sample: unlocked_for_edit
    connection:
      description: Where it is reached. V(host) is empty and V(port) is 0 until it is.
      type: dict
      contains:
        host:
          description: Address.
          type: str
          sample: 192.0.2.10
        port:
          description: Port.
          type: int
          sample: 5432
        database:
          description: First database.
          type: str
          sample: docs
        username:
          description: The administrator.
          type: str
          sample: pgadmin
        secret:
          description: Name of the Secret with the password, under C(password).
          type: str
          sample: docs-admin
    conditions:
      description: All conditions.
      type: list
      elements: dict
      sample: [{type: Ready, status: "True", reason: Ready, message: "", observed_generation: 1}]
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

SCHEDULE = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["full", "incremental"], "required": True},
    "schedule": {"type": "str", "required": True},
}
DAYS = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"]
SPEC = _dsm.CONNECTION_SPEC.merge(
    wait_spec(1800),
    ArgumentSpec(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "version": {"type": "str"},
            "replicas": {"type": "int", "choices": [0, 1, 3]},
            "vm_class": {"type": "str"},
            "storage_space": {"type": "str"},
            "storage_policy": {"type": "str"},
            "infrastructure_policy": {"type": "str"},
            "placement": {"type": "dict", "options": {"cluster": {"type": "str"}, "datacenter": {"type": "str"}}},
            "admin_username": {"type": "str"},
            "admin_password": {"type": "str", "no_log": True},
            "admin_password_secret": {"type": "str", "no_log": False},
            "replication_password": {"type": "str", "no_log": True},
            "database": {"type": "str"},
            "parameters": {"type": "dict"},
            "shared_memory": {"type": "str"},
            "block_connections": {"type": "bool"},
            "maintenance_window": {
                "type": "dict",
                "options": {
                    "start_day": {"type": "str", "choices": DAYS},
                    "start_time": {"type": "str"},
                    "duration": {"type": "str"},
                },
            },
            "backup": {
                "type": "dict",
                "options": {
                    "location": {"type": "str"},
                    "retention_days": {"type": "int"},
                    "schedules": {"type": "list", "elements": "dict", "options": SCHEDULE},
                },
            },
            "lock": {"type": "str", "choices": ["locked", "unlocked_for_edit", "unlocked_for_delete"]},
            "unlock_reason": {"type": "str"},
            "owner": {"type": "str"},
            "labels": {"type": "dict"},
            "annotations": {"type": "dict"},
            "spec_extra": {"type": "dict"},
            "confirm_delete": {"type": "str"},
        },
        mutually_exclusive=[("admin_password", "admin_password_secret")],
        required_if=[("state", "absent", ("confirm_delete",))],
    ),
)


def work(module: AnsibleModule) -> dict:
    """Make it so."""
    params, check, waiter = module.params, module.check_mode, waiter_maker(module.params)
    with _dsm.connect(params) as api:
        objects = _dsm.Objects(api)
        if params["state"] == "absent":
            outcome = _dsm.absent(objects, params, check=check, waiter=waiter)
        else:
            outcome = _dsm.present(objects, params, check=check, waiter=waiter, warn=module.warn)
    return outcome.result(diff=module._diff)


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "kubernetes", _dsm.HAS_KUBERNETES, _dsm.KUBERNETES_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
