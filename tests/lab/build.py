# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the lab's Go programs once and find them again.

A program is built anew when its sources, its go.mod or go.sum, or the Go version change. Several
processes may ask at the same time (pytest-xdist): one builds, the others wait. ``python -m lab.build NAME ...`` does it
ahead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LAB = Path(__file__).resolve().parent
ROOT = LAB.parents[1]
BIN = ROOT / "build" / "lab" / "bin"

# name -> folder of the module, package in it, build tags
PROGRAMS: dict[str, tuple[Path, str, str]] = {
    "vcenter": (LAB / "vcenter", ".", ""),
    "guest": (LAB / "vcenter", "./guest", ""),
    "govc": (LAB / "govc", ".", ""),
    "alertmanager": (LAB / "alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager", ""),
    "amtool": (LAB / "alertmanager", "github.com/prometheus/alertmanager/cmd/amtool", ""),
    # The second version to test against: it has scrape_config_files, which Debian's 2.42 lacks. Service discoveries of
    # clouds are left out, which halves it; file_sd stays.
    "prometheus3/prometheus": (
        LAB / "prometheus3", "github.com/prometheus/prometheus/cmd/prometheus", "remove_all_sd",
    ),
    "prometheus3/promtool": (LAB / "prometheus3", "github.com/prometheus/prometheus/cmd/promtool", "remove_all_sd"),
    # What the role log_agent is tested with; Loki takes about 5 minutes, Promtail 3, the collector 2.
    "loki": (LAB / "loki", "github.com/grafana/loki/v3/cmd/loki", ""),
    "promtail": (LAB / "promtail", "github.com/grafana/loki/v3/clients/cmd/promtail", "promtail_journal_enabled"),
    "otelcol": (LAB / "otelcol", ".", ""),
    "otelcol-next": (LAB / "otelcol", ".", "next"),
    # Before which the DSM emulator stands: the Kubernetes API is the real one. Three minutes.
    "kubeapi": (LAB / "dsm" / "kubeapi", ".", ""),
}  # fmt: skip

# name -> C header that its build reads, Debian package of it
HEADERS: dict[str, tuple[Path, str]] = {
    "promtail": (Path("/usr/include/systemd/sd-journal.h"), "libsystemd-dev"),
}


class BuildError(RuntimeError):
    """A program could not be built; the message names it and says what to do."""


def build_go(name: str) -> Path:
    """Return the path of an up-to-date program of PROGRAMS, built if need be.

    A first build takes a minute or two, a later call some milliseconds. Raises BuildError.
    """
    if name not in PROGRAMS:
        raise BuildError(f"No such program: {name!r}. Known: {', '.join(sorted(PROGRAMS))}.")
    module, package, tags = PROGRAMS[name]
    go = shutil.which("go")
    if go is None:
        raise BuildError(f"Cannot build {name}: no 'go' on PATH. Install Go 1.25 or newer.")
    target = BIN / name
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp, lock, fresh = (target.with_name(f".{target.name}.{ending}") for ending in ("sha256", "lock", "new"))
    with _locked(lock):
        wanted = _digest(module, go)
        if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return target
        _require_header(name)
        command = [
            go,
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-tags",
            tags,
            "-o",
            str(fresh),
            package,
        ]
        result = subprocess.run(command, cwd=module, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"Cannot build {name} in {module}: {result.stderr.strip()[-2000:]}")
        os.replace(fresh, target)
        stamp.write_text(wanted, encoding="utf-8")
    return target


def _require_header(name: str) -> None:
    """Install the C header that a program is built with, where that is possible; else say what is missing."""
    header, package = HEADERS.get(name, (None, ""))
    if header is None or header.exists():
        return
    words = f"Cannot build {name}: {header} is missing. Install {package} (apt-get install {package})."
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BuildError(words)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, text=True, check=False)
    if not header.exists():
        raise BuildError(f"{words} apt-get said: {done.stderr.strip()[-500:]}")


def _digest(module: Path, go: str) -> str:
    """Hash what the program is made of; tests are no part of it."""
    version = subprocess.run([go, "env", "GOVERSION"], cwd=module, capture_output=True, text=True, check=True)
    digest = hashlib.sha256(version.stdout.encode())
    sources = [p for p in module.rglob("*") if p.suffix in {".go", ".mod", ".sum"} and not p.name.endswith("_test.go")]
    for path in sorted(sources):
        digest.update(str(path.relative_to(module)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    for name in sys.argv[1:]:
        began = time.monotonic()
        try:
            build_go(name)
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
