# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What only a model endpoint has, as immutable values.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._value import _build, _Value


@dataclasses.dataclass(frozen=True)
class ModelOut(_Value):
    """What asks for another endpoint: each limit alone (None: not looked at); ``for_`` in seconds."""

    waiting: float | None
    ttft_p95: float | None
    kv_cache: float | None
    rejections: float | None
    gpu: float | None
    for_: int


@dataclasses.dataclass(frozen=True)
class ModelIn(_Value):
    """What asks for one endpoint less: all of it together; ``for_`` in seconds."""

    busy: float
    gpu: float | None
    for_: int


@dataclasses.dataclass(frozen=True)
class ModelGate(_Value):
    """What each of several streams in a row must be; ``deadline`` and ``first_token`` in seconds."""

    tokens: int
    consecutive: int
    deadline: int
    first_token: int


@dataclasses.dataclass(frozen=True)
class Warmup(_Value):
    """The requests before an endpoint joins; ``prompts`` 0: none."""

    prompts: int
    concurrency: tuple[int, ...]
    lengths: tuple[int, ...]
    temperatures: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ModelDrain(_Value):
    """Seconds in a row without a request, or without a step of the engine, that say that nobody is served."""

    quiet: int
    stall: int


@dataclasses.dataclass(frozen=True)
class Model(_Value):
    """What the group's endpoints serve; ``stop_timeout`` in seconds."""

    name: str
    port: int
    scheme: str
    canary_port: int
    dcgm_port: int | None
    max_num_seqs: int
    prepare: str
    instance: str
    options: t.Mapping[str, t.Any] = dataclasses.field(hash=False)
    scrape: t.Mapping[str, t.Any] = dataclasses.field(hash=False)
    gate: ModelGate
    warmup: Warmup
    drain: ModelDrain
    stop_timeout: int


def build_model(data: t.Mapping[str, t.Any] | None) -> Model | None:
    """The block ``model``, which has its defaults."""
    if data is None:
        return None
    parts = {"gate": ModelGate, "warmup": Warmup, "drain": ModelDrain}
    return _build(Model, data, **{key: _build(kind, data[key]) for key, kind in parts.items()})
