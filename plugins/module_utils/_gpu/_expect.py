# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What a caller expects of the GPUs, and every way in which they are not so. Pure.
"""

from __future__ import annotations

import re
import typing as t


def problems(found: t.Mapping[str, t.Any], expect: t.Mapping[str, t.Any]) -> list[str]:
    """All that is not as expected; what *expect* leaves out (or sets to None) is not looked at."""
    gpus = found["gpus"]
    texts = []
    driver = expect.get("driver")
    if driver and _numbers(found["driver"]) < _numbers(driver):
        texts.append(f"the driver is {found['driver']}, expected is at least {driver}")
    count = expect.get("count")
    if count is not None and len(gpus) != count:
        texts.append(f"{len(gpus)} GPUs are there, {count} are expected")
    for gpu in gpus:
        texts += [f"GPU {gpu['index']} ({gpu['name']}) {text}" for text in _of_one(gpu, expect)]
    return texts


def _of_one(gpu: t.Mapping[str, t.Any], expect: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    mode = expect.get("mode")
    if mode not in (None, "any") and gpu["mode"] != mode:
        yield f"has the mode {gpu['mode'] or 'unknown'}, expected is {mode}"
    mig = expect.get("mig")
    if mig is not None and bool(gpu["mig"]) != mig:
        yield f"has MIG switched {'on' if gpu['mig'] else 'off'}, expected is {'on' if mig else 'off'}"
    memory = expect.get("memory_mb")
    if memory is not None and (gpu["memory_mb"] is None or gpu["memory_mb"] < memory):
        yield f"has {_known(gpu['memory_mb'])} MiB of memory, expected are at least {memory}"
    if expect.get("license"):
        if gpu["licensed"] is False:
            yield (
                "has no licence: it is fast for some minutes after its start and then slows down to almost nothing; "
                "see nvidia-gridd, its token and the way to the licence server"
            )
        elif gpu["licensed"] is None and gpu["mode"] == "vgpu":
            yield "is a vGPU and does not say whether it is licensed; is its guest driver NVIDIA's vGPU driver?"


def _numbers(version: str) -> list[int]:
    """570.86.10 is older than 570.148.08."""
    return [int(number) for number in re.findall(r"\d+", version)]


def _known(value: t.Any) -> t.Any:
    return "an unknown number of" if value is None else value
