# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems that hosts share as their lower layer: made once a suite by mmdebstrap, never written again."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from .system import FOLDER, HostError, locked, run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
USER = "ansible"
USER_ID = 1000
SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "python3-requests", "python3-yaml",
    "sudo", "iproute2", "ca-certificates", "nftables", "procps", "curl",
)  # fmt: skip
#: Units that wait for hardware or for the host's kernel. Not logind: a reboot goes through it.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket",
    "systemd-udev-trigger.service", "systemd-modules-load.service", "getty.target", "console-getty.service",
    "systemd-firstboot.service", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
    "dev-hugepages.mount", "systemd-remount-fs.service", "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
COMPILE_CACHE = Path(__file__).parents[1] / "compile_cache" / "sitecustomize.py"
FILES = {
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
    "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nGSSAPIAuthentication no\n",
    "etc/sudoers.d/ansible": f"{USER} ALL=(ALL) NOPASSWD:ALL\n",
    "etc/apt/apt.conf.d/99lab": 'Acquire::Retries "3";\nDpkg::Use-Pty "false";\nAPT::Install-Recommends "false";\n',
}


def tree(suite: str) -> Path:
    """The root file system of *suite*, made on first use (about a minute).

    :raises HostError: no such suite, no mirror, or mmdebstrap failed.
    """
    if suite not in SUITES:
        raise HostError(f"no such suite: {suite}; known: {', '.join(SUITES)}")
    recipe = Path(__file__).read_bytes() + COMPILE_CACHE.read_bytes() + suite.encode()
    final = FOLDER / "trees" / f"{suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with locked(f"tree-{suite}"):
        if final.is_dir():
            return final
        for old in final.parent.glob(f"{suite}-*"):
            if str(old) not in Path("/proc/mounts").read_text():  # else a host still runs on it
                shutil.rmtree(old)
        final.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=final.parent))
        try:
            fresh.chmod(0o755)
            _make(fresh, suite)
            fresh.rename(final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return final


def _make(root: Path, suite: str) -> None:
    mirror, security = mirrors()
    lines = [
        f"deb [signed-by={KEYRING}] {mirror} {suite} main",
        f"deb [signed-by={KEYRING}] {mirror} {suite}-updates main",
        f"deb [signed-by={KEYRING}] {security} {suite}-security main",
    ]
    run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists",
        f"--include={','.join(PACKAGES)}", suite, root, *lines,
    )  # fmt: skip
    for listed in (root / "etc/apt/sources.list.d").glob("*"):
        listed.unlink()
    (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    run("chroot", root, "useradd", "-m", "-u", str(USER_ID), "-s", "/bin/bash", USER)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/sudoers.d/ansible").chmod(0o440)
    for folder in (root / "etc").glob("python3.*"):
        shutil.copy(COMPILE_CACHE, folder / COMPILE_CACHE.name)
    run("chroot", root, "systemctl", "-q", "mask", *MASKED)
    run("chroot", root, "systemctl", "-q", "set-default", "multi-user.target")
    run("chroot", root, "systemctl", "-q", "enable", "ssh.service")
    for name in ("hostname", "machine-id", "default/locale"):
        (root / "etc" / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()
    (root / "etc/default/locale").touch()
    _believe(root)


def _believe(root: Path) -> None:
    """Certificate authorities of this machine: behind a proxy that ends TLS, the hosts need them too."""
    own = sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt"))
    for path in own:
        shutil.copy(path, root / "usr/local/share/ca-certificates" / path.name)
    if own:
        run("chroot", root, "update-ca-certificates")


def mirrors() -> tuple[str, str]:
    """Addresses of Debian's archive and its security archive, from LAB_DEBIAN_MIRROR or this machine's apt sources.

    :raises HostError: none found.
    """
    named = os.environ.get("LAB_DEBIAN_MIRROR")
    if named:
        return named, f"{named.rstrip('/')}-security"
    found: list[str] = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.is_file():
            found += [word for word in path.read_text().split() if word.startswith(("http://", "https://"))]
    plain = [word.rstrip("/") for word in found if word.rstrip("/").endswith("/debian")]
    security = [word.rstrip("/") for word in found if word.rstrip("/").endswith("/debian-security")]
    if not plain:
        raise HostError("no Debian mirror in this machine's apt sources: set LAB_DEBIAN_MIRROR to one (.../debian)")
    return plain[0], security[0] if security else f"{plain[0]}-security"
