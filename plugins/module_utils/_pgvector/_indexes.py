# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Vector indexes: built beside what serves, given the name in one transaction; what a killed run left is carried on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._common._errors import AutoscaleError, ConflictError, RefusedError, WaitTimeoutError
from .._common._waiter import Waiter
from ._build import build
from ._catalog import Extension, Index, Table, find_indexes, find_tables, read_extension
from ._connection import Session
from ._driver import sql
from ._errors import sqlstate
from ._vectors import METHODS
from ._wishes import NEW, OLD, IndexWish, Target, target_of

#: Seconds between two looks at a lock that another run holds.
LOOK_S = 0.5
#: Seconds that the removal of a failed build waits for others.
TIDY_S = 3


@dataclasses.dataclass(frozen=True)
class How:
    """How indexes are built."""

    concurrently: bool = True
    maintenance_work_mem: str | None = None
    max_parallel_workers: int | None = None
    wait_timeout: int = 7200


@dataclasses.dataclass
class Outcome:
    """An index before and after, and what was done: none, created, rebuilt, finished, removed."""

    wish: IndexWish
    before: Index | None = None
    after: dict[str, t.Any] | None = None
    changed: bool = False
    action: str = "none"
    valid: bool = False
    size: int = 0
    seconds: float = 0.0
    progress: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    warning: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        """The row for results."""
        parameters = {key: value for key, value in (self.after or {}).items() if key not in ("method", "table")}
        return {
            "name": self.wish.name,
            "schema": self.wish.schema,
            "table": self.wish.table,
            "method": self.wish.method,
            "parameters": parameters,
            **{key: getattr(self, key) for key in ("valid", "size", "changed", "action", "seconds", "progress")},
        }


def describe(index: Index | None) -> dict[str, t.Any] | None:
    """An index for diffs."""
    if index is None or not index.valid:
        return None
    place = {"tablespace": index.tablespace} if index.tablespace else {}
    return {"method": index.method, "column": index.column, "distance": index.distance, **index.parameters, **place}


