# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, and the error that every part of this package raises."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: Trees, running hosts, the SSH key. Must not lie on an overlay file system, as overlays do not stack as upper layers.
FOLDER = Path(os.environ.get("LAB_HOSTS_DIR", ROOT / "build" / "lab" / "hosts"))
PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}


class HostError(RuntimeError):
    """Hosts cannot be booted here, or one of them did not come up; says what is missing and what to do."""


def run(*command: str | Path, quiet: bool = False, timeout: float = 900) -> str:
    """Run a command and return what it printed.

    :param quiet: a failure is no error; its output is returned all the same.
    :raises HostError: it failed or did not end in time.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise HostError(f"{words[0]} is not installed: apt-get install {PACKAGES.get(words[0], words[0])}") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{' '.join(words)} did not end within {timeout:g} s") from error
    if done.returncode and not quiet:
        raise HostError(f"{' '.join(words)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def require() -> None:
    """Install what is missing, where that is possible.

    :raises HostError: not root, or a program that cannot be had.
    """
    if os.geteuid() != 0:
        raise HostError("hosts cannot be booted: that needs root (overlay mounts, network namespaces, systemd-nspawn)")
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise HostError(f"hosts cannot be booted: install {', '.join(missing)}")
    with locked("packages"):
        run("apt-get", "-q", "update", quiet=True)
        run("apt-get", "-q", "-y", "install", "--no-install-recommends", *missing)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold an exclusive lock among all processes that use this folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str, mode: int = 0o644, owner: Sequence[int] = (0, 0)) -> None:
    """Write a file inside of a tree; a symlink there is replaced and never followed to this machine's own file."""
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, *owner)
