# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_info with the real pynvml, above a library that answers as a driver does (B1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab import nvml

Run = Callable[..., dict[str, Any]]
VGPU = {
    "name": "NVIDIA L40S-48C", "mode": "vgpu", "license": "licensed", "expiry": "2027-01-31T12:00:00",
    "memory_mb": 49152, "used_mb": 512, "reserved_mb": 300,
}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpus(run_module: Run, library: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``gpus([rows of nvml.conf], expect=None, **driver)`` -> what gpu_info says of them."""

    def read(rows: list[Mapping[str, Any]], expect: Any = None, **driver: Any) -> dict[str, Any]:
        state = tmp_path / "nvml.conf"
        state.write_text(nvml.conf(rows, **driver))
        args = {} if expect is None else {"expect": expect}
        return run_module("gpu_info", args, env=nvml.environment(library, state))

    return read


def test_all_that_a_vgpu_tells(gpus: Callable[..., dict[str, Any]]) -> None:
    """pynvml's structures and the library's agree on every byte: names, numbers, dates, several processes."""
    seen = gpus([{**VGPU, "process": ["4711 500", "12"]}, {**VGPU, "uuid": "GPU-two"}], driver="570.148.08")
    assert (seen["failed"], seen["changed"], seen["problems"]) == (False, False, [])
    assert seen["driver"] == "570.148.08"
    first, second = seen["gpus"]
    assert first == {
        "index": 0,
        "uuid": "GPU-00000000-0000-4000-8000-000000000000",
        "name": "NVIDIA L40S-48C",
        "memory_mb": 49152,
        "memory_used_mb": 512,
        "mode": "vgpu",
        "mig": None,
        "licensed": True,
        "license_expiry": "2027-01-31T12:00:00Z",
        "processes": [{"pid": 4711, "memory_mb": 500}, {"pid": 12, "memory_mb": None}],
    }
    assert (second["index"], second["uuid"], second["processes"]) == (1, "GPU-two", [])


def test_what_a_gpu_does_not_tell_is_null(gpus: Callable[..., dict[str, Any]]) -> None:
    silent = dict.fromkeys(("memory_mb", "mode", "mig", "license", "process"), "unsupported")
    (row,) = gpus([silent], expect={"count": 1, "license": True})["gpus"]
    assert {key: row[key] for key in ("memory_mb", "memory_used_mb", "mode", "mig", "licensed", "processes")} == (
        dict.fromkeys(("memory_mb", "memory_used_mb", "mode", "mig", "licensed", "processes"))
    )


@pytest.mark.parametrize("mode", ["none", "passthrough", "vgpu", "host_vgpu", "host_vsga"])
def test_modes_have_their_names(gpus: Callable[..., dict[str, Any]], mode: str) -> None:
    (row,) = gpus([{"mode": mode, "mig": "on"}])["gpus"]
    assert (row["mode"], row["mig"]) == (mode, True)


def test_an_unlicensed_vgpu_is_a_failure_of_its_own(gpus: Callable[..., dict[str, Any]]) -> None:
    expect = {"license": True, "mode": "any"}
    seen = gpus([{**VGPU, "license": "unlicensed"}], expect)
    assert seen["failed"]
    assert seen["gpus"][0]["licensed"] is False
    assert "GPU 0 (NVIDIA L40S-48C) has no licence" in seen["msg"]
    assert not gpus([VGPU], expect)["failed"]
    assert not gpus([{"mode": "passthrough", "license": "none"}], expect)["failed"], "nobody asks it for a licence"


def test_all_problems_are_told_at_once(gpus: Callable[..., dict[str, Any]]) -> None:
    seen = gpus(
        [{**VGPU, "license": "unlicensed"}], {"count": 2, "mode": "passthrough", "license": True, "memory_mb": 80000}
    )
    assert seen["failed"]
    assert len(seen["problems"]) == 4
    for text in seen["problems"]:
        assert text in seen["msg"]


def test_no_gpu_at_all(gpus: Callable[..., dict[str, Any]]) -> None:
    assert gpus([])["gpus"] == []
    assert "0 GPUs are there, 1 are expected" in gpus([], {"count": 1})["msg"]


@pytest.mark.parametrize(
    ("rows", "driver", "words"),
    [
        ([], {"init": 18}, "different versions of the driver"),
        ([], {"init": 9}, "not loaded"),
        ([], {"init": 4}, "does not let this user in"),
        ([], {"init": 999}, "does not start"),
        ([{}, {"lost": 1}], {}, "NVML does not tell GPU 1"),
    ],
)
def test_a_driver_that_does_not_answer(
    gpus: Callable[..., dict[str, Any]], rows: list[dict[str, Any]], driver: dict[str, int], words: str
) -> None:
    seen = gpus(rows, **driver)
    assert seen["failed"]
    assert words in seen["msg"]


def test_without_the_library_or_its_binding(run_module: Run, tmp_path: Path) -> None:
    """A host without a driver, and one without nvidia-ml-py."""
    (tmp_path / nvml.LIBRARY).touch()  # nothing that can be loaded, and before one that this machine may have
    seen = run_module("gpu_info", {}, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert seen["failed"]
    assert "libnvidia-ml.so.1 of NVIDIA's driver, is not there. Install the driver" in seen["msg"]
    (tmp_path / "pynvml.py").write_text("raise ImportError('no such binding')")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    seen = subprocess.run(
        [sys.executable, "-m", "ansible_collections.onprem.autoscale.plugins.modules.gpu_info"],
        input='{"ANSIBLE_MODULE_ARGS": {}}', capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert "Failed to import the required Python library (nvidia-ml-py)" in seen.stdout


def test_the_stand_in_is_as_strict_as_nvml(library: Path, tmp_path: Path) -> None:
    """What a real driver refuses is refused here: a call before init, a bad version, a strange handle."""
    state = tmp_path / "nvml.conf"
    state.write_text(nvml.conf([{}]))
    code = """
import ctypes, pynvml as n
def code(call, *arguments):
    try:
        call(*arguments)
        return 0
    except n.NVMLError as error:
        return error.value
lib = ctypes.CDLL("libnvidia-ml.so.1")
print(lib.nvmlDeviceGetCount_v2(ctypes.byref(ctypes.c_uint())), lib.nvmlShutdown())
n.nvmlInit()
handle = n.nvmlDeviceGetHandleByIndex(0)
print(code(n.nvmlDeviceGetHandleByIndex, 1), code(n.nvmlDeviceGetMemoryInfo, handle, 33554473),
      code(n.nvmlDeviceGetName, n.c_nvmlDevice_t()), code(n.nvmlDeviceGetTemperature, handle, 0),
      lib.nvmlDeviceGetName(handle, ctypes.create_string_buffer(4), 4))
n.nvmlShutdown()
print(code(n.nvmlDeviceGetCount))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **nvml.environment(library, state)},
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1", "2", "25", "2", "13", "7", "1"]
