# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Tables with a column of vectors: made, given columns, dropped. What would rewrite rows or lose them is refused.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._common._errors import AutoscaleError, ConflictError, InvalidSpecError, RefusedError
from ._catalog import Column, Extension, Table, find_tables, has_rows, read_extension
from ._connection import Session
from ._driver import psycopg, sql
from ._vectors import MAX_DIMENSION, VectorColumn, comment_with

#: Words for columns that count by themselves; what the column is then, and its name in the catalogue.
_SERIAL = {"smallserial": "smallint", "serial": "integer", "bigserial": "bigint"}
Command = tuple[t.Any, str]


@dataclasses.dataclass(frozen=True)
class Wish:
    """A table as declared."""

    schema: str
    name: str
    columns: tuple[dict[str, t.Any], ...]
    vector: VectorColumn | None
    owner: str | None
    state: str
    allow_drop: bool

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> t.Any:
        """For a command."""
        return sql.Identifier(self.schema, self.name)

    @classmethod
    def from_params(cls, row: t.Mapping[str, t.Any]) -> Wish:
        """Of one row of ``tables``. :raises InvalidSpecError: names the field, the value and what is allowed."""
        name = f"{row['schema']}.{row['name']}"
        vector = row["vector"] and VectorColumn(**row["vector"])
        columns = tuple(row["columns"] or ())
        names = [column["name"] for column in columns] + ([vector.column] if vector else [])
        doubled = sorted({column for column in names if names.count(column) > 1})
        if doubled:
            raise InvalidSpecError(f"table {name}: column {doubled[0]} is declared twice")
        for word in (row["schema"], row["name"], *names):
            if not 1 <= len(word.encode()) <= 63:
                raise InvalidSpecError(f"table {name}: the name '{word}' must have 1 to 63 bytes")
        if row["state"] == "present" and vector is None:
            raise InvalidSpecError(f"table {name}: vector is missing", remedy="Give its column and dimension")
        if vector and not 1 <= vector.dimension <= MAX_DIMENSION:
            raise InvalidSpecError(
                f"table {name}: vector.dimension is {vector.dimension}; allowed: 1 to {MAX_DIMENSION}"
            )
        plain = {key: row[key] for key in ("schema", "name", "owner", "state", "allow_drop")}
        return cls(columns=columns, vector=vector, **plain)


@dataclasses.dataclass
class Outcome:
    """A table before, what is done, and after."""

    wish: Wish
    before: Table | None
    commands: list[Command] = dataclasses.field(default_factory=list)
    changes: list[str] = dataclasses.field(default_factory=list)
    after: dict[str, t.Any] | None = None

    def add(self, command: t.Any, change: str) -> None:
        """One more command, and its change in words."""
        self.commands.append((command, f"change table {self.wish.full_name} ({change})"))
        self.changes.append(change)


def check_unique(wishes: t.Sequence[Wish]) -> None:
    """:raises InvalidSpecError: a table is declared twice."""
    names = [wish.full_name for wish in wishes]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSpecError(f"table {name} is declared twice")


def plan(session: Session, wishes: t.Sequence[Wish], *, check_mode: bool) -> list[Outcome]:
    """What has to be done, for all tables; nothing is changed. :raises AutoscaleError: what is refused."""
    extension = read_extension(session)
    needed = any(wish.state == "present" for wish in wishes)
    if needed and not (check_mode and extension.schema is None):  # a play in check mode has not installed it
        extension.required(session)
    found = find_tables(session, [(wish.schema, wish.name) for wish in wishes])
    types = canonical_types(session, [column["type"] for wish in wishes for column in wish.columns])
    outcomes = []
    for wish in wishes:
        outcome = Outcome(wish, found.get((wish.schema, wish.name)))
        if wish.state == "absent":
            _plan_drop(session, outcome)
        else:
            _plan_present(session, outcome, extension, types)
        outcomes.append(outcome)
    return outcomes


def apply(session: Session, outcomes: t.Sequence[Outcome]) -> None:
    """All tables in one transaction: a refusal leaves everything as it was."""
    with session.transaction():
        for outcome in outcomes:
            if outcome.wish.state == "absent" and outcome.commands and not outcome.wish.allow_drop:
                # Nobody may write between the look and the drop.
                session.run(sql.SQL("LOCK TABLE {}").format(outcome.wish.identifier), "lock the table to drop")
                _refuse_rows(session, outcome.wish)
            for command, what in outcome.commands:
                session.run(command, what)
    found = find_tables(session, [(outcome.wish.schema, outcome.wish.name) for outcome in outcomes])
    for outcome in outcomes:
        table = found.get((outcome.wish.schema, outcome.wish.name))
        outcome.after = table and describe(table, outcome.wish.vector)


