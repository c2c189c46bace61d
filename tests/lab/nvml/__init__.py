# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A library libnvidia-ml.so.1 that the real pynvml loads, for hosts without a GPU; its state is a text file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..process import LabError

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"
CONF = "NVML_LAB_CONF"


def build(target: str | Path) -> Path:
    """Compile the library to *target*: a file, or a folder, where it gets its own name.

    :raises LabError: there is no C compiler, or it refused.
    """
    path = Path(target)
    path = path / LIBRARY if path.is_dir() else path
    compiler = next((found for found in map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang")) if found), "")
    if not compiler:
        raise LabError("there is no C compiler for the NVML stand-in; install gcc (apt-get install gcc libc6-dev)")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}"]
    done = subprocess.run(
        [compiler, *options, "-o", str(fresh), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"{compiler} refuses {SOURCE}:\n{done.stderr[-2000:]}")
    os.replace(fresh, path)
    return path


def conf(gpus: Sequence[Mapping[str, Any]], **driver: Any) -> str:
    """The text of a state file; keys as in README.md, a list where a key may stand several times."""
    lines = [f"{key}={value}" for key, value in driver.items()]
    for gpu in gpus:
        lines.append("[gpu]")
        for key, value in gpu.items():
            lines += [f"{key}={one}" for one in (value if isinstance(value, list) else [value])]
    return "\n".join(lines) + "\n"


def environment(library: Path, state: Path) -> dict[str, str]:
    """With what a process finds the library, and the library its state."""
    return {"LD_LIBRARY_PATH": str(library.parent), CONF: str(state)}
