# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What the database's catalogue says of the extension, of tables and of vector indexes.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import RefusedError
from ._connection import Session
from ._vectors import PARAMETERS, TYPES, VectorColumn, distance_in, distance_of


@dataclasses.dataclass(frozen=True)
class Extension:
    """The extension ``vector`` in this database."""

    version: str | None  # what is installed
    available: str | None  # what the server would install
    schema: str | None

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        return dataclasses.asdict(self)

    def required(self, session: Session) -> str:
        """Its schema. :raises RefusedError: it is not installed."""
        if self.schema is None:
            raise RefusedError(
                f"the extension vector is not installed in {session.server.name}",
                remedy="Run pgvector_extension first",
            )
        return self.schema


@dataclasses.dataclass(frozen=True)
class Column:
    """A column as it is."""

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key: bool
    comment: str | None
    vector: VectorColumn | None

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        return {key: getattr(self, key) for key in ("name", "type", "nullable", "default", "primary_key")}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as it is."""

    oid: int
    schema: str
    name: str
    owner: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # columns of the primary key, in its order

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def vector(self) -> VectorColumn | None:
        """Its first column of vectors."""
        return next((column.vector for column in self.columns if column.vector), None)


@dataclasses.dataclass(frozen=True)
class Index:
    """An index of pgvector as it is."""

    oid: int
    schema: str
    name: str
    table_oid: int
    table: str
    column: str | None  # None: an expression
    method: str
    distance: str | None
    parameters: dict[str, int]
    tablespace: str | None  # None: the database's
    partial: bool
    valid: bool
    size: int
    scans: int

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        parameters = {"distance": self.distance, **self.parameters}
        return {
            "name": self.name,
            "method": self.method,
            "parameters": parameters,
            "size": self.size,
            "scans": self.scans,
            "valid": self.valid,
        }


def read_extension(session: Session) -> Extension:
    """The extension, installed or not."""
    return Extension(
        **session.row(
            "SELECT e.extversion AS version, a.default_version AS available, n.nspname AS schema FROM (SELECT 1) AS one"
            " LEFT JOIN pg_available_extensions a ON a.name = 'vector'"
            " LEFT JOIN pg_extension e ON e.extname = 'vector' LEFT JOIN pg_namespace n ON n.oid = e.extnamespace"
        )
    )


def find_tables(session: Session, names: t.Sequence[tuple[str, str]]) -> dict[tuple[str, str], Table]:
    """Those of (schema, name) that exist."""
    rows = session.rows(
        " ".join((_TABLES, "AND (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))")),
        [[schema for schema, _name in names], [name for _schema, name in names]],
    )
    return {(table.schema, table.name): table for table in _tables(session, rows)}


def vector_tables(session: Session) -> list[Table]:
    """All tables with a vector column that this role may read."""
    rows = session.rows(
        " ".join((_TABLES, _WITH_VECTORS)),
        [list(TYPES)],
    )
    return _tables(session, rows)


_WITH_VECTORS = (
    "AND NOT c.relispartition AND c.relpersistence <> 't'"
    " AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    " AND EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    " JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'"
    " JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid"
    " WHERE a.attrelid = c.oid AND NOT a.attisdropped AND e.extname = 'vector' AND t.typname = ANY(%s))"
    " ORDER BY n.nspname, c.relname"
)


def has_rows(session: Session, identifier: t.Any, sql: t.Any) -> bool:
    """Whether a table has any row."""
    return session.value(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(identifier))


_TABLES = (
    "SELECT c.oid, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p')"
)


def _tables(session: Session, rows: list[dict[str, t.Any]]) -> list[Table]:
    found: dict[int, list[dict[str, t.Any]]] = {row["oid"]: [] for row in rows}
    for column in session.rows(
        "SELECT a.attrelid AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,"
        " t.typname AS plain, a.atttypmod AS modifier, NOT a.attnotnull AS nullable,"
        " pg_get_expr(d.adbin, d.adrelid) AS default, col_description(a.attrelid, a.attnum) AS comment,"
        " array_position(k.conkey, a.attnum) AS place,"
        " EXISTS (SELECT 1 FROM pg_depend p JOIN pg_extension e ON e.oid = p.refobjid AND e.extname = 'vector'"
        "  WHERE p.classid = 'pg_type'::regclass AND p.objid = t.oid AND p.deptype = 'e') AS ours"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'"
        " WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum",
        [list(found)],
    ):
        found[column["oid"]].append(column)
    return [_table(row, found[row["oid"]]) for row in rows]


def _table(row: dict[str, t.Any], columns: list[dict[str, t.Any]]) -> Table:
    keys = sorted((column for column in columns if column["place"]), key=_place)
    return Table(**row, columns=tuple(map(_column, columns)), key=tuple(column["name"] for column in keys))


def _place(column: dict[str, t.Any]) -> int:
    return column["place"]


def _column(row: dict[str, t.Any]) -> Column:
    vector = None
    if row["ours"] and row["plain"] in TYPES:
        dimension = row["modifier"] if row["modifier"] > 0 else None
        vector = VectorColumn(row["name"], row["plain"], dimension, distance_in(row["comment"]))
    plain = {key: row[key] for key in ("name", "type", "nullable", "default", "comment")}
    return Column(**plain, primary_key=bool(row["place"]), vector=vector)


def find_indexes(
    session: Session, *, names: t.Sequence[tuple[str, str]] = (), tables: t.Sequence[int] = ()
) -> list[Index]:
    """Indexes of pgvector by (schema, name), or of tables by oid. Others of those names come with their own method."""
    rows = session.rows(
        "SELECT c.oid, n.nspname AS schema, c.relname AS name, x.indrelid AS table_oid, r.relname AS table,"
        " a.attname AS column, m.amname AS method, o.opcname AS opclass, s.spcname AS tablespace,"
        " x.indpred IS NOT NULL OR x.indnkeyatts > 1 AS partial, x.indisvalid AND x.indisready AS valid,"
        " c.reloptions AS options, pg_relation_size(c.oid) AS size, coalesce(u.idx_scan, 0) AS scans"
        " FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_class r ON r.oid = x.indrelid JOIN pg_am m ON m.oid = c.relam"
        " JOIN pg_opclass o ON o.oid = x.indclass[0] LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace"
        " LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0] AND a.attnum > 0"
        " LEFT JOIN pg_stat_all_indexes u ON u.indexrelid = c.oid"
        " WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
        " OR x.indrelid = ANY(%s::oid[]) AND m.amname = ANY(%s) ORDER BY n.nspname, c.relname",
        [[schema for schema, _name in names], [name for _schema, name in names], list(tables), list(PARAMETERS)],
    )
    return [_index(row) for row in rows]


def _index(row: dict[str, t.Any]) -> Index:
    given = dict(option.split("=", 1) for option in row.pop("options") or ())
    known = PARAMETERS.get(row["method"], {})
    parameters = {key: int(given.get(key, default)) for key, (default, _low, _high) in known.items()}
    return Index(distance=distance_of(row.pop("opclass")), parameters=parameters, **row)
