# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: its overlay on a tree, its boot under systemd-nspawn, its end.

What it writes is kept in memory: package managers wait for the disk at each file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from . import network
from .system import FOLDER, HostError, locked, require, run, write
from .trees import USER_ID, tree

RUNNING = FOLDER / f"run-{network.INDEX}"
KEY = FOLDER / "id_ed25519"
#: nspawn's exit status when the guest asked for a reboot.
REBOOT = 133
POLL_S = 0.05
#: Of memory at most for what one host writes; the longest scenario writes about 0.6 GiB.
WRITTEN = "3g"


class Host:
    """A host by name. The name is a DNS label; it is the same after a restart of this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = RUNNING / name
        self.root = self.folder / "root"

    # ---- life ----------------------------------------------------------------------------------------------------
    def up(self, address: str, suite: str = "bookworm", binds: Iterable[str] = ()) -> None:
        """Make the host and boot it; one that is there already stays as it is.

        :param address: in the lab's subnet, 10.97.<index>.0/24.
        :param binds: ``SOURCE:TARGET`` of this machine's folders, mounted read-only.
        """
        require()
        if self.record:
            return
        if not address.startswith(f"{network.SUBNET}."):
            raise HostError(f"{self.name}: {address} is not in {network.SUBNET}.0/24, the subnet of this lab")
        lower = tree(suite)
        with locked("network"):
            network.up()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            run("mount", "-t", "tmpfs", "-o", f"mode=755,size={WRITTEN}", "tmpfs", self.folder)
            for name in ("upper", "work", "root"):
                (self.folder / name).mkdir()
            network.plug(self.name, address)
            layers = f"lowerdir={lower},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
            run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
            self._personalize(address)
            row = {"address": address, "suite": suite, "binds": list(binds)}
            (self.folder / "host.json").write_text(json.dumps(row))
            self.boot()
        except BaseException:
            self.down()
            raise

    def boot(self) -> None:
        """Power on: a supervisor that starts nspawn again when the guest reboots."""
        groups = cgroups(self.name)
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        nspawn = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={self.name}",
            f"--hostname={self.name}", f"--directory={self.root}",
            f"--network-namespace-path=/run/netns/{network.namespace(self.name)}", "--resolv-conf=off",
            "--timezone=off", "--link-journal=no", "--capability=CAP_NET_ADMIN", "--console=read-only", "--boot",
            *(f"--bind-ro={bind}" for bind in self.record["binds"]),
        ]  # fmt: skip
        # Its own cgroup first, else all hosts share one and a power off of one would kill them all.
        script = (
            f'for group in "${{@:1:{len(groups)}}}"; do echo $$ > "$group/cgroup.procs"; done; shift {len(groups)};'
            f' while "$@"; [ $? = {REBOOT} ]; do :; done'
        )
        with (self.folder / "console.log").open("ab") as console:
            subprocess.Popen(
                ["bash", "-c", script, "supervisor", *map(str, groups), *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )

    def wait_ssh(self, timeout: float = 60) -> None:
        """Until its SSH server greets: a TCP connect alone may lie, as some networks accept any address.

        :raises HostError: with the end of its console.
        """
        address = self.record["address"]
        deadline = time.monotonic() + timeout
        while not greets(address):
            if time.monotonic() > deadline:
                console = (self.folder / "console.log").read_text(errors="replace").splitlines()[-15:]
                raise HostError(
                    f"{self.name} ({address}) does not answer on SSH within {timeout:g} s; its console ends:\n"
                    + "\n".join(console)
                )
            time.sleep(POLL_S)

    def power_off(self) -> None:
        """As a pulled plug: kill what is in this host's cgroup, and nothing else."""
        for _unused in range(200):
            left = pids(self.name)
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(POLL_S)
        raise HostError(f"{self.name}: processes {pids(self.name)} do not die")

    def down(self) -> None:
        """Power off and remove everything of it; again is no change."""
        self.power_off()
        network.unplug(self.name)
        for mounted in (self.root, self.folder):
            while os.path.ismount(mounted):
                run("umount", mounted)
        for group in cgroups(self.name):
            for inner in sorted(group.glob("**/"), key=lambda path: len(path.parts), reverse=True):
                try:
                    inner.rmdir()
                except OSError:
                    continue  # the kernel needs a moment; an empty group costs nothing
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what is known of it ---------------------------------------------------------------------------------------
    @property
    def record(self) -> dict[str, object] | None:
        """address, suite, binds; ``None`` when there is no such host."""
        try:
            return json.loads((self.folder / "host.json").read_text())
        except OSError:
            return None

    def _personalize(self, address: str) -> None:
        etc = self.root / "etc"
        write(etc / "hostname", f"{self.name}\n")
        write(etc / "hosts", f"127.0.0.1 localhost\n{address} {self.name}\n")
        write(etc / "machine-id", "")
        write(etc / "resolv.conf", Path("/etc/resolv.conf").read_text())
        ssh = self.root / "home" / "ansible" / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        os.chown(ssh, USER_ID, USER_ID)
        write(ssh / "authorized_keys", public_key(), 0o600, (USER_ID, USER_ID))


def greets(address: str) -> bool:
    """Whether an SSH server says hello there."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def public_key() -> str:
    """Of the key that all hosts believe; made on first use."""
    with locked("key"):
        if not KEY.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", KEY)
    return KEY.with_suffix(".pub").read_text()


def cgroups(name: str) -> list[Path]:
    """Where this host's processes are: one folder with cgroup v2, two on a hybrid of v1 and v2."""
    base = Path("/sys/fs/cgroup")
    tops = [base / "systemd", base / "unified"] if (base / "systemd").is_dir() else [base]
    return [top / f"oashosts{network.INDEX}" / name for top in tops]


def pids(name: str) -> list[int]:
    """Of all processes of the host."""
    found: list[int] = []
    for path in cgroups(name)[0].glob("**/cgroup.procs"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return found


def everyone() -> list[Host]:
    """The hosts that are there, running or not."""
    return [Host(path.parent.name) for path in sorted(RUNNING.glob("*/host.json"))]