def describe(table: Table, wanted: VectorColumn | None = None) -> dict[str, t.Any]:
    """A table for results and diffs; its vector column is *wanted*'s one where it has several."""
    column = table.column(wanted.column) if wanted else None
    vector = column.vector if column and column.vector else table.vector
    return {
        "owner": table.owner,
        "columns": [column.as_dict() for column in table.columns if not column.vector],
        "vector": vector and vector.as_dict(),
    }


def canonical_types(session: Session, types: t.Sequence[str]) -> dict[str, str]:
    """PostgreSQL's own spelling of each type. :raises InvalidSpecError: it knows no such type.

    A type is first proven to be one, and nothing more, since it has to stand in commands as it is.
    """
    spelled: dict[str, str] = {}
    for given in dict.fromkeys(types):
        plain = _SERIAL.get(given.strip().lower(), given)
        try:
            known = not any(mark in plain for mark in (";", "--", "/*")) and session.value(
                "SELECT to_regtype(%s)::text", [plain], what="look up a type"
            )
        except AutoscaleError as error:  # older servers fail where newer ones say NULL
            if not isinstance(error.__cause__, (psycopg.ProgrammingError, psycopg.DataError)):
                raise
            known = None
        if not known:
            raise InvalidSpecError(
                f"type '{given}' is not known in {session.server.name}",
                remedy="Give a type of PostgreSQL alone, such as bigint or varchar(20); a type of an extension needs "
                "its schema",
            )
        # The catalogue spells it with its modifier only for a column, such as that of an empty answer.
        with session.translated(f"look up the type {given}"):
            answer = session.connection.execute(sql.SQL("SELECT NULL::{} LIMIT 0").format(sql.SQL(plain))).pgresult
        spelled[given] = session.value("SELECT format_type(%s, %s)", [answer.ftype(0), answer.fmod(0)])
    return spelled


def _plan_drop(session: Session, outcome: Outcome) -> None:
    wish = outcome.wish
    if outcome.before is None:
        return
    if not wish.allow_drop:
        _refuse_rows(session, wish)
    outcome.add(sql.SQL("DROP TABLE {}").format(wish.identifier), "dropped")


def _refuse_rows(session: Session, wish: Wish) -> None:
    if has_rows(session, wish.identifier, sql):
        raise RefusedError(
            f"table {wish.full_name} in {session.server.name} has rows and is not dropped",
            remedy="Set allow_drop for it when they may be lost; nothing was changed",
        )


def _plan_present(session: Session, outcome: Outcome, extension: Extension, types: t.Mapping[str, str]) -> None:
    wish, table = outcome.wish, outcome.before
    vector = t.cast(VectorColumn, wish.vector)
    if table is None:
        _plan_create(outcome, extension, types)
    else:
        for wanted in wish.columns:
            _plan_column(session, outcome, wanted, table.column(wanted["name"]), types[wanted["type"]])
        _check_key(session, wish, table)
        _plan_vector(session, outcome, table, vector, extension)
    if wish.owner and (table is None or table.owner != wish.owner):
        outcome.add(
            sql.SQL("ALTER TABLE {} OWNER TO {}").format(wish.identifier, sql.Identifier(wish.owner)),
            f"owner {wish.owner}",
        )
    outcome.after = _predict(wish, table, types)


def _plan_create(outcome: Outcome, extension: Extension, types: t.Mapping[str, str]) -> None:
    wish = outcome.wish
    vector = t.cast(VectorColumn, wish.vector)
    parts = [_definition(column) for column in wish.columns] + [_vector_definition(vector, extension)]
    keys = [sql.Identifier(column["name"]) for column in wish.columns if column["primary_key"]]
    if keys:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(keys)))
    outcome.add(sql.SQL("CREATE TABLE {} ({})").format(wish.identifier, sql.SQL(", ").join(parts)), "created")
    outcome.commands.append(_comment(wish, vector, None))


