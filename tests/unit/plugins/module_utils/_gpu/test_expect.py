# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the GPUs of a host, all of it at once (B1)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.onprem.autoscale.plugins.module_utils._gpu._expect import problems


def gpu(**changes: Any) -> dict[str, Any]:
    found = {"index": 0, "name": "L40S", "memory_mb": 49152, "mode": "vgpu", "mig": None, "licensed": True}
    return {**found, **changes}


def found(gpus: list[dict[str, Any]], driver: str = "570.148.08") -> dict[str, Any]:
    return {"driver": driver, "gpus": gpus}


ALL = {"count": 1, "driver": "570.148", "mig": False, "mode": "vgpu", "license": True, "memory_mb": 49152}


@pytest.mark.parametrize(
    ("gpus", "expect"),
    [
        ([gpu()], ALL),
        ([], {}),
        ([], {"count": None, "mode": None, "license": None, "memory_mb": None}),
        ([], {"count": 0}),
        ([gpu(mode="passthrough", licensed=None)], {"mode": "any", "license": True}),
        ([gpu(licensed=False)], {"license": False}),
        ([gpu(mode=None, memory_mb=None, licensed=None)], {"count": 1, "license": True}),
    ],
)
def test_nothing_is_wrong(gpus: list[dict[str, Any]], expect: dict[str, Any]) -> None:
    assert problems(found(gpus), expect) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "passthrough"}, "has the mode passthrough, expected is vgpu"),
        ({"mode": None}, "has the mode unknown, expected is vgpu"),
        ({"mig": True}, "has MIG switched on, expected is off"),
        ({"memory_mb": 49151}, "has 49151 MiB of memory, expected are at least 49152"),
        ({"memory_mb": None}, "an unknown number of MiB"),
        ({"licensed": False}, "has no licence"),
        ({"licensed": None}, "does not say whether it is licensed"),
    ],
)
def test_one_thing_is_wrong(change: dict[str, Any], words: str) -> None:
    (text,) = problems(found([gpu(**change)]), ALL)
    assert text.startswith("GPU 0 (L40S) ")
    assert words in text


def test_all_that_is_wrong_is_told() -> None:
    rows = [gpu(licensed=False), gpu(index=1, mode="none", memory_mb=1, licensed=None)]
    texts = problems(found(rows), {**ALL, "count": 3})
    assert texts[0] == "2 GPUs are there, 3 are expected"
    assert [text[:5] for text in texts[1:]] == ["GPU 0", "GPU 1", "GPU 1"]


@pytest.mark.parametrize(
    ("driver", "right"), [("570.148", True), ("571", True), ("570.86.10", False), ("550.1", False)]
)
def test_an_old_driver_is_told(driver: str, right: bool) -> None:
    texts = problems(found([gpu()], driver), ALL)
    assert texts == ([] if right else [f"the driver is {driver}, expected is at least 570.148"])
