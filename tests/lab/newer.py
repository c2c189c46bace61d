# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A newer Prometheus (3.x) than the distribution's, built from its Go modules: the second version to test against.

It has ``scrape_config_files``, which Debian's 2.42 lacks. ``python -m lab.newer`` builds it into build/lab/prometheus3
(two minutes, kept there) and prints the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).resolve().parent / "prometheus3"
CACHE = ROOT / "build" / "lab" / "prometheus3"
PROGRAMS = ("prometheus", "promtool")


class BuildError(RuntimeError):
    """The build is not possible or failed; says why."""


def prometheus3() -> Path:
    """The folder with ``prometheus`` and ``promtool`` 3.x. ``LAB_PROMETHEUS3`` names one that is there already."""
    given = os.environ.get("LAB_PROMETHEUS3", "")
    if given and given != "build":
        if not all(os.access(Path(given) / name, os.X_OK) for name in PROGRAMS):
            raise BuildError(f"LAB_PROMETHEUS3 is {given}, which has no {' and '.join(PROGRAMS)}")
        return Path(given)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(os.access(CACHE / name, os.X_OK) for name in PROGRAMS):
            _build()
    return CACHE


def _build() -> None:
    if not shutil.which("go"):
        raise BuildError("There is no go command. Install Go, or set LAB_PROMETHEUS3 to a folder with Prometheus 3.")
    packages = [f"github.com/prometheus/prometheus/cmd/{name}" for name in PROGRAMS]
    # Service discoveries of clouds are left out: half the size, and file_sd stays.
    command = ["go", "build", "-mod=mod", "-tags", "remove_all_sd", "-o", f"{CACHE}{os.sep}", *packages]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed in {SOURCE}:\n{done.stderr[-3000:]}")


def main() -> int:
    """Build it."""
    try:
        print(prometheus3())
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
