#!/usr/bin/python
# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a vector database: server, tables, indexes, and what they answer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgvector_info
short_description: Read a vector database and measure its indexes
version_added: 0.3.0
description:
  - Returns the server's state of replication, the extension, tables of vectors, their indexes and how much these are
    used, and the builds that run now. It works on a standby, and without the extension.
  - On wish it measures recall, the share of the true nearest rows that a search with the index finds, on stored rows
    and against an exact scan.
  - On wish it takes fingerprints - a checksum of all rows, and the neighbours of some of them by an exact scan. Two
    databases with equal rows, checksums and neighbours are equal.
  - All tables are read in one snapshot.
author:
  - The onprem.autoscale authors (@onprem)
extends_documentation_fragment:
  - onprem.autoscale._attributes
  - onprem.autoscale._attributes.info_module
  - onprem.autoscale._attributes.actiongroup_pgvector
  - onprem.autoscale._pgvector
options:
  tables:
    description:
      - The tables, each as C(schema.table) or C(table) in C(public); one without vectors too. If not set, all tables
        with a column of vectors that the role may read.
    type: list
    elements: str
  recall:
    description:
      - Measure recall, once for each table.
      - Each row of the sample costs a scan of the table.
    type: dict
    suboptions:
      sample:
        description: How many stored rows are searched for. They are chosen by a hash of the key, so always the same.
        type: int
        default: 100
      k:
        description: How many nearest rows a search wants; the row itself does not count.
        type: int
        default: 10
      ef_search:
        description:
          - Candidates of a search with HNSW, 1 to 1000. If not set, the server's setting. A search gives no more rows
            than this, so take more than O(recall.k).
        type: int
      probes:
        description: Lists that a search with IVFFlat looks at, 1 to 32768. If not set, the server's setting.
        type: int
  checksum:
    description:
      - Whether to compute a checksum of the rows of each table. It does not depend on their order or place.
    type: bool
    default: false
  neighbours:
    description:
      - Look for the nearest rows of the first rows by primary key, by an exact scan.
    type: dict
    suboptions:
      k:
        description: How many.
        type: int
        default: 10
      probes:
        description: Of how many rows.
        type: int
        default: 5
seealso:
  - module: onprem.autoscale.pgvector_index
"""

EXAMPLES = r"""
- name: Measure the index
  onprem.autoscale.pgvector_info:
    host: docs-db.example.com
    database: docs
    username: search
    passfile: /home/ansible/.autoscale/docs.pgpass
    ca_path: /etc/ssl/certs/dsm-ca.pem
    tables: [public.passages]
    recall: {sample: 100, k: 10, ef_search: 40}
  register: seen

- name: Is it good enough
  ansible.builtin.assert:
    that: seen.tables[0].recall.recall >= 0.95 and seen.tables[0].recall.index_used

- name: Fingerprints, to compare with those of a copy
  onprem.autoscale.pgvector_info:
    host: docs-db.example.com
    database: docs
    username: search
    passfile: /home/ansible/.autoscale/docs.pgpass
    checksum: true
    neighbours: {k: 10, probes: 5}
"""

RETURN = r"""
server:
  description: The server.
  returned: success
  type: dict
  contains:
    version:
      description: PostgreSQL's version.
      type: str
      sample: "16.8"
    in_recovery:
      description: Whether it is a standby.
      type: bool
      sample: false
    timeline:
      description: The timeline that it writes or follows. A promotion begins a new one.
      type: int
      sample: 2
    lsn:
      description: Its place in the log, that of what was replayed on a standby.
      type: str
      sample: 0/5A3C2E8
    system_identifier:
      description: The same on all copies of one cluster.
      type: str
      sample: "7465120345678901234"
    replicas:
      description: Who receives its log. What they do is none unless the role is a member of C(pg_monitor).
      type: list
      elements: dict
      sample: [{name: docs-1, address: 10.0.0.12, state: streaming, sync_state: sync, lag_bytes: 0}]
    slots:
      description: Its replication slots, and the log that each one keeps.
      type: list
      elements: dict
      sample: [{name: dr1, active: true, retained_bytes: 0}]
    receiver:
      description: What a standby received and replayed, and the bytes in between; none on a primary.
      type: dict
      sample: {status: streaming, slot: dr1, received_lsn: 0/5A3C2E8, replayed_lsn: 0/5A3C2E8, lag_bytes: 0}
extension:
  description: The extension in this database. Its version and schema are none when it is not installed.
  returned: success
  type: dict
  sample: {version: 0.8.0, available: 0.8.0, schema: public}
