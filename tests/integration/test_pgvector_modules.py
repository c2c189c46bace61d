# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgvector_extension, _table, _index and _info as Ansible runs them, on a real PostgreSQL with pgvector (C2)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from integration import pgvector_kit as kit
from integration.pgvector_kit import HNSW, PASSAGES, Database, finish

from lab.kit import wait_for

server, new_database, database, docs = kit.server, kit.new_database, kit.database, kit.docs


def passages(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PASSAGES), **changes}


# ---- extension -------------------------------------------------------------------------------------------------------
def test_extension_comes_once_moves_and_goes(database: Database) -> None:
    checked = database.ok("extension", check=True, diff=True)
    assert checked["changed"]
    assert checked["diff"]["before"] == ""
    assert database.value("SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 0
    made = database.ok("extension")
    assert (made["changed"], made["schema"], made["version"]) == (True, "public", made["available"])
    for state in ("present", "latest"):
        assert not database.ok("extension", state=state)["changed"]
    database.do("CREATE SCHEMA ext")
    moved = database.ok("extension", schema="ext", diff=True)
    assert (moved["changed"], moved["schema"]) == (True, "ext")
    assert "schema public" in moved["diff"]["before"]
    assert database.ok("extension", state="absent")["version"] is None
    assert not database.ok("extension", state="absent")["changed"]


def test_extension_of_an_older_version_is_updated_and_does_not_go_back(database: Database) -> None:
    newest = database.ok("extension")["version"]
    # The server has the scripts that update older versions, and not those that install them.
    database.do("UPDATE pg_extension SET extversion = '0.8.4' WHERE extname = 'vector'")
    kept = database.ok("extension")
    assert (kept["changed"], kept["version"]) == (False, "0.8.4")
    checked = database.ok("extension", state="latest", check=True, diff=True)
    assert (checked["changed"], checked["version"]) == (True, newest)
    assert "vector 0.8.4" in checked["diff"]["before"]
    assert database.ok("extension", version=newest)["version"] == newest
    assert not database.ok("extension", version=newest)["changed"]
    back = database("extension", version="0.8.4")
    assert back["failed"]
    assert "cannot become 0.8.4" in back["msg"]
    database.ok("extension", state="absent")
    assert "no version 99.0" in database("extension", version="99.0")["msg"]


def test_extension_in_use_is_removed_only_with_cascade(database: Database) -> None:
    database.filled(3)
    refused = database("extension", state="absent")
    assert refused["failed"]
    assert "cascade" in refused["msg"]
    gone = database.ok("extension", state="absent", cascade=True)
    assert gone["changed"]
    assert "drop cascades to column embedding of table passages" in str(gone["warnings"])


# ---- tables ----------------------------------------------------------------------------------------------------------
def test_table_is_made_kept_changed_and_dropped(database: Database) -> None:
    database.ok("extension")
    checked = database.ok("table", tables=[PASSAGES], check=True, diff=True)
    assert checked["changed"]
    assert checked["diff"]["before"] == {"tables": {"public.passages": None}}
    assert database.value("SELECT to_regclass('passages')") is None
    made = database.ok("table", tables=[PASSAGES], diff=True)["tables"][0]
    assert made["vector"] == {"column": "embedding", "type": "vector", "dimension": 16, "distance": "cosine"}
    assert made["changes"] == ["created"]
    assert checked["tables"][0]["columns"] == made["columns"]
    assert not database.ok("table", tables=[PASSAGES])["changed"]

    more = passages(columns=[*PASSAGES["columns"], {"name": "lang", "type": "varchar(8)", "default": "'en'"}])
    more["columns"][1]["nullable"] = False
    database.fill("passages", 5)
    checked = database.ok("table", tables=[more], check=True, diff=True)["tables"][0]
    changed = database.ok("table", tables=[more])["tables"][0]
    assert changed["changes"] == checked["changes"] == [
        "column body must not be null", "column lang character varying(8) added"
    ]  # fmt: skip
    assert database.value("SELECT count(*) FROM passages WHERE lang = 'en'") == 5
    assert not database.ok("table", tables=[more, PASSAGES][:1])["changed"]
    assert not database.ok("table", tables=[PASSAGES])["changed"]  # what is not declared stays

    gone = {"name": "passages", "state": "absent"}
    refused = database("table", tables=[gone])
    assert refused["failed"]
    assert "has rows and is not dropped" in refused["msg"]
    assert "allow_drop" in refused["msg"]
    assert database.ok("table", tables=[{**gone, "allow_drop": True}])["changed"]
    assert not database.ok("table", tables=[gone])["changed"]


def test_an_empty_table_is_dropped_without_the_safeguard(database: Database) -> None:
    database.filled(0)
    assert database.ok("table", tables=[{"name": "passages", "state": "absent"}])["changed"]
    assert database.value("SELECT to_regclass('passages')") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vector": {"dimension": 17}}, "embedding of table public.passages"),
        ({"vector": {"dimension": 16, "type": "halfvec"}}, "is vector(16), and is declared as halfvec(16)"),
        ({"vector": {"dimension": 16, "distance": "l2"}}, "is searched by cosine, and declared with the distance l2"),
        ({"columns": [{"name": "body", "type": "integer"}]}, "is text, and is declared as integer"),
        ({"columns": [{"name": "body", "type": "text", "primary_key": True}]}, "has the primary key (id)"),
        ({"columns": [{"name": "more", "type": "integer; DROP TABLE passages"}]}, "is not known"),
        ({"columns": [{"name": "more", "type": "nothing"}]}, "type 'nothing' is not known"),
        ({"columns": [{"name": "more", "type": "text", "nullable": False}]}, "Give the column a default"),
        ({"vector": {"dimension": 20000}}, "allowed: 1 to 16000"),
    ],
)
def test_what_would_lose_rows_is_refused_and_nothing_is_changed(
    docs: Database, change: dict[str, Any], words: str
) -> None:
    other = {"name": "other", "vector": {"dimension": 3}}
    refused = docs("table", tables=[other, passages(**change)])
    assert refused["failed"]
    assert words in refused["msg"]
    assert docs.value("SELECT to_regclass('other')") is None
    assert docs.value("SELECT count(*) FROM passages") == 2000


