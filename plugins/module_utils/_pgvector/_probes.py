# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What is asked of a table in one snapshot: rows, checksum, neighbours, recall.
"""

from __future__ import annotations

import json
import math
import typing as t

from ._catalog import Table
from ._connection import Session
from ._driver import sql
from ._vectors import DISTANCES, VectorColumn

#: Of a search with an index: setting, lowest, highest.
SETTINGS = {"ef_search": "hnsw.ef_search", "probes": "ivfflat.probes"}


class Probes:
    """Questions to one table. The caller holds the snapshot."""

    def __init__(self, session: Session, table: Table, extension_schema: str | None) -> None:
        self.session = session
        self.table = table
        self.identifier = sql.Identifier(table.schema, table.name)
        self.extension_schema = extension_schema or "public"

    @property
    def vector(self) -> VectorColumn | None:
        """The column that neighbours and recall are about."""
        return self.table.vector

    def rows(self) -> int:
        """How many there are."""
        return self.session.value(sql.SQL("SELECT count(*) FROM {}").format(self.identifier), what=self._what("count"))

    def checksum(self) -> str:
        """Of all rows, whatever their order and place: the sum of a 64-bit hash of each row's text."""
        query = sql.SQL("SELECT coalesce(sum({}::numeric), 0)::text FROM {} AS autoscale_row")
        return self.session.value(
            query.format(sql.SQL(_ROW_HASH), self.identifier), what=self._what("compute the checksum of")
        )

    def neighbours(self, k: int, probes: int) -> list[dict[str, t.Any]]:
        """The *k* rows nearest to each of the first *probes* rows by primary key, found without an index."""
        if self.vector is None:
            return []
        answers = []
        sampled = self._sample(probes, self._order)
        self._plan_with(index=False)
        for probe in sampled:
            found = self._nearest(probe["vector"], k + 1, stable=True)
            others = _without(found, probe["key"])[:k]
            answers.append(
                {
                    "id": probe["key"],
                    "neighbours": [row["key"] for row in others],
                    "distances": [round(row["distance"], 6) for row in others],
                }
            )
        return answers

    def recall(self, k: int, sample: int, ef_search: int | None, probes: int | None) -> dict[str, t.Any] | None:
        """How many of the true *k* nearest an index finds, on average over *sample* stored rows.

        A row that is as near as the last true one counts, whichever of them the index chose.
        """
        if self.vector is None:
            return None
        self._set(ef_search, probes)
        by_chance = sql.SQL("hashtextextended({key}, 0), {key}").format(key=self._key)
        sampled = self._sample(sample, by_chance)
        self._plan_with(index=False)
        truths = [(probe, self._others(probe, k)) for probe in sampled]
        self._plan_with(index=True)
        shares = []
        for probe, exact in truths:
            if not exact or any(math.isnan(row["distance"]) for row in exact):
                continue  # the null vector has no angle
            limit = exact[-1]["distance"]
            limit += 1e-9 * abs(limit) + 1e-12
            shares.append(sum(row["distance"] <= limit for row in self._others(probe, k)) / len(exact))
        index = self._index_used(sampled[0], k + 1) if sampled else None
        return {
            "recall": round(sum(shares) / len(shares), 4) if shares else None,
            "k": k,
            "sample": len(shares),
            "ef_search": self._setting("ef_search"),
            "probes": self._setting("probes"),
            "distance": self._distance,
            "index_used": index is not None,
            "index": index,
        }

    # ---- parts -------------------------------------------------------------------------------------------------------
    @property
    def _distance(self) -> str:
        return (self.vector and self.vector.distance) or "l2"

    @property
    def _key(self) -> t.Any:
        """A row's name: its primary key as text; without one, the hash of the row."""
        if not self.table.key:
            return sql.SQL("({})::text").format(sql.SQL(_ROW_HASH))
        parts = [sql.SQL("autoscale_row.{}::text").format(sql.Identifier(name)) for name in self.table.key]
        return parts[0] if len(parts) == 1 else sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(parts))

    @property
    def _order(self) -> t.Any:
        if not self.table.key:
            return self._key
        return sql.SQL(", ").join(sql.SQL("autoscale_row.{}").format(sql.Identifier(name)) for name in self.table.key)

    @property
    def _column(self) -> t.Any:
        return sql.SQL("autoscale_row.{}").format(sql.Identifier(t.cast(VectorColumn, self.vector).column))

    def _sample(self, count: int, order: t.Any) -> list[dict[str, t.Any]]:
        query = sql.SQL(
            "SELECT {} AS key, {}::text AS vector FROM {} AS autoscale_row WHERE {} IS NOT NULL ORDER BY {} LIMIT %s"
        )
        query = query.format(self._key, self._column, self.identifier, self._column, order)
        return self.session.rows(query, [count], what=self._what("take a sample of"))

    def _search(self, *, stable: bool = False) -> t.Any:
        """The query of users; *stable* settles ties, which an index could not."""
        vector = t.cast(VectorColumn, self.vector)
        distance = sql.SQL("{} OPERATOR({}.{}) %(vector)s::{}").format(
            self._column,
            sql.Identifier(self.extension_schema),
            sql.SQL(DISTANCES[self._distance].operator),
            sql.Identifier(self.extension_schema, vector.type),
        )
        # Rounded, as processors differ in the last digits of a sum.
        order = sql.SQL("round(({})::numeric, 6), {}").format(distance, self._order) if stable else distance
        return sql.SQL(
            "SELECT {key} AS key, {distance} AS distance FROM {table} AS autoscale_row{where}"
            " ORDER BY {order} LIMIT %(k)s"
        ).format(
            key=self._key,
            distance=distance,
            table=self.identifier,
            where=sql.SQL(" WHERE {} IS NOT NULL").format(self._column) if stable else sql.SQL(""),
            order=order,
        )

    def _others(self, probe: t.Mapping[str, t.Any], k: int) -> list[dict[str, t.Any]]:
        """The *k* rows nearest to a stored one, without itself."""
        return _without(self._nearest(probe["vector"], k + 1), probe["key"])[:k]

    def _nearest(self, vector: str, k: int, *, stable: bool = False) -> list[dict[str, t.Any]]:
        """By the plan that :meth:`_plan_with` chose last."""
        query = self._search(stable=stable)
        rows = self.session.rows(query, {"vector": vector, "k": k}, what=self._what("search"))
        return [row for row in rows if row["distance"] is not None]

    def _plan_with(self, *, index: bool) -> None:
        names = {"enable_indexscan": index, "enable_bitmapscan": index, "enable_seqscan": not index}
        for name, on in names.items():
            self.session.run(sql.SQL(f"SET LOCAL {name} = {'on' if on else 'off'}"), "choose the plan")

    def _set(self, ef_search: int | None, probes: int | None) -> None:
        # The settings exist from the first use of the type in a session on.
        kind = sql.Identifier(self.extension_schema, t.cast(VectorColumn, self.vector).type)
        self.session.rows(sql.SQL("SELECT '[1]'::{}").format(kind))
        for key, value in (("ef_search", ef_search), ("probes", probes)):
            if value is not None:
                self.session.rows("SELECT set_config(%s, %s, true)", [SETTINGS[key], str(value)], what=f"set {key}")

    def _setting(self, key: str) -> int | None:
        value = self.session.value("SELECT current_setting(%s, true)", [SETTINGS[key]])
        return int(value) if value else None

    def _index_used(self, probe: t.Mapping[str, t.Any], k: int) -> str | None:
        """The index of the search's plan, of pgvector's kind or not at all."""
        query = sql.SQL("EXPLAIN (FORMAT JSON) ") + self._search()
        answer = self.session.value(query, {"vector": probe["vector"], "k": k}, what=self._what("plan a search of"))
        plan = json.loads(answer) if isinstance(answer, str) else answer
        return next(_indexes_of(plan[0]["Plan"]), None)

    def _what(self, verb: str) -> str:
        return f"{verb} table {self.table.full_name}"


_ROW_HASH = 'hashtextextended((autoscale_row::text) COLLATE "C", 0)'


def _without(rows: t.Sequence[dict[str, t.Any]], key: str) -> list[dict[str, t.Any]]:
    return [row for row in rows if row["key"] != key]


def _indexes_of(node: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    if node.get("Index Name") and node.get("Order By"):
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        yield from _indexes_of(child)
