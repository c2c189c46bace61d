# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

pgvector's own words: types, distances, operators, operator classes, limits.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._common._errors import InvalidSpecError

TYPES = ("vector", "halfvec")
METHODS = ("hnsw", "ivfflat")
#: How many components a column may have, and how many of them an index can take (pgvector 0.8).
MAX_DIMENSION = 16000
MAX_INDEXED = {"vector": 2000, "halfvec": 4000}


class Distance(t.NamedTuple):
    """A measure of nearness."""

    operator: str
    suffix: str


DISTANCES = {
    "cosine": Distance("<=>", "cosine"),
    "l2": Distance("<->", "l2"),
    "inner_product": Distance("<#>", "ip"),
    "l1": Distance("<+>", "l1"),
}
_BY_SUFFIX = {distance.suffix: name for name, distance in DISTANCES.items()}
#: Parameters of an index: default, lowest, highest.
PARAMETERS = {
    "hnsw": {"m": (16, 2, 100), "ef_construction": (64, 4, 1000)},
    "ivfflat": {"lists": (100, 1, 32768)},
}
_COMMENT = re.compile(r"onprem\.autoscale: distance=(\w+)")


def operator_class(kind: str, distance: str) -> str:
    """``vector_cosine_ops`` and its like."""
    return f"{kind}_{DISTANCES[distance].suffix}_ops"


def distance_of(opclass: str) -> str | None:
    """The distance that an operator class is for; ``None`` for one of something else."""
    found = re.fullmatch(r"(?:vector|halfvec|sparsevec)_(\w+)_ops", opclass)
    return _BY_SUFFIX.get(found[1]) if found else None


def distance_in(comment: str | None) -> str | None:
    """The distance that a column's comment tells."""
    found = _COMMENT.search(comment or "")
    return found[1] if found and found[1] in DISTANCES else None


def comment_with(comment: str | None, distance: str) -> str:
    """*comment* with that distance; what somebody else wrote in it stays."""
    line = f"onprem.autoscale: distance={distance}"
    if comment and _COMMENT.search(comment):
        return _COMMENT.sub(line, comment)
    return f"{comment}\n{line}" if comment else line


@dataclasses.dataclass(frozen=True)
class VectorColumn:
    """A column of vectors."""

    column: str
    type: str
    dimension: int | None
    distance: str | None

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        return dataclasses.asdict(self)


def check_indexable(method: str, vector: VectorColumn, distance: str, where: str) -> None:
    """Refuse what pgvector would refuse, or could not do. :raises InvalidSpecError: with what is possible."""
    if method == "ivfflat" and distance == "l1":
        raise InvalidSpecError(f"{where}: ivfflat has no distance l1", remedy="Use method hnsw, or another distance")
    if vector.dimension is None:
        raise InvalidSpecError(
            f"{where}: column {vector.column} has no dimension, and only vectors of one dimension can be indexed",
            remedy=f"Make a column of the type {vector.type}(n)",
        )
    limit = MAX_INDEXED[vector.type]
    if vector.dimension > limit:
        raise InvalidSpecError(
            f"{where}: column {vector.column} has {vector.dimension} dimensions; "
            f"an index takes {limit} of {vector.type}",
            remedy="Use the type halfvec, of which an index takes 4000"
            if vector.type == "vector" and vector.dimension <= MAX_INDEXED["halfvec"]
            else "Use a model with fewer dimensions, or store shortened vectors",
        )