def test_types_of_all_spellings_are_unchanged_the_second_time(database: Database) -> None:
    database.ok("extension", schema="public")
    types = ("int", "varchar(20)", "numeric(10)", "timestamp(3) with time zone", "text[]", "char", "bit", "float8")
    columns = [{"name": f"c{number}", "type": name} for number, name in enumerate(types)]
    tables = [
        {"name": "t", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, *columns],
         "vector": {"dimension": 3, "type": "halfvec", "distance": "l1"}}
    ]  # fmt: skip
    assert database.ok("table", tables=tables)["changed"]
    again = database.ok("table", tables=tables, diff=True)
    assert not again["changed"], again["diff"]


def test_the_distance_stands_beside_what_somebody_else_wrote_and_changes_while_there_are_no_rows(
    database: Database,
) -> None:
    database.filled(0)
    database.do("COMMENT ON COLUMN passages.embedding IS E'made by model x\\nonprem.autoscale: distance=cosine'")
    changed = database.ok("table", tables=[passages(vector={"dimension": 16, "distance": "inner_product"})])
    assert changed["tables"][0]["changes"] == ["distance inner_product"]
    comment = database.value("SELECT col_description('passages'::regclass, 3)")
    assert comment == "made by model x\nonprem.autoscale: distance=inner_product"


def test_owner(database: Database) -> None:
    database.filled(1)
    database.do("CREATE ROLE app_owner")
    owned = [passages(owner="app_owner")]
    assert database.ok("table", tables=owned)["tables"][0]["changes"] == ["owner app_owner"]
    assert not database.ok("table", tables=owned)["changed"]


