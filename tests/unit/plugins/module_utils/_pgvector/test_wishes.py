# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Indexes as declared: what is refused, and when one that exists is another one (C3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._common._errors import InvalidSpecError
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector import _vectors
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._catalog import Index
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._vectors import VectorColumn, check_indexable
from ansible_collections.onprem.autoscale.plugins.module_utils._pgvector._wishes import IndexWish, Target, check_unique

EMPTY = dict.fromkeys(("column", "distance", "m", "ef_construction", "lists", "tablespace"))
ROW = {"name": "i", "table": "t", "schema": "public", "method": "hnsw", "state": "present", **EMPTY}
COLUMN = VectorColumn("embedding", "vector", 384, "cosine")
TARGET = Target(1, COLUMN, "cosine", "public")
INDEX = Index(
    oid=2, schema="public", name="i", table_oid=1, table="t", column="embedding", method="hnsw", distance="cosine",
    parameters={"m": 16, "ef_construction": 64}, tablespace=None, partial=False, valid=True, size=1, scans=0,
)  # fmt: skip


def wish(**changes: Any) -> IndexWish:
    return IndexWish.from_params({**ROW, **changes})


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({}, {}),
        ({"m": 16}, {}),
        ({"m": 24}, {"m": (16, 24)}),
        ({"ef_construction": 128}, {"ef_construction": (64, 128)}),
        ({"tablespace": "fast"}, {"tablespace": (None, "fast")}),
        ({"method": "ivfflat"}, {"method": ("hnsw", "ivfflat")}),
    ],
)
def test_differences_are_those_of_what_is_given(changes: dict[str, Any], different: dict[str, Any]) -> None:
    assert wish(**changes).differences(INDEX, TARGET) == different


def test_another_distance_or_column_is_another_index() -> None:
    target = dataclasses.replace(TARGET, distance="l2", vector=dataclasses.replace(COLUMN, column="other"))
    assert set(wish().differences(INDEX, target)) == {"distance", "column"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"m": 1}, "m is 1; allowed: 2 to 100"),
        ({"m": 50, "ef_construction": 99}, "at least twice m"),
        ({"ef_construction": 20}, "at least twice m"),
        ({"lists": 3}, "lists is for ivfflat"),
        ({"method": "ivfflat", "m": 3}, "m is for hnsw"),
        ({"name": ""}, "1 to 59 bytes"),
        ({"name": "ü" * 30}, "1 to 59 bytes"),
    ],
)
def test_what_pgvector_would_refuse_late_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        wish(**changes)


def test_names_that_a_rebuild_needs() -> None:
    check_unique([wish(), wish(name="j"), wish(schema="other")])
    for pair in ((wish(), wish()), (wish(), wish(name="i_new")), (wish(name="i_old"), wish())):
        with pytest.raises(InvalidSpecError):
            check_unique(pair)


@pytest.mark.parametrize(("kind", "limit"), [("vector", 2000), ("halfvec", 4000)])
def test_limits_of_an_index_and_the_way_out(kind: str, limit: int) -> None:
    column = dataclasses.replace(COLUMN, type=kind, dimension=limit)
    check_indexable("hnsw", column, "l1", "x")
    with pytest.raises(InvalidSpecError) as refused:
        check_indexable("hnsw", dataclasses.replace(column, dimension=limit + 1), "l2", "x")
    assert ("Use the type halfvec" in str(refused.value)) is (kind == "vector")


def test_ivfflat_has_no_l1() -> None:
    with pytest.raises(InvalidSpecError, match="Use method hnsw"):
        check_indexable("ivfflat", COLUMN, "l1", "x")


@pytest.mark.parametrize("kind", _vectors.TYPES)
@pytest.mark.parametrize("distance", _vectors.DISTANCES)
def test_an_operator_class_tells_its_distance(kind: str, distance: str) -> None:
    assert _vectors.distance_of(_vectors.operator_class(kind, distance)) == distance
    assert _vectors.distance_of("bit_hamming_ops") is None


def test_the_comment_keeps_what_somebody_else_wrote() -> None:
    text = _vectors.comment_with(None, "cosine")
    assert text == "onprem.autoscale: distance=cosine"
    assert _vectors.comment_with("of model x", "l1") == "of model x\nonprem.autoscale: distance=l1"
    assert _vectors.comment_with(f"a\n{text}\nb", "l2") == "a\nonprem.autoscale: distance=l2\nb"
    assert _vectors.distance_in(f"a\n{text}") == "cosine"
    assert _vectors.distance_in("onprem.autoscale: distance=nearly") is None
    assert _vectors.distance_in(None) is None