class Indexer:
    """Brings the indexes of one call to their declaration, one after the other."""

    def __init__(self, session: Session, how: How, *, check_mode: bool) -> None:
        self.session = session
        self.how = how
        self.check_mode = check_mode
        self.extension: Extension = read_extension(session)
        self.outcomes: list[Outcome] = []

    def bring(self, wishes: t.Sequence[IndexWish]) -> list[Outcome]:
        """All of them. Everything is checked before the first is touched.

        :raises AutoscaleError: its result has the rows of those that were done.
        """
        tables = find_tables(self.session, [(wish.schema, wish.table) for wish in wishes])
        for wish in wishes:
            if wish.state == "present" and not (self.check_mode and (wish.schema, wish.table) not in tables):
                self._target(wish, tables)
        for wish in wishes:
            outcome = Outcome(wish)
            self.outcomes.append(outcome)
            try:
                self._bring_one(outcome, tables)
            except AutoscaleError as error:
                error.result.setdefault("indexes", [done.as_dict() for done in self.outcomes])
                error.result.setdefault("changed", any(done.changed for done in self.outcomes))
                raise
        return self.outcomes

    # ---- one index ---------------------------------------------------------------------------------------------------
    def _bring_one(self, outcome: Outcome, tables: t.Mapping[tuple[str, str], Table]) -> None:
        wish = outcome.wish
        known = self._ours(wish)
        outcome.before = known.get(wish.name)
        if wish.state == "absent":
            self._remove(outcome, bool(known))
            return
        if self.check_mode and (wish.schema, wish.table) not in tables:  # made by the task before this one
            outcome.changed, outcome.action = True, "created"
            outcome.after = {"method": wish.method, "column": wish.column, "distance": wish.distance, **wish.parameters}
            return
        target = self._target(wish, tables)
        if wish.distance and target.vector.distance not in (None, wish.distance):
            outcome.warning = (
                f"index {wish.full_name} is for {wish.distance}, while table {wish.full_table} is searched by "
                f"{target.vector.distance}: those searches do not use it"
            )
        if not self._is_right(wish, known, target):
            if self.check_mode:
                current = known.get(wish.name)
                ready = self._fits(wish, known.get(wish.name + NEW), target)
                outcome.changed = True
                outcome.action = _action(current, ready)
                outcome.after = self._predict(wish, target, current)
                return
            self._require_writable(wish)
            with _Locked(self):
                self._work(outcome, target)
        index = self._ours(wish)[wish.name]
        outcome.valid, outcome.size, outcome.after = index.valid, index.size, describe(index)

    def _work(self, outcome: Outcome, target: Target) -> None:
        """Alone: nobody else of this collection changes this index."""
        wish = outcome.wish
        known = self._ours(wish)  # again, as another run may have done it meanwhile
        outcome.before = known.get(wish.name)
        current, new, old = (known.get(wish.name + suffix) for suffix in ("", NEW, OLD))
        if current and current.valid and not self._fits(wish, current, target):
            self._check_names(wish, NEW, OLD)
        if old:
            self._drop(old)
        if current and not current.valid:
            self._drop(current)
            current = None
        if new and not (self._fits(wish, new, target) and not self._fits(wish, current, target)):
            self._drop(new)
            new = None
        if self._fits(wish, current, target):
            outcome.changed = bool(old or known.get(wish.name + NEW))
            outcome.action = "finished" if outcome.changed else "none"
            return
        outcome.action = _action(current, bool(new))
        if new is None:
            self._build(outcome, target, wish.name + NEW if current else wish.name, replaces=current is not None)
        outcome.changed = True
        if current:
            self._swap(wish, current)
        elif new is not None:
            self._rename(wish, wish.name + NEW, wish.name)

    def _remove(self, outcome: Outcome, exists: bool) -> None:
        wish = outcome.wish
        self._check_names(wish, "")
        if not exists:
            return
        outcome.changed, outcome.action = True, "removed"
        if not self.check_mode:
            with _Locked(self):
                for index in self._ours(wish).values():
                    self._drop(index)

    # ---- looks -------------------------------------------------------------------------------------------------------
    def _known(self, wish: IndexWish) -> dict[str, Index]:
        names = [(wish.schema, wish.name + suffix) for suffix in ("", NEW, OLD)]
        return {index.name: index for index in find_indexes(self.session, names=names)}

    def _ours(self, wish: IndexWish) -> dict[str, Index]:
        """The index and what a rebuild of it left; what has such a name by chance is not in it."""
        known = self._known(wish)
        return {name: index for name, index in known.items() if index.table == wish.table and index.method in METHODS}

    def _target(self, wish: IndexWish, tables: t.Mapping[tuple[str, str], Table]) -> Target:
        table, old = tables.get((wish.schema, wish.table)), self._known(wish).get(wish.name)
        return target_of(self.session, wish, table, self.extension, old)

    @staticmethod
    def _fits(wish: IndexWish, index: Index | None, target: Target) -> bool:
        return index is not None and index.valid and not wish.differences(index, target)

    def _is_right(self, wish: IndexWish, known: t.Mapping[str, Index], target: Target) -> bool:
        return len(known) == 1 and self._fits(wish, known.get(wish.name), target)

    def _predict(self, wish: IndexWish, target: Target, current: Index | None) -> dict[str, t.Any]:
        kept = current.parameters if current and current.method == wish.method else {}
        parameters = {
            key: value if getattr(wish, key) is not None else kept.get(key, value)
            for key, value in wish.parameters.items()
        }
        place = {"tablespace": wish.tablespace} if wish.tablespace else {}
        head = {"method": wish.method, "column": target.vector.column, "distance": target.distance}
        return {**head, **parameters, **place}

    def _check_names(self, wish: IndexWish, *suffixes: str) -> None:
        """:raises ConflictError: somebody else's index has a name that is needed now."""
        ours = self._ours(wish)
        for name, index in self._known(wish).items():
            if name not in ours and name in [wish.name + suffix for suffix in suffixes]:
                raise ConflictError(
                    f"index {index.schema}.{name} in {self.session.server.name} is one of {index.method} on table "
                    f"{index.table}, and in the way of index {wish.full_name} on {wish.full_table}",
                    remedy=f"Rename it, or choose another name; a rebuild needs the name with {NEW} and {OLD} too",
                )

    def _require_writable(self, wish: IndexWish) -> None:
        if self.session.value("SELECT pg_is_in_recovery()"):
            raise RefusedError(
                f"cannot build index {wish.full_name} on {self.session.server.name}: it is a read-only standby",
                remedy="Point host and port to the primary; the index comes to its standbys by itself",
            )

    # ---- commands ----------------------------------------------------------------------------------------------------
    def _build(self, outcome: Outcome, target: Target, name: str, *, replaces: bool) -> None:
        wish = outcome.wish
        settings = {
            "maintenance_work_mem": self.how.maintenance_work_mem,
            "max_parallel_maintenance_workers": self.how.max_parallel_workers,
        }
        self.session.configure({key: str(value) for key, value in settings.items() if value is not None})
        command = self._create_command(wish, target, name, outcome.before)
        done = build(self.session, command, f"build index {wish.full_name}", timeout=self.how.wait_timeout)
        outcome.seconds, outcome.progress = done.seconds, done.progress
        if done.error:
            raise self._failed(wish, name, done.error, replaces) from done.error

    def _create_command(self, wish: IndexWish, target: Target, name: str, current: Index | None) -> t.Any:
        wanted = self._predict(wish, target, current)
        options = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(wanted[key])) for key in wish.parameters
        )
        tablespace = wish.tablespace or (current.tablespace if current else None)
        return sql.SQL(
            "CREATE INDEX {now} {name} ON {table} USING {method} ({column} {opclass}) WITH ({options})"
        ).format(
            now=self._concurrently(),
            name=sql.Identifier(name),
            table=sql.Identifier(wish.schema, wish.table),
            method=sql.Identifier(wish.method),
            column=sql.Identifier(target.vector.column),
            opclass=sql.Identifier(target.schema, target.operator_class),
            options=options,
        ) + (sql.SQL(" TABLESPACE {}").format(sql.Identifier(tablespace)) if tablespace else sql.SQL(""))

    def _failed(self, wish: IndexWish, name: str, error: AutoscaleError, replaces: bool) -> AutoscaleError:
        """The error with what is left of the build: nothing, where the server still listens."""
        state = sqlstate(error.__cause__) if error.__cause__ else ""
        kept = "; the old index still serves" if replaces else ""
        try:
            leftover = self._known(wish).get(name)
            if leftover and not leftover.valid:
                # Who held the build up may hold this up too.
                self.session.limit(self.session.server.statement_timeout, TIDY_S)
                self._drop(leftover)
            left = "what it left was removed"
        except AutoscaleError:
            left = f"what it left ({name}, invalid) is removed by the next call"
        remedy = error.remedy
        if state == "57014":
            seconds = self.how.wait_timeout
            return WaitTimeoutError(
                f"index {wish.full_name} in {self.session.server.name} was not built within {seconds} s, and the "
                f"build was cancelled; {left}{kept}",
                remedy="Raise wait_timeout or maintenance_work_mem; a build also waits for every older transaction",
            )
        return type(error)(f"{error.message}; {left}{kept}", remedy=remedy)

    def _swap(self, wish: IndexWish, current: Index) -> None:
        """The new one takes the name; a search finds either, and never none."""
        with self.session.transaction():
            self._rename(wish, wish.name, wish.name + OLD)
            self._rename(wish, wish.name + NEW, wish.name)
        self._drop(dataclasses.replace(current, name=wish.name + OLD))

    def _rename(self, wish: IndexWish, old: str, new: str) -> None:
        command = sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(wish.schema, old), sql.Identifier(new))
        self.session.run(command, f"rename index {wish.schema}.{old} to {new}")

    def _drop(self, index: Index) -> None:
        command = sql.SQL("DROP INDEX {} IF EXISTS {}").format(
            self._concurrently(), sql.Identifier(index.schema, index.name)
        )
        self.session.run(command, f"remove index {index.schema}.{index.name}")

    def _concurrently(self) -> t.Any:
        return sql.SQL("CONCURRENTLY" if self.how.concurrently else "")


class _Locked:
    """An advisory lock of the server for one index, so that two runs do not build it twice.

    It is tried, not waited for: a waiting statement holds a snapshot, which a concurrent build would wait for.
    """

    def __init__(self, indexer: Indexer) -> None:
        self.session = indexer.session
        self.wish = indexer.outcomes[-1].wish
        self.timeout = indexer.how.wait_timeout

    def __enter__(self) -> None:
        Waiter(self.timeout, LOOK_S).until(
            self._try,
            bool,
            f"the end of another run that works on index {self.wish.full_name} in {self.session.server.name}",
            remedy="Look in pg_stat_activity for onprem.autoscale; a run that was killed ends there within seconds",
        )

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(AutoscaleError):  # a connection that is gone has given it back
            self.session.value("SELECT pg_advisory_unlock(" + self._KEY, [self._name])

    _KEY = "hashtextextended(%s, 0))"

    @property
    def _name(self) -> str:
        return f"onprem.autoscale index {self.wish.full_name}"

    def _try(self) -> bool:
        return self.session.value("SELECT pg_try_advisory_lock(" + self._KEY, [self._name])


def _action(current: Index | None, ready: bool) -> str:
    if ready:
        return "finished"
    return "rebuilt" if current and current.valid else "created"