# ---- indexes ---------------------------------------------------------------------------------------------------------
def test_index_is_built_kept_rebuilt_and_removed(database: Database) -> None:
    database.filled(500)
    checked = database.ok("index", indexes=[HNSW], check=True, diff=True)
    assert checked["indexes"][0]["action"] == "created"
    assert database.indexes() == {}
    made = database.ok("index", indexes=[HNSW])["indexes"][0]
    assert (made["valid"], made["action"], made["progress"][-1]["phase"]) == (True, "created", "done")
    assert made["parameters"] == {"column": "embedding", "distance": "cosine", "m": 16, "ef_construction": 64}
    assert checked["indexes"][0]["parameters"] == made["parameters"]
    assert not database.ok("index", indexes=[HNSW])["changed"]

    other = {**HNSW, "m": 8, "ef_construction": 32}
    checked = database.ok("index", indexes=[other], check=True, diff=True)
    assert checked["indexes"][0]["action"] == "rebuilt"
    assert checked["diff"]["before"]["indexes"]["public.passages_hnsw"]["m"] == 16
    assert checked["diff"]["after"]["indexes"]["public.passages_hnsw"]["m"] == 8
    assert database.ok("index", indexes=[other])["indexes"][0]["action"] == "rebuilt"
    assert database.indexes() == {"passages_hnsw": True}
    assert not database.ok("index", indexes=[other])["changed"]
    assert not database.ok("index", indexes=[HNSW])["changed"]  # what is not given is left as it is

    lists = {**HNSW, "method": "ivfflat", "lists": 10, "distance": "l2"}
    result = database.ok("index", indexes=[lists], concurrently=False, maintenance_work_mem="32MB")
    assert result["indexes"][0]["parameters"] == {"column": "embedding", "distance": "l2", "lists": 10}
    assert "those searches do not use it" in str(result["warnings"])
    gone = {**HNSW, "state": "absent"}
    assert database.ok("index", indexes=[gone], check=True)["changed"]
    assert database.ok("index", indexes=[gone])["indexes"][0]["action"] == "removed"
    assert database.indexes() == {}
    assert not database.ok("index", indexes=[gone])["changed"]


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_an_index_of_every_distance_is_used_by_its_searches(database: Database, kind: str) -> None:
    database.do("CREATE SCHEMA ext")
    database.ok("extension", schema="ext")
    distances = ("cosine", "l2", "inner_product", "l1")
    tables = [
        passages(name=f"by_{name}", vector={"dimension": 16, "type": kind, "distance": name}) for name in distances
    ]
    database.ok("table", tables=tables)
    for name in distances:
        database.fill(f"by_{name}", 300)
    wanted = [{"name": f"{name}_index", "table": f"by_{name}"} for name in distances]
    rows = database.ok("index", indexes=wanted)["indexes"]
    assert [row["parameters"]["distance"] for row in rows] == list(distances)
    for table in database.ok("info", recall={"sample": 10, "k": 5, "ef_search": 100})["tables"]:
        distance = table["vector"]["distance"]
        assert (table["recall"]["index"], table["recall"]["distance"]) == (f"{distance}_index", distance)
        assert table["recall"]["recall"] >= 0.9


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"table": "nowhere"}, "table public.nowhere does not exist"),
        ({"column": "body"}, "column body of public.passages is text"),
        ({"column": "none"}, "column none of public.passages does not exist"),
        ({"method": "ivfflat", "distance": "l1"}, "ivfflat has no distance l1"),
        ({"m": 200}, "m is 200; allowed: 2 to 100"),
        ({"m": 40}, "ef_construction is 64; it must be at least twice m (40)"),
        ({"lists": 5}, "lists is for ivfflat, not for hnsw"),
        ({"name": "n" * 60}, "1 to 59 bytes"),
        ({"name": "passages_pkey"}, "belongs to an index of btree"),
        ({"table": "wide"}, "has 2001 dimensions; an index takes 2000 of vector. Use the type halfvec"),
        ({"table": "bare"}, "has no dimension"),
        ({"table": "bare", "column": "w"}, "distance is missing"),
        ({"name": "i", "tablespace": "nowhere"}, 'tablespace "nowhere" does not exist'),
        ({"table": "parts"}, "concurrently false"),
    ],
)
def test_an_index_that_cannot_be_is_refused_with_what_can(docs: Database, index: dict[str, Any], words: str) -> None:
    docs.do(
        "CREATE TABLE IF NOT EXISTS wide (v public.vector(2001))",
        "COMMENT ON COLUMN wide.v IS 'onprem.autoscale: distance=l2'",
        "CREATE TABLE IF NOT EXISTS bare (v public.vector, w public.vector(3))",
        "CREATE TABLE IF NOT EXISTS parts (v public.vector(3)) PARTITION BY LIST (v)",
        "COMMENT ON COLUMN parts.v IS 'onprem.autoscale: distance=l2'",
        "COMMENT ON COLUMN bare.v IS 'onprem.autoscale: distance=l2'",
    )
    refused = docs("index", indexes=[{**HNSW, "name": "new_one", **index}])
    assert refused["failed"]
    assert words in refused["msg"]
    assert docs.indexes() == {"passages_hnsw": True}


