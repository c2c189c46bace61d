#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds and rebuilds indexes of vectors."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgvector_index
short_description: Declare indexes of vectors
version_added: 0.3.0
description:
  - Builds HNSW and IVFFlat indexes, without locking out readers and writers.
  - An index with other parameters is built beside the one that serves, takes its name in one transaction, and the old
    one goes; searches use the old one until then. Meanwhile both need room.
  - A build that was killed leaves an invalid index. The next call removes it, or carries on where the last one was.
  - Parameters are read from the catalogue, so an index that somebody changed by hand is noticed.
  - A build may take hours. Run the task with C(async), so that it does not hang on one SSH connection.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_pgvector
  - onprem.autoscale._pgvector
attributes:
  check_mode:
    support: full
    details: An index on a table that does not exist yet would be created, as the task before makes the table.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  indexes:
    description:
      - The indexes, built one after the other. An empty list succeeds.
      - What is not given is pgvector's default for a new index, and left as it is on one that exists.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Its name, up to 59 bytes. The same names with C(_new) and C(_old) behind them are those of a rebuild, so a
            vector index of the table that has one of them is taken for what is left of it.
        type: str
        required: true
      table:
        description: Its table.
        type: str
        required: true
      schema:
        description: The table's schema.
        type: str
        default: public
      column:
        description: The column of vectors. If not set, the table's first one.
        type: str
      method:
        description: V(hnsw) finds better and is slower to build; V(ivfflat) needs rows in the table first.
        type: str
        choices: [hnsw, ivfflat]
        default: hnsw
      distance:
        description:
          - The distance of the searches that shall use it. If not set, the one that the table was declared with.
          - There is no V(l1) with V(ivfflat).
        type: str
        choices: [cosine, l2, inner_product, l1]
      m:
        description: Connections of each vector in V(hnsw), 2 to 100; pgvector's default is 16.
        type: int
      ef_construction:
        description: Candidates while V(hnsw) is built, 4 to 1000, at least twice O(indexes[].m); by default 64.
        type: int
      lists:
        description: Lists of V(ivfflat), 1 to 32768; pgvector's default is 100.
        type: int
      tablespace:
        description: Where its files lie. If not set, where they are, or in the database's own.
        type: str
      state:
        description: Whether it should exist.
        type: str
        choices: [present, absent]
        default: present
  concurrently:
    description:
      - Whether to build without locking out writers. V(false) is faster, and blocks writes to the table all the time.
    type: bool
    default: true
  maintenance_work_mem:
    description:
      - Memory for the build, such as V(2GB). A graph that outgrows it is built many times slower; a warning tells.
    type: str
  max_parallel_workers:
    description:
      - Processes that help with the build.
    type: int
  wait_timeout:
    description:
      - Seconds for one build, and for another run's one before it. When it passes the build is cancelled and tidied up.
    type: int
    default: 7200
seealso:
  - module: onprem.autoscale.pgvector_table
  - module: onprem.autoscale.pgvector_info
"""

EXAMPLES = r"""
- name: An index for searches by the table's own distance
  onprem.autoscale.pgvector_index:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    ca_path: /etc/ssl/certs/dsm-ca.pem
    indexes:
      - {name: passages_hnsw, table: passages, method: hnsw, m: 16, ef_construction: 128}
    maintenance_work_mem: 2GB
    max_parallel_workers: 4
  async: 7200
  poll: 10

- name: It goes
  onprem.autoscale.pgvector_index:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    indexes: [{name: passages_hnsw, table: passages, state: absent}]
"""

RETURN = r"""
indexes:
  description: One row for each index, in the order of O(indexes); after an error those that were begun.
  returned: always, when the server was asked
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: passages_hnsw
    schema:
      description: Its schema.
      type: str
      sample: public
    table:
      description: Its table.
      type: str
      sample: passages
    method:
      description: Its method.
      type: str
      sample: hnsw
    parameters:
      description: Its column, distance and parameters; empty when it does not exist.
      type: dict
      sample: {column: embedding, distance: cosine, m: 16, ef_construction: 128}
    valid:
      description: Whether searches can use it.
      type: bool
      sample: true
    size:
      description: Its size in bytes.
      type: int
      sample: 206569472
    changed:
      description: Whether it was changed, or would be in check mode.
      type: bool
      sample: true
    action:
      description:
        - What was done - V(none), V(created), V(rebuilt), V(removed), or V(finished) for what a killed run had left.
      type: str
      sample: rebuilt
    seconds:
      description: How long the build took; 0 without one.
      type: float
      sample: 107.2
    progress:
      description: The last look at each phase of the build. The percentage is none where PostgreSQL does not count.
      type: list
      elements: dict
      sample: [{phase: "building index: loading tuples", percent: 99.2, seconds: 106.1}]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    check_limits,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _driver, _indexes, _wishes
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._connection import Server, connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._vectors import DISTANCES, METHODS

SPEC = connection_spec().merge(
    ArgumentSpec(
        {
            "indexes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "table": {"type": "str", "required": True},
                    "schema": {"type": "str", "default": "public"},
                    "column": {"type": "str"},
                    "method": {"type": "str", "choices": list(METHODS), "default": "hnsw"},
                    "distance": {"type": "str", "choices": list(DISTANCES)},
                    "m": {"type": "int"},
                    "ef_construction": {"type": "int"},
                    "lists": {"type": "int"},
                    "tablespace": {"type": "str"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "concurrently": {"type": "bool", "default": True},
            "maintenance_work_mem": {"type": "str"},
            "max_parallel_workers": {"type": "int"},
            "wait_timeout": {"type": "int", "default": 7200},
        }
    )
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, build, tell."""
    params = module.params
    check_limits(params, {"wait_timeout": (1, 604800), "max_parallel_workers": (0, 1024)})
    wishes = [_wishes.IndexWish.from_params(row) for row in params["indexes"]]
    _wishes.check_unique(wishes)
    if not wishes:
        return {"changed": False, "indexes": []}
    how = _indexes.How(
        **{key: params[key] for key in ("concurrently", "maintenance_work_mem", "max_parallel_workers", "wait_timeout")}
    )
    with Server.from_params(params).open("pgvector_index", module.warn) as session:
        outcomes = _indexes.Indexer(session, how, check_mode=module.check_mode).bring(wishes)
    for outcome in outcomes:
        if outcome.warning:
            module.warn(outcome.warning)
    before = {outcome.wish.full_name: _indexes.describe(outcome.before) for outcome in outcomes}
    after = {outcome.wish.full_name: outcome.after for outcome in outcomes}
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "indexes": [outcome.as_dict() for outcome in outcomes],
        "diff": {"before": {"indexes": before}, "after": {"indexes": after}},
    }


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "psycopg", _driver.HAS_PSYCOPG, _driver.PSYCOPG_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