def _plan_column(
    session: Session, outcome: Outcome, wanted: dict[str, t.Any], column: Column | None, spelled: str
) -> None:
    wish, name = outcome.wish, sql.Identifier(wanted["name"])
    if column is None:
        outcome.add(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(wish.identifier, _definition(wanted)),
            f"column {wanted['name']} {spelled} added",
        )
        return
    if column.type != spelled:
        raise _mismatch(session, wish, wanted["name"], column.type, spelled)
    if wanted["nullable"] is not None and not wanted["primary_key"] and wanted["nullable"] != column.nullable:
        verb = "DROP" if wanted["nullable"] else "SET"
        outcome.add(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} " + verb + " NOT NULL").format(wish.identifier, name),
            f"column {wanted['name']} {'may' if wanted['nullable'] else 'must not'} be null",
        )


def _plan_vector(session: Session, outcome: Outcome, table: Table, wanted: VectorColumn, extension: Extension) -> None:
    wish, column = outcome.wish, table.column(wanted.column)
    declared = f"{wanted.type}({wanted.dimension})"
    if column is None:
        outcome.add(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(wish.identifier, _vector_definition(wanted, extension)),
            f"column {wanted.column} {declared} added",
        )
        outcome.commands.append(_comment(wish, wanted, None))
        return
    found = column.vector
    if found is None or (found.type, found.dimension) != (wanted.type, wanted.dimension):
        raise _mismatch(session, wish, wanted.column, column.type, declared)
    if found.distance == wanted.distance:
        return
    if found.distance and has_rows(session, wish.identifier, sql):
        raise ConflictError(
            f"table {wish.full_name} in {session.server.name} is searched by {found.distance}, and declared with the "
            f"distance {wanted.distance}; it has rows, so its searches and indexes would not fit any more",
            remedy=f"Declare {found.distance}, or make a new table; an index may name a distance of its own",
        )
    command, _what = _comment(wish, wanted, column.comment)
    outcome.add(command, f"distance {wanted.distance}")


def _check_key(session: Session, wish: Wish, table: Table) -> None:
    declared = tuple(column["name"] for column in wish.columns if column["primary_key"])
    if declared and declared != table.key:
        raise ConflictError(
            f"table {wish.full_name} in {session.server.name} has the primary key ({', '.join(table.key)}), "
            f"and is declared with ({', '.join(declared)})",
            remedy="A primary key is not changed here; declare it as it is, or make a new table",
        )


def _mismatch(session: Session, wish: Wish, column: str, found: str, declared: str) -> ConflictError:
    return ConflictError(
        f"column {column} of table {wish.full_name} in {session.server.name} is {found}, and is declared as {declared}",
        remedy="A type or dimension is not changed, as that rewrites or loses rows: declare it as it is, or make a new "
        "column or table, fill it and change over; nothing was changed",
    )


def _definition(column: t.Mapping[str, t.Any]) -> t.Any:
    # Type and default are SQL by contract; the type has been proven to be one.
    parts = [sql.Identifier(column["name"]), sql.SQL(column["type"])]
    if column["default"] is not None:
        parts.append(sql.SQL("DEFAULT {}").format(sql.SQL(column["default"])))
    if column["nullable"] is False:
        parts.append(sql.SQL("NOT NULL"))
    return sql.SQL(" ").join(parts)


def _vector_definition(vector: VectorColumn, extension: Extension) -> t.Any:
    return sql.SQL("{} {}({})").format(
        sql.Identifier(vector.column),
        sql.Identifier(extension.schema or "public", vector.type),
        sql.Literal(vector.dimension),
    )


def _comment(wish: Wish, vector: VectorColumn, old: str | None) -> Command:
    text = comment_with(old, t.cast(str, vector.distance))
    return (
        sql.SQL("COMMENT ON COLUMN {} IS {}").format(
            sql.Identifier(wish.schema, wish.name, vector.column), sql.Literal(text)
        ),
        f"write the distance of table {wish.full_name}",
    )


def _predict(wish: Wish, table: Table | None, types: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The table as it will be, for check mode and the diff."""
    known = {column.name: column.as_dict() for column in table.columns if not column.vector} if table else {}
    for wanted in wish.columns:
        old = known.get(wanted["name"])
        if old is None:
            nullable = wanted["nullable"] is not False and not wanted["primary_key"]
            plain = {key: wanted[key] for key in ("name", "default", "primary_key")}
            known[wanted["name"]] = {**plain, "type": types[wanted["type"]], "nullable": nullable}
        elif wanted["nullable"] is not None and not old["primary_key"]:
            known[wanted["name"]] = {**old, "nullable": wanted["nullable"]}
    vector = t.cast(VectorColumn, wish.vector)
    owner = wish.owner or (table.owner if table else None)
    return {"owner": owner, "columns": list(known.values()), "vector": vector.as_dict()}