def test_memory_that_is_none_is_refused_and_a_graph_that_outgrows_it_is_told(database: Database) -> None:
    database.filled(3000)
    assert "maintenance_work_mem" in database("index", indexes=[HNSW], maintenance_work_mem="lots")["msg"]
    assert database.indexes() == {}
    result = database.ok("index", indexes=[HNSW], maintenance_work_mem="1MB", max_parallel_workers=0)
    assert "hnsw graph no longer fits into maintenance_work_mem" in str(result["warnings"])


def test_indexes_that_need_each_other_s_names_are_refused(docs: Database) -> None:
    refused = docs("index", indexes=[HNSW, {**HNSW, "name": "passages_hnsw_new"}])
    assert "whose rebuild needs that name" in refused["msg"]
    assert "declared twice" in docs("index", indexes=[HNSW, HNSW])["msg"]


def test_searches_go_on_with_the_old_index_while_the_new_one_is_built(database: Database, start_module) -> None:
    """C2. A transaction that is older than the build holds it up, so that there is time to look."""
    database.filled(500)
    database.ok("index", indexes=[HNSW])
    with database.connect(autocommit=False) as older:
        older.execute("SELECT count(*) FROM passages")
        older.execute("UPDATE passages SET body = body WHERE id = 1")
        building = start_module("pgvector_index", {**database.args, "indexes": [{**HNSW, "m": 24}]})
        wait_for(lambda: database.indexes().get("passages_hnsw_new") is False, what="a build beside the index")
        builds = wait_for(lambda: database.ok("info")["builds"], what="a build that is told")
        assert builds[0]["index"] == "public.passages_hnsw_new"
        seen = database.ok("info", recall={"sample": 5, "k": 5})["tables"][0]
        assert (seen["recall"]["index"], seen["recall"]["recall"]) == ("passages_hnsw", 1.0)
        older.rollback()
    result = finish(building)
    row = result["indexes"][0]
    assert (row["action"], row["parameters"]["m"]) == ("rebuilt", 24)
    assert any("waiting" in step["phase"] for step in row["progress"])
    assert database.indexes() == {"passages_hnsw": True}


# ---- info ------------------------------------------------------------------------------------------------------------
def test_info_of_a_database_without_the_extension(database: Database) -> None:
    database.do("CREATE TABLE plain (id int PRIMARY KEY)", "INSERT INTO plain SELECT generate_series(1, 10)")
    seen = database.ok("info", check=True)
    assert (seen["tables"], seen["extension"]["version"], seen["server"]["in_recovery"]) == ([], None, False)
    assert seen["extension"]["available"]
    assert (seen["server"]["timeline"], seen["server"]["receiver"]) == (1, None)
    table = database.ok("info", tables=["plain"], checksum=True, recall={}, neighbours={})["tables"][0]
    assert (table["rows"], table["vector"], table["recall"], table["neighbours"]) == (10, None, None, [])
    assert table["checksum"] != "0"
    assert "table public.nowhere does not exist" in database("info", tables=["nowhere"])["msg"]


def test_recall_is_near_one_and_falls_when_a_search_looks_at_few_candidates(docs: Database) -> None:
    """C2. The index is the same; only the search is made careless."""

    def measured(ef_search: int) -> dict[str, Any]:
        ask = {"sample": 50, "k": 10, "ef_search": ef_search}
        return docs.ok("info", tables=["passages"], recall=ask)["tables"][0]["recall"]

    careful = measured(200)
    assert careful["recall"] >= 0.95
    assert (careful["index"], careful["index_used"], careful["sample"]) == ("passages_hnsw", True, 50)
    careless = measured(1)
    assert careless["recall"] < 0.5
    assert (careful["ef_search"], careless["ef_search"]) == (200, 1)
    assert "recall.ef_search: value is 0" in docs("info", recall={"ef_search": 0})["msg"]


