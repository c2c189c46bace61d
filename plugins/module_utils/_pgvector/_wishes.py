# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Vector indexes as declared, and how one that exists differs. Pure, but for the look at the catalogue.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import ConflictError, InvalidSpecError, NotFoundError
from ._catalog import Extension, Index, Table
from ._connection import Session
from ._vectors import PARAMETERS, VectorColumn, check_indexable, operator_class

NEW, OLD = "_new", "_old"


@dataclasses.dataclass(frozen=True)
class IndexWish:
    """An index as declared. What is ``None`` is pgvector's default for a new index, and left on one that exists."""

    name: str
    schema: str
    table: str
    column: str | None
    method: str
    distance: str | None
    m: int | None
    ef_construction: int | None
    lists: int | None
    tablespace: str | None
    state: str

    @classmethod
    def from_params(cls, row: t.Mapping[str, t.Any]) -> IndexWish:
        """Of one row of ``indexes``. :raises InvalidSpecError: names the field, the value and what is allowed."""
        wish = cls(**{field.name: row[field.name] for field in dataclasses.fields(cls)})
        if not 1 <= len(wish.name.encode()) <= 63 - len(NEW):
            raise InvalidSpecError(
                f"index {wish.full_name}: a name may have 1 to {63 - len(NEW)} bytes, since it is rebuilt beside itself"
            )
        for method, parameters in PARAMETERS.items():
            for key, (_default, low, high) in parameters.items():
                value = getattr(wish, key)
                if value is None:
                    continue
                if method != wish.method:
                    raise InvalidSpecError(f"index {wish.full_name}: {key} is for {method}, not for {wish.method}")
                if not low <= value <= high:
                    raise InvalidSpecError(f"index {wish.full_name}: {key} is {value}; allowed: {low} to {high}")
        if wish.method == "hnsw":
            width, depth = wish.parameters["m"], wish.parameters["ef_construction"]
            if depth < 2 * width and (wish.m or wish.ef_construction):
                raise InvalidSpecError(
                    f"index {wish.full_name}: ef_construction is {depth}; it must be at least twice m ({width})"
                )
        return wish

    @property
    def full_name(self) -> str:
        """``schema.index``."""
        return f"{self.schema}.{self.name}"

    @property
    def full_table(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.table}"

    @property
    def parameters(self) -> dict[str, int]:
        """Those of its method, with pgvector's defaults."""
        known = PARAMETERS[self.method]
        given = {key: getattr(self, key) for key in known}
        return {key: default if given[key] is None else given[key] for key, (default, _l, _h) in known.items()}

    def differences(self, index: Index, target: Target) -> dict[str, tuple[t.Any, t.Any]]:
        """What an existing index has otherwise: name of the parameter, as it is, as declared."""
        pairs: dict[str, tuple[t.Any, t.Any]] = {
            "column": (index.column, target.vector.column),
            "method": (index.method, self.method),
            "distance": (index.distance, target.distance),
        }
        if index.method == self.method:
            pairs.update({key: (index.parameters[key], getattr(self, key)) for key in index.parameters})
        pairs["tablespace"] = (index.tablespace, self.tablespace)
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and pair[1] is not None}


@dataclasses.dataclass(frozen=True)
class Target:
    """The table's column that an index is for."""

    table_oid: int
    vector: VectorColumn
    distance: str
    schema: str  # the extension's

    @property
    def operator_class(self) -> str:
        """Of its type and distance."""
        return operator_class(self.vector.type, self.distance)


def check_unique(wishes: t.Sequence[IndexWish]) -> None:
    """:raises InvalidSpecError: two indexes would get into each other's way."""
    names = [wish.full_name for wish in wishes]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSpecError(f"index {name} is declared twice")
        for suffix in (NEW, OLD):
            if name + suffix in names:
                raise InvalidSpecError(
                    f"index {name}{suffix} is declared beside {name}, whose rebuild needs that name",
                    remedy="Choose another name",
                )


def target_of(
    session: Session, wish: IndexWish, table: Table | None, extension: Extension, old: Index | None
) -> Target:
    """Check the table, its column and the distance. :raises AutoscaleError: the index cannot be."""
    where = f"index {wish.full_name} in {session.server.name}"
    if table is None:
        raise NotFoundError(
            f"{where}: its table {wish.full_table} does not exist", remedy="Make it first (pgvector_table)"
        )
    vector = table.vector
    if wish.column:
        column = table.column(wish.column)
        if column is None or column.vector is None:
            kinds = "does not exist" if column is None else f"is {column.type}"
            raise InvalidSpecError(f"{where}: column {wish.column} of {wish.full_table} {kinds}; it must be of vectors")
        vector = column.vector
    if vector is None:
        raise InvalidSpecError(f"{where}: table {wish.full_table} has no column of vectors")
    distance = wish.distance or vector.distance or (old.distance if old else None)
    if distance is None:
        raise InvalidSpecError(
            f"{where}: distance is missing, and the table's column does not tell one",
            remedy="Give distance, or declare the table with pgvector_table",
        )
    check_indexable(wish.method, vector, distance, where)
    target = Target(table.oid, vector, distance, extension.required(session))
    known = session.value(
        "SELECT EXISTS (SELECT 1 FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod"
        " JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE o.opcname = %s AND m.amname = %s AND n.nspname = %s)",
        [target.operator_class, wish.method, target.schema],
    )
    if not known:
        raise NotFoundError(
            f"{where}: extension vector {extension.version} has no {wish.method} index for {vector.type} by {distance}",
            remedy=f"Update it (pgvector_extension with state latest; the server has {extension.available})",
        )
    if old is not None and (old.table_oid != table.oid or old.method not in PARAMETERS):
        raise ConflictError(
            f"{where}: that name belongs to an index of {old.method} on table {old.schema}.{old.table}",
            remedy="Choose another name",
        )
    if old is not None and (old.partial or old.column is None):
        raise ConflictError(
            f"{where}: the existing one has a condition, an expression or several columns, which is not kept here",
            remedy="Choose another name, or drop it by hand",
        )
    return target
