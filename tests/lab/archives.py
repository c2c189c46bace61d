# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release archives of real programs, packed as their upstream does, for roles that install from an archive.

``python -m lab.archives node_exporter 1.9.1`` builds the version from its Go module, once, and prints a line of JSON:
``{"path": ..., "checksum": "sha256:..."}``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from .build import ROOT, BuildError

FOLDER = Path(os.environ.get("LAB_ARCHIVES_DIR", ROOT / "build" / "lab" / "archives"))
#: program -> (Go package, variable that holds its version)
MODULES = {
    "node_exporter": ("github.com/prometheus/node_exporter", "github.com/prometheus/common/version.Version"),
}


def archive(program: str, version: str) -> dict[str, str]:
    """``{path, checksum}`` of the archive of *program* in *version*; built on first use, about half a minute.

    :raises BuildError: not known here, no Go, or it could not be built.
    """
    if program not in MODULES:
        raise BuildError(f"No such program: {program!r}. Known: {', '.join(sorted(MODULES))}.")
    name = f"{program}-{version}.linux-amd64"
    path = FOLDER / f"{name}.tar.gz"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _pack(program, version, name, path)
    return {"path": str(path), "checksum": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"}


def _pack(program: str, version: str, name: str, path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise BuildError(f"Cannot build {program}: no 'go' on PATH. Install Go 1.25 or newer.")
    package, variable = MODULES[program]
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        command = [go, "install", "-trimpath", "-ldflags", f"-s -w -X {variable}={version}", f"{package}@v{version}"]
        environment = {**os.environ, "GOBIN": scratch, "CGO_ENABLED": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"Cannot build {program} {version}: {done.stderr.strip()[-2000:]}")
        fresh = Path(scratch) / "archive.tar.gz"
        with tarfile.open(fresh, "w:gz") as tar:
            tar.add(Path(scratch) / program, arcname=f"{name}/{program}")
        fresh.rename(path)


def main() -> int:
    try:
        print(json.dumps(archive(*sys.argv[1:3])))
    except (BuildError, TypeError) as error:
        print(f"lab.archives: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