tables:
  description: One row for each table.
  returned: success
  type: list
  elements: dict
  contains:
    schema:
      description: Its schema.
      type: str
      sample: public
    name:
      description: Its name.
      type: str
      sample: passages
    rows:
      description: How many rows it has, counted.
      type: int
      sample: 20000
    size:
      description: Its size in bytes, with indexes and TOAST.
      type: int
      sample: 95748096
    vector:
      description: Its first column of vectors; none without one.
      type: dict
      sample: {column: embedding, type: vector, dimension: 384, distance: cosine}
    checksum:
      description: The checksum; none when not asked for.
      type: str
      sample: "-48211450097226341"
    neighbours:
      description: For each probe its key, and keys and distances of the nearest rows; none when not asked for.
      type: list
      elements: dict
      sample: [{id: "1", neighbours: ["201", "401"], distances: [0.012345, 0.013]}]
    recall:
      description: What was measured; none when not asked for.
      type: dict
      contains:
        recall:
          description: The share that was found, 0 to 1; none for an empty table.
          type: float
          sample: 0.987
        k:
          description: Nearest rows that were wanted.
          type: int
          sample: 10
        sample:
          description: Rows that were searched for.
          type: int
          sample: 100
        ef_search:
          description: Candidates of a search with HNSW.
          type: int
          sample: 40
        probes:
          description: Lists of a search with IVFFlat.
          type: int
          sample: 1
        distance:
          description: What was searched by; V(l2) where the column does not tell.
          type: str
          sample: cosine
        index_used:
          description: Whether the search used an index, by its plan. Without one recall is 1 and means nothing.
          type: bool
          sample: true
        index:
          description: Which one.
          type: str
          sample: passages_hnsw
    indexes:
      description: Its indexes of vectors. C(scans) counts the searches that used one.
      type: list
      elements: dict
      sample:
        - name: passages_hnsw
          method: hnsw
          parameters: {distance: cosine, m: 16, ef_construction: 64}
          size: 40960000
          scans: 1024
          valid: true
builds:
  description: Indexes that are built in this database now.
  returned: success
  type: list
  elements: dict
  sample: [{index: public.passages_hnsw_new, phase: "building index: loading tuples", percent: 42.1}]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import NotFoundError
from ansible_collections.onprem.autoscale.plugins.module_utils._common._module import (
    ArgumentSpec,
    check_limits,
    require_library,
    run,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _catalog, _driver, _probes
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._connection import (
    Server,
    Session,
    connection_spec,
)
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._server_state import read_builds, read_server

SPEC = connection_spec().merge(
    ArgumentSpec(
        {
            "tables": {"type": "list", "elements": "str"},
            "recall": {
                "type": "dict",
                "options": {
                    "sample": {"type": "int", "default": 100},
                    "k": {"type": "int", "default": 10},
                    "ef_search": {"type": "int"},
                    "probes": {"type": "int"},
                },
            },
            "checksum": {"type": "bool", "default": False},
            "neighbours": {
                "type": "dict",
                "options": {"k": {"type": "int", "default": 10}, "probes": {"type": "int", "default": 5}},
            },
        }
    )
)
RECALL_LIMITS = {"sample": (1, 10000), "k": (1, 1000), "ef_search": (1, 1000), "probes": (1, 32768)}
NEIGHBOUR_LIMITS = {"k": (1, 1000), "probes": (1, 1000)}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read."""
    params = module.params
    for option, limits in (("recall", RECALL_LIMITS), ("neighbours", NEIGHBOUR_LIMITS)):
        if params[option]:
            check_limits(params[option], limits, where=f"{option}.")
    with Server.from_params(params).open("pgvector_info", module.warn) as session:
        answer = {"changed": False, "server": read_server(session), "builds": read_builds(session)}
        with session.transaction(snapshot=True):
            extension = _catalog.read_extension(session)
            tables = _tables(session, params["tables"])
            indexes = _catalog.find_indexes(session, tables=[table.oid for table in tables])
            rows = [_row(session, table, indexes, extension.schema, params) for table in tables]
    return {**answer, "extension": extension.as_dict(), "tables": rows}


def _tables(session: Session, names: list[str] | None) -> list[_catalog.Table]:
    if names is None:
        return _catalog.vector_tables(session)
    wanted = [(schema or "public", name) for schema, _dot, name in (name.rpartition(".") for name in names)]
    found = _catalog.find_tables(session, wanted)
    missing = [".".join(pair) for pair in wanted if pair not in found]
    if missing:
        raise NotFoundError(
            f"table {', '.join(missing)} does not exist in {session.server.name}",
            remedy="Make it with pgvector_table, or check the option tables",
        )
    return [found[pair] for pair in dict.fromkeys(wanted)]


def _row(
    session: Session,
    table: _catalog.Table,
    indexes: list[_catalog.Index],
    schema: str | None,
    params: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    probes = _probes.Probes(session, table, schema)
    return {
        "schema": table.schema,
        "name": table.name,
        "rows": probes.rows(),
        "size": session.value("SELECT pg_total_relation_size(%s::oid)", [table.oid]),
        "vector": table.vector and table.vector.as_dict(),
        "checksum": probes.checksum() if params["checksum"] else None,
        "neighbours": probes.neighbours(**params["neighbours"]) if params["neighbours"] else None,
        "recall": probes.recall(**params["recall"]) if params["recall"] else None,
        "indexes": [index.as_dict() for index in indexes if index.table_oid == table.oid],
    }


def main() -> None:
    """Entry point."""
    module = SPEC.create_module()
    require_library(module, "psycopg", _driver.HAS_PSYCOPG, _driver.PSYCOPG_IMPORT_ERROR)
    run(module, work)


if __name__ == "__main__":
    main()
