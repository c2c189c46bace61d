# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the stages of a start are read from the journal (B3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.kit.vllm_host import load

coldstart = load("vllm_coldstart")
#: Of a real vLLM 0.32.0, shortened.
JOURNAL = [
    (101.0, "(APIServer pid=7) INFO non-default args: {'model': '/m'}"),
    (
        110.0,
        "(EngineCore pid=8) INFO Initializing a V1 LLM engine (v0.32.0) with config: model='/m'",
    ),
    (111.0, "(EngineCore pid=8) INFO Starting to load model /m..."),
    (115.0, "(EngineCore pid=8) INFO Loading weights took 4.00 seconds"),
    (
        140.0,
        "(EngineCore pid=8) INFO init engine (profile, create kv cache, warmup model) took 25.0 seconds",
    ),
    (142.0, "INFO:     Application startup complete."),
]


def told(rows: list) -> list:
    return [(row["stage"], row["seconds"], row["source"]) for row in rows]


def test_each_stage_begins_where_the_one_before_ended() -> None:
    rows = coldstart.stages(100.0, JOURNAL, "0.32.0", 150.0)
    assert told(rows) == [
        ("process", 10, "journal"),
        ("load", 5, "journal"),
        ("engine", 25, "journal"),
        ("http", 2, "journal"),
    ]
    assert rows[0] == {"stage": "process", "start": 100, "end": 110, "seconds": 10, "ok": True, "source": "journal"}


@pytest.mark.parametrize(("lines", "version"), [(JOURNAL, "0.33.0"), (JOURNAL, ""), ([], "0.32.0")])
def test_without_known_texts_there_is_one_stage_by_the_clock(lines: list, version: str) -> None:
    assert told(coldstart.stages(100.0, lines, version, 150.0)) == [("http", 50, "wall")]


def test_a_text_that_is_missing_makes_its_stage_part_of_the_next() -> None:
    lines = [row for row in JOURNAL if "Loading weights" not in row[1]]
    assert told(coldstart.stages(100.0, lines, "0.32.1", 150.0)) == [
        ("process", 10, "journal"),
        ("engine", 30, "journal"),
        ("http", 2, "journal"),
    ]
    assert told(coldstart.stages(100.0, JOURNAL[:-1], "0.32.1", 150.0))[-1] == ("http", 10, "wall")


def test_what_the_role_noted_is_used_once(tmp_path: Path) -> None:
    noted = tmp_path / "stages.json"
    noted.write_text(json.dumps({"stages": [{"stage": "model", "seconds": 3}]}))
    assert coldstart.before(str(noted)) == [{"stage": "model", "seconds": 3}]
    assert coldstart.before(str(noted)) == []