def test_searches_are_counted_for_the_index_that_they_use(docs: Database) -> None:
    def scans() -> int:
        return docs.ok("info", tables=["passages"])["tables"][0]["indexes"][0]["scans"]

    before = scans()
    docs.ok("info", tables=["passages"], recall={"sample": 20})
    wait_for(lambda: scans() >= before + 20, what="counted searches")


def test_recall_without_an_index_says_so(database: Database) -> None:
    seen = database.filled(100).ok("info", recall={"sample": 5, "k": 3})["tables"][0]["recall"]
    assert (seen["recall"], seen["index_used"], seen["index"]) == (1.0, False, None)


def test_ivfflat_recall_follows_the_probes(database: Database) -> None:
    database.filled(1000)
    database.ok("index", indexes=[{**HNSW, "name": "lists", "method": "ivfflat", "lists": 50}])
    one, all_of_them = (
        database.ok("info", recall={"sample": 30, "k": 30, "probes": probes})["tables"][0]["recall"]
        for probes in (1, 50)
    )
    assert all_of_them["recall"] == 1.0
    assert one["recall"] < 1.0
    assert (one["probes"], one["index"]) == (1, "lists")


def test_checksum_and_neighbours_do_not_depend_on_where_rows_lie_but_on_every_component(database: Database) -> None:
    """C3: this is how copies are compared."""
    database.filled(400)
    database.do(
        "CREATE TABLE copied (LIKE passages INCLUDING ALL)",
        "COMMENT ON COLUMN copied.embedding IS 'onprem.autoscale: distance=cosine'",
        "INSERT INTO copied SELECT * FROM passages ORDER BY md5(id::text)",
        "UPDATE copied SET body = body WHERE id % 3 = 0",
    )
    ask = {"checksum": True, "neighbours": {"k": 5, "probes": 4}}
    copied, original = database.ok("info", **ask)["tables"]
    assert (copied["name"], original["name"]) == ("copied", "passages")
    for key in ("rows", "checksum", "neighbours"):
        assert copied[key] == original[key], key
    assert [row["id"] for row in original["neighbours"]] == ["1", "2", "3", "4"]
    assert [len(row["neighbours"]) for row in original["neighbours"]] == [5, 5, 5, 5]
    assert all(row["id"] not in row["neighbours"] for row in original["neighbours"])
    # The nearest rows are those of the same cluster: 40 of them lie in turn.
    assert {int(key) % 40 for key in original["neighbours"][0]["neighbours"]} == {1}

    database.do("UPDATE copied SET embedding = embedding + '[0,0,0,0,0,0,0,0.0001,0,0,0,0,0,0,0,0]' WHERE id = 200")
    copied, original = database.ok("info", **ask)["tables"]
    assert copied["checksum"] != original["checksum"]
    assert copied["rows"] == original["rows"]


def test_fingerprints_do_not_depend_on_settings_of_the_role_or_on_a_primary_key(database: Database) -> None:
    database.filled(50)
    database.do(
        "CREATE TABLE keyless (t timestamptz DEFAULT '2026-01-01', f float8 DEFAULT 1.0 / 3, v vector(2))",
        "INSERT INTO keyless (v) SELECT ARRAY[i, 100 - i]::vector FROM generate_series(1, 20) AS i",
    )
    ask = {"tables": ["keyless"], "checksum": True, "neighbours": {"k": 2, "probes": 2}}
    before = database.ok("info", **ask)["tables"][0]
    name = database.name
    database.do(
        f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'", f"ALTER DATABASE {name} SET extra_float_digits = -5",
        f"ALTER DATABASE {name} SET DateStyle = 'German'",
    )  # fmt: skip
    assert database.ok("info", **ask)["tables"][0] == before
    assert len(before["neighbours"]) == 2
