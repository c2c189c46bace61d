#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes tables with a column of vectors."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgvector_table
short_description: Declare tables of vectors
version_added: 0.3.0
description:
  - Makes tables with a column of vectors, adds columns to them, and drops them.
  - What would rewrite or lose rows is refused - another type or dimension, another primary key, another distance for
    rows that are there, a drop of rows.
  - All tables are changed in one transaction, so an error leaves everything as it was.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.actiongroup_pgvector
  - onprem.autoscale._pgvector
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  tables:
    description:
      - The tables. An empty list succeeds.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      schema:
        description: Its schema, which must exist.
        type: str
        default: public
      columns:
        description:
          - Columns beside that of the vectors. Columns that exist and are not named here stay.
        type: list
        elements: dict
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          type:
            description:
              - Its type, in SQL, such as V(bigint), V(varchar(20\)), V(jsonb) or V(bigserial). It goes into commands as
                it is, after the server has said that it is a type and nothing else.
            type: str
            required: true
          nullable:
            description:
              - Whether it may be null. If not set, a new column may, and one that exists is left as it is.
            type: bool
          default:
            description:
              - Its default, an expression in SQL, such as V(now(\)) or V('new'), quotes included. It goes into the
                command as it is, so take it from nobody whom you would not let write SQL.
              - Only for a column that is made; the default of one that exists is left as it is.
            type: str
          primary_key:
            description: Whether it belongs to the primary key, in the order of the columns.
            type: bool
            default: false
      vector:
        description:
          - The column of vectors. Needed for V(present).
        type: dict
        suboptions:
          column:
            description: Its name.
            type: str
            default: embedding
          dimension:
            description: How many components a vector has, 1 to 16000. An index takes 2000, of V(halfvec) 4000.
            type: int
            required: true
          type:
            description: V(halfvec) has half the precision, and takes half the room.
            type: str
            choices: [vector, halfvec]
            default: vector
          distance:
            description:
              - What the model's vectors are compared by. It stands in the column's comment, and is the default of
                M(onprem.autoscale.pgvector_index) and M(onprem.autoscale.pgvector_info).
            type: str
            choices: [cosine, l2, inner_product, l1]
            default: cosine
      owner:
        description: The role that owns it. If not set, the role that makes it.
        type: str
      state:
        description: Whether it should exist.
        type: str
        choices: [present, absent]
        default: present
      allow_drop:
        description: Whether V(absent) may drop a table that has rows.
        type: bool
        default: false
seealso:
  - module: onprem.autoscale.pgvector_extension
  - module: onprem.autoscale.pgvector_index
"""

EXAMPLES = r"""
- name: A table of text passages and their vectors
  onprem.autoscale.pgvector_table:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    ca_path: /etc/ssl/certs/dsm-ca.pem
    tables:
      - name: passages
        columns:
          - {name: id, type: bigint, primary_key: true}
          - {name: body, type: text, nullable: false}
          - {name: added, type: timestamptz, default: now()}
        vector: {column: embedding, dimension: 384, distance: cosine}

- name: An empty one goes
  onprem.autoscale.pgvector_table:
    host: docs-db.example.com
    database: docs
    username: pgadmin
    passfile: /home/ansible/.autoscale/docs.pgpass
    tables: [{name: passages_old, state: absent}]
"""

RETURN = r"""
tables:
  description: One row for each table, in the order of O(tables).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: passages
    schema:
      description: Its schema.
      type: str
      sample: public
    changed:
      description: Whether it was changed, or would be in check mode.
      type: bool
      sample: true
    changes:
      description: What was changed.
      type: list
      elements: str
      sample: [column lang text added]
    columns:
      description: Its columns beside that of the vectors, those that are not declared included.
      type: list
      elements: dict
      sample: [{name: id, type: bigint, nullable: false, default: null, primary_key: true}]
    vector:
      description: Its column of vectors; none when the table does not exist.
      type: dict
      sample: {column: embedding, type: vector, dimension: 384, distance: cosine}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _driver, _tables
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._connection import Server, connection_spec
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._vectors import DISTANCES, TYPES

SPEC = connection_spec().merge(
    ArgumentSpec(
        {
            "tables": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "schema": {"type": "str", "default": "public"},
                    "columns": {
                        "type": "list",
                        "elements": "dict",
                        "options": {
                            "name": {"type": "str", "required": True},
                            "type": {"type": "str", "required": True},
                            "nullable": {"type": "bool"},
                            "default": {"type": "str"},
                            "primary_key": {"type": "bool", "default": False, "no_log": False},
                        },
                    },
                    "vector": {
                        "type": "dict",
                        "options": {
                            "column": {"type": "str", "default": "embedding"},
                            "dimension": {"type": "int", "required": True},
                            "type": {"type": "str", "choices": list(TYPES), "default": "vector"},
                            "distance": {"type": "str", "choices": list(DISTANCES), "default": "cosine"},
                        },
                    },
                    "owner": {"type": "str"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "allow_drop": {"type": "bool", "default": False},
                },
            }
        }
    )
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, do, tell."""
    params = module.params
    wishes = [_tables.Wish.from_params(row) for row in params["tables"]]
    _tables.check_unique(wishes)
    if not wishes:
        return {"changed": False, "tables": []}
    with Server.from_params(params).open("pgvector_table", module.warn) as session:
        outcomes = _tables.plan(session, wishes, check_mode=module.check_mode)
        changed = any(outcome.commands for outcome in outcomes)
        if changed and not module.check_mode:
            _tables.apply(session, outcomes)
    before = {outcome.wish.full_name: _shown(outcome) for outcome in outcomes}
    after = {outcome.wish.full_name: outcome.after for outcome in outcomes}
    return {
        "changed": changed,
        "tables": [_row(outcome) for outcome in outcomes],
        "diff": {"before": {"tables": before}, "after": {"tables": after}},
    }


def _shown(outcome: _tables.Outcome) -> dict[str, t.Any] | None:
    return _tables.describe(outcome.before, outcome.wish.vector) if outcome.before else None


def _row(outcome: _tables.Outcome) -> dict[str, t.Any]:
    after = outcome.after or {"columns": [], "vector": None}
    return {
        "name": outcome.wish.name,
        "schema": outcome.wish.schema,
        "changed": bool(outcome.commands),
        "changes": outcome.changes,
        "columns": after["columns"],
        "vector": after["vector"],
    }


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "psycopg", _driver.HAS_PSYCOPG, _driver.PSYCOPG_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
