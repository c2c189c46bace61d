# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Prometheus, Alertmanager, OCI registry and kubectl for tests and the lab, without root rights.

What a person installed is taken from PATH. Else Debian's packages are downloaded by ``apt-get download``, unpacked
(never installed) into ``build/lab/debs`` and kept there. Alertmanager is built from its Go module: Debian's reads its
templates from below /usr/share, so that it does not run without being installed.

``python -m lab.debs`` prints where each binary is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .build import PROGRAMS, build_go

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LAB_DEBS_DIR", ROOT / "build" / "lab" / "debs"))

#: name -> (names that it may have, Debian package)
BINARIES: dict[str, tuple[tuple[str, ...], str]] = {
    "prometheus": (("prometheus",), "prometheus"),
    "promtool": (("promtool",), "prometheus"),
    "alertmanager": (("alertmanager", "prometheus-alertmanager"), "prometheus-alertmanager"),
    "amtool": (("amtool",), "prometheus-alertmanager"),
    "node_exporter": (("node_exporter", "prometheus-node-exporter"), "prometheus-node-exporter"),
    "blackbox_exporter": (("blackbox_exporter", "prometheus-blackbox-exporter"), "prometheus-blackbox-exporter"),
    "docker-registry": (("docker-registry",), "docker-registry"),
    "kubectl": (("kubectl",), "kubernetes-client"),
}
_ALIASES = {alias: name for name, (aliases, _package) in BINARIES.items() for alias in aliases}


class MissingBinaryError(RuntimeError):
    """A binary is neither on PATH nor could its package be had; says what was tried and what to install."""


def binary(name: str, *, packaged: bool = False) -> Path:
    """The path of a program of :data:`BINARIES`, such as ``prometheus`` or ``docker-registry``.

    Both of a pair (server and tool) come from the same place, so that their versions fit.

    :param packaged: Debian's, whatever is on PATH: a second version to test against.
    :raises MissingBinaryError: with the remedy.
    """
    try:
        aliases, package = BINARIES[_ALIASES[name]]
    except KeyError:
        raise MissingBinaryError(f"{name} is not one of {', '.join(sorted(_ALIASES))}") from None
    if not packaged and _pair_on_path(package):
        return Path(next(found for found in map(shutil.which, aliases) if found))
    if name in PROGRAMS:
        return build_go(name)
    found = _unpacked(package, aliases)
    if found:
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test workers want it at the same moment
        found = _unpacked(package, aliases)
        if not found:
            _unpack(package, _download(package))
            found = _unpacked(package, aliases)
    if not found:
        raise MissingBinaryError(f"The package {package} was unpacked into {CACHE / package} but has no {name}")
    return found


def _pair_on_path(package: str) -> bool:
    wanted = [aliases for aliases, owner in BINARIES.values() if owner == package]
    return all(any(shutil.which(alias) for alias in aliases) for aliases in wanted)


def _unpacked(package: str, aliases: tuple[str, ...]) -> Path | None:
    candidates = (CACHE / package / "usr" / "bin" / alias for alias in aliases)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def _download(package: str) -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise MissingBinaryError(
                f"{package} is not on PATH, and there is no {tool} to fetch it with. "
                f"Install {package} and put it on PATH."
            )
    kept = sorted(CACHE.glob(f"{package}_*.deb"))
    if kept:
        return kept[-1]
    first = _apt_download(package, ())
    if first.returncode:
        options = _private_lists()
        updated = _run(["apt-get", *options, "-q", "update"])
        second = _apt_download(package, options)
        if second.returncode:
            words = "\n".join(part.strip() for part in (first.stderr, updated.stderr, second.stderr) if part.strip())
            raise MissingBinaryError(
                f"apt-get download {package} failed, with the system's package lists and with fresh ones:\n{words}\n"
                f"Remedy: install {package} by hand and put it on PATH, or run apt-get update."
            )
    kept = sorted(CACHE.glob(f"{package}_*.deb"))
    if not kept:
        raise MissingBinaryError(f"apt-get download {package} left no package in {CACHE}")
    return kept[-1]


def _apt_download(package: str, options: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    # _apt, the user that apt sandboxes downloads to, may not write here
    return _run(["apt-get", *options, "-q", "-o", "APT::Sandbox::User=", "download", package], cwd=CACHE)


def _private_lists() -> tuple[str, ...]:
    """Package lists of our own, for a machine whose lists were removed and where we are not root."""
    state, cache = CACHE / "apt" / "lists", CACHE / "apt" / "cache"
    for folder in (state / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    return (
        "-o", f"Dir::State::lists={state}",
        "-o", f"Dir::Cache={cache}",
        "-o", "APT::Sandbox::User=",
    )  # fmt: skip


def _unpack(package: str, archive: Path) -> None:
    """Unpack beside and rename, so that a killed run leaves nothing half done under the final name."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{package}.", dir=CACHE))
    try:
        done = _run(["dpkg-deb", "-x", str(archive), str(temporary)])
        if done.returncode:
            archive.unlink(missing_ok=True)
            raise MissingBinaryError(f"{archive} cannot be unpacked: {done.stderr.strip()}. It was removed; run again.")
        temporary.chmod(0o755)
        temporary.rename(CACHE / package)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingBinaryError(f"{' '.join(command)} did not end within {error.timeout:g} s") from error


def main() -> int:
    """Fetch all of them and print their paths."""
    try:
        for name in sys.argv[1:] or BINARIES:
            print(f"{name}\t{binary(name)}")
    except MissingBinaryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
